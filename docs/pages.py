"""What every page gets when it is written: a description, figures for the dark, and its text for the search.

Pages may not read one another from the disk, so the page of results finds their texts in a script, `texts.js`.
"""

import base64
import html
import io
import itertools
import json
import re
from pathlib import Path

from dark import variant
from PIL import Image

DESCRIPTION = 160  # characters, what search engines show
IMAGE = re.compile(r'<img ([^>]*)src="([^"]*_images/)([^"/]+)"([^>]*)>')
EMBEDDED = re.compile(r'<img [^>]*src="data:image/png;base64,([^"]+)"[^>]*>')
TABLE = re.compile(r'<table border="1" class="dataframe">.*?</table>', re.DOTALL)
# Two rows of heads: the first empty above the index, the second empty but for the name of the index.
INDEX_NAME = re.compile(
    r"(<tr[^>]*>\s*)<th></th>((?:\s*<th>[^<]+</th>)+\s*</tr>)\s*<tr>\s*<th>([^<]+)</th>(?:\s*<th></th>)+\s*</tr>"
)
WORD = re.compile(r"(?!nan|NaN|None|True|False|inf)[^\W\d_]{3}")
FORMULA = re.compile(r"\(?<math\b(?:(?!</math>).)*</math>(?:[.,;:!?)]+| (?:%|W|pixels)(?!\w))", re.DOTALL)
NAME = re.compile(r"\b(?:VGG|CIFAR|Inception|[Tt]op)-(?:\d+|v\d|ResNet)(?:'s)?")
# What is not prose, or a tag, or the prose between. Numbers stay on one line with their unit.
PIECES = re.compile(r"(<(pre|code|script|style|svg|math)\b.*?</\2>|<[^>]+>)", re.DOTALL)
UNIT = re.compile(r"(?<=\d) (?=(?:%|[kMG]B|m?s|k?Wh?|J|pixels|points|million|billion)(?!\w))|(?<=\b[Tt]able) (?=\d)")
SKIPPED = re.compile(r"<(style|script)\b.*?</\1>", re.DOTALL)


def text_of(body: str) -> str:
    """The text of a piece of HTML, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", SKIPPED.sub(" ", body))).split())


def description(body: str) -> str:
    """The first paragraph of a page, cut after a word. The line below a notebook's title (p.about) is none."""
    paragraphs = re.findall(r'<p\b(?! class="about")[^>]*>(.*?)</p>', body, re.DOTALL)
    first = next(filter(None, map(text_of, paragraphs)), "")
    first = re.sub(r" (?=[.,;:?!)])", "", first)
    return first if len(first) <= DESCRIPTION else first[: DESCRIPTION - 2].rpartition(" ")[0] + " …"


def for_dark(app, body: str) -> str:
    """HTML in which each drawn figure has a second one for dark pages. Browsers load only the one that is shown."""
    sources = {name: Path(app.srcdir, source) for source, name in app.builder.images.items()}

    def both(found):
        before, folder, name, after = found.groups()
        dark = Path(name).stem + "-dark.png"
        target = Path(app.outdir, "_images", dark)
        if name not in sources or Path(name).suffix not in (".png", ".jpg", ".jpeg"):
            return found[0]
        picture = Image.open(sources[name])
        if not target.exists():
            drawn = variant(picture)
            if drawn is None:
                return found[0]
            target.parent.mkdir(exist_ok=True)
            drawn.quantize(256).save(target)
        # With its size, so that the page does not jump when the figure is loaded.
        size = "" if "width" in before + after else f' width="{picture.width}" height="{picture.height}"'
        light = f'<img {before}src="{folder}{name}" loading="lazy"{size}{after}>'
        return in_both(light, name, dark)

    def both_embedded(found):
        drawn, stored = variant(Image.open(io.BytesIO(base64.b64decode(found[1])))), io.BytesIO()
        if drawn is None:
            return found[0]
        drawn.quantize(256).save(stored, "png")
        return in_both(found[0], found[1], base64.b64encode(stored.getvalue()).decode())

    return EMBEDDED.sub(both_embedded, IMAGE.sub(both, body))


def in_both(light: str, source: str, dark: str) -> str:
    """HTML of an image, and of another with the source `dark` that dark pages show in its place."""
    return light.replace("<img ", '<img class="only-light" ') + light.replace(
        "<img ", '<img class="only-dark drawn" '
    ).replace(source, dark)


def aligned(table: str) -> str:
    """A table of pandas in which columns of words begin at the left, with their heads. Numbers stay at the right.

    The heads of its columns may be broken after an underscore, so that a wide table fits on paper. The name of the
    index stands in their row.
    """
    head, ended, body = table.partition("</thead>")
    head = INDEX_NAME.sub(r"\1<th>\3</th>\2", head)
    table = re.sub(r"_(?=\w)", "_<wbr>", head) + ended + body
    cells = re.compile(r"<t[hd]\b[^>]*>.*?</t[hd]>", re.DOTALL)
    rows = [cells.findall(row) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]
    if len({len(row) for row in rows}) != 1 or "span=" in table:
        return table
    words = {i for row in rows for i, cell in enumerate(row) if cell.startswith("<td") and WORD.search(text_of(cell))}
    place = itertools.cycle(range(len(rows[0])))
    return re.sub(r"<t[hd]\b", lambda tag: tag[0] + ' class="words"' * (next(place) in words), table)


def unbroken(body: str) -> str:
    """HTML whose lines do not break between a number and its unit, in a name, or between a formula and what follows."""
    prose = PIECES.split(body)[::3]  # each followed by what is not prose, and by the name of its tag or None
    other = PIECES.split(body)[1::3] + [""]
    whole = r'<span class="unbroken">\g<0></span>'
    body = "".join(NAME.sub(whole, UNIT.sub("\u00a0", text)) + tag for text, tag in zip(prose, other, strict=True))
    return FORMULA.sub(whole, body)


def write_page(app, pagename, templatename, context, doctree):
    if pagename == "search":
        app.add_js_file("texts.js")
        app.add_js_file("search.js")
    body = context.get("body")
    if not body:
        return
    if 'name="description"' not in context["metatags"]:
        context["metatags"] += f'\n<meta name="description" content="{html.escape(description(body))}">'
    app.env.course_texts[pagename] = text_of(body)
    body = unbroken(TABLE.sub(lambda found: aligned(found[0]), for_dark(app, body)))
    if pagename == "claims":
        app.add_js_file("claims.js", defer="defer")
        body = f'<div class="claims">{body}</div>'
    context["body"] = body


def begin(app):
    app.env.course_texts = {}


def write_texts(app, exception):
    if exception is None:
        texts = json.dumps(app.env.course_texts, ensure_ascii=False)
        Path(app.outdir, "_static", "texts.js").write_text(f"const TEXTS = {texts};\n", encoding="utf-8")


def setup(app):
    app.connect("builder-inited", begin)
    app.connect("html-page-context", write_page, priority=600)
    app.connect("build-finished", write_texts)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
