"""Build the course site in build/site: notebooks with their stored outputs, exercises without solutions, the library.

python scripts/build_site.py      the pages are build/site/html/index.html and what it links to

Nothing is executed, and nothing is fetched but what live.py takes from npm, once. The source of the site is put
together in build/site/source: the folder docs, the notebooks and the students' notebooks of the exercises, beside each
other as in the repository, so that their links hold. The students' notebooks are made anew from their sources, since
somebody may have worked in those that lie in exercises. The gallery of the published GoogLeNet is put beside the pages,
and a unit explorer that was built into build/explorer too.
"""

import argparse
import importlib
import pkgutil
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from sphinx.cmd.build import main as sphinx_build

import inception_lab
from inception_lab.common import console, files
from inception_lab.common.checks import DataError
from inception_lab.explorer import gallery

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import notebooks  # noqa: E402
from exercises import generate, write_course  # noqa: E402

BUILD, EXPLORER = ROOT / "build" / "site", ROOT / "build" / "explorer"
STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
LIBRARY = "What each module of `inception_lab` is for. The pages are made from the docstrings."
EXPLORER_PAGE = """# Unit explorer

Every unit of a network: what excites it, and what it is wired to.

<p><a href="unit-gallery/index.html">The published GoogLeNet</a></p>
"""
TRAINED = '<p><a href="unit-explorer/index.html">A trained network of the course</a></p>\n'
NO_NETWORK = "<p><em>This copy of the site was built without the network: <code>make site</code> adds it.</em></p>\n"
WIDGET_NOTE = "<p><em>In JupyterLab, sliders stand here. This is what they show at first.</em></p>"


def for_site(notebook):
    """The notebook as pages show it: widgets as the HTML that they show, code of folded answers folded too."""
    state = notebook.metadata.pop("widgets", {}).get(STATE, {}).get("state", {})
    for cell in notebooks.answers_to_predictions(notebook.cells):
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-output"]
        cell.metadata["mystnb"] = cell.metadata.get("mystnb", {}) | {"code_prompt_show": "I have predicted: show it"}
    for cell in notebook.cells:
        if "answer" in cell.metadata.get("tags", []):  # what it shows is folded already
            cell.metadata["tags"] = [*cell.metadata["tags"], "hide-input"]
        if "colab" in cell.metadata.get("tags", []):  # it is for Colab alone
            cell.metadata["tags"] = ["remove-cell"]
        for output in cell.get("outputs", []):
            if VIEW in output.get("data", {}):
                shown = "".join(html_of(output["data"][VIEW]["model_id"], state))
                output["data"] = {"text/html": WIDGET_NOTE + shown} if shown else {}
        if cell.cell_type == "markdown":
            cell.source = links_for_site(cell.source)
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("data", True)]
    return notebook


def links_for_site(text: str) -> str:
    """Markdown with its links as the site has them: the pages of docs lie at the top, and other files are not there."""
    text = re.sub(r"\]\(((?:\.\./)+)docs/", r"](\1", text)
    others = r"(?:data|tests|benchmarks|inception_lab|scripts|[A-Z]+\.md|exercises/README\.md)"
    return re.sub(rf"\[([^\]]+)\]\((?:\.\./)+{others}\b[^)]*\)", r"\1", text)


def html_of(name, state):
    """The HTML that a widget and its children show, in order."""
    own = state.get(name, {}).get("state", {})
    if own.get("_model_name") == "HTMLModel":
        yield own["value"]
    for child in own.get("children", []):
        yield from html_of(child.removeprefix("IPY_MODEL_"), state)


def assemble(source: Path, explorer: Path = EXPLORER) -> None:
    """Put the source of the site together in a folder, from nothing."""
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "docs", source, ignore=shutil.ignore_patterns("slides", "__pycache__"))
    with tempfile.TemporaryDirectory() as course:
        exercises = generate(Path(course), write_course(Path(course))).values()
        pages = {path: path.relative_to(ROOT) for path in notebooks.course(ROOT / "notebooks")}
        pages |= {path: Path("exercises", path.name) for path in exercises}
        for path, page in pages.items():
            (source / page).parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(for_site(nbformat.read(path, as_version=4)), source / page)
    for page in source.glob("*.md"):
        text = links_for_site(page.read_text(encoding="utf-8"))
        page.write_text(re.sub(r"\]\(\.\./(notebooks|exercises)/", r"](\1/", text), encoding="utf-8")
    write_library(source)
    gallery(source / "extra" / "unit-gallery")
    is_built = (explorer / "index.html").is_file()
    if is_built:
        shutil.copytree(explorer, source / "extra" / "unit-explorer")
    (source / "unit-explorer.md").write_text(EXPLORER_PAGE + TRAINED * is_built, encoding="utf-8")


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
        (pages / f"{name}.md").write_text(f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n", "utf-8")
        list_of_pages.append(f"library/{name}")
    list_of_pages += ["```", ""]
    for name in names:
        purpose = (importlib.import_module(name).__doc__ or "").strip().split("\n\n")[0]
        list_of_pages.append(f"- [{name}](library/{name}.md): {' '.join(purpose.split())}")
    (source / "library.md").write_text("\n".join(list_of_pages) + "\n", encoding="utf-8")


def build(place: Path = BUILD, explorer: Path = EXPLORER, live: str = "off") -> int:
    """Build the pages into `place`/html, `live` as `add_network` takes it. A warning fails. Returns Sphinx's status."""
    files.check_out(place, "place", folder=True)
    assemble(place / "source", explorer)
    add_network(place / "source", explorer, live)
    options = ["-q", "-W", "--keep-going", "-b", "html", "-d", str(place / "doctrees")]
    with files.new_folder(place / "html") as html:  # killed meanwhile, the older pages are still there
        return sphinx_build([*options, str(place / "source"), str(html)])


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
