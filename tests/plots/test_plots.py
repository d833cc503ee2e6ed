"""What the figures say: their labels and sizes come from the model that is drawn."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from inception_lab import build, plots
from inception_lab.models.blocks import Inception, NaiveInception, Widths


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_a_module_is_drawn_with_its_own_channels():
    drawn = texts(plots.draw_module(Inception(192, Widths(64, 96, 128, 16, 32, 32)), 192, 28))
    for box in (
        "1×1 conv\n64 channels",
        "3×3 conv\n128 channels",
        "5×5 conv\n32 channels",
        "3×3 max pool\n192 channels",
    ):
        assert box in drawn
    assert "input: 192 channels, 28×28" in drawn and "concatenation: 256 channels, 28×28" in drawn


def test_a_naive_module_has_a_box_a_path():
    drawn = [text for text in texts(plots.draw_module(NaiveInception(8, 1, 2, 3), 8, 7)) if "\n" in text]
    assert drawn == ["1×1 conv\n1 channels", "3×3 conv\n2 channels", "5×5 conv\n3 channels", "3×3 max pool\n8 channels"]


def test_a_strided_module_is_drawn_at_its_output_size():
    module = Inception(320, Widths(0, 128, 160, 64, 96, None), five_by_five="two 3x3", stride=2)
    drawn = texts(plots.draw_module(module, 320, 28))
    assert "concatenation: 576 channels, 14×14" in drawn and "3×3 max pool\n320 channels" in drawn


def test_a_path_is_labelled_by_the_kernels_that_it_holds():
    labels = [text.get_text() for text in plots.draw_network(build("googlenet-torchvision")).get_legend().get_texts()]
    assert labels == ["1×1", "3×3", "3×3 (for 5×5)", "pool"]
    assert plots.path_labels(build("googlenet").design) == plots.PATH_LABELS
    assert plots.path_labels(build("inception-v2").design)["five"] == "two 3×3 (for 5×5)"


@pytest.mark.parametrize("name, heads", [("googlenet", 2), ("googlenet-d2l", 0)])
def test_a_network_is_drawn_stage_by_stage_with_its_heads(name, heads):
    ax = plots.draw_network(build(name), (3, 224, 224))
    drawn = texts(ax)
    assert drawn.count("head") == heads
    assert "4e" in drawn and "832\n14×14" in drawn and "norm1" not in drawn
    fronts = [patch for patch in ax.patches if isinstance(patch, plt.Rectangle)]
    green = [p for p in fronts if p.get_facecolor() == plt.matplotlib.colors.to_rgba(plots.PATHS["five"])]
    assert len(green) == 9
    channels = fronts[0].get_width() / 64  # conv1 has 64
    assert np.allclose([p.get_width() / channels for p in green], [32, 96, 48, 64, 64, 64, 128, 128, 128])
    shown = sum(int(text.split("\n")[0].replace(",", "")) for text in drawn if "×" in text)
    assert np.isclose(sum(p.get_width() for p in fronts) / channels, shown)  # the paths fill their stage
    assert np.isclose(fronts[0].get_height(), 8 * green[2].get_height())  # 112 and 14 pixels


def test_an_impulse_response_counts_its_pixels():
    figure = plots.impulse_responses(
        {"one": torch.eye(3), "five": torch.zeros(3, 3).index_fill(0, torch.tensor(1), 1.0)}
    )
    assert [ax.get_title(loc="center") for ax in figure.axes] == ["1×1: 3 pixels", "5×5: 3 pixels"]
    assert plots.impulse_responses({"one": torch.ones(1, 1)}).axes[0].get_title(loc="center") == "1×1: 1 pixel"


@pytest.mark.parametrize("fields", [{"a": 3}, {"a": 300}, {"a": 3, "b": 300}])
def test_receptive_fields_are_drawn_at_their_size(fields):
    figure = plots.receptive_fields(np.zeros((100, 100)), fields)
    sides = {patch.get_width() for ax in figure.axes for patch in ax.patches}
    assert sides == set(fields.values())


def test_the_four_paths_have_four_colors():
    assert len(set(plots.PATHS.values())) == 4
    assert not set(plots.PATHS.values()) & {plots.INK, plots.QUIET, plots.HIGHLIGHT, plots.LIGHT}


STUDY = pd.DataFrame(
    [("z, first", 0, 2_000_000_000, 4.0), ("z, first", 1, 2_000_000_000, 8.0), ("macs", 0, 500_000, 7.0)],
    columns=["arm", "seed", "macs", "val_top1_error"],
)


def test_a_study_shows_every_run_and_the_mean_of_each_arm():
    ax = plots.study(STUDY)
    points = [(x, y) for line in ax.lines if line.get_marker() == "o" for x, y in zip(*line.get_data(), strict=True)]
    means = [(set(line.get_xdata()), np.mean(line.get_ydata())) for line in ax.lines if line.get_marker() != "o"]
    assert points == [(4, 0), (8, 0), (7, 1)] and means == [({6}, 0), ({7}, 1)]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["z, first", "macs"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first arm is on top
    assert ax.get_xlabel() == "validation top-1 error (%)"


def test_a_study_draws_a_kernel_size_in_its_color():
    ax = plots.study(STUDY.replace({"arm": {"z, first": "5x5 alone"}}))
    colors = [line.get_color() for line in ax.lines if line.get_marker() == "o"]
    assert colors == [plots.PATHS["five"], plots.HIGHLIGHT]


def test_errors_are_drawn_by_images_per_class_with_their_intervals():
    rows = [
        (f"{way}, {n} per class", seed, 10 * n, 10, error * (1 + 0.1 * seed) / n**0.5)
        for way, error in (("new", 90.0), ("old", 30.0))
        for n in (10, 100)
        for seed in range(3 if n == 10 else 1)
    ]
    frame = pd.DataFrame(rows, columns=["arm", "seed", "train_images", "classes", "val_top1_error"])
    ax = plots.by_images(frame)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["new", "old"]
    line, (low, high), _ = ax.containers[0].lines
    errors = frame["val_top1_error"][:3]
    assert line.get_ydata()[0] == pytest.approx(np.exp(np.log(errors).mean()))
    half = 4.302653 * np.log(errors).std() / 3**0.5  # Student's t with two degrees of freedom
    assert np.log(high.get_ydata()[0] / low.get_ydata()[0]) == pytest.approx(2 * half)
    assert high.get_ydata()[1] == line.get_ydata()[1]  # one run has no interval
    dots = [other for other in ax.lines if other.get_marker() == "."]
    assert [len(each.get_xdata()) for each in dots] == [4, 4]
    assert set(dots[0].get_xdata()) == set(line.get_xdata())
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    errors = frame["val_top1_error"]
    assert ax.get_ylim() == pytest.approx((errors.min() / 1.1, errors.max() * 1.1))  # ticks beyond do not widen it


def test_a_study_tells_costs_and_takes_axes_and_a_label():
    axes = plt.subplots()[1]
    ax = plots.study(STUDY, "val_top1_error", label="error", cost="macs", ax=axes)
    ticks = [tick.get_text() for tick in ax.get_yticklabels()]
    assert ax is axes and ax.get_xlabel() == "error"
    assert ticks == ["z, first\n2,000.0 million MACs", "macs\n0.5 million MACs"]


@pytest.mark.parametrize("arguments, message", [(["no_such"], "column must be"), (["seed", "", "x"], "cost must be")])
def test_a_study_is_not_drawn_by_what_is_not_there(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.study(STUDY, *arguments)


def test_a_roofline_has_a_point_a_layer_under_two_limits():
    layers = pd.DataFrame({"macs": [1e6, 8e6], "bytes": [1e6, 1e6], "seconds": [1e-3, 1e-3], "kernel": ["1×1", "3×3"]})
    _, ax = plt.subplots()
    plots.roofline(ax, layers, peak=4e9, bandwidth=1e9)
    points = [tuple(point) for collection in ax.collections for point in collection.get_offsets()]
    assert np.allclose(points, [(1, 1), (8, 8)])
    x, y = ax.lines[0].get_data()
    assert np.allclose(y, np.minimum(4, x)) and x.min() < 1 and x.max() > 8 and 4 in x  # the ridge is a point of it
    drawn = [plt.matplotlib.colors.to_hex(collection.get_facecolor()[0]).upper() for collection in ax.collections]
    assert drawn == [plots.PATHS["one"], plots.PATHS["three"]] and ax.get_title()
    ax.figure.canvas.draw()
    for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        shown = [t.get_text() for t in axis.get_ticklabels() if low <= float(t.get_text()) <= high]
        assert len(shown) >= 3 and all(text in {"0.5", "0.7", *"12357", "10", "20"} for text in shown)


def test_the_frontier_is_what_no_other_network_beats():
    points = pd.DataFrame({"MACs": [4, 1, 2, 2, 3, 5], "error": [5, 9, 7, 8, 7, 4]}, index=list("abcdef"))
    assert list(plots.frontier(points, "MACs").index) == ["b", "c", "a", "f"]


def plane():
    return pd.DataFrame(
        {
            "network": ["AlexNet", "GoogLeNet"],
            "label": ["AlexNet", ""],
            "MACs": [7e8, 1.6e9],
            "parameters": [6.1e7, 7e6],
            "error": [18.2, 10.07],
            "setting": ["10 crops", "1 crop"],
        }
    )


def test_a_note_lies_on_its_point():
    figure = plots.accuracy_cost(plane())
    figure.canvas.draw()
    (line,) = [line for line in figure.axes[1].lines if line.get_gid() == "parameters-1"]
    x, y = figure.axes[1].transData.transform((7, 10.07)) / figure.bbox.size
    assert line.get_xydata().tolist() == [[7, 10.07]]
    made = plots.with_notes(figure, {"parameters-1": 'few <b> & "cheap"'}, "two points").data
    left, top = map(float, re.search(r"left: ([\d.]+)%; top: ([\d.]+)%", made).groups())
    assert (left + 0.6, top + 1.4) == pytest.approx((100 * x, 100 * (1 - y)), abs=0.02)
    assert made.count("<span") == 1 and 'title="few &lt;b&gt; &amp; &quot;cheap&quot;"' in made
    assert 'alt="two points"' in made and "<script" not in made


def test_a_note_for_no_point_is_refused():
    with pytest.raises(ValueError, match="none with gid 'MACs-7'"):
        plots.with_notes(plots.accuracy_cost(plane()), {"MACs-7": "?"}, "")


def test_both_planes_have_a_point_a_network_and_the_frontier():
    for ax, cost in zip(plots.accuracy_cost(plane()).axes, ("MACs", "parameters"), strict=True):
        gids = [line.get_gid() for line in ax.lines if line.get_gid()]
        assert gids == [f"{cost}-0", f"{cost}-1"] and ax.get_xscale() == "log"
        assert ("frontier" in [line.get_label() for line in ax.lines]) and texts(ax) == ["AlexNet", ""]


# --- of runs, crops and what is inside


def test_curves_of_runs_share_an_axis_that_holds_all_of_them():
    low, high = (pd.DataFrame({"epoch": [1, 2], "train_top1_error": e, "val_top1_error": e}) for e in ([9, 3], [90, 8]))
    first, second = plots.run_curves({"low": {"a": low}, "high": {"b": high}}).axes
    assert first.get_ylim() == second.get_ylim()
    assert first.get_ylim()[0] == 0 and first.get_ylim()[1] >= 90
    figure = plots.run_curves({name: {"a": low} for name in "abc"})
    rows = [ax.get_subplotspec().rowspan.start for ax in figure.axes]
    assert rows == [0, 0, 1] and figure.get_figwidth() < 10  # two rows, and no empty panel


def test_a_number_of_models_has_one_color_in_all_panels():
    ours = pd.DataFrame({"models": [1, 1, 2], "passes": [1, 10, 2], "error": [5, 4, 3], "runs": [[4, 6], [4, 4], [3]]})
    theirs = pd.DataFrame({"models": [2, 1], "passes": [14, 1], "error": [8, 10]})
    colors = []
    for ax in plots.crop_ladders({"ours": ours, "the paper's": theirs}).axes:
        lines, labels = ax.get_legend_handles_labels()
        colors.append({label: line.get_color() for line, label in zip(lines, labels, strict=True)})
        assert ax.get_ylim()[0] == 0
    assert colors[0] == colors[1] and len(set(colors[0].values())) == 2
    assert [ax.get_ylabel() for ax in plt.gcf().axes] == ["ours error (%)", "the paper's error (%)"]


def test_boxes_are_numbered_where_there_are_several():
    one, two = [(0, 0, 4, 4)], [(0, 0, 4, 4), (2, 2, 6, 8)]
    axes = plots.image_grid([np.zeros((8, 8, 3))] * 3, boxes=[one, two, []]).axes
    assert [texts(ax) for ax in axes[:3]] == [[], ["1", "2"], []]
    assert [(p.get_width(), p.get_height()) for p in axes[1].patches] == [(4, 4), (4, 6)]


def test_numbers_of_boxes_do_not_collide():
    corner = [(0, 0, 120, 90), (0, 0, 90, 128), (2, 0, 128, 70), (0, 1, 60, 60), (0, 40, 90, 128), (30, 0, 128, 128)]
    images = [np.zeros((128, 128, 3))] * 7
    figure = plots.image_grid(images, boxes=[corner, *[[]] * 6], columns=7, side=1.35)
    figure.canvas.draw()
    places = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(places) == 6
    assert not [1 for i, place in enumerate(places) for other in places[:i] if place.overlaps(other)]


def test_rows_of_a_path_have_a_bar_in_its_color_and_letters_in_ink():
    figure = plots.picture_rows({"4c.five": np.zeros((2, 3, 4, 4)), "others": np.zeros((2, 3, 4, 4))})
    bars = [line.get_color() for ax in figure.axes for line in ax.lines]
    assert bars == [plots.PATHS["five"]]
    assert {text.get_color() for ax in figure.axes for text in ax.texts} == {plots.INK}
    maps = {path: np.zeros((2, 4, 4)) for path in plots.PATHS}
    figure = plots.path_maps(np.zeros((4, 4, 3)), maps, plots.PATH_LABELS)
    assert [line.get_color() for ax in figure.axes for line in ax.lines] == list(plots.PATHS.values())
    assert all(line.get_transform() == ax.transAxes for ax in figure.axes for line in ax.lines)  # beside the image


def test_columns_of_maps_have_titles_and_rows_of_pictures_the_labels_of_their_paths():
    figure = plots.path_maps(np.zeros((4, 4, 3)), {"one": np.zeros((2, 4, 4))}, plots.PATH_LABELS, ["3a", "5b"])
    assert [ax.get_title(loc="center") for ax in figure.axes[1:3]] == ["3a", "5b"]
    figure = plots.picture_rows({"five": np.zeros((1, 3, 4, 4))})
    assert figure.axes[0].texts[0].get_text() == "5×5"


def test_weights_have_a_key_to_their_colors():
    weights = torch.linspace(-2, 1, 18).view(2, 3, 3)
    figure = plots.picture_rows({"inputs": torch.zeros(3, 3, 4, 4), "kernels": weights})
    assert figure.axes[3].images[0].get_clim() == (-2, 2)
    (key,) = (ax for ax in figure.axes if ax.get_label() == "<colorbar>")
    assert [text.get_text() for text in key.get_yticklabels()] == ["inhibits", "0", "excites"]


@pytest.mark.parametrize("images", [2, 5])
def test_maps_lie_along_the_longer_side(images):
    maps = {name: np.ones((images, 4, 4)) for name in ("CAM", "occlusion", "gradient")}
    boxes = np.tile([1, 1, 3, 3], (images, 1))
    figure = plots.attributions(np.zeros((images, 3, 4, 4)), maps, boxes, [f"image {i}" for i in range(images)])
    width, height = figure.get_size_inches()
    assert width > height and len(figure.axes) == 4 * images
    named = {ax.get_title(loc="center") for ax in figure.axes} | {t.get_text() for ax in figure.axes for t in ax.texts}
    assert {"image", *maps, "image 0"} <= named and all(len(ax.images) == len(ax.patches) == 1 for ax in figure.axes)


# --- a run's log ----------------------------------------------------------------------------------------------


def log(steps, epochs):
    rows = pd.DataFrame({"step": range(1, steps + 1), "loss": np.linspace(2, 1, steps), "learning_rate": 0.1})
    errors = np.linspace(60, 40, epochs)
    return rows, pd.DataFrame({"epoch": range(1, epochs + 1), "train_top1_error": errors, "val_top1_error": errors + 1})


def test_a_log_is_drawn_by_step_and_by_epoch():
    steps, history = log(100, 3)
    left, right, rate = plots.run_log(steps, history).axes
    assert [len(line.get_xdata()) for line in left.lines] == [100, 100] and left.get_title() == "step 100: loss 1.01"
    assert right.get_title() == "validation: 41.0 %" and len(right.lines) == 2
    assert rate.lines[0].get_ydata().tolist() == [0.1] * 100
    assert not plots.run_log(steps, []).axes[1].lines


def test_a_live_plot_changes_one_figure_and_draws_seldom(monkeypatch):
    shown, now = [], [0.0]

    class Handle:
        def update(self, figure):
            shown.append(("update", figure))

    monkeypatch.setattr(
        "inception_lab.plots.training.display", lambda f, display_id: shown.append(("new", f)) or Handle()
    )
    monkeypatch.setattr("inception_lab.plots.training.time.perf_counter", lambda: now[0])
    live = plots.LivePlot()
    live(*log(1, 0))
    assert not shown  # no notebook
    monkeypatch.setattr("inception_lab.plots.training.in_notebook", lambda: True)

    def run_log(*tables, draw=plots.run_log):
        now[0] += 0.1  # what a drawing takes
        return draw(*tables)

    monkeypatch.setattr("inception_lab.plots.training.run_log", run_log)
    for step in range(1, 41):  # 0.1 s each
        live(*log(step, step // 20))
        now[0] += 0.1
    assert [kind for kind, _ in shown] == ["new", "update", "update"]  # the first, and both ends of an epoch
    now[0] += 2
    live(*log(41, 2))
    assert len(shown) == 4 and not plt.get_fignums()


def test_a_range_test_is_drawn_with_its_suggestion():
    rates = np.geomspace(1e-4, 1, 9)
    frame = pd.DataFrame({"learning_rate": rates, "loss": 1.0, "smoothed": [3, 3, 2, 1, 1, 2, 4, 9, 16]})
    ax = plots.lr_range(frame, 1e-3)
    assert ax.get_xscale() == "log" and ax.get_title() == "suggestion (dotted): 0.001"
    assert ax.get_ylim()[0] < 1 and 3 < ax.get_ylim()[1] < 9 and len(ax.lines) == 3  # the end would hide the rest
    assert len(plots.lr_range(frame).lines) == 2


def test_the_time_of_a_step_is_one_bar_of_parts():
    parts = pd.Series({"data": 0.001, "forward": 0.2, "backward": 0.4})
    ax = plots.step_time({"a": parts, "b": parts / 2})
    assert [bar.get_width() for bar in ax.containers[1]] == pytest.approx([200, 100])
    assert [bar.get_x() for bar in ax.containers[2]] == pytest.approx([201, 100.5])
    assert texts(ax) == ["", "", "200", "100", "400", "200"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(parts.index)


LIVE = """
import tiny
from inception_lab import plots
from inception_lab.training import train
metrics = train(tiny.recipe(), {out!r}, data=tiny.data(), watch=plots.LivePlot(), progress=False, accelerator="cpu")
"""


@pytest.mark.slow
def test_in_a_real_kernel_one_figure_is_left(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parents[1]}:{Path(__file__).parents[2]}")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LIVE.format(out=str(tmp_path / "run")))])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert output["output_type"] == "display_data" and "image/png" in output["data"]
