"""The page of a network's units holds what `lens` measures, each picture at its place, and survives being killed."""

import json
import re
import warnings
from itertools import pairwise
from pathlib import Path

import killing
import pytest
import tiny
import torch
from materials import some
from PIL import Image

from inception_lab import explorer, lens
from inception_lab.cli import main
from inception_lab.common.checks import RunError
from inception_lab.data import datasets
from inception_lab.explorer import exploration, measure, page
from inception_lab.explorer.stages import find_stages
from inception_lab.lens.connections import expanded_kernel, paths
from inception_lab.models import zoo

OPTIONS = dict(length=60, steps=3, size=16, progress=False)
DEAD = "inception_3a.three:2"


pytestmark = pytest.mark.usefixtures("one_thread")


def make_run(folder: Path, network: str = "tiny-bn", data: str = "stripes") -> Path:
    """A run folder with new weights, one unit of them dead, and batch statistics of some images."""
    torch.manual_seed(0)
    model = zoo.build(network, tiny.CLASSES).train()
    for _ in range(10):
        model(torch.randn(16, 3, tiny.SIZE, tiny.SIZE))
    if network == "tiny-bn":
        model.inception_3a.three.conv.bn.bias.data[2] = -1000
    labels = {"classes": ["red rows", "red columns", "blue rows", "blue <b>columns</b>"]}
    labels |= {"mean": [0.4] * 3, "std": [0.25] * 3}
    tiny.finished(folder, model, tiny.recipe(network, data=data), labels)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "tiny-run")


@pytest.fixture(scope="module")
def out(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("explorer") / "page"
    assert explorer.explore(run, out, "shapes", **OPTIONS) == out / "index.html"
    return out


@pytest.fixture
def state(out):
    return page.read_script(out / "data" / "run.js")


def details(out, stage):
    return page.read_script(out / "data" / f"{stage}.js")


def channels(stage: dict):
    """The (lens path, channel) of each unit of a stage of the page, in its order."""
    return [(f"{stage['name']}.{p}".strip("."), c) for p, width, _ in stage["paths"] for c in range(width)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- the data are those of lens -----------------------------------------------------------------------------


def test_every_unit_and_every_class_is_on_the_page(state, network):
    assert [stage["name"] for stage in state["stages"]] == ["conv1", "conv2", "inception_3a", "inception_4a", "linear"]
    counts = {path: 0 for stage in state["stages"] for path, _ in channels(stage)}
    for stage in state["stages"]:
        assert len(channels(stage)) == stage["units"] == len(stage["classes"]) == len(stage["reached"])
        for path, _ in channels(stage):
            counts[path] += 1
    assert counts == lens.paths(network) | {"linear": tiny.CLASSES}
    assert [stage["previous"] for stage in state["stages"]] == [
        "image",
        "conv1",
        "conv2",
        "inception_3a",
        "inception_4a",
    ]


def test_a_page_knows_which_images_it_was_made_from(state, images):
    assert state["made_from"]["images"] == datasets.digest(images.classes, images)


def test_maps_and_receptive_fields_are_those_of_the_network(state, network):
    for stage in state["stages"][:-1]:
        answers = lens.activations(network, torch.rand(1, 3, tiny.SIZE, tiny.SIZE), stage["name"])[stage["name"]]
        assert answers.shape[1:] == (stage["units"], stage["map"], stage["map"])
        for name, _, field in stage["paths"]:
            left, _, right, _ = lens.receptive_field(network, f"{stage['name']}.{name}".strip("."), 1, 1)
            assert field == right - left


def test_patches_are_those_that_lens_finds(out, state, network, images):
    found = lens.top_patches(network, images, k=9, progress=False)
    for stage in state["stages"][:-1]:
        rows = details(out, stage["name"])["patches"]
        for row, (path, channel) in zip(rows, channels(stage), strict=True):
            numbers = found[path].images[channel]
            assert [patch["image"] for patch in row] == numbers[numbers >= 0].tolist()
            for rank, patch in enumerate(row):
                place = int(found[path].rows[channel, rank]), int(found[path].columns[channel, rank])
                assert patch["value"] == pytest.approx(found[path].values[channel, rank].item(), rel=1e-4)
                assert tuple(patch["box"]) == lens.receptive_field(network, path, *place)
                assert patch["class"] == images.labels[patch["image"]]


def test_a_class_shows_the_images_with_its_largest_logits(out, network, images):
    logits = network(images.images)
    for number, row in enumerate(details(out, "linear")["patches"]):
        values, order = logits[:, number].sort(descending=True)
        assert [patch["image"] for patch in row] == order[:9].tolist()
        assert [patch["value"] for patch in row] == pytest.approx(values[:9].tolist(), rel=1e-4)


def test_tuning_curves_are_those_of_lens(out, state, network):
    curves = lens.tuning(network, progress=False)
    for stage in state["stages"][:-1]:
        tuning = details(out, stage["name"])["tuning"]
        assert tuning["scales"] == pytest.approx(curves.scales.tolist(), rel=1e-4)
        for row, (path, channel) in zip(tuning["curves"], channels(stage), strict=True):
            assert row == pytest.approx(curves.responses[path][channel].tolist(), rel=1e-4, abs=1e-9)


def test_dead_units_are_shown_as_dead(out, state, network, images):
    for stage in state["stages"][:-1]:
        answers = lens.activations(network, images.images, stage["name"])[stage["name"]]
        silent = (answers.amax((0, 2, 3)) <= 0).nonzero().flatten().tolist()
        assert stage["dead"] == silent
        assert [unit for unit, row in enumerate(details(out, stage["name"])["patches"]) if not row] == silent
        assert all(stage["classes"][unit] == -1 and stage["reached"][unit] == 0 for unit in silent)
    stage = state["stages"][2]
    assert DEAD in [f"{path}:{c}" for path, c in (channels(stage)[unit] for unit in stage["dead"])]


def test_the_class_of_a_unit_is_the_one_that_most_of_its_patches_show(out, state):
    for stage in state["stages"]:
        for own, row in zip(stage["classes"], details(out, stage["name"])["patches"], strict=True):
            shown = [patch["class"] for patch in row]
            assert own == -1 if not row else shown.count(own) == max(map(shown.count, shown))


def test_inputs_are_weights_times_the_deviation_of_what_they_read(out, state, run, network, images):
    from inception_lab.training.weights import load_model

    model, _ = load_model(run)  # with its batch normalization, which lens folds into the convolutions
    reads = {"conv1": network.normalize(images.images), "linear": None}
    reads["linear"] = lens.activations(network, images.images, "inception_4a")["inception_4a"].mean(
        (2, 3), keepdim=True
    )
    for stage in state["stages"]:
        name = stage["name"]
        source = reads[name] if name in reads else lens.activations(network, images.images, stage["previous"])
        source = source[stage["previous"]] if isinstance(source, dict) else source
        deviation = source.transpose(0, 1).flatten(1).std(1, correction=0)
        rows = details(out, name)["inputs"]
        for chain in paths(model.get_submodule(name)).values():
            kernel = expanded_kernel(chain, len(deviation)) * deviation[:, None, None]
            own, rows = rows[: len(kernel)], rows[len(kernel) :]
            for row, weights in zip(own, kernel, strict=True):
                strength = weights.abs().sum((1, 2))
                shown = [entry["excites"] + entry["inhibits"] for entry in row]
                wanted = strength[strength > 0].sort(descending=True).values[: measure.INPUTS]
                assert shown == pytest.approx(wanted.tolist(), rel=1e-3)
                for entry in row:
                    of = weights[entry["channel"]]
                    assert entry["excites"] == pytest.approx(of.clamp(min=0).sum().item(), rel=1e-3, abs=1e-6)
                    drawn = torch.tensor(entry["kernel"]).view(of.shape)
                    assert ((drawn > 0) <= (of > 0)).all() and ((drawn < 0) <= (of < 0)).all()
        assert not rows


# --- every picture at its place -----------------------------------------------------------------------------


def alike(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean difference of two uint8 pictures, in levels."""
    return (one.float() - other.float()).abs().mean().item()


def test_sheets_give_back_what_was_put_at_each_place(tmp_path):
    pictures = (torch.arange(11)[:, None, None, None] * 20 + torch.zeros(11, 3, 16, 16)).to(torch.uint8)
    pictures[:, 0] = 255 - pictures[:, 0]
    page.write_sheet(tmp_path / "sheet.webp", pictures, columns=4)
    with Image.open(tmp_path / "sheet.webp") as image:
        assert image.size == (64, 48)
        x, y = 16 * (6 % 4), 16 * (6 // 4)  # the seventh is the third of the second row
        assert abs(image.convert("RGB").getpixel((x + 8, y + 8))[1] - 120) < 6
    assert alike(page.read_sheet(tmp_path / "sheet.webp", 16, 11), pictures) < 3


def test_optimized_images_are_those_of_lens_each_at_its_place(out, state, network):
    stage = state["stages"][2]
    units = channels(stage)
    alive = [i for i in range(len(units)) if i not in stage["dead"]]
    how = dict(size=16, steps=3, learning_rate=exploration.LEARNING_RATE, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # three steps wake few of the units
        seen = lens.visualize(network, [lens.channel(*units[i]) for i in alive], **how)
    assert [stage["reached"][i] for i in alive] == pytest.approx(seen.excitation.tolist(), rel=1e-3, abs=1e-6)
    kept = page.read_sheet(out / "images" / "inception_3a-optimized-0.webp", 16, len(units))
    small = page.read_sheet(out / "images" / "inception_3a-small.webp", page.SMALL, len(units))
    own = (seen.images * 255 + 0.5).to(torch.uint8)
    for i, picture in zip(alive, own, strict=True):
        others = [alike(kept[i], other) for other in own]
        assert min(others) == alike(kept[i], picture) < 12
        scaled = measure.to_size(picture[None].float() / 255, page.SMALL)[0]
        assert alike(small[i], scaled) < 12


def test_patch_sheets_hold_the_cut_patches_a_row_a_unit(out, state, network, images):
    stage = state["stages"][1]
    found = lens.top_patches(network, images, ["conv2"], progress=False)["conv2"]
    kept = page.read_sheet(out / "images" / "conv2-patches-0.webp", page.SMALL, stage["units"] * measure.PATCHES)
    for unit, row in enumerate(kept.split(measure.PATCHES)):
        cut = lens.crops(network, images, found, unit)
        cut = measure.to_size(cut, page.SMALL) if len(cut) else cut
        for own, patch in zip(row, cut, strict=False):
            assert min(alike(own, other) for other in cut) == alike(own, patch) < 16


def test_a_stage_of_many_units_is_spread_over_several_files(tmp_path, run, monkeypatch):
    monkeypatch.setattr(exploration, "CHUNK", 8)
    explorer.explore(run, tmp_path / "page", "shapes", stages=["inception_4a"], **OPTIONS)
    (stage,) = page.read_script(tmp_path / "page" / "data" / "run.js")["stages"]
    files = sorted(p.name for p in (tmp_path / "page" / "images").glob("*optimized*"))
    assert stage["units"] == 32 and files == [f"inception_4a-optimized-{n}.webp" for n in range(4)]
    parts = [page.read_sheet(tmp_path / "page" / "images" / name, 16, 8) for name in files]
    small = page.read_sheet(tmp_path / "page" / "images" / "inception_4a-small.webp", page.SMALL, 32)
    scaled = measure.to_size(torch.cat(parts).float() / 255, page.SMALL)
    assert all(alike(one, other) < 6 for one, other in zip(small, scaled, strict=True))
    assert page.read_script(tmp_path / "page" / "data" / "run.js")["chunk"] == 8


# --- the folder ---------------------------------------------------------------------------------------------


def test_the_page_is_part_of_the_package_and_needs_nothing_from_elsewhere(out):
    html = (out / "index.html").read_text(encoding="utf-8")
    assert "The units of tiny-run" in html and "$title" not in html
    for name in ("index.html", *page.FILES):
        text = (out / name).read_text(encoding="utf-8")
        assert not re.findall(r"(?:https?:)?//(?!www\.w3\.org)[\w.-]+\.\w+/", text), name
    for target in re.findall(r'(?:src|href)="(?!data:)([^"]+)"', html):
        assert (out / target).is_file(), target


def test_names_of_runs_and_classes_are_no_markup(run, tmp_path):
    page.write_page(tmp_path, "<script>alert(1)</script>")
    assert "<script>alert" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_what_is_done_is_not_done_again(run, out, monkeypatch):
    before = contents(out)
    for name in ("top_patches", "tuning", "visualize"):
        monkeypatch.setattr(lens, name, None)
    explorer.explore(run, out, "shapes", **OPTIONS)
    assert contents(out) == before


def test_stages_can_be_added(run, out, tmp_path):
    explorer.explore(run, tmp_path / "page", "shapes", stages=["inception_4a"], **OPTIONS)
    explorer.explore(run, tmp_path / "page", "shapes", stages=["conv1", "inception_4a"], **OPTIONS)
    state = page.read_script(tmp_path / "page" / "data" / "run.js")
    assert [stage["name"] for stage in state["stages"]] == ["conv1", "inception_4a"]
    explorer.explore(run, tmp_path / "page", "shapes", **OPTIONS)
    assert contents(tmp_path / "page") == contents(out)


@pytest.mark.slow
def test_killed_anywhere_and_called_again_the_page_is_the_same(run, out, tmp_path):
    for fatal in some([1, 14, 40, 75, 110, 150], 2):
        page = tmp_path / str(fatal)
        killed = killing.run(killing.exploring_that_dies_while_it_writes, page, run, OPTIONS, fatal)
        assert killed, "it had finished before"
        explorer.explore(run, page, "shapes", **OPTIONS)
        made, whole = contents(page), contents(out)
        assert {name for name in made if not name.endswith(".tmp")} == set(whole)
        assert all(made[name] == whole[name] for name in whole)


def test_a_page_can_be_opened_before_all_images_are_optimized(run, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(lens, "visualize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        explorer.explore(run, tmp_path / "page", "shapes", **OPTIONS)
    state = page.read_script(tmp_path / "page" / "data" / "run.js")
    assert len(state["stages"]) == 5 and not any(stage["reached"] for stage in state["stages"])


def test_without_steps_a_unit_shows_its_strongest_patch(run, tmp_path, monkeypatch):
    monkeypatch.setattr(lens, "visualize", None)
    explorer.explore(run, tmp_path / "page", "shapes", **OPTIONS | {"steps": 0, "stages": ["conv2"]})
    small = page.read_sheet(tmp_path / "page" / "images" / "conv2-small.webp", page.SMALL, 16)
    patches = page.read_sheet(tmp_path / "page" / "images" / "conv2-patches-0.webp", page.SMALL, 16 * measure.PATCHES)
    assert all(alike(one, other) < 10 for one, other in zip(small, patches[:: measure.PATCHES], strict=True))


# --- wrong arguments ----------------------------------------------------------------------------------------


def test_another_exploration_in_the_folder_is_kept(run, out):
    before = contents(out)
    with pytest.raises(RunError, match="holds another exploration .steps was 3, and is now 4.: choose another folder"):
        explorer.explore(run, out, "shapes", **OPTIONS | {"steps": 4})
    with pytest.raises(RunError, match="images was"):
        explorer.explore(run, out, "shapes", **OPTIONS | {"length": 50})
    assert contents(out) == before


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"stages": ["inception_4z"]},
            "stages must be one of 'conv1'.*got 'inception_4z'; did you mean 'inc",
        ),
        ({"steps": -1}, "steps must be a whole number of at least 0, got -1"),
        ({"size": 2}, "size must be a whole number of at least"),
        ({"size": 10**7}, "size must be at most 1,024 pixels, got 10,000,000"),
        ({"split": "all"}, "split must be one of"),
        ({"data": "/no/such/folder"}, "existing folder, got '/no/such/folder'"),
        ({"length": 10**9}, "length must be at most 4,629,629 for images of this size, got 1,000,000,000"),
        ({"device": "abacus"}, "device must be one that PyTorch has here, such as 'cpu', got 'abacus'"),
    ],
)
def test_a_wrong_argument_is_refused_before_any_work(run, tmp_path, options, message):
    options = {"data": "shapes"} | OPTIONS | options
    with pytest.raises(ValueError, match=message):
        explorer.explore(run, tmp_path / "page", **options)
    assert not (tmp_path / "page").exists()


def test_a_run_whose_images_are_not_at_hand_looks_at_drawn_shapes_and_says_so(run, tmp_path, capsys):
    explorer.explore(run, tmp_path / "page", length=20, stages=["conv1"], steps=0, progress=False)
    said = capsys.readouterr().out.splitlines()
    assert said == ["stripes is not at hand, so the units look at drawn shapes; --data takes a folder of photographs"]
    state = page.read_script(tmp_path / "page" / "data" / "run.js")
    assert (state["data"], state["trained"], state["images"]) == ("shapes", "stripes", 20)
    assert state["unbuilt"] == ["conv2", "inception_3a", "inception_4a", "linear"]


def test_outputs_are_the_inputs_of_the_next_stage_the_other_way_round(out, state, network, images):
    order = find_stages(network)
    for stage, after in pairwise(order):
        deviation = measure.deviations(network, images, [after.source])[after.source]
        excites, inhibits = measure.strengths(network, after, deviation)
        rows = details(out, stage.name)["outputs"]
        assert len(rows) == stage.units
        for unit, row in enumerate(rows):
            strength = (excites + inhibits)[:, unit]
            wanted = strength[strength > 0].sort(descending=True).values[: measure.INPUTS]
            assert [wire["excites"] + wire["inhibits"] for wire in row] == pytest.approx(wanted.tolist(), rel=1e-3)
            for wire in row:
                assert wire["excites"] == pytest.approx(excites[wire["channel"], unit].item(), rel=1e-3, abs=1e-6)
        for unit, row in enumerate(details(out, after.name)["inputs"]):  # both say the same of the same pair
            for wire in row:
                assert wire["excites"] == pytest.approx(excites[unit, wire["channel"]].item(), rel=1e-3, abs=1e-6)
    assert details(out, "linear")["outputs"] == []


def test_the_least_exciting_images_have_the_smallest_values_before_the_relu(out, network, images):
    answers = network.extract(images.images, ["inception_3a.five.conv.conv", "linear"])
    kinds = {
        "inception_3a": (answers["inception_3a.five.conv.conv"].flatten(2).amax(2), 12),
        "linear": (answers["linear"], 0),
    }
    for stage, (values, first) in kinds.items():
        for unit in range(4):
            row = details(out, stage)["least"][first + unit]
            wanted = values[:, unit].sort().values[: measure.LEAST]
            assert [entry["value"] for entry in row] == pytest.approx(wanted.tolist(), rel=1e-3)
            assert all(tuple(entry["box"]) == (0, 0, network.size, network.size) for entry in row)


def test_a_folder_without_images_is_refused(run, tmp_path):
    (tmp_path / "empty" / "cats").mkdir(parents=True)
    (tmp_path / "flat").mkdir()
    with pytest.raises(ValueError, match="no readable image in cats"):
        explorer.explore(run, tmp_path / "page", tmp_path / "empty", progress=False)
    with pytest.raises(ValueError, match="has no class folders"):
        explorer.explore(run, tmp_path / "page", tmp_path / "flat", progress=False)


def test_photographs_of_other_classes_and_sizes_can_be_looked_at(run, tmp_path):
    for name, size, mode in (("cats", (40, 30), "RGB"), ("dogs", (20, 50), "L"), ("birds", (12, 12), "RGBA")):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(4):
            Image.new(mode, size, 60 * i if mode == "L" else (60 * i, 90, 30, 200)[: len(mode)]).save(
                tmp_path / "mine" / name / f"{i}.png"
            )
    explorer.explore(run, tmp_path / "page", tmp_path / "mine", split="train", steps=0, progress=False)
    state = page.read_script(tmp_path / "page" / "data" / "run.js")
    assert state["classes"] == ["birds", "cats", "dogs"] and state["outputs"][0] == "red rows"
    assert state["data"] == "mine" and str(tmp_path) not in json.dumps(state)


def test_a_folder_that_is_no_finished_run_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for name, message in (("none", "none does not exist"), ("empty", "is no run folder, or its run is not finished")):
        assert main(["explore", str(tmp_path / name), "--out", str(tmp_path / "page")]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "page").exists()


def test_a_network_without_modules_is_refused(tmp_path):
    model = zoo.build("vgg11", 4)
    labels = {"classes": list("abcd"), "mean": [0.4] * 3, "std": [0.25] * 3}
    recipe = tiny.recipe("vgg11", data="shapes", image_size=224)
    tiny.finished(tmp_path / "run", model, recipe, labels)
    with pytest.raises(ValueError, match="model must be a GoogLeNet"):
        explorer.explore(tmp_path / "run", tmp_path / "page", **OPTIONS)


@pytest.mark.parametrize("place", ["taken", "taken/file"])
def test_a_folder_with_something_else_is_left_alone(run, tmp_path, place):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    with pytest.raises(RunError, match="is not empty, and holds no exploration|is a file"):
        explorer.explore(run, tmp_path / place, "shapes", **OPTIONS)
    assert contents(tmp_path / "taken") == {"file": b"mine"}


def test_a_broken_state_is_told(run, tmp_path):
    page.write_page(tmp_path, "")
    (tmp_path / "data" / "run.js").write_text("explorer.run({")
    with pytest.raises(RunError, match="cannot be read: delete it"):
        explorer.explore(run, tmp_path, "shapes", **OPTIONS)


def test_the_command_prints_what_to_open(run, out, capsys):
    command = ["explore", str(run), "--out", str(out), "--data", "shapes", "--length", "60", "--steps", "3"]
    assert main([*command, "--size", "16", "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == (out / "index.html").resolve().as_uri()


def test_a_network_with_strides_and_pools_that_pass_through_has_its_stages_too():
    network = lens.Network(zoo.build("inception-v2", 4), size=64)
    stages = {stage.name: stage for stage in find_stages(network)}
    assert stages["inception_3c"].paths == {
        "inception_3c.three": 160,
        "inception_3c.five": 96,
        "inception_3c.pool": 320,
    }
    assert stages["inception_4a"].previous == "inception_3c" and stages["linear"].previous == "inception_5b"
