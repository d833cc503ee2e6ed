"""The slides: a deck for each notebook, long enough for a talk, each thing in it from the notebook."""

import importlib.util
import re
import sys
from itertools import pairwise
from pathlib import Path

import cards
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from materials import some
from PIL import Image
from test_notebook_prose import NO_PROSE, numbers, printed, referenced, shown
from test_site import CONTRAST

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script, figures = load("build_slides"), load("slide_figures")


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param


def test_a_deck_takes_twenty_to_thirty_minutes_as_the_page_on_teaching_says(notebook):
    _, slides = script.read(script.OUTLINES / f"{notebook.stem}.md", nbformat.read(notebook, as_version=4))
    total = sum(minutes for _, minutes, _, _ in slides)
    assert 20 <= total <= 30
    page = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    assert f"| {notebook.stem[:2]} | {cards.question(notebook)} | {total:g} min |" in page
    assert len(slides) >= 7
    assert sum("<img" in body or "<table" in body or "<pre" in body for _, _, body, _ in slides) >= len(slides) / 2
    assert slides[-1][0] == "The answer" and "<blockquote>" in slides[-1][2]


def test_each_slide_with_content_asks_first_and_each_slide_has_a_note(notebook):
    _, slides = script.read(script.OUTLINES / f"{notebook.stem}.md", nbformat.read(notebook, as_version=4))
    content = re.compile(r"<img|<table|<pre|<svg|<math[^>]*block")
    unasked = [heading for heading, _, body, _ in slides if content.search(body) and 'class="predict"' not in body]
    silent = [heading for heading, _, _, notes in slides if len(re.sub("<[^>]*>", "", notes).split()) < 5]
    assert (unasked, silent) == ([], [])
    for heading, _, body, _ in slides:  # what answers comes after the question
        first = content.search(body)
        if first and "<math" not in first[0]:
            assert body.index('class="predict"') < first.start() or heading.startswith("conv1"), heading


def test_numbers_on_slides_stand_in_the_notebook(notebook):
    outline = (script.OUTLINES / f"{notebook.stem}.md").read_text(encoding="utf-8")
    stated = numbers(NO_PROSE.sub(" ", re.sub(r"^@.*$", "", outline, flags=re.MULTILINE)))
    others = [ROOT / "notebooks" / f"{name}.ipynb" for name in re.findall(r"^@notebook (.+)$", outline, re.MULTILINE)]
    known = referenced()
    for path in [notebook, *others]:
        cells = nbformat.read(path, as_version=4)
        prose = "\n".join(cell.source for cell in cells.cells if cell.cell_type == "markdown")
        known |= shown(cells) | numbers(prose)
    assert sorted(stated - known) == []


def test_every_number_of_a_table_that_is_written_on_a_slide_stands_in_the_notebook(notebook):
    """Short ones, too, which `numbers` passes over: such a table does not follow the notebook by itself."""
    outline = (script.OUTLINES / f"{notebook.stem}.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*", re.sub("&nbsp;", " ", outline), re.MULTILINE)
    read = nbformat.read(notebook, as_version=4)
    prose = [cell.source for cell in read.cells if cell.cell_type == "markdown"]
    told = "\n".join([*prose, printed(read)]).replace(",", "")
    stated = {number for row in rows for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", row.replace(",", ""))}
    assert [number for number in sorted(stated) if not re.search(rf"(?<![\d.]){number}(?!\d|\.\d)", told)] == []


def test_a_deck_needs_nothing_else_and_describes_its_pictures(notebook):
    deck = script.deck(script.OUTLINES / f"{notebook.stem}.md")
    assert not re.search(r"(src|href)=\"(?!data:|https://arxiv)", deck)
    assert all(alt.strip() for alt in re.findall(r"<img alt=\"([^\"]*)\"", deck))


def test_what_a_section_does_not_have_is_told(tmp_path):
    outline = tmp_path / "02_inception_module.md"
    notebook = nbformat.read(ROOT / "notebooks" / outline.name.replace(".md", ".ipynb"), as_version=4)
    title = notebook.cells[0].source.splitlines()[0]
    for line, message in [("@figure 9", "no figure number 9"), ("@table nowhere", "no table"), ("@film", "is none of")]:
        outline.write_text(f"{title}\n\n## The four paths, by hand {{2}}\n\n{line}\n")
        with pytest.raises(ValueError, match=f"02_inception_module.md, slide 'The four paths, by hand'.*{message}"):
            script.read(outline, notebook)
    outline.write_text("# Another title\n")
    with pytest.raises(ValueError, match="the title is not the notebook's"):
        script.read(outline, notebook)


def test_figures_drawn_for_slides_are_of_what_the_notebooks_show_now():
    asked, old = set(), []
    for outline in script.outlines():
        for stem, heading, number, target in figures.wanted(outline):
            cells = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4)
            asked.add(target.name)
            if not script.is_of(target, cells.cells[figures.cell_of_figure(cells, heading, number)[0]]):
                old.append(target.name)
    assert old == [], "older than the notebook's: python scripts/slide_figures.py draws them anew"
    assert sorted(path.name for path in (script.OUTLINES / "figures").iterdir()) == sorted(asked)


def test_a_figure_older_than_the_notebooks_picture_is_not_shown(tmp_path):
    def cell(picture):
        output = nbformat.v4.new_output("display_data", {"image/png": picture})
        return nbformat.v4.new_code_cell("shows.draw(log)", outputs=[output])

    target = tmp_path / "figure.webp"
    target.write_bytes(figures.webp(Image.new("RGB", (2, 2)), xmp=script.fingerprint(cell("AAAA")).encode()))
    img = '<img alt="" src="data:image/png;base64,AAAA">'
    assert script.drawn_large(img, target, cell("AAAA")) != img
    assert script.drawn_large(img, target, cell("BBBB")) == img  # the same source drew another picture


def test_a_name_that_touches_another_is_left_out_and_one_in_the_next_line_stays():
    figure, ax = plt.subplots()
    ax.set_axis_off()
    first = ax.annotate("first", (50, 100), xycoords="figure pixels")
    box = first.get_window_extent()
    beside = ax.annotate("beside", (box.x1 + 1, 100), xycoords="figure pixels")
    above = ax.annotate("above", (50, box.y1 - 1), xycoords="figure pixels")
    figures.name_points([first, beside, above], ax)
    plt.close(figure)
    assert [name.get_visible() for name in (first, beside, above)] == [True, False, True]


def test_legends_of_enlarged_figures_hide_no_data():
    figure, (left, right) = plt.subplots(1, 2, layout="constrained")
    left.errorbar([1, 2, 3, 4, 5], [1, 5, 3, 5, 1], xerr=0.5, label="trained", linestyle="none")
    left.errorbar([1, 5], [5, 5], xerr=0.5, label="shuffled", linestyle="none")
    points = right.scatter([1, 2], [1, 1], s=10)
    legend = left.legend(loc="upper right")
    figures.enlarge(figure)
    assert figures.hidden(legend, left) == figures.hidden(legend, right) == 0
    assert min(left.bbox.width, right.bbox.width) > 0.39 * figure.bbox.width
    figure.canvas.draw()
    (x0, y0), (x1, y1) = legend.get_window_extent().get_points().astype(int)
    assert np.asarray(figure.canvas.buffer_rgba())[::-1][y0:y1, x0:x1].min() < 100  # no other axes are painted over it
    assert points.get_sizes() == 10 * figures.THICKER
    right.scatter([1, 1, 2, 2], [1, 2, 1, 2])
    legend.set_loc("upper left")
    figures.move(legend, figure)
    assert legend.get_window_extent().y1 < left.xaxis.get_tightbbox().y0  # below its axes
    plt.close(figure)


def test_enlarged_figures_keep_squares_square_and_no_letters_lie_on_others():
    square, _ = plt.subplots(figsize=(4.8, 4.4))
    figures.enlarge(square)
    assert square.get_size_inches()[0] < 1.2 * square.get_size_inches()[1]
    wide, axes = plt.subplots(1, 6, figsize=(11, 4), layout="constrained")
    written = axes[0].text(0.02, 0.5, "computer keyboard, under 1 %", fontsize=9)
    near = [axes[1].annotate(name, (0.1, 0.5), (0, 0), textcoords="offset points") for name in ("one", "two")]
    figures.enlarge(wide)
    assert written.get_text().count("\n") >= 1 and written.get_window_extent().width <= axes[0].bbox.width
    one, two = (label.get_window_extent() for label in near)
    assert all(label.get_visible() for label in near) and not one.overlaps(two)  # the second is below its point
    assert all(label.get_fontsize() == figures.LABELS for label in near)
    plt.close("all")


def test_enlarged_pictures_have_no_gaps_between_them_and_say_a_title_once():
    figure, axes = plt.subplots(2, 3, figsize=(6, 4), layout="constrained")
    for ax, name in zip(axes.flat, ["photograph", "1", "2"] * 2, strict=True):
        ax.imshow(np.zeros((4, 8 if name == "photograph" else 4, 3)))
        ax.set_title(name, loc="center")
        ax.axis("off")
    figures.enlarge(figure)
    figure.draw_without_rendering()
    wide, one, two = (ax.get_window_extent() for ax in axes[0])
    assert wide.width > 1.8 * one.width and two.x0 - one.x1 < 0.3 * one.width
    assert [ax.get_title(loc="center") for ax in axes.flat] == ["photograph", "1", "2", "", "", ""]
    plt.close(figure)


def test_figures_call_things_by_words():
    figure, ax = plt.subplots()
    names = ["inception_4a.five:5", "unit 68 of 4c.pool", "inception_3a of shapes-laptop", "googlenet", "epoch"]
    texts = [ax.text(0, 0, name) for name in names]
    figures.say(figure, {})
    words = ["4a, 5×5\nunit 5", "4c, pool\nunit 68", "Module 3a of one small network", "GoogLeNet", "epoch"]
    assert [text.get_text() for text in texts] == words
    plt.close(figure)


def test_numbers_below_an_axis_do_not_touch():
    figure, (ax, _) = plt.subplots(1, 2, figsize=(6, 3), layout="constrained")
    ax.plot([-0.45, 0.45], [0, 1])
    figures.enlarge(figure)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert len(boxes) > 2 and all(box.x1 + 10 < other.x0 for box, other in pairwise(boxes))
    plt.close(figure)


def test_a_figure_inside_the_html_of_an_output_is_a_figure_with_its_own_description():
    shown = '<div><img src="data:image/png;base64,AAAA" alt="Error &amp; cost"></div>'
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", {"text/html": shown})])
    section = script.sections(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("## The plane"), cell]))
    assert section["The plane"].figures == ['<img alt="Error &amp; cost" src="data:image/png;base64,AAAA">']
    assert section["The plane"].tables == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_deck_is_turned_with_the_keyboard(browser, tmp_path, width, scheme):
    path = tmp_path / "deck.html"
    path.write_text(script.deck(script.OUTLINES / "02_inception_module.md"), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 720}, color_scheme=scheme)
    page, trouble = context.new_page(), []
    page.set_default_timeout(120_000)  # a busy machine
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto(f"file://{path}")
    heading = "document.querySelector('section.shown h1, section.shown h2').textContent"
    assert page.evaluate(heading) == "02 · What does one module do?"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(heading) == "The question"
    page.keyboard.press("End")
    assert page.evaluate(heading) == "The answer" and page.url.endswith(f"#{page.evaluate('slides.length')}")
    assert not page.locator("section.shown aside").is_visible()
    page.get_by_label("Back").click()
    page.keyboard.press("Home")
    for _ in range(page.evaluate("slides.length + document.querySelectorAll('.predict').length")):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.evaluate(heading)
        assert page.evaluate(CONTRAST) == [], page.evaluate(heading)
        page.keyboard.press("ArrowRight")
    assert trouble == []
    context.close()


def test_the_speaker_has_a_window_that_follows_and_the_slide_shows_no_notes(browser, decks):
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"file://{decks[2]}#4")
    with context.expect_page() as opened:
        page.keyboard.press("n")
    speaker = opened.value
    assert "does nothing because" in speaker.locator("#notes").inner_text()
    assert speaker.locator("#next").inner_text() == "what follows the prediction"
    assert re.fullmatch(r"\d+:\d\d", speaker.locator("#clock").inner_text())
    assert not any(note.is_visible() for note in page.locator("aside").all())
    speaker.keyboard.press("ArrowRight")  # the keys of the speaker's window turn the pages
    assert speaker.locator("#next").inner_text() == "The four paths, by hand"
    speaker.keyboard.press("ArrowRight")
    assert page.evaluate("at") == 4 and "type the four lines live" in speaker.locator("#notes").inner_text().lower()
    speaker.close()
    page.keyboard.press("ArrowRight")  # and the deck goes on without it
    assert not page.evaluate("slides[4].classList.contains('waits')")
    context.close()


def test_a_deck_is_printed_as_pdf_a_slide_to_a_page(browser, decks):
    pdf = script.print_pdf(decks[2])
    sizes = re.findall(rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", pdf.read_bytes())
    outline = (script.OUTLINES / f"{decks[2].stem}.md").read_text(encoding="utf-8")
    assert len(sizes) == len(script.HEADING.findall(outline)) + 1
    assert {(float(w), float(h)) for w, h in sizes} == {(960, 540)}  # 1280×720 pixels, in points


def test_without_a_browser_printing_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(script.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="--pdf needs a browser that prints: none of chromium, .* is installed"):
        script.print_pdf(tmp_path / "deck.html")


TABLE = """<div><table border="1" class="dataframe"><thead><tr><th></th><th>top_5</th><th>MACs</th></tr>
<tr><th>stage</th><th></th><th></th></tr></thead><tbody><tr><th>a</th><td>1</td><td>2&nbsp;M</td></tr>
<tr><th>b &amp; c</th><td>3</td><td>4</td></tr></tbody></table></div>"""


def test_tables_are_cut_to_what_a_slide_says():
    def cells(html):
        return re.findall(r"<t[hd]\b[^>]*>([^<]*)", html)

    assert cells(script.cut(TABLE)) == ["stage", "top 5", "MACs", "a", "1", "2\xa0M", "b &amp; c", "3", "4"]
    assert cells(script.cut(TABLE, "columns MACs", "rows b & c")) == ["stage", "MACs", "b &amp; c", "4"]
    assert cells(script.cut(TABLE, "rows a, ..., b & c"))[3:] == [
        "a",
        "1",
        "2\xa0M",
        "⋮",
        "⋮",
        "⋮",
        "b &amp; c",
        "3",
        "4",
    ]
    for wrong in ("columns GMACs", "rows d", "lines a"):
        with pytest.raises(ValueError, match=f"{wrong}: a table may be cut"):
            script.cut(TABLE, wrong)
    counted = TABLE.replace("<th>a</th>", "<th>0</th>").replace("<th>b &amp; c</th>", "<th>1</th>")
    assert cells(script.cut(counted)) == ["top 5", "MACs", "1", "2\xa0M", "3", "4"]


def test_names_of_code_are_put_into_words_in_tables_and_words_are_on_the_left():
    table = TABLE.replace("top_5", "top5_error_percent").replace(">a<", ">inception_3a<").replace(">3<", ">-3<")
    shown = script.cut(table.replace("2&nbsp;M", "yes").replace("<td>4</td>", "<td>no</td>"), "columns MACs")
    assert shown.count('class="words"') == 6 and "3a" in shown and "inception" not in shown
    shown = script.cut(table)
    assert "top-5 error (%)" in shown and "−3" in shown and shown.count('class="words"') == 3  # the first column


@pytest.mark.parametrize(
    "printed, shown",
    [
        ("finite: True\n1 -> 2", "finite: yes1 → 2"),
        ("ratio 1.52; you said 10", "ratio 1.52"),
        ("clear for: none of them - you said ['LRN']", "clear for: none of them"),
        ("You said 2 times; it is 6.32.", "It is 6.32."),
        ("You said 10 to 40. None of 96 missed.", "None of 96 missed."),
        ("You said 10 times: 405 times", "405 times"),
        ("you said 'rise': 62.5 in 3a", "62.5 in 3a"),
        ("You said 'half' for 3×3.\nyou said 'a', which is 'b: 1'\nand 7", "and 7"),
        ("pools alone, as you said: 16", "pools alone: 16"),
        ("{'1×1': 27, '3×3': 43}", "1×1 27, 3×3 43"),
        ("found: {12: [10, 12], 24: [20]}; 3 of 4", "found: 12: 10, 12; 24: 20; 3 of 4"),
        ("in ['aux1', 'aux2'], x[0], [0.4 0.6]", "in aux1, aux2, x[0], [0.4 0.6]"),
        ("late, in inception_5a of googlenet; vgg11_bn", "late, in 5a of GoogLeNet; vgg11_bn"),
        ("from -2.0 to 1-2, 3 - 2 = 1 (-1), 5 %", "from −2.0 to 1-2, 3 − 2 = 1 (−1), 5\xa0%"),
    ],
)
def test_printed_text_is_put_into_words_without_what_the_reader_predicted(printed, shown):
    assert re.sub("<[^>]*>", "", script.printed(printed)) == shown


def test_printed_columns_become_a_table_code_keeps_its_spaces_and_a_prediction_alone_is_refused():
    shown = script.printed("vgg16      13  yes\ninception_3a  57  no\nmost in [3]")
    assert re.findall(r"<t([hd])( class=.words.)?>([^<]*)", shown) == [
        *[("h", ' class="words"', "VGG-16"), ("d", "", "13"), ("d", ' class="words"', "yes")],
        *[("h", ' class="words"', "3a"), ("d", "", "57"), ("d", ' class="words"', "no")],
    ]
    assert shown.endswith('<pre class="said"><span>most in 3</span></pre>')
    shown = script.printed("up   [1, 2]\ndown [3, 4]", "rounded, pixels")
    assert re.findall(r"<t[hd][^>]*>([^<]*)", shown) == ["rounded", "pixels", "up", "1, 2", "down", "3, 4"]
    with pytest.raises(ValueError, match="heads a, b: not all"):
        script.printed("up  1\nthen more text", "a, b")
    assert script.printed("def f(x):\n    return x[0] - 1") == "<pre><code>def f(x):\n    return x[0] - 1</code></pre>"
    with pytest.raises(ValueError, match="nothing but what was predicted"):
        script.printed("you said yes")


def test_no_slide_shows_what_a_reader_predicted(notebook):
    _, slides = script.read(script.OUTLINES / f"{notebook.stem}.md", nbformat.read(notebook, as_version=4))
    assert not [heading for heading, _, body, _ in slides if re.search("you said", body, re.IGNORECASE)]


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    place = tmp_path_factory.mktemp("decks")
    assert script.main([str(place)]) == 0
    return sorted(place.glob("*.html"))


# The number of the slide that is shown, and for each thing below a prediction on it whether it is to be seen.
STATE = """() => [at + 1, ...[...slides[at].querySelectorAll(".predict ~ :not(aside)")]
  .map((e) => e.checkVisibility({checkVisibilityCSS: true}))]"""


def test_what_follows_a_prediction_waits_for_one_more_key(browser, decks):
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(120_000)  # a busy machine
    pressed = some(decks, 4)  # each has a few hundred keys
    for path in decks:
        page.goto(f"file://{path}")
        outline = (script.OUTLINES / f"{path.stem}.md").read_text(encoding="utf-8")
        below = page.evaluate("slides.map((s) => [...s.querySelectorAll('.predict ~ :not(aside)')].length)")
        assert sum(n > 0 for n in below) == len(re.findall(r"^.*\*Predict\b(?!\*\*)", outline, re.MULTILINE))
        if path not in pressed:
            continue
        expected = []
        for number, things in enumerate(below, 1):
            expected += [[number, *[False] * things], [number, *[True] * things]] if things else [[number]]
        for key, states in [("ArrowRight", expected), (" ", expected), ("ArrowLeft", expected[::-1])]:
            page.keyboard.press("End" if key == "ArrowLeft" else "Home")
            for state in states:
                assert page.evaluate(STATE) == state, (path.stem, key)
                page.keyboard.press(key)
    page.close()


def test_the_buttons_wait_as_the_keys_do(browser, decks):
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(120_000)
    page.goto(f"file://{decks[2]}#7")
    figure, place = page.locator("section.shown img"), page.locator("#place")
    assert not figure.is_visible() and place.inner_text().endswith(", predict")
    page.get_by_label("Forward").click()
    assert figure.is_visible() and page.evaluate("at") == 6 and "predict" not in place.inner_text()
    page.get_by_label("Back").click()
    assert not figure.is_visible() and page.evaluate("at") == 6
    page.emulate_media(media="print")
    assert all(picture.is_visible() for picture in page.locator("section img").all())
    page.close()


def test_without_scripts_everything_is_shown(browser, decks):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"file://{decks[2]}#7")
    assert all(thing.is_visible() for thing in page.locator("section > :not(aside)").all())
    context.close()


# What of the shown slide is cut off to the right, reaches below the page or has too small letters for a projector.
MISFITS = """() => {
  const slide = slides[at], things = [slide, ...slide.querySelectorAll(":scope > :not(aside), :scope > :not(aside) *")];
  const box = (e) => e.getBoundingClientRect(), name = (e) => `${e.tagName} ${e.textContent.trim().slice(0, 30)}`;
  const wide = things.filter((e) => (getComputedStyle(e).display !== "inline" && e.scrollWidth > e.clientWidth
    && e.clientWidth) || box(e).right > box(slide).right);
  const small = things.filter((e) => parseFloat(getComputedStyle(e).fontSize) < 17 && e.textContent.trim()
    && !e.closest("math"));
  const below = slide.scrollHeight > innerHeight ? [`${slide.scrollHeight} pixels high`] : [];
  const figures = [...slide.querySelectorAll("img")]
    .filter((e) => e.checkVisibility() && box(e).height < 0.4 * innerHeight);
  below.push(...figures.map((e) => `a figure of ${box(e).height} pixels`));
  return [...wide.map((e) => `wide: ${name(e)}`), ...small.map((e) => `small: ${name(e)}`), ...below];
}"""


def test_every_slide_fits_on_a_projector(browser, decks):
    page, misfits = browser.new_page(viewport={"width": 1280, "height": 720}), {}
    page.set_default_timeout(120_000)
    for path in decks:
        page.goto(f"file://{path}")
        for i in range(page.evaluate("slides.length")):
            for waits in ("true", "false"):
                page.evaluate(f"show({i}, {waits})")
                if found := page.evaluate(MISFITS):
                    misfits[f"{path.stem}, slide {i + 1}"] = found
    page.close()
    assert misfits == {}
