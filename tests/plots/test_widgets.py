"""Living figures say what `count` and `evaluation_crops` say, and a photograph that is uploaded is looked at."""

import io
import re
from datetime import UTC, datetime

import pytest
import torch
from PIL import Image
from torch import nn

from inception_lab import count, plots
from inception_lab.data import evaluation_crops
from inception_lab.models.blocks import Inception, NaiveInception, Widths
from inception_lab.models.designs import TABLE_1
from inception_lab.plots.widgets import FIGURES, LADDER, LIVING, costs_by_path, presets, upload

WIDTHS_3A = Widths(64, 96, 128, 16, 32, 32)


class Figure:
    """A living figure on a page of its own, as somebody uses it."""

    def __init__(self, page):
        self.page = page

    def move(self, **controls):
        for name, value in controls.items():
            control = self.page.locator(f"[name={name}]")
            if control.evaluate("(e) => e.tagName") == "SELECT":
                control.select_option(str(value))
            else:
                control.fill(str(value))
        return self

    def stands(self, name):
        value = self.page.locator(f"[name={name}]").input_value()
        return int(value) if value.isdigit() else value

    @property
    def says(self):
        return self.page.locator("output").inner_text().replace(",", "")

    def bars(self):
        """The length of every bar in percent of its axis, in order."""
        tracks = "(all) => all.map((t) => [...t.querySelectorAll('i')].map((i) => parseFloat(i.style.width)))"
        return [sum(parts) for parts in self.page.locator(".track").evaluate_all(tracks)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("living")
    for name in FIGURES:
        html = f"<!DOCTYPE html><meta charset='utf-8'>{plots.living(name)._repr_html_()}"
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return folder


@pytest.fixture
def figure(pages, browser):
    """A function that opens a living figure by its name; the page must have no trouble, and load nothing else."""
    page, trouble = browser.new_page(), []
    page.set_default_timeout(120_000)  # a busy machine
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("request", lambda r: trouble.append(r.url) if not re.match("(file|data):", r.url) else None)

    def opened(name):
        page.goto(f"file://{pages / name}.html")
        return Figure(page)

    yield opened
    assert trouble == []
    page.close()


def counted(channels, size, *widths):
    """What the figure must say of a module: reduced, then naive, by `count` on the modules themselves."""
    w = Widths(*widths)
    naive = [nn.Conv2d(channels, n, k, padding=k // 2) for n, k in ((w.one, 1), (w.three, 3), (w.five, 5)) if n]
    reduced, out = Inception(channels, w), w.one + w.three + w.five
    lines = []
    for name, modules, outputs in (("Reduced", [reduced], reduced.out_channels), ("Naive", naive, out + channels)):
        costs = [count(module, (channels, size, size)) for module in modules]
        macs, params = sum(cost.macs for cost in costs), sum(cost.params for cost in costs)
        lines.append(f"{name}: {macs} MACs {params} parameters {outputs} channels out.")
    return lines


# --- module_cost --------------------------------------------------------------------------------------------


def test_presets_are_the_modules_of_the_network():
    rows = count("googlenet").rows
    inputs = rows.groupby(rows["name"].str.split(".").str[0])["input"].first()
    found = presets()
    assert list(found) == [row.stage for row in TABLE_1 if row.type == "inception"]
    for stage, module in found.items():
        assert inputs[stage] == (module["channels"], module["size"], module["size"])


def test_every_module_of_the_list_costs_what_count_says(figure):
    shown = figure("module_cost")
    stages = count("googlenet").by_stage()
    for stage, module in presets().items():
        says = shown.move(module=stage).says
        assert [line in says for line in counted(*module.values())] == [True, True], (stage, says)
        assert f"{stages.loc[stage, 'macs']} MACs" in says
        assert {name: shown.stands(name) for name in module} == module


@pytest.mark.parametrize(
    "moved",
    [
        {"five_reduce": 64},
        {"channels": 480, "size": 7},
        {"one": 512, "three": 512, "five": 512, "pool_proj": 512, "three_reduce": 512, "five_reduce": 512},
        {"channels": 1024, "size": 56, "one": 512},
        {"channels": 8, "size": 1, "three_reduce": 8, "five_reduce": 8},
        {"one": 0},
        {"three": 0},
        {"five": 0, "pool_proj": 0},
    ],
)
def test_what_a_slider_says_is_what_count_says(figure, moved):
    shown = figure("module_cost").move(**moved)
    values = {"channels": 192, "size": 28, **WIDTHS_3A._asdict(), **moved}
    assert all(line in shown.says for line in counted(*values.values())), shown.says
    assert shown.stands("module") == "widths of my own"


def test_the_list_recognizes_a_module_set_by_hand(figure):
    shown = figure("module_cost").move(one=128)
    assert shown.stands("module") == "widths of my own"
    assert shown.move(one=64).stands("module") == "inception_3a"


def test_all_paths_left_out(figure):
    shown = figure("module_cost").move(one=0, three=0, five=0, pool_proj=0)
    assert "no path left" in shown.says and "Reduced: 0 MACs 0 parameters 0 channels out." in shown.says


def test_a_path_left_out_is_named(figure):
    assert "leaves a path out: 3×3." in figure("module_cost").move(three=0).says


def test_a_price_never_shrinks_when_a_width_grows(figure):
    """Neither the numbers nor the bars, whose axis stays, even where they leave it."""
    shown = figure("module_cost")
    for name in (*Widths._fields, "channels", "size"):
        shown.move(module="inception_3b")
        before = None
        for value in (8, 16, 40, 56) if name == "size" else (8, 72, 128, 256, 512):
            shown.move(**{name: value})
            prices = [int(n) for n in re.findall(r"(\d+) (?:MACs|parameters)", shown.says)[:4]] + shown.bars()
            assert before is None or all(a <= b + 1e-3 for a, b in zip(before, prices, strict=True)), (name, value)
            before = prices


def test_sliders_share_one_scale_and_keep_what_is_typed_within_it(figure):
    shown = figure("module_cost")
    ranges = {
        tuple(shown.page.locator(f"[name={w}]").evaluate("(e) => [e.min, e.max, e.step]")) for w in WIDTHS_3A._fields
    }
    assert ranges == {("0", "512", "8")}
    box = shown.page.get_by_label("#3×3 reduce, as a number")
    for typed, kept in ((10**6, 512), (-1, 8), (100, 104), (0, 8)):  # a kernel cannot read a map without channels
        box.fill(str(typed))
        box.press("Enter")
        assert shown.stands("three_reduce") == kept
        assert box.input_value() == str(kept)


def test_paths_cost_what_their_layers_cost(figure):
    rows = count(Inception(192, WIDTHS_3A), (192, 28, 28)).rows
    by_path = rows.groupby(rows["name"].str.split(".").str[0])["macs"].sum()
    costs = costs_by_path(192, WIDTHS_3A, 28)
    assert costs["reduced MACs"].to_dict() == by_path[costs.index].to_dict()
    lines = figure("module_cost").page.locator("tr").all_inner_texts()[1:]
    cells = [[int(n.replace(",", "")) for n in line.split("\t")[1:]] for line in lines]
    assert cells == costs[["naive MACs", "naive parameters", "reduced MACs", "reduced parameters"]].to_numpy().tolist()


def test_an_unknown_stage_is_refused():
    with pytest.raises(ValueError, match="stage must be one of 'inception_3a'.*got 'inception_9z'"):
        plots.module_cost("inception_9z")
    with pytest.raises(ValueError, match="name must be one of 'module_cost'.*got 'slider'"):
        plots.living("slider")


# --- the others ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["3×3 layers alone", "alexnet-2012", "vgg16", "googlenet"])
def test_every_depth_sees_what_count_says(figure, network):
    chain = nn.Sequential(*[nn.Conv2d(1, 1, 3, padding=1) for _ in range(112)])
    rows = (count(chain, (1, 224, 224)) if network[0] == "3" else count(network)).rows
    fields = rows[rows["kernel"] != ""].set_index("name")["receptive_field"]

    def counted_in(place):
        return fields[[name == place or name.startswith(f"{place}.") for name in fields.index]].max()

    shown = figure("receptive_field").move(network=network)
    last = int(shown.page.locator("[name=depth]").get_attribute("max"))
    for depth in [*range(1, last + 1, max(1, last // 15)), last]:
        says = shown.move(depth=depth).says
        name, seen = re.search(r"\((\S+):", says)[1], int(re.search(r"sees (\d+) ×", says)[1])
        assert seen == counted_in(name), says
        for path, label in plots.PATH_LABELS.items():
            for field in re.findall(rf"see\b.*?{label} (\d+)", says):
                assert int(field) == counted_in(f"{name}.{path}"), says
    assert seen == fields.max()


def test_a_network_with_fewer_layers_takes_the_depth_back(figure):
    shown = figure("receptive_field").move(network="3×3 layers alone", depth=112)
    assert "sees 225 × 225" in shown.says and "whole image" in shown.says
    assert shown.move(network="alexnet-2012").stands("depth") == 8


@pytest.mark.parametrize("width, height", [(300, 256), (256, 301), (288, 288), (320, 427), (500, 352), (224, 224)])
@pytest.mark.parametrize("crops", [1, 10, 144])
def test_crops_lie_where_evaluation_crops_takes_them(figure, crops, width, height):
    """At the scale at which nothing is resized, each pixel of a crop says where it comes from."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([x, y, torch.zeros_like(x)])[None].float()
    taken = evaluation_crops(places, crops, 224)[0]
    shown, checked = figure("crops").move(crops=crops, width=width, height=height), 0
    for crop in range(1, crops + 1, 1 if crops < 144 else 5):
        says = shown.move(crop=crop).says
        size = [int(n) for n in re.search(r"resized to (\d+) × (\d+);", says).groups()]
        left, right, top, bottom = (
            int(n) for n in re.search(r"(\d+) to (\d+) across (\d+) to (\d+) down", says).groups()
        )
        assert ("mirrored" in says) == bool(taken[crop - 1, 0, 0, 0] > taken[crop - 1, 0, 0, -1])
        if size == [width, height] and right - left == 224:
            columns, rows = taken[crop - 1, 0, 0], taken[crop - 1, 1, :, 0]
            assert [columns.min(), columns.max() + 1, rows.min(), rows.max() + 1] == [left, right, top, bottom], says
            checked += 1
        assert size[0] >= right and size[1] >= bottom
    assert checked or min(width, height) not in (256, *[288, 320, 352] * (crops == 144))


@pytest.mark.parametrize("width, height", [(451, 300), (300, 300), (300, 451)])
def test_as_many_crops_are_different(figure, width, height):
    noise = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    different = len(torch.unique(evaluation_crops(noise, 144, 224)[0, :, :, ::37, ::37].flatten(1), dim=0))
    shown = figure("crops").move(width=width, height=height)
    assert f"{different} of the 144 crops are different" in shown.says


@pytest.mark.parametrize(
    "moved", [{}, {"modules": 1}, {"modules": 12}, {"channels": 512, "one": 256}, {"five": 8, "modules": 4}]
)
def test_a_stack_of_naive_modules_is_as_wide_and_as_costly(figure, moved):
    values = {"modules": 9, "channels": 192, "one": 64, "three": 128, "five": 32, **moved}
    says = figure("naive_growth").move(**moved).says
    channels, macs, parameters = values["channels"], 0, 0
    for _ in range(values["modules"]):
        module = NaiveInception(channels, one=values["one"], three=values["three"], five=values["five"])
        cost = count(module, (channels, 28, 28))
        channels, macs, parameters = module.out_channels, macs + cost.macs, parameters + cost.params
    assert f"{channels} channels {macs} MACs and {parameters} parameters in all." in says
    reduced = values["modules"] * count(Inception(256, WIDTHS_3A), (256, 28, 28)).macs
    assert f"256 channels {reduced} MACs in all." in says


@pytest.mark.parametrize("network", LADDER)
def test_the_ladder_costs_what_count_says(figure, network):
    cost = count(network)
    rows = cost.rows[cost.rows["params"] > 0]
    shown = figure("cost_ladder").move(network=network)
    for layers in (len(rows), 1, len(rows) // 2):
        says, passed = shown.move(layers=layers).says, rows.head(layers)
        assert f"The first {layers} of {len(rows)} layers of {network}: {passed['macs'].sum()} MACs" in says
        assert (
            f"{passed['params'].sum()} parameters ({100 * passed['params'].sum() / cost.params:.1f} % of all)" in says
        )


# --- all of them --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_used_with_the_keyboard_alone(figure, name):
    shown = figure(name)
    says = shown.says
    slider = shown.page.locator("input[type=range]").first
    slider.focus()
    slider.press("ArrowRight")
    if shown.says == says:  # it stands at its end
        slider.press("ArrowLeft")
    assert shown.says != says
    unnamed = "(all) => all.filter((e) => !e.labels.length && !e.ariaLabel).length"
    assert shown.page.locator("input, select").evaluate_all(unnamed) == 0
    assert shown.page.locator("svg:not([role=img][aria-label])").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_fits_a_phone(pages, browser, name, scheme):
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    page.goto(f"file://{pages / name}.html")
    page.locator("output").wait_for(timeout=120_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_two_figures_on_one_page_do_not_disturb_each_other(pages, browser, tmp_path):
    both = "".join((pages / f"{name}.html").read_text() for name in ("naive_growth", "naive_growth", "cost_ladder"))
    (tmp_path / "both.html").write_text(both, encoding="utf-8")
    page = browser.new_page()
    page.goto(f"file://{tmp_path / 'both.html'}")
    page.locator("output").nth(2).wait_for(timeout=120_000)
    before = page.locator("output").all_inner_texts()
    page.locator("[name=modules]").nth(1).fill("3")
    after = page.locator("output").all_inner_texts()
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
    page.close()


def test_where_no_script_runs_a_figure_is_a_table():
    html = plots.living("naive_growth")._repr_html_()
    assert "Controls stand here where scripts run" in html and "<td>192</td>" in html and "mount(" in html


def test_scripts_are_modules_by_themselves_and_nothing_is_left_to_load():
    for path in LIVING.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 120 and "</script" not in text, path.name
        assert set(re.findall('from "(.*)"', text)) <= {"./parts.js"}
    assert "import " not in plots.living("naive_growth")._repr_html_().partition("<script")[2].replace("// ", "")


def test_python_knows_where_the_controls_stand():
    panel = plots.module_cost("inception_4c")
    assert panel.values == {"module": "inception_4c", **presets()["inception_4c"]}
    data, _ = panel._repr_mimebundle_()
    assert data["text/plain"] == "a living figure: module_cost"


def test_an_uploaded_photograph_is_looked_at_and_a_broken_one_is_named():
    looked, buffer = [], io.BytesIO()
    Image.new("RGB", (5, 4), "red").save(buffer, "png")
    panel = upload(lambda photograph: looked.append(photograph.size))
    button, _view = panel.children
    file = {"name": "red.png", "type": "image/png", "size": 1, "last_modified": datetime.now(UTC)}
    button.value = (file | {"content": memoryview(buffer.getvalue())},)
    assert looked == [(5, 4)]
    button.value = (file | {"name": "torn.png", "content": memoryview(b"no picture")},)
    assert looked == [(5, 4)]
