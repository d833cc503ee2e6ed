"""The course site: it builds without a warning or a network, its links hold, and everybody can read it."""

import base64
import html
import importlib.util
import io
import itertools
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import cards
import claims
import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

import notebooks

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = notebooks.course()
ASSIGNMENTS = sorted((ROOT / "exercises").glob("*.ipynb"))

spec = importlib.util.spec_from_file_location("build_site", ROOT / "scripts" / "build_site.py")
script = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = script
spec.loader.exec_module(script)
import mathml  # noqa: E402 (of the folder docs, which the script adds)
import pages as pages_script  # noqa: E402


class Page(HTMLParser):
    """What a page links to and loads, its anchors, headings and pictures."""

    def __init__(self, path):
        super().__init__()
        self.path, self.links, self.loads, self.anchors = path, [], [], set()
        self.headings, self.pictures, self.descriptions, self.icons = [], [], [], []
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
        if tag == "meta" and attributes.get("name") == "description":
            self.descriptions.append(attributes["content"])
        if tag == "link" and "icon" in attributes.get("rel", ""):
            self.icons.append(attributes["href"])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder with the pages, built with a stand-in for the unit explorer."""
    place = tmp_path_factory.mktemp("site")
    explorer = place / "explorer"
    explorer.mkdir()
    (explorer / "index.html").write_text("<!DOCTYPE html><html lang='en'><h1>Explorer</h1></html>")
    printed = place / "printed"
    printed.mkdir()
    (printed / "02_inception_module.pdf").write_bytes(b"%PDF-1.4")
    assert script.build(place, explorer, printed) == 0
    return place / "html"


@pytest.fixture(scope="module")
def pages(site):
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    return {path.relative_to(site).as_posix(): Page(path) for path in paths}


def test_the_site_has_a_page_for_everything(pages):
    names = {path.relative_to(ROOT).with_suffix(".html").as_posix() for path in NOTEBOOKS}
    names |= {f"exercises/{path.stem}.html" for path in ASSIGNMENTS}
    names |= {f"decks/{path.stem}.html" for path in (ROOT / "notebooks").glob("*.ipynb")}
    names |= {
        "teaching.html",
        "library/inception_lab.models.blocks.html",
        "unit-explorer.html",
        "unit-explorer/index.html",
        "unit-gallery/index.html",
        "decks.html",
        "claims.html",
        "summary.html",
        "glossary.html",
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


def test_every_page_has_a_description_of_its_own_and_an_icon(pages):
    made_by_sphinx = {name for name in pages if name in ("genindex.html", "search.html", "py-modindex.html")}
    made_elsewhere = {name for name in pages if name.startswith(("decks/", "unit-"))} - {"unit-explorer.html"}
    own = {name: page for name, page in pages.items() if name not in made_by_sphinx | made_elsewhere}
    texts = {name: page.descriptions for name, page in own.items()}
    assert [name for name, found in texts.items() if len(found) != 1 or not 30 <= len(found[0]) <= 200] == []
    notebooks_and_docs = [found[0] for name, found in texts.items() if not name.startswith(("library", "exercises"))]
    assert len(set(notebooks_and_docs)) == len(notebooks_and_docs)
    assert all(len(page.icons) == 1 and (page.path.parent / page.icons[0]).is_file() for page in own.values())


def test_each_notebook_says_how_long_it_takes_and_can_be_downloaded(site, pages):
    for path in NOTEBOOKS:
        name = path.relative_to(ROOT).with_suffix("").as_posix()
        text = (site / f"{name}.html").read_text(encoding="utf-8")
        size = cards.measure(path)
        assert f"About {size.minutes} minutes" in text, name
        if size.exercises:
            assert f'exercises/{path.stem}.html">{size.exercises} exercises</a>' in text, name
        assert (site / "downloads" / f"{name}.ipynb").read_bytes() == path.read_bytes()
        assert any(link.endswith(f"downloads/{name}.ipynb") for link in pages[f"{name}.html"].links), name
    for path in ASSIGNMENTS:
        assert any(link.endswith(f"exercises/{path.name}") for link in pages[f"exercises/{path.stem}.html"].links)
        nbformat.validate(nbformat.read(site / "downloads" / "exercises" / path.name, as_version=4))


def test_the_way_through_the_notebooks_goes_forth_and_back(pages):
    names = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    for before, after in itertools.pairwise(names):
        assert f"{after}.html" in pages[f"notebooks/{before}.html"].links
        assert f"{before}.html" in pages[f"notebooks/{after}.html"].links


def test_the_first_page_has_the_picture_a_card_for_each_notebook_and_how_to_begin(site, pages):
    page, text = pages["index.html"], (site / "index.html").read_text(encoding="utf-8")
    text = text.replace("\u00a0", " ")
    assert any("what-it-sees" in picture["src"] for picture in page.pictures)
    assert re.search(r"make\s+lab\b", re.sub("<[^>]+>", "", text))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        size = cards.measure(path)
        card = re.search(rf'<a class="card-link" href="notebooks/{path.stem}.html">(.*?)</a>', text, re.DOTALL)[1]
        assert html.escape(cards.question(path)) in card and f"{size.minutes} minutes" in card
    for path in (ROOT / "notebooks" / "deeper").glob("*.ipynb"):  # each by its question
        link = re.search(rf'<a [^>]*href="notebooks/deeper/{path.stem}.html"[^>]*>(.*?)</a>', text, re.DOTALL)[1]
        told = re.sub("<[^>]+>", "", html.unescape(link)).replace("’", "'")
        assert cards.question(path) == told
    assert len({path.read_bytes() for path in (site / "cards").glob("*-light.png")}) == 12  # each its own picture


def test_a_figure_inside_html_has_a_dark_twin_too(site):
    text = (site / "notebooks" / "11_after_googlenet.html").read_text(encoding="utf-8")
    embedded = re.findall(r'<img class="(only-\w+)[^"]*"[^>]*src="data:image/png;base64,([^"]+)"', text)
    assert [name for name, _ in embedded] == ["only-light", "only-dark"]
    light, dark = (Image.open(io.BytesIO(base64.b64decode(encoded))).convert("L") for _, encoded in embedded)
    assert light.size == dark.size and np.median(light) > 250 and np.median(dark) < 40


def test_decks_are_listed_with_their_pdf_where_it_was_printed(pages):
    links = pages["decks.html"].links
    assert [f"decks/{path.stem}.html" in links for path in (ROOT / "notebooks").glob("*.ipynb")] == [True] * 12
    assert [link for link in links if link.endswith(".pdf")] == ["decks/02_inception_module.pdf"]


def test_decks_have_no_column_for_paper_where_none_was_printed(tmp_path):
    script.write_decks(tmp_path, tmp_path / "printed")
    text = (tmp_path / "decks.md").read_text(encoding="utf-8")
    assert "| deck | minutes | slides |\n| --- | ---: | ---: |\n" in text and "on paper" not in text


def test_pages_of_units_lead_back_to_the_site(pages):
    units = [name for name in pages if re.fullmatch(r"unit-\w+/index.html", name)]
    assert sorted(units) == ["unit-explorer/index.html", "unit-gallery/index.html"]
    assert ["../unit-explorer.html" in pages[name].links for name in units] == [True, True]


def test_descriptions_of_figures_reach_the_pages(site, pages):
    for path in NOTEBOOKS:
        name = path.relative_to(ROOT).with_suffix(".html").as_posix()
        shown = {picture.get("alt") for picture in pages[name].pictures}
        for cell in nbformat.read(path, as_version=4).cells:
            if any(kind.startswith("image/") for o in cell.get("outputs", []) for kind in o.get("data", {})):
                assert cell.metadata["mystnb"]["image"]["alt"] in shown, (name, cell.id)


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
    for others in ("write_library", "gallery", "add_way_back", "write_decks"):  # which show nothing of a student's
        monkeypatch.setattr(script, others, lambda *_: None)
    script.assemble(tmp_path / "source", tmp_path / "no explorer")
    for path in ASSIGNMENTS:
        shown = nbformat.read(tmp_path / "source" / "exercises" / path.name, as_version=4)
        assert any('STUDENT = "your name"' in cell.source for cell in shown.cells), path.name


def test_notebooks_are_shown_with_their_outputs(site):
    text = (site / "notebooks" / "03_bottleneck_costs.html").read_text(encoding="utf-8")
    assert "128,049,152" in text and "<math" in text
    assert "VBox(children" not in text


def test_what_resolves_a_prediction_is_folded_too(site):
    fold = re.compile(r"<summary>I have predicted: resolve it</summary>\s*<p><em>Resolved:</em>")
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        text = (site / path.relative_to(ROOT).with_suffix(".html")).read_text(encoding="utf-8")
        assert len(fold.findall(text)) == sum(cell.source.startswith("*Resolved:*") for cell in cells), path.stem


def test_every_formula_has_all_its_parts(site):
    parts = {"mfrac": 2, "msup": 2, "msub": 2, "msubsup": 3, "mover": 2, "munder": 2, "munderover": 3}
    formulas = 0
    for page in site.rglob("*.html"):
        for formula in re.findall(r"<math\b.*?</math>", page.read_text(encoding="utf-8"), re.DOTALL):
            formulas += 1
            for element in ET.fromstring(formula.replace("&ApplyFunction;", "")).iter():
                wanted = parts.get(element.tag.rpartition("}")[2], len(element))
                assert len(element) == wanted, (page.stem, formula)
    assert formulas > 200


def test_formulas_are_set_as_they_are_written():
    squeezed = lambda formula: re.sub(r"\s|<math[^>]*>|</math>", "", mathml.to_mathml(formula))  # noqa: E731
    half = "<mfrac><mn>1</mn><mn>2</mn></mfrac>"
    assert squeezed(r"\frac12") == squeezed(r"\frac1{2}") == squeezed(r"\frac{1}{2}") == half
    assert squeezed(r"153{,}600") == "<mn>153,600</mn>"
    assert squeezed("C_{out}") == "<msub><mi>C</mi><mtext>out</mtext></msub>"
    assert "mspace" in squeezed(r"\ln 10") and "mspace" not in squeezed(r"\max(a, b)")


def test_lines_do_not_break_between_a_number_and_its_unit():
    text = "<p>the 28 MB of <a>Table 1</a>, 57 % of VGG-16 (<math><mi>x</mi></math>), 3 moons</p><pre>28 MB</pre>"
    kept = '<span class="unbroken">{}</span>'
    shown = text.replace("VGG-16", kept.format("VGG-16"))
    shown = shown.replace("(<math><mi>x</mi></math>),", kept.format("(<math><mi>x</mi></math>),"))
    for with_unit in ("28 MB of", "Table 1", "57 %"):
        shown = shown.replace(with_unit, with_unit.replace(" ", "\u00a0", 1))
    assert pages_script.unbroken(text) == shown


def test_the_name_of_an_index_stands_in_the_row_of_the_heads():
    table = pd.DataFrame({"MACs": [1], "bytes": [2]}, index=pd.Index(["3a"], name="stage")).to_html(border=1)
    heads = re.findall("<th>([^<]*)</th>", pages_script.aligned(table).partition("</thead>")[0].replace("<wbr>", ""))
    assert heads == ["stage", "MACs", "bytes"]


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
    monkeypatch.setattr(script, "assemble", lambda source, *_: small_source(source, "# A page\n\n$\\nosuch{x}$\n"))
    assert script.build(tmp_path) != 0
    monkeypatch.setattr(script, "assemble", lambda source, *_: small_source(source, "# A page\n\n$x^2$\n"))
    assert script.build(tmp_path) == 0


def small_source(source, page):
    source.mkdir(parents=True, exist_ok=True)
    for path in (ROOT / "docs").glob("*.py"):
        shutil.copy(path, source)
    shutil.copytree(ROOT / "docs" / "_static", source / "_static", dirs_exist_ok=True)
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


GENERIC = re.compile(r"(an? |the )?(image|figure|output|plot of the data)\b", re.IGNORECASE)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_has_a_description(path):
    bare, descriptions = [], set()
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        if any(kind.startswith("image/") for output in cell.get("outputs", []) for kind in output.get("data", {})):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            if not 40 <= len(alt) <= 450 or GENERIC.match(alt) or alt in descriptions:
                bare.append((number, alt))
            descriptions.add(alt)
    assert not bare, "write what is to be seen into the cell's metadata: mystnb, image, alt"


VIEWPORTS = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
READ = ("index.html", "notebooks/03_bottleneck_costs.html", "exercises/02_inception_module.html", "teaching.html")
READ += ("living.html", "claims.html", "decks.html", "unit-explorer.html", "glossary.html")
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
    assert script.links_for_site("see [data/lens](../data/lens)") == "see `data/lens`"


# --- what pages do ------------------------------------------------------------------------------------------------


# Code and tables of which something is cut off at the right.
CUT_OFF = """[...document.querySelectorAll('main pre, main table')].filter((e) => e.checkVisibility() &&
  (e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth)).map((e) => e.innerText)"""


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport=VIEWPORTS["desktop"])
    page.set_default_timeout(120_000)
    yield page
    page.close()


def test_claims_are_filtered_by_verdict_and_notebook_and_the_address_keeps_it(site, page):
    address = f"file://{site / 'claims.html'}"
    page.goto(address)
    shown = """[...document.querySelectorAll('main tbody tr')].filter((row) => row.checkVisibility()).map((row) =>
      [...row.cells].map((cell) => cell.innerText.trim().replaceAll('\\u00a0', ' ')).join('\\t'))"""
    everything = page.evaluate(shown)
    assert len(everything) == len(claims.published.table("claims"))
    page.get_by_label("verdict").select_option("contradicted")
    contradicted = page.evaluate(shown)
    assert 0 < len(contradicted) < len(everything) and all("\tcontradicted\t" in row for row in contradicted)
    page.get_by_label("notebook").select_option("table 1")
    both = page.evaluate(shown)
    assert 0 < len(both) < len(contradicted) and all(row.endswith("\ttable 1") for row in both)
    assert page.locator(".claims-filter output").inner_text() == f"{len(both)} claims"
    kept = page.url
    assert kept == f"{address}#verdict=contradicted&notebook=table+1"
    page.goto("about:blank")
    page.goto(kept)
    assert page.evaluate(shown) == both
    page.get_by_label("verdict").select_option("")
    page.get_by_label("notebook").select_option("")
    assert page.url == address and page.evaluate(shown) == everything
    page.goto(f"{address}#verdict=nonsense")
    assert page.evaluate(shown) == everything


def test_without_scripts_all_claims_stand_there(site, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"file://{site / 'claims.html'}")
    rows = page.locator("main tbody tr")
    assert rows.count() > 40 and all(row.is_visible() for row in rows.all()) and not page.locator("select").count()
    context.close()


def test_a_search_shows_where_the_word_stands(site, page):
    page.goto(f"file://{site / 'search.html'}?q=receptive")
    page.locator("#search-results li .context").first.wait_for()
    page.wait_for_function("document.querySelectorAll('#search-results li .context').length > 3")
    snippets = page.locator("#search-results li .context").all_inner_texts()
    assert len(snippets) > 3 and sum("receptive" in text.lower() for text in snippets) > len(snippets) / 2


def test_code_is_copied_as_it_stands(site, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"file://{site / 'notebooks' / '02_inception_module.html'}")
    code = page.locator(".cell_input div.highlight").nth(1)
    expected = code.locator("pre").inner_text().strip()
    code.hover()
    code.get_by_role("button", name="Copy").click()
    page.wait_for_function("[...document.querySelectorAll('button.copy')].some((b) => b.textContent === 'Copied')")
    assert page.evaluate("navigator.clipboard.readText()") == expected
    page.goto(f"file://{site / 'tour.html'}")
    console = page.locator("div.highlight", has_text="$ inception-lab count").first
    console.hover()
    console.get_by_role("button", name="Copy").click()
    page.wait_for_function("[...document.querySelectorAll('button.copy')].some((b) => b.textContent === 'Copied')")
    command = "inception-lab count alexnet-2012 vgg16 googlenet inception-v3"
    assert page.evaluate("navigator.clipboard.readText()") == command


@pytest.mark.parametrize("key", ["Enter", " "])
def test_predictions_are_opened_by_keyboard_and_the_focus_is_seen(site, page, key):
    for path in NOTEBOOKS[:3]:
        page.goto(f"file://{site / 'notebooks' / path.stem}.html")
        folds = page.locator("main summary", has_text="I have predicted: show it")
        answers = notebooks.answers_to_predictions(nbformat.read(path, as_version=4).cells)
        assert folds.count() == sum(bool(cell.outputs) for cell in answers) > 0
        for fold in folds.all():
            fold.focus()
            page.keyboard.press("Shift+Tab")
            page.keyboard.press("Tab")  # as by keyboard, so that the focus is drawn
            assert fold.evaluate("(e) => e === document.activeElement")
            assert fold.evaluate("(e) => getComputedStyle(e).outlineStyle") == "solid"
            assert fold.evaluate("(e) => parseFloat(getComputedStyle(e).outlineWidth)") >= 2
            assert not fold.evaluate("(e) => e.parentElement.open")
            page.keyboard.press(key)
            assert fold.evaluate("(e) => e.parentElement.open")


def test_formulas_stand_in_the_middle(site, page):
    page.goto(f"file://{site / 'notebooks' / '03_bottleneck_costs.html'}")
    sides = page.evaluate("""[...document.querySelectorAll('div.math')].filter((d) => d.checkVisibility()).map((d) => {
      const outer = d.getBoundingClientRect(), inner = d.querySelector('math').getBoundingClientRect();
      return [inner.left - outer.left, outer.right - inner.right]; })""")
    assert sides and all(abs(left - right) < 2 for left, right in sides), sides


def test_a_hundred_columns_of_code_are_seen_beside_the_navigation(site, page):
    page.goto(f"file://{site / 'notebooks' / '03_bottleneck_costs.html'}")
    columns = page.evaluate("""[...document.querySelectorAll('.cell_input pre')].map((pre) => {
      const probe = pre.appendChild(document.createElement('span')); probe.textContent = 'x'.repeat(100);
      probe.style.whiteSpace = 'pre'; const width = probe.getBoundingClientRect().width / 100; probe.remove();
      const style = getComputedStyle(pre);
      return (pre.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight)) / width; })""")
    assert columns and min(columns) >= 100
    assert page.evaluate(CUT_OFF) == []


def test_numbers_in_tables_stand_at_the_right_and_words_at_the_left(site, page):
    page.goto(f"file://{site / 'notebooks' / '04_googlenet_layer_by_layer.html'}")
    found = page.evaluate("""[...document.querySelectorAll('main table.dataframe td')].map((e) =>
      [e.textContent.trim(), getComputedStyle(e).textAlign, parseFloat(getComputedStyle(e).paddingRight)])""")
    found = [(text.replace("\u00a0", " "), *rest) for text, *rest in found]
    sides = {where: {text for text, side, _ in found if side == where} for where in ("left", "right")}
    assert "Egyptian cat, 47 %" in sides["left"] and not any(re.fullmatch(r"[\d.,]+", text) for text in sides["left"])
    assert "112" in sides["right"] and not any(re.search(r"[a-z]{3}", text) for text in sides["right"])
    assert min(padding for *_, padding in found) >= 8


def test_figures_are_drawn_for_dark_pages_and_photographs_stay(site, browser):
    for scheme, other in [("light", "dark"), ("dark", "light")]:
        context = browser.new_context(viewport=VIEWPORTS["desktop"], color_scheme=scheme)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.goto(f"file://{site / 'notebooks' / '03_bottleneck_costs.html'}")
        figure = page.locator(f".cell_output img.only-{scheme}").first
        figure.scroll_into_view_if_needed()
        page.wait_for_function("(e) => e.complete && e.naturalWidth", arg=figure.element_handle())  # it loads when seen
        assert figure.is_visible() and not page.locator(f".cell_output img.only-{other}").first.is_visible()
        assert figure.evaluate("(e) => e.currentSrc").endswith("-dark.png") == (scheme == "dark")
        context.close()
    white = Image.new("RGB", (160, 160), "white")
    noise = Image.effect_noise((64, 64), 50).convert("RGB")
    white.paste(noise, (48, 48))
    ImageDraw.Draw(white).line([(0, 10), (160, 10)], fill="black")
    turned = np.asarray(script.dark.variant(white)).astype(int)
    assert (turned[56:104, 56:104] == np.asarray(white)[56:104, 56:104]).all()
    assert turned[150, 150].max() < 40 and turned[10, 80].min() > 200
    assert script.dark.variant(noise) is None


def test_drawings_full_of_letters_and_bands_are_no_photographs(site, browser):
    """Boxes with names in them, bands around lines, and what JPEG leaves around a short line."""
    drawing = Image.new("RGB", (480, 320), "white")
    pen = ImageDraw.Draw(drawing)
    pen.rounded_rectangle((40, 40, 240, 120), 8, fill="#cce3f0", outline="#0072B2")
    for row in range(44, 110, 11):
        pen.text((46, row), "1x1 conv, 64 channels, and more of it", fill="#222222")
    pen.line((300, 60, 350, 60), fill="#D55E00", width=3)
    stored = io.BytesIO()
    drawing.save(stored, "jpeg", quality=90)
    for picture in (drawing, Image.open(stored).convert("RGB")):
        assert not script.dark.photographs(np.asarray(picture, dtype=float)).any()
    context = browser.new_context(viewport=VIEWPORTS["desktop"], color_scheme="dark")
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"file://{site / 'notebooks' / '03_bottleneck_costs.html'}")
    look = """(e) => [getComputedStyle(e).padding, getComputedStyle(e).backgroundColor]"""
    folds = page.locator(".cell_output .text_html:not(:has(table.dataframe))").all()
    for thing in [page.locator(".cell_output img.drawn").first, *folds]:  # no light frame on a dark page
        assert thing.evaluate(look) == ["0px", "rgba(0, 0, 0, 0)"]
    context.close()


UNLOADED = """[...document.querySelectorAll('main img:not(.only-dark)')]
    .filter((e) => !e.complete || e.naturalWidth === 0).map((e) => e.alt)"""
WIDE = """[...document.querySelectorAll('main table')]
    .filter((e) => e.getBoundingClientRect().right > innerWidth + 2).length"""
TORN = """[...document.querySelectorAll('main td')].flatMap((cell) => {
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), range = document.createRange(), torn = [];
    while (texts.nextNode()) for (const word of texts.currentNode.data.matchAll(/[\\w.,×]+/g)) {
        range.setStart(texts.currentNode, word.index);
        range.setEnd(texts.currentNode, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map((box) => box.top)).size > 1) torn.push(word[0]);
    }
    return torn;
})"""


@pytest.mark.parametrize("name", ["claims", "notebooks/04_googlenet_layer_by_layer", "notebooks/deeper/table_1"])
def test_on_paper_a_table_fits_and_no_word_of_it_is_torn_apart(site, browser, name):
    context = browser.new_context(viewport={"width": 680, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.emulate_media(media="print")
    page.goto(f"file://{site / name}.html")
    assert page.evaluate(WIDE) == 0
    assert page.evaluate(TORN) == []
    context.close()


def test_on_paper_no_code_is_cut_off_and_no_table_is_split(site, browser, tmp_path):
    context = browser.new_context(viewport=VIEWPORTS["desktop"], color_scheme="dark")
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"file://{site / 'notebooks' / '03_bottleneck_costs.html'}")
    printed = page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert printed.startswith(b"%PDF") and page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.set_viewport_size({"width": 680, "height": 1000})  # what A4 has between its margins
    assert page.evaluate(CUT_OFF) == []
    assert page.evaluate(UNLOADED) == []
    style = "[...document.querySelectorAll('main .dataframe')].map((e) => getComputedStyle(e).breakInside)"
    assert set(page.evaluate(style)) == {"avoid"}
    hidden = ".bd-header, .bd-sidebar-primary, .prev-next-area, button.copy"
    assert not any(thing.is_visible() for thing in page.locator(hidden).all())
    context.close()
