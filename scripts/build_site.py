"""Build the course site in build/site: notebooks with their stored outputs, exercises without solutions, the library.

python scripts/build_site.py      the pages are build/site/html/index.html and what it links to

Nothing is executed, and nothing is fetched but what live.py takes from npm, once. The source of the site is put
together in build/site/source: the folder docs, the notebooks and the students' notebooks of the exercises, beside each
other as in the repository, so that their links hold. The students' notebooks are made anew from their sources, since
somebody may have worked in those that lie in exercises. Beside the pages are put the notebooks themselves, to be
downloaded, the decks, the gallery of the published GoogLeNet, a unit explorer that was built into build/explorer, and
the decks as PDF that were printed into build/slides.
"""

import argparse
import base64
import html
import importlib
import io
import pkgutil
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from PIL import Image
from sphinx.cmd.build import main as sphinx_build

import inception_lab
from inception_lab.common import console, files
from inception_lab.common.checks import DataError
from inception_lab.explorer import gallery

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "docs")]

import build_slides  # noqa: E402
import cards  # noqa: E402
import dark  # noqa: E402
import workspace  # noqa: E402

import notebooks  # noqa: E402
from exercises import generate, write_course  # noqa: E402

BUILD, EXPLORER, PDFS = (ROOT / "build" / name for name in ("site", "explorer", "slides"))
VIEW = "application/vnd.jupyter.widget-view+json"
LIBRARY = "What each module of `inception_lab` is for. The pages are made from the docstrings."
EXPLORER_PAGE = """# Units

Every unit of a network: an image made to excite it, what it is wired to, and which classes and sizes of objects it
answers to. [Notebook 10](notebooks/10_feature_visualization.ipynb) says how such images are made, and how far they can
be believed.

<p><a class="button" href="unit-gallery/index.html">The units of the published GoogLeNet</a>{trained}</p>

<p><a href="unit-gallery/index.html"><img src="unit-gallery/images/inception_4a-optimized-2.webp" width="640"
height="320" alt="Four rows of eight small images: coils, spots, eyes, balls, the heads of a crowd, dogs"></a></p>

*Thirty-two units of 4a, numbers 64 to 95, all of its 1×1 path: each image is made to excite one of them.*

The page opens from the disk and asks no other machine for anything. Type `4a five` into its search for the units of one
path, `ring` for those that answer to a class, and press Enter on a unit for what is known of it. The same for a network
of yours: `inception-lab explore runs/NAME --out units`.
"""
TRAINED = ' <a class="button" href="unit-explorer/index.html">A trained network of the course</a>'
WAY_BACK = '<p><a href="../unit-explorer.html">← Inception Lab</a></p>'
DECKS = """# Slides

One deck for each notebook, for a talk of twenty to thirty minutes. Arrow keys turn the pages, and what follows a
prediction waits for one more press. N opens a second window with notes, the next slide and a clock, for the speaker
alone. Each deck is one file, and needs nothing else. `make slides PDF=1` prints them too.
"""
NO_NETWORK = "<p><em>This copy of the site was built without the network: <code>make site</code> adds it.</em></p>\n"


def for_site(notebook, head: str = ""):
    """The notebook as pages show it: widgets that need a kernel left out, code of folded answers folded too.

    head: a line of HTML that goes below the title.
    """
    notebook.metadata.pop("widgets", None)
    for cell in notebooks.answers_to_predictions(notebook.cells):
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-output"]
        cell.metadata["mystnb"] = cell.metadata.get("mystnb", {}) | {"code_prompt_show": "I have predicted: show it"}
    notebooks.fold_resolutions(notebook.cells)
    for cell in notebook.cells:
        if "answer" in cell.metadata.get("tags", []):  # what it shows is folded already
            cell.metadata["tags"] = [*cell.metadata["tags"], "hide-input"]
            cell.metadata["mystnb"] = cell.metadata.get("mystnb", {}) | {"code_prompt_show": "The code of the answer"}
        if "colab" in cell.metadata.get("tags", []):  # it is for Colab alone
            cell.metadata["tags"] = ["remove-cell"]
        for output in cell.get("outputs", []):
            if VIEW in output.get("data", {}):  # a living figure brings HTML that needs none
                output["data"] = {kind: shown for kind, shown in output["data"].items() if kind == "text/html"}
        if cell.cell_type == "markdown":
            cell.source = workspace.graded_in_work(links_for_site(cell.source))
        if cell.cell_type == "code":
            cell.source = re.sub(r"  # fmt: skip$", "", cell.source, flags=re.MULTILINE)
            cell.outputs = [o for o in cell.outputs if o.get("data", True)]
    title, _, rest = notebook.cells[0].source.partition("\n")
    notebook.cells[0].source = f"{title}\n\n{head}\n{rest}" if head else notebook.cells[0].source
    return notebook


def head_of(page: Path) -> str:
    """The line below the title of a notebook or of exercises: how long it takes, and what belongs to it."""
    parts, up = [], "../" * (len(page.parts) - 1)
    if page.parts[0] == "notebooks":
        size = cards.measure(ROOT / page)
        parts.append(f"About {size.minutes} minutes")
        if size.exercises:
            parts.append(f'<a href="{up}exercises/{page.stem}.html">{size.exercises} exercises</a>')
        if page.parent.name == "notebooks":
            parts.append(f'<a href="{up}decks/{page.stem}.html">Slides</a>')
    else:
        parts.append(f'<a href="{up}notebooks/{page.stem}.html">The notebook</a>')
    parts.append(f'<a href="{up}downloads/{page.as_posix()}" download>Download .ipynb</a>')
    return f'<p class="about">{" · ".join(parts)}</p>'


def cards_of_notebooks(pictures: Path) -> str:
    """The notebooks of the core as cards: a figure that no card before has, the question, minutes and exercises.

    pictures: the folder for the figures, in light and dark. It is called as in the address of the pages.
    """
    pictures.mkdir(parents=True)
    items, seen = [], set()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        size = cards.measure(path)
        exercises = f", {size.exercises} exercises" if size.exercises else ""
        items.append(
            f'<a class="card-link" href="notebooks/{path.stem}.html">{first_figure(path, pictures, seen)}'
            f'<span class="question">{path.stem[:2]} · {html.escape(cards.question(path))}</span>'
            f'<span class="size">{size.minutes} minutes{exercises}</span></a>'
        )
    return f'<div class="cards">{"".join(items)}</div>\n'


def first_figure(path: Path, pictures: Path, seen: set[str]) -> str:
    """HTML for the first figure of a notebook that is not in seen, made small; it is then in seen too."""
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            encoded = next((data for kind, data in output.get("data", {}).items() if kind.startswith("image/")), None)
            if encoded and encoded not in seen:
                seen.add(encoded)
                figure = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
                alt = html.escape(cell.metadata.get("mystnb", {}).get("image", {}).get("alt", ""))
                shown = {"light": figure, "dark": dark.variant(figure) or figure}
                for theme, picture in shown.items():
                    picture.thumbnail((560, 400))
                    picture.save(pictures / f"{path.stem}-{theme}.png")
                address = f"{pictures.name}/{path.stem}"
                return "".join(f'<img class="only-{t}" alt="{alt}" src="{address}-{t}.png">' for t in shown)
    return ""


def write_decks(source: Path, printed: Path) -> None:
    """The decks beside the pages, those that were printed as PDF too, and the page that lists them."""
    decks, rows = source / "extra" / "decks", []
    decks.mkdir(parents=True)
    for outline in build_slides.outlines():
        notebook = nbformat.read(ROOT / "notebooks" / f"{outline.stem}.ipynb", as_version=4)
        title, slides = build_slides.read(outline, notebook)
        (decks / f"{outline.stem}.html").write_text(build_slides.deck(outline), encoding="utf-8")
        pdf = printed / f"{outline.stem}.pdf"
        link = ""
        if pdf.is_file():
            shutil.copy(pdf, decks)
            link = f'<a href="decks/{pdf.name}">PDF</a>'
        minutes = sum(slide[1] for slide in slides)
        name = f'<a href="decks/{outline.stem}.html">{html.escape(title)}</a>'
        rows.append([name, f"{minutes:g}", f"{len(slides) + 1}", link])
    columns = 4 if any(link for *_, link in rows) else 3
    table = [["deck", "minutes", "slides", "on paper"], ["---", "---:", "---:", "---"], *rows]
    lines = [f"| {' | '.join(row[:columns])} |\n" for row in table]
    (source / "decks.md").write_text(DECKS + "\n" + "".join(lines), encoding="utf-8")


def links_for_site(text: str) -> str:
    """Markdown with the site's links: the pages of docs lie at the top, and what is not there is named alone."""
    text = re.sub(r"\]\(((?:\.\./)+)docs/", r"](\1", text)
    others = r"(?:data|tests|benchmarks|inception_lab|scripts|[A-Z]+\.md|exercises/README\.md)"
    named = lambda link: f"`{link[1]}`" if re.fullmatch(r"[\w./-]*[./][\w./-]*", link[1]) else link[1]  # noqa: E731
    return re.sub(rf"\[([^\]]+)\]\((?:\.\./)+{others}\b[^)]*\)", named, text)


def assemble(source: Path, explorer: Path = EXPLORER, printed: Path = PDFS) -> None:
    """Put the source of the site together in a folder, from nothing."""
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "docs", source, ignore=shutil.ignore_patterns("slides", "__pycache__"))
    with tempfile.TemporaryDirectory() as course:
        exercises = generate(Path(course), write_course(Path(course))).values()
        pages = {path: path.relative_to(ROOT) for path in notebooks.course(ROOT / "notebooks")}
        pages |= {path: Path("exercises", path.name) for path in exercises}
        for path, page in pages.items():
            for place in (source / page, source / "extra" / "downloads" / page):
                place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, source / "extra" / "downloads" / page)
            nbformat.write(for_site(nbformat.read(path, as_version=4), head_of(page)), source / page)
    index = source / "index.md"
    _, _, deeper = cards.overview("../").partition("\n\n")  # below the table
    shown = cards_of_notebooks(source / "extra" / "cards") + "\n" + deeper
    index.write_bytes(files.between(index, cards.BEGIN, cards.END, shown).encode())
    for page in source.glob("*.md"):
        text = links_for_site(page.read_text(encoding="utf-8"))
        page.write_text(re.sub(r"\]\(\.\./(notebooks|exercises)/", r"](\1/", text), encoding="utf-8")
    write_library(source)
    add_way_back(gallery(source / "extra" / "unit-gallery"))
    is_built = (explorer / "index.html").is_file()
    if is_built:
        add_way_back(shutil.copytree(explorer, source / "extra" / "unit-explorer") / "index.html")
    (source / "unit-explorer.md").write_text(EXPLORER_PAGE.format(trained=TRAINED * is_built), encoding="utf-8")
    write_decks(source, printed)


def add_way_back(page: Path) -> None:
    """A link to the site above the heading of a page of units, which elsewhere stands alone."""
    page.write_text(page.read_text(encoding="utf-8").replace("<h1>", f"{WAY_BACK}<h1>", 1), encoding="utf-8")


def add_network(source: Path, explorer: Path, live: str) -> None:
    """Let the page live.md run a network, by "wasm" or by "webgpu" too (see live.py), or say that it does not."""
    try:
        if live != "off":
            from live import write  # here, since the site can be built without what it imports

            write(source, explorer, live)
            return
    except DataError as error:
        print(f"{error}. The page live.html goes without its network; LIVE=off does not ask for it")
    files.write(source / "live" / "page.html", NO_NETWORK.encode())


def write_library(source: Path) -> None:
    """A page for each module of the library, and a list of them with what each is for."""
    names = sorted(m.name for m in pkgutil.walk_packages(inception_lab.__path__, "inception_lab."))
    pages, list_of_pages = source / "library", ["# Library", "", LIBRARY, "", "```{toctree}", ":hidden:", ""]
    pages.mkdir()
    for name in names:
        short = name.removeprefix("inception_lab.")  # as the sidebar has room for
        (pages / f"{name}.md").write_text(f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n", "utf-8")
        list_of_pages.append(f"{short} <library/{name}>")
    list_of_pages += ["```", ""]
    for name in names:
        purpose = (importlib.import_module(name).__doc__ or "").strip().split("\n\n")[0]
        list_of_pages.append(f"- [{name}](library/{name}.md): {' '.join(purpose.split())}")
    (source / "library.md").write_text("\n".join(list_of_pages) + "\n", encoding="utf-8")


def build(place: Path = BUILD, explorer: Path = EXPLORER, printed: Path = PDFS, live: str = "off") -> int:
    """Build the pages into `place`/html, `live` as `add_network` takes it. A warning fails. Returns Sphinx's status."""
    files.check_out(place, "place", folder=True)
    assemble(place / "source", explorer, printed)
    add_network(place / "source", explorer, live)
    options = ["-q", "-W", "--keep-going", "-b", "html", "-d", str(place / "doctrees")]
    with files.new_folder(place / "html") as pages:  # killed meanwhile, the older pages are still there
        return sphinx_build([*options, str(place / "source"), str(pages)])


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("place", nargs="?", type=Path, default=BUILD)
    parser.add_argument("--live", choices=("wasm", "webgpu", "off"), default="wasm")
    options = parser.parse_args(arguments)
    status = build(options.place, live=options.live)
    if status == 0:
        print(f"open {options.place / 'html' / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(console.run("build_site.py", main))
