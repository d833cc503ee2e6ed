"""Build the slides in build/slides: one deck for each outline in docs/slides, with figures from the notebook's outputs.

python scripts/build_slides.py           then open build/slides/02_inception_module.html
python scripts/build_slides.py --pdf     prints them too, with an installed Chromium

An outline is Markdown. Its title is the notebook's, and each `## Heading {minutes}` begins a slide. Lines that begin
with @ take something from the section of the notebook with the same heading, or from another after `@from Heading`,
or from another notebook after `@notebook deeper/table_1`:

    @figure 2       the second picture of the section (the first if no number is given)
    @draw 2         the same as scripts/slide_figures.py drew it for a slide, if cell and picture are still the same
    @table, @output, @code      a table, printed text, a code cell: by number, or by some text in it
    @table error | columns crops, error | rows 1, ..., 144  a table, cut to some columns and rows; what is left out
                    between rows may be marked
    @output 1×1 | heads path, pixels        what was printed in columns, with heads
    @line R*        of a printed text, the lines with some text in them
    @answer         the sentence in which the notebook answers its question; where that is long, the outline has at
                    most three points instead, in a quotation of its own (`> - `)

Printed text and tables are put into words: no Python brackets, no names of code (see NAMES), nothing of what the
reader predicted. `columns`, `rows` and what @line looks for are as the notebook has them. What follows a paragraph
that begins with `*Predict:*` is shown at one more press of the key that turns the page. `Notes:` begins what only the
speaker sees, in a window of their own (key N). A deck is one HTML file that needs nothing else.
"""

import argparse
import ast
import base64
import contextlib
import hashlib
import html
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt
from PIL import Image

from inception_lab.common import console, files

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

from mathml import to_mathml  # noqa: E402
from pages import UNIT  # noqa: E402

OUTLINES, NOTEBOOKS, BUILD = ROOT / "docs" / "slides", ROOT / "notebooks", ROOT / "build" / "slides"
HEADING = re.compile(r"^## (.+?) \{(\d+(?:\.\d+)?)\}$", re.MULTILINE)
TEMPLATE = OUTLINES / "deck.html"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# What names of code are called before an audience, in tables and in printed text.
NAMES = {
    "params": "parameters",
    "macs": "MACs",
    "ops": "operations",
    "one": "1×1",
    "three_reduce": "3×3 reduction",
    "three": "3×3",
    "five_reduce": "5×5 reduction",
    "five": "5×5",
    "pool_proj": "pool projection",
    "patch_size": "kernel",
    "output_height": "height",
    "output_channels": "channels out",
    "top1_error_percent": "top-1 error (%)",
    "top5_error_percent": "top-5 error (%)",
    "images/s": "images per second",
    "MACs / 3a": "times 3a's MACs",
    "receptive_field": "sees (pixels)",
    "≈↓": "yes",
    "✗": "no",
    "True": "yes",
    "False": "no",
    "googlenet": "GoogLeNet",
    "arm": "network",
    "inception": "Inception module",
    "alexnet-2012": "AlexNet",
    "alexnet": "AlexNet",
    "zfnet": "ZFNet",
    "vgg11": "VGG-11",
    "vgg13": "VGG-13",
    "vgg16": "VGG-16",
    "vgg19": "VGG-19",
    "inception-v2": "Inception-v2",
    "inception-v3": "Inception-v3",
    "inception-v4": "Inception-v4",
    "nasnet-a": "NASNet-A",
    "recomputed": "difference (points)",
    "tiny-imagenet-96": "Tiny ImageNet, 96 pixels",
    "tiny-imagenet-224": "Tiny ImageNet, 224 pixels",
}
LEFT = ' class="words"'
PLAIN = {
    "params",
    "macs",
    "ops",
    "one",
    "three",
    "five",
    "True",
    "False",
    "≈↓",
    "✗",
}  # those that printed text may have in another sense


@dataclass
class Section:
    """What one section of a notebook has: pictures as <img>, tables and printed text as HTML, code cells."""

    figures: list[str] = field(default_factory=list)
    cells: list = field(default_factory=list)  # those that drew the figures
    tables: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)


def picture_of(output) -> str:
    """The picture of an output, or the one inside its HTML, as an address that holds it; empty if it has none."""
    data = output.get("data", {})
    kind = next((kind for kind in ("image/png", "image/jpeg") if kind in data), None)
    inside = re.search(r'<img src="(data:image/[^"]+)"', data.get("text/html", ""))
    return f"data:{kind};base64,{data[kind].strip()}" if kind else inside[1] if inside else ""


def drawn(stem: str, heading: str, number: int) -> Path:
    """Where the figure of that number below a heading of a notebook is, drawn for a slide."""
    name = "-".join(re.findall(r"[a-z0-9]+", heading.lower()))
    return OUTLINES / "figures" / f"{stem[:2]}-{name}-{number}.webp"


def is_of(target: Path, cell) -> bool:
    """Whether a figure that was drawn for a slide is of this cell, and of what it draws, as they are now."""
    return target.is_file() and Image.open(target).info.get("xmp") == fingerprint(cell).encode()


def fingerprint(cell) -> str:
    """The hash of a cell and of its stored pictures, which a figure that was drawn by it keeps.

    The pictures are in it since a cell may draw something else without a change of its own: data and library change.
    """
    pictures = [picture for output in cell.outputs if (picture := picture_of(output))]
    return hashlib.sha256("\n".join([cell.source, *pictures]).encode()).hexdigest()


def drawn_large(figure: str, target: Path, cell) -> str:
    """An <img> with the figure that was drawn for a slide in place of the notebook's, if it is of the same cell."""
    if not is_of(target, cell):
        return figure
    content = base64.b64encode(target.read_bytes()).decode()
    return re.sub('src="[^"]*"', f'src="data:image/webp;base64,{content}"', figure)


def sections(notebook) -> dict[str, Section]:
    """Heading → what stands below it, down to the next heading."""
    found, current = {}, Section()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for heading in re.findall(r"^#{1,3} (.+)$", cell.source, re.MULTILINE):
                current = found.setdefault(heading.strip(), Section())
            continue
        current.code.append(cell.source)
        described = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        for output in cell.outputs:
            data = output.get("data", {})
            if source := picture_of(output):
                inside = re.search(r'<img [^>]*alt="([^"]*)"', data.get("text/html", ""))
                alt = html.unescape(inside[1]) if inside else described
                current.figures.append(f'<img alt="{html.escape(alt)}" src="{source}">')
                current.cells.append(cell)
            elif "text/html" in data:
                current.tables.append(re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.DOTALL))
            elif text := output.get("text") or data.get("text/plain"):
                current.outputs.append(f"<pre>{html.escape(text.rstrip())}</pre>")
    return found


def answer(notebook) -> str:
    """The quoted sentence below "The answer"."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    quoted = re.search(r"^## The answer\n+((?:>.*\n?)+)", text, re.MULTILINE)
    if not quoted:
        raise ValueError("the notebook has no quotation below 'The answer'")
    return quoted[1]


def markdown(text: str) -> str:
    """HTML for Markdown with $formulas$."""
    formulas = []

    def keep(found):
        formulas.append(to_mathml(found[2], block=found[1] == "$$"))
        return f"⟦{len(formulas) - 1}⟧"

    text = re.sub(r"(\$\$?)(.+?)\1", keep, text)
    text = UNIT.sub("\u00a0", re.sub(r"(?<=VGG)-(?=\d)", "\u2011", text))
    text = MarkdownIt("commonmark").enable("table").render(text)
    return re.sub(r"⟦(\d+)⟧", lambda found: formulas[int(found[1])], text)


def unpredicted(text: str) -> str:
    """Printed text without what the reader predicted. Empty if that is all it says."""
    lines = []
    for line in text.splitlines():
        line = re.sub(r"(;|,| -)? you said .*", "", line.replace(", as you said", ""))
        if line.startswith(("You said ", "you said ")):  # then comes what is so, or nothing
            guess = re.match(r".{9}('[^']*'[;.:] |[^']*?[;.] |[^']*?: )", line)
            line = line[guess.end() :] if guess else ""
            line = line[:1].upper() + line[1:]
        if line.strip():
            lines.append(line.rstrip())
    return "\n".join(lines)


def said(value) -> str:
    """A list, tuple or dictionary as one would read it out: 1×1 27, 3×3 43, 5×5 59."""
    if isinstance(value, dict):
        short = all(isinstance(key, str) and not isinstance(item, list | tuple | dict) for key, item in value.items())
        items = [f"{called(str(key))}{' ' if short else ': '}{said(item)}" for key, item in value.items()]
        return (", " if short else "; ").join(items)
    if isinstance(value, list | tuple | set):
        return ", ".join(said(item) for item in value)
    return called(str(value))


def unbracketed(text: str) -> str:
    """Printed text with the lists and dictionaries of Python in it put into words; whatever else has brackets stays."""
    done, at = "", 0
    for opened in re.finditer(r"(?<![\w\])'\"])[\[{]", text):
        start = opened.start()
        for closed in re.finditer(r"[\]}]", text[start:]) if start >= at else ():
            with contextlib.suppress(ValueError, SyntaxError):
                value = said(ast.literal_eval(text[start : start + closed.end()]))
                done, at = done + text[at:start] + value, start + closed.end()
                break
    return done + text[at:]


def called(name: str) -> str:
    """What a name of code, alone or in a text, is called before an audience."""
    if name in NAMES:
        return NAMES[name]
    coded = "|".join(map(re.escape, sorted(NAMES.keys() - PLAIN, key=len, reverse=True)))
    name = re.sub(rf"(?<![\w.-])({coded})(?![\w-])", lambda found: NAMES[found[1]], name)
    name = re.sub(r"(?<![\w.])(\d)x(?=\d\b)", r"\1×", name)
    return re.sub(r"\binception_(\d[a-e])", r"\1", name)


def typeset(text: str) -> str:
    """Text with minus signs before numbers that are negative, and numbers that stay with their unit."""
    text = re.sub(r"(?<![\w.,)–−-])-(?=\d)", "−", text)
    text = re.sub(r"(?<=: )(True|False)$", lambda found: NAMES[found[1]], text, flags=re.MULTILINE).replace("->", "→")
    return UNIT.sub("\u00a0", re.sub(r"(?<=\d) - (?=\d)", " − ", text))


def printed(text: str, heads: str = "") -> str:
    """The HTML of printed text: a table where it stands in columns, else sentences, which may break.

    heads: of the columns, with commas between them.
    """
    text = unpredicted(text)
    if not text:
        raise ValueError("it prints nothing but what was predicted")
    if re.search(r"^\s*(def|class) ", text, re.MULTILINE):  # code that prints itself
        return f"<pre><code>{html.escape(text)}</code></pre>"
    lines = typeset(called(unbracketed(text))).splitlines()
    second = max(({found.end() for line in lines if (found := re.match(r"\S+ {2,}", line))}), default=0)
    blocks, before = [], 0
    for line in lines:
        # A word that is as long as its column has but one space behind it.
        fills = second and re.fullmatch(rf"\S{{{second - 1}}} \S.*", line)
        cells = [line[: second - 1], line[second:]] if fills else re.split(r" {2,}", line.strip())
        if len(cells) != before:
            blocks.append([])
        blocks[-1].append(cells)
        before = len(cells)
    if heads and len(blocks) > 1:
        raise ValueError(f"heads {heads}: not all that is printed stands in columns")
    return "\n".join(in_columns(block, heads) if len(block[0]) > 1 else in_sentences(block) for block in blocks)


def in_columns(rows: list[list[str]], heads: str = "") -> str:
    """A table of what was printed in columns, words at the left."""
    words = [sum(text[:1].isalpha() for text in column) > len(column) / 2 for column in zip(*rows, strict=True)]
    words[0] = True
    lines = [("th", [head.strip() for head in heads.split(",")])] if heads else []
    table = ""
    for tag, cells in [*lines, *(("td", row) for row in rows)]:
        kinds = ["th", *[tag] * (len(cells) - 1)]
        parts = zip(kinds, words, cells, strict=True)
        row = "".join(f"<{kind}{LEFT if left else ''}>{html.escape(text)}</{kind}>" for kind, left, text in parts)
        table += f"<tr>{row}</tr>"
    return f'<div class="table"><table><tbody>{table}</tbody></table></div>'


def in_sentences(lines: list[list[str]]) -> str:
    """Printed lines, each of which may break."""
    return f'<pre class="said">{"".join(f"<span>{html.escape(line)}</span>" for (line,) in lines)}</pre>'


def cut(table: str, *cuts: str) -> str:
    """A table of a notebook as a slide has it: some of its columns and rows, and no rows that only count.

    cuts: `columns NAME, NAME` and `rows NAME, NAME`. Raises ValueError for a name that the table does not have.
    """
    text = re.search(r"<table.*?</table>", table, re.DOTALL)[0]
    root = ET.fromstring(re.sub(r"&(?!amp|lt|gt)\w+;", lambda entity: html.unescape(entity[0]), text))
    head, body = root.find("thead"), root.find("tbody")
    first, *named = head
    if named:  # pandas gives the name of the rows a line of its own
        first[0].text = named[0][0].text
        head.remove(named[0])
    rows = [row[0].text or "" for row in body]
    for what, _, wanted in (cut.strip().partition(" ") for cut in cuts):
        there = rows if what == "rows" else [cell.text or "" for cell in first][1:]
        names = [name.strip() for name in wanted.split(",")]
        marked = [names[place - 1] for place, name in enumerate(names) if place and name == "..."]
        names = [name for name in names if name != "..."]
        if what not in ("rows", "columns") or not set(names) <= set(there):
            raise ValueError(f"{what} {wanted}: a table may be cut to columns and rows; of {what} it has {there}")
        gone = [place for place, name in enumerate(there) if name not in names]
        for row in [body] if what == "rows" else [first, *body]:
            for place in reversed(gone):
                row.remove(row[place + (what == "columns")])
        for name in marked if what == "rows" else ():
            place = next(place for place, row in enumerate(body) if row[0].text == name)
            body.insert(place + 1, ET.fromstring(f"<tr><th>⋮</th>{'<td>⋮</td>' * (len(first) - 1)}</tr>"))
    if rows == [str(number) for number in range(len(rows))]:
        for row in [first, *body]:
            row.remove(row[0])
    for place, cell in enumerate(first):
        put_into_words(cell, [row[place] for row in body])
    return f'<div class="table">{ET.tostring(root, encoding="unicode", method="html")}</div>'


def put_into_words(head, below: list) -> None:
    """Write the head and the cells of a column of a table as an audience reads them, words at the left."""
    first = bool(below) and below[0].tag == "th"
    for cell in [head, *below]:
        text = (cell.text or "").strip()
        cell.text = called(text).replace("_", " ") if cell is head or first else typeset(NAMES.get(text, text))
    if any(re.fullmatch(r"\d{5,}", cell.text) for cell in below):  # years and small numbers stay as they are
        for cell in below:
            cell.text = f"{int(cell.text):,}" if cell.text.isdecimal() else cell.text
    texts = [cell.text for cell in below if cell.text.strip("⋮")]
    if first or sum(text[0].isalpha() for text in texts) > len(texts) / 2:
        for cell in [head, *below]:
            cell.set("class", "words")


def take(kind: str, wanted: str, section: Section, notebook) -> str:
    """The HTML of one line that begins with @. Raises ValueError for what the section does not have."""
    if kind == "answer":
        return f"<blockquote>{markdown(answer(notebook).replace('> ', ''))}</blockquote>"
    things = getattr(section, {"code": "code", "line": "outputs"}.get(kind, f"{kind}s"), None)
    if things is None:
        raise ValueError(f"@{kind} is none of @figure, @table, @output, @line, @code, @answer, @from, @notebook")
    wanted, *cuts = wanted.split("|")
    wanted = wanted.strip()
    if wanted.isdigit() or not wanted:
        things, wanted = things[int(wanted or 1) - 1 :], f"number {wanted or 1}"
    else:
        things = [thing for thing in things if wanted in html.unescape(thing)]
    if not things:
        raise ValueError(f"no {kind} {wanted}")
    if kind == "table":
        return cut(things[0], *cuts) if "<table" in things[0] else things[0]  # a drawing may come as HTML too
    if kind in ("line", "output"):
        lines = html.unescape(things[0]).removeprefix("<pre>").removesuffix("</pre>").splitlines()
        heads = "".join(cuts).strip().removeprefix("heads ")
        return printed("\n".join(line for line in lines if kind == "output" or wanted in line), heads)
    return f"<pre><code>{html.escape(things[0])}</code></pre>" if kind == "code" else things[0]


def read(outline: Path, notebook) -> tuple[str, list[tuple[str, float, str, str]]]:
    """The title and the slides of an outline: heading, minutes, HTML, notes. Raises ValueError, naming the slide."""
    text = outline.read_text(encoding="utf-8")
    title = text.splitlines()[0].removeprefix("# ")
    if not notebook.cells[0].source.startswith(f"# {title}\n"):
        raise ValueError(f"{outline.name}: the title is not the notebook's: {title!r}")
    found, slides = sections(notebook), []
    _, *parts = HEADING.split(text)
    for heading, minutes, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        body, _, notes = body.partition("\nNotes:")
        origin, source, stem, written, waiting = heading, found, outline.stem, [], []
        for line in [*body.strip().splitlines(), "@"]:
            if not line.startswith("@"):
                waiting.append(line)
                continue
            written.append(markdown("\n".join(waiting)))
            kind, _, wanted = line[1:].partition(" ")
            waiting = []
            if kind == "from":
                origin = wanted
            elif kind == "notebook":
                stem, source = wanted, sections(nbformat.read(NOTEBOOKS / f"{wanted}.ipynb", as_version=4))
            elif kind:
                section = source.get(origin, Section())
                try:
                    shown = take("figure" if kind == "draw" else kind, wanted, section, notebook)
                except ValueError as error:
                    raise ValueError(f"{outline.name}, slide {heading!r}, section {origin!r}: {error}") from error
                if kind == "draw":
                    number = int(wanted or 1)
                    shown = drawn_large(shown, drawn(stem, origin, number), section.cells[number - 1])
                written.append(shown)
        html_of_slide = "\n".join(written).replace("<p><em>Predict:", '<p class="predict"><em>Predict:')
        slides.append((heading, float(minutes), html_of_slide, markdown(notes.strip())))
    return title, slides


def deck(outline: Path) -> str:
    """The whole deck of an outline as one HTML page."""
    notebook = nbformat.read(NOTEBOOKS / f"{outline.stem}.ipynb", as_version=4)
    title, slides = read(outline, notebook)
    total = sum(minutes for _, minutes, _, _ in slides)
    lead = f"Inception Lab, about {total:g} minutes, {len(slides) + 1} slides. "
    lead += "Arrow keys turn pages and show what follows a prediction, N opens the speaker's window."
    pages = [f'<section><h1>{html.escape(title)}</h1><p class="lead">{lead}</p></section>']
    for heading, minutes, body, notes in slides:
        aside = f"<aside><strong>{minutes:g} min.</strong> {notes}</aside>"
        title_of_slide = markdown(heading).strip()[3:-4]
        pages.append(f'<section data-minutes="{minutes:g}"><h2>{title_of_slide}</h2>{body}{aside}</section>')
    page = TEMPLATE.read_text(encoding="utf-8")
    return page.replace("{{title}}", html.escape(title)).replace("{{slides}}", "\n".join(pages))


def outlines() -> list[Path]:
    """The outline of each notebook, in order."""
    return [OUTLINES / f"{path.stem}.md" for path in sorted(NOTEBOOKS.glob("*.ipynb"))]


def print_pdf(page: Path) -> Path:
    """Print a deck into a PDF beside it, a slide to a page, with an installed Chromium. Returns the PDF."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        raise ValueError(f"--pdf needs a browser that prints: none of {', '.join(CHROMIUM)} is installed")
    target = page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory() as profile:
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={profile}",
            "--window-size=1280,720",
        ]
        command = [chromium, *options, "--no-pdf-header-footer", f"--print-to-pdf={target}", page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    return target


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("place", nargs="?", type=Path, default=BUILD)
    parser.add_argument("--pdf", action="store_true", help="print each deck as PDF too, with an installed Chromium")
    options = parser.parse_args(arguments)
    place = options.place
    files.check_out(place, "place", folder=True)
    for outline in outlines():
        files.write(place / f"{outline.stem}.html", deck(outline).encode())
        print(place / f"{outline.stem}.html")
        if options.pdf:
            print(print_pdf(place / f"{outline.stem}.html"))
    return 0


if __name__ == "__main__":
    sys.exit(console.run("build_slides.py", main))
