"""The sliders show what `count` counts, and a photograph that is uploaded is looked at."""

import io
import re
import time
from datetime import UTC, datetime

import pytest
from PIL import Image

from inception_lab import count
from inception_lab.models.blocks import Inception, NaiveInception, Widths
from inception_lab.models.designs import TABLE_1
from inception_lab.plots.widgets import OWN, SLIDERS, costs_by_path, module_cost, presets, upload

WIDTHS_3A = Widths(64, 96, 128, 16, 32, 32)


def parts(panel):
    """The dropdown, the sliders by description and the HTML of a panel."""
    dropdown, grid, view = panel.children
    return dropdown, {slider.description: slider for slider in grid.children}, view


def shown(panel):
    """The numbers of the table on display: label → (naive, reduced)."""
    rows = re.findall(r"<tr><td>(.*?)</td>(.*?)</tr>", parts(panel)[2].value)
    numbers = {label: re.findall(r">([\d,]+)</td>", cells) for label, cells in rows}
    return {
        re.sub("<.*?>|&emsp;", "", k).strip(): tuple(int(n.replace(",", "")) for n in v) for k, v in numbers.items()
    }


def counted(in_channels, size, *widths):
    """The totals that the panel must show, by `count` on the modules themselves."""
    w = Widths(*widths)
    modules = NaiveInception(in_channels, w.one, w.three, w.five), Inception(in_channels, w)
    costs = [count(module, (in_channels, size, size)) for module in modules]
    return {
        "all MACs": tuple(c.macs for c in costs),
        "all parameters": tuple(c.params for c in costs),
        "output channels": tuple(m.out_channels for m in modules),
    }


def test_presets_are_the_modules_of_the_network():
    rows = count("googlenet").rows
    inputs = rows.groupby(rows["name"].str.split(".").str[0])["input"].first()
    found = presets()
    assert list(found) == [row.stage for row in TABLE_1 if row.type == "inception"]
    for stage, (channels, size, *_) in found.items():
        assert inputs[stage] == (channels, size, size)


def test_panel_starts_at_3a():
    panel = module_cost()
    assert parts(panel)[0].value == "inception_3a"
    assert shown(panel).items() >= counted(192, 28, *WIDTHS_3A).items()
    assert shown(panel)["all MACs"][1] == 128_049_152
    naive, reduced = shown(panel)["all MACs"]
    assert f"<b>{naive / reduced:.2f}</b> times" in parts(panel)[2].value


@pytest.mark.parametrize("name, value", [("#5×5 reduce", 64), ("input channels", 480), ("map size (pixels)", 7)])
def test_moving_a_slider_changes_the_numbers(name, value):
    panel = module_cost()
    dropdown, sliders, _ = parts(panel)
    before = shown(panel)
    sliders[name].value = value
    values = [slider.value for slider in sliders.values()]
    assert shown(panel) != before
    assert shown(panel).items() >= counted(*values).items()
    assert dropdown.value == OWN


@pytest.mark.parametrize("stage", presets())
def test_every_preset_loads_its_module(stage):
    panel = module_cost("inception_4c" if stage != "inception_4c" else "inception_3a")
    dropdown, sliders, _ = parts(panel)
    dropdown.value = stage
    assert tuple(slider.value for slider in sliders.values()) == presets()[stage]
    assert shown(panel).items() >= counted(*presets()[stage]).items()
    assert count("googlenet").by_stage().loc[stage, "macs"] == shown(panel)["all MACs"][1]


def test_dropdown_recognizes_a_module_set_by_hand():
    panel = module_cost()
    dropdown, sliders, _ = parts(panel)
    sliders["#1×1"].value = 128
    assert dropdown.value == OWN
    sliders["#1×1"].value = 64
    assert dropdown.value == "inception_3a"


@pytest.mark.parametrize("end", ["min", "max"])
def test_both_ends_of_every_slider(end):
    panel = module_cost()
    _, sliders, view = parts(panel)
    for slider in sliders.values():
        slider.value = getattr(slider, end)
    if end == "max":
        values = [slider.value for slider in sliders.values()]
        assert shown(panel).items() >= counted(*values).items()
    else:
        assert "no path left" in view.value
        assert shown(panel)["output channels"] == (8, 0)


def test_a_slider_cannot_leave_its_range():
    _, sliders, _ = parts(module_cost())
    for slider in sliders.values():
        slider.value = 10**6
        assert slider.value == slider.max
        slider.value = -1
        assert slider.value == slider.min
    assert sliders["#3×3 reduce"].min > 0  # a kernel cannot read a map without channels


@pytest.mark.parametrize("name, label", [("#1×1", "1×1"), ("#3×3", "3×3"), ("#5×5", "5×5"), ("pool proj", "pool")])
def test_width_0_leaves_a_path_out(name, label):
    panel = module_cost()
    _, sliders, view = parts(panel)
    sliders[name].value = 0
    channels, size, *widths = (slider.value for slider in sliders.values())
    reduced = Inception(channels, Widths(*widths))
    cost = count(reduced, (channels, size, size))
    assert [shown(panel)[row][1] for row in ("all MACs", "all parameters")] == [cost.macs, cost.params]
    assert shown(panel)["output channels"][1] == reduced.out_channels
    assert shown(panel)[f"{label}, MACs"] == (0, 0)
    assert f"leaves a path out: {label}." in view.value


def test_paths_cost_what_their_layers_cost():
    rows = count(Inception(192, WIDTHS_3A), (192, 28, 28)).rows
    by_path = rows.groupby(rows["name"].str.split(".").str[0])["macs"].sum()
    costs = costs_by_path(192, WIDTHS_3A, 28)
    assert costs["reduced MACs"].to_dict() == by_path[costs.index].to_dict()


def test_redraw_is_quick():
    _, sliders, _ = parts(module_cost())
    start = time.process_time()  # by the clock it would depend on what else runs
    for value in range(8, 168, 8):
        sliders["#5×5 reduce"].value = value
    assert (time.process_time() - start) / 20 < 0.3


def test_an_unknown_stage_is_refused():
    with pytest.raises(ValueError, match="stage must be one of 'inception_3a'.*got 'inception_9z'"):
        module_cost("inception_9z")


def test_sliders_reach_every_published_width():
    for values in presets().values():
        for value, (smallest, largest, step) in zip(values, SLIDERS.values(), strict=True):
            assert smallest <= value <= largest
            assert (value - smallest) % step == 0


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
