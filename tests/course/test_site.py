"""The course site: it builds without a warning or a network, its links hold, and everybody can read it."""

import importlib.util
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
import pytest

import notebooks

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = notebooks.course()
ASSIGNMENTS = sorted((ROOT / "exercises").glob("*.ipynb"))

spec = importlib.util.spec_from_file_location("build_site", ROOT / "scripts" / "build_site.py")
script = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = script
spec.loader.exec_module(script)


class Page(HTMLParser):
    """What a page links to and loads, its anchors, headings and pictures."""

    def __init__(self, path):
        super().__init__()
        self.path, self.links, self.loads, self.anchors = path, [], [], set()
        self.headings, self.pictures = [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        if tag in ("script", "img", "iframe", "source") and attributes.get("src"):
            self.loads.append(attributes["src"])
        if tag == "link" and attributes.get("rel") != "canonical" and "href" in attributes:
            self.loads.append(attributes["href"])
        if tag == "img":
            self.pictures.append(attributes)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder with the pages, built with a stand-in for the unit explorer."""
    place = tmp_path_factory.mktemp("site")
    explorer = place / "explorer"
    explorer.mkdir()
    (explorer / "index.html").write_text("<!DOCTYPE html><html lang='en'><h1>Explorer</h1></html>")
    assert script.build(place, explorer) == 0
    return place / "html"


@pytest.fixture(scope="module")
def pages(site):
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    return {path.relative_to(site).as_posix(): Page(path) for path in paths}


def test_the_site_has_a_page_for_everything(pages):
    names = {path.relative_to(ROOT).with_suffix(".html").as_posix() for path in NOTEBOOKS}
    names |= {f"exercises/{path.stem}.html" for path in ASSIGNMENTS}
    names |= {
        "teaching.html",
        "library/inception_lab.models.blocks.html",
        "unit-explorer.html",
        "unit-explorer/index.html",
        "unit-gallery/index.html",
        "gpu-runs.html",
        "watching.html",
    }
    assert names <= pages.keys()


def test_no_link_is_broken(site, pages):
    broken = []
    for name, page in pages.items():
        for link in [*page.links, *page.loads]:
            if re.match(r"[a-z]+:|//", link):
                continue
            target, anchor = urldefrag(unquote(link.split("?")[0] if "#" not in link else link))
            path = (page.path.parent / target).resolve() if target else page.path
            path = path / "index.html" if path.is_dir() else path
            known = (
                pages.get(path.relative_to(site.resolve()).as_posix()) if path.is_relative_to(site.resolve()) else None
            )
            if not path.exists() or (anchor and known and anchor not in known.anchors):
                broken.append((name, link))
    assert broken == []


def test_nothing_is_loaded_from_a_network(pages):
    loaded = {(name, url) for name, page in pages.items() for url in page.loads if re.match(r"https?:|//", url)}
    assert not loaded


def test_exercises_are_shown_without_answers(site):
    for path in ASSIGNMENTS:
        text = (site / "exercises" / f"{path.stem}.html").read_text(encoding="utf-8")
        assert "NotImplementedError" in text and "SOLUTION" not in text and "HIDDEN" not in text


def test_what_a_student_wrote_is_not_shown(tmp_path, monkeypatch):
    for name in ("docs", "notebooks"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "exercises").mkdir()
    for path in ASSIGNMENTS:
        worked = path.read_text(encoding="utf-8").replace("your name", "Ada")
        (tmp_path / "exercises" / path.name).write_text(worked, encoding="utf-8")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    script.assemble(tmp_path / "source", tmp_path / "no explorer")
    for path in ASSIGNMENTS:
        shown = nbformat.read(tmp_path / "source" / "exercises" / path.name, as_version=4)
        assert any('STUDENT = "your name"' in cell.source for cell in shown.cells), path.name


def test_notebooks_are_shown_with_their_outputs(site):
    text = (site / "notebooks" / "03_bottleneck_costs.html").read_text(encoding="utf-8")
    assert "128,049,152" in text and "<math" in text
    assert "VBox(children" not in text


def test_living_figures_are_on_a_page_of_their_own_and_on_those_of_the_notebooks(site, pages):
    assert "living.html" in pages
    for path in NOTEBOOKS:
        text = (site / path.relative_to(ROOT).with_suffix(".html")).read_text(encoding="utf-8")
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                for name in re.findall('data-figure="([a-z_]+)"', output.get("data", {}).get("text/html", "")):
                    assert f'mount("{name}", figure' in text, (path.stem, name)


def test_of_a_widget_pages_show_what_needs_no_kernel():
    figure = {script.VIEW: {"model_id": "1"}, "text/plain": "a figure", "text/html": "<div data-figure='crops'></div>"}
    button = {script.VIEW: {"model_id": "2"}, "text/plain": "VBox(children=...)"}
    outputs = [nbformat.v4.new_output("display_data", data) for data in (figure, button)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=outputs)])
    (shown,) = script.for_site(notebook).cells[0].outputs
    assert shown.data == {"text/html": figure["text/html"]}


def test_the_library_is_described(site):
    text = (site / "library" / "inception_lab.models.blocks.html").read_text(encoding="utf-8")
    assert "Output channels of a module" in text and "Alias for field" not in text


def test_a_formula_that_is_not_understood_fails_the_build(tmp_path, monkeypatch):
    monkeypatch.setattr(
        script, "assemble", lambda source, explorer: small_source(source, r"# A page" + "\n\n$\\nosuch{x}$\n")
    )
    assert script.build(tmp_path) != 0
    monkeypatch.setattr(script, "assemble", lambda source, explorer: small_source(source, "# A page\n\n$x^2$\n"))
    assert script.build(tmp_path) == 0


def small_source(source, page):
    source.mkdir(parents=True, exist_ok=True)
    for name in ("conf.py", "mathml.py", "docstrings.py", "living.py"):
        (source / name).write_bytes((ROOT / "docs" / name).read_bytes())
    (source / "_static").mkdir(exist_ok=True)
    (source / "_static" / "course.css").write_text("")
    (source / "index.md").write_text(page)


# --- for everybody ------------------------------------------------------------------------------------------


def test_headings_are_in_order(pages):
    wrong = []
    for name, page in pages.items():
        steps = zip([0, *page.headings], page.headings, strict=False)
        if page.headings.count(1) != 1 or any(after > before + 1 for before, after in steps):
            wrong.append((name, page.headings))
    assert wrong == []


def test_pictures_on_the_pages_have_their_description(pages):
    bare = [(name, p.get("src")) for name, page in pages.items() for p in page.pictures if not p.get("alt", "").strip()]
    bare += [(name, p["src"]) for name, page in pages.items() for p in page.pictures if "_images/" in p.get("alt", "")]
    assert bare == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_has_a_description(path):
    bare = []
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if any(kind.startswith("image/") for output in cell.get("outputs", []) for kind in output.get("data", {})):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            if not 40 <= len(alt) <= 400:
                bare.append((number, alt))
    assert not bare, "write what is to be seen into the cell's metadata: mystnb, image, alt"


VIEWPORTS = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
READ = (
    "index.html",
    "living.html",
    "notebooks/03_bottleneck_costs.html",
    "exercises/02_inception_module.html",
    "teaching.html",
)
# The contrast of every text with what is behind it, by WCAG 2: at least 4.5, or 3 for large letters.
CONTRAST = """() => {
  const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = (c) => { const f = c.slice(0, 3).map((v) => { v /= 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c; }
    return [255, 255, 255]; };
  const bad = [];
  const texts = "p, li, h1, h2, h3, td, th, span, a".split(", ").map((tag) => `main ${tag}`).join();
  for (const e of document.querySelectorAll(texts)) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const style = getComputedStyle(e);
    if (!own || !e.offsetParent || style.visibility === "hidden" || style.opacity < 1) continue;
    const a = light(parse(style.color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) bad.push([e.textContent.slice(0, 40), style.color, behind(e).join(), ratio]);
  }
  return bad;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", VIEWPORTS)
def test_the_site_can_be_read_in_a_browser(site, browser, viewport, scheme):
    context = browser.new_context(viewport=VIEWPORTS[viewport], color_scheme=scheme)
    page, trouble = context.new_page(), []
    page.set_default_timeout(120_000)  # a busy machine
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda r: trouble.append(r.url) if not re.match(r"(file|data|blob):", r.url) else None)
    for name in READ:
        page.goto(f"file://{site / name}")
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1], f"{name} is wider than the window: {widths}"
        assert page.evaluate(CONTRAST) == [], name
        broken = "[...document.images].filter((i) => i.complete && !i.naturalWidth).map((i) => i.src)"
        assert page.evaluate(broken) == [], name
    assert trouble == []
    context.close()


def test_the_header_leaves_room_for_the_page(site, browser):
    page = browser.new_page(viewport={"width": 1300, "height": 800})
    page.set_default_timeout(120_000)
    page.goto(f"file://{site / 'index.html'}")
    tops = "[...document.querySelectorAll('.bd-header .nav-item')].map((e) => e.getBoundingClientRect().top)"
    lines = page.evaluate(tops)
    assert max(lines) - min(lines) < 10, "a title in the navigation is too long"  # a menu's may be a pixel off
    assert page.evaluate("document.querySelector('.bd-header').clientHeight") <= 110
    page.close()


def test_the_site_can_be_used_with_the_keyboard_alone(site, browser):
    page = browser.new_page(viewport=VIEWPORTS["desktop"])
    page.set_default_timeout(120_000)
    page.goto(f"file://{site / 'index.html'}")
    focused = "(document.activeElement.textContent || document.activeElement.ariaLabel || '').trim()"
    page.keyboard.press("Tab")
    assert "Skip to main content" in page.evaluate(focused)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "Notebooks":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/notebooks.html")
    page.locator("main a", has_text="What does one module do?").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/02_inception_module.html")
    page.locator("main summary").first.focus()  # a folded answer
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.parentElement.open")
    page.close()


def test_links_hold_from_folders_of_notebooks_too():
    text = "[a](../docs/teaching.md), [b](../../docs/weights.md), [c](../../data/lens/README.md), [d](../08.ipynb)"
    assert script.links_for_site(text) == "[a](../teaching.md), [b](../../weights.md), c, [d](../08.ipynb)"
