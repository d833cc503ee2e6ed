"""Build the slides in build/slides: one deck for each outline in docs/slides, with figures from the notebook's outputs.

python scripts/build_slides.py      then open build/slides/02_inception_module.html

An outline is Markdown. Its title is the notebook's, and each `## Heading {minutes}` begins a slide. Lines that begin
with @ take something from the section of the notebook with the same heading, or from another after `@from Heading`:

    @figure 2       the second picture of the section (the first if no number is given)
    @table, @output, @code      a table, printed text, a code cell: by number, or by some text in it
    @answer         the sentence in which the notebook answers its question

What follows a paragraph that begins with `*Predict:*` is shown at one more press of the key that turns the page.
`Notes:` begins what only the speaker sees (key N). A deck is one HTML file that needs nothing else.
"""

import argparse
import html
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt

from inception_lab.common import console, files

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

from mathml import to_mathml  # noqa: E402

OUTLINES, NOTEBOOKS, BUILD = ROOT / "docs" / "slides", ROOT / "notebooks", ROOT / "build" / "slides"
HEADING = re.compile(r"^## (.+?) \{(\d+(?:\.\d+)?)\}$", re.MULTILINE)
TEMPLATE = OUTLINES / "deck.html"


@dataclass
class Section:
    """What one section of a notebook has: pictures as <img>, tables and printed text as HTML, code cells."""

    figures: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)


def sections(notebook) -> dict[str, Section]:
    """Heading → what stands below it, down to the next heading."""
    found, current = {}, Section()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for heading in re.findall(r"^#{1,3} (.+)$", cell.source, re.MULTILINE):
                current = found.setdefault(heading.strip(), Section())
            continue
        current.code.append(cell.source)
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        for output in cell.outputs:
            data = output.get("data", {})
            picture = next((kind for kind in ("image/png", "image/jpeg") if kind in data), None)
            if picture:
                source = f"data:{picture};base64,{data[picture].strip()}"
                current.figures.append(f'<img alt="{html.escape(alt)}" src="{source}">')
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
    text = MarkdownIt("commonmark").enable("table").render(text)
    return re.sub(r"⟦(\d+)⟧", lambda found: formulas[int(found[1])], text)


def fitted(table: str) -> str:
    """A table that a slide has room for: a large one has smaller letters, and names of columns break after _."""
    head, end, rows = table.partition("</thead>")
    width, height = head.partition("</tr>")[0].count("<th"), rows.count("<tr")
    size = "huge" if width > 12 or height > 14 else "large" if width > 8 or height > 11 else ""
    table = re.sub(r">[^<]*", lambda name: name[0].replace("_", "_<wbr>"), head) + end + rows
    return f'<div class="{size}">{table}</div>' if size else table


def take(kind: str, wanted: str, section: Section, notebook) -> str:
    """The HTML of one line that begins with @. Raises ValueError for what the section does not have."""
    if kind == "answer":
        return f"<blockquote>{markdown(answer(notebook).replace('> ', ''))}</blockquote>"
    things = getattr(section, kind if kind == "code" else f"{kind}s", None)
    if things is None:
        raise ValueError(f"@{kind} is none of @figure, @table, @output, @code, @answer, @from")
    if wanted.isdigit() or not wanted:
        things, wanted = things[int(wanted or 1) - 1 :], f"number {wanted or 1}"
    else:
        things = [thing for thing in things if wanted in html.unescape(thing)]
    if not things:
        raise ValueError(f"no {kind} {wanted}")
    if kind == "table":
        return fitted(things[0])
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
        origin, written, waiting = heading, [], []
        for line in [*body.strip().splitlines(), "@"]:
            if not line.startswith("@"):
                waiting.append(line)
                continue
            written.append(markdown("\n".join(waiting)))
            kind, _, wanted = line[1:].partition(" ")
            waiting = []
            if kind == "from":
                origin = wanted
            elif kind:
                try:
                    written.append(take(kind, wanted, found.get(origin, Section()), notebook))
                except ValueError as error:
                    raise ValueError(f"{outline.name}, slide {heading!r}, section {origin!r}: {error}") from error
        html_of_slide = "\n".join(written).replace("<p><em>Predict:", '<p class="predict"><em>Predict:')
        slides.append((heading, float(minutes), html_of_slide, markdown(notes.strip())))
    return title, slides


def deck(outline: Path) -> str:
    """The whole deck of an outline as one HTML page."""
    notebook = nbformat.read(NOTEBOOKS / f"{outline.stem}.ipynb", as_version=4)
    title, slides = read(outline, notebook)
    total = sum(minutes for _, minutes, _, _ in slides)
    lead = f"Inception Lab, about {total:g} minutes, {len(slides) + 1} slides. "
    lead += "Arrow keys turn pages and show what follows a prediction, N shows notes."
    pages = [f'<section><h1>{html.escape(title)}</h1><p class="lead">{lead}</p></section>']
    for heading, minutes, body, notes in slides:
        aside = f"<aside><strong>{minutes:g} min.</strong> {notes}</aside>"
        pages.append(f"<section><h2>{markdown(heading).strip()[3:-4]}</h2>{body}{aside}</section>")
    page = TEMPLATE.read_text(encoding="utf-8")
    return page.replace("{{title}}", html.escape(title)).replace("{{slides}}", "\n".join(pages))


def outlines() -> list[Path]:
    """The outline of each notebook, in order."""
    return [OUTLINES / f"{path.stem}.md" for path in sorted(NOTEBOOKS.glob("*.ipynb"))]


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("place", nargs="?", type=Path, default=BUILD)
    place = parser.parse_args(arguments).place
    files.check_out(place, "place", folder=True)
    for outline in outlines():
        files.write(place / f"{outline.stem}.html", deck(outline).encode())
        print(place / f"{outline.stem}.html")
    return 0


if __name__ == "__main__":
    sys.exit(console.run("build_slides.py", main))
