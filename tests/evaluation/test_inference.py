"""Runs are evaluated as the paper says, crop by crop and model by model; an evaluation survives being killed."""

import json
import shutil

import killing
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from materials import is_thorough, some
from PIL import Image
from safetensors.torch import load_file, save
from tiny import quietly
from torchmetrics.functional.classification import multiclass_calibration_error
from torchvision.transforms.v2 import functional as F

from inception_lab.cli import main
from inception_lab.common.checks import RunError
from inception_lab.data import datasets
from inception_lab.evaluation import inference
from inception_lab.evaluation.inference import predict
from inception_lab.evaluation.predictions import Predictions, average, choose, ladder, mcnemar, paired
from inception_lab.training.trainer import train
from inception_lab.training.weights import load_model

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ["a", "b", "c", "d"]


def make(probabilities, labels, **fields):
    """Predictions of so many hand-written probabilities."""
    usual = dict(classes=NAMES[: len(probabilities[0])], crops=1, models=("m",), data="same")
    return Predictions(torch.tensor(probabilities), torch.tensor(labels), **usual | fields)


def data(**options):
    return tiny.data(**options)._replace(classes=NAMES)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three trained runs, in different precision and memory layout."""
    place = tmp_path_factory.mktemp("runs")
    settings = {"one": {}, "two": {"channels_last": True, "averaging": "ema"}, "three": {"precision": "bf16-mixed"}}
    for seed, (name, switches) in enumerate(settings.items()):
        quietly(tiny.recipe("tiny-bn", seed=seed, **switches), place / name, data())
    return place


@pytest.fixture
def run(runs, tmp_path):
    """A run of one's own, to write to and to break."""
    return shutil.copytree(runs / "one", tmp_path / "run")


def val(count=50):
    """The validation images of `data`, as a set."""
    images = data().val
    return datasets.InMemory(images.images[:count], images.labels[:count], NAMES, (0,) * 3, (1,) * 3)


@pytest.fixture(scope="module")
def oblong(tmp_path_factory):
    """A folder of images with three shapes: landscape, portrait and square."""
    place = tmp_path_factory.mktemp("oblong")
    rng = np.random.default_rng(0)
    for number, (height, width) in enumerate([(17, 29), (31, 18), (20, 20), (16, 40), (23, 14), (15, 16)]):
        folder = place / "val" / NAMES[number % 4]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{number}.png")
    return place


def evaluate(run, images, **options):
    return predict(run, images, progress=False, accelerator="cpu", **options)


def softmax(logits):
    e = np.exp(logits - logits.max())
    return e / e.sum()


# --- what predictions say -----------------------------------------------------------------------------------


def test_error_counts_the_images_whose_class_is_not_among_the_largest():
    p = make([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.3, 0.4, 0.3]], [0, 2, 0, 1, 1])
    assert [p.error(k) for k in (1, 2, 3, 5)] == [60, 20, 0, 0]
    assert p.loss == pytest.approx(-np.log([0.5, 0.3, 0.1, 0.3, 0.4]).mean(), rel=1e-6)
    with pytest.raises(ValueError, match="k must be a whole number of at least 1, got 0"):
        p.error(0)


def test_a_class_thought_impossible_leaves_the_loss_finite():
    assert make([[1.0, 0.0]], [1]).loss == pytest.approx(87.3, abs=0.1)


def test_errors_by_class_and_confusion():
    p = make([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.9, 0], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1]], [0, 0, 0, 1, 1])
    assert p.confusion().tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]
    rows = p.error_by_class().set_index("class")
    assert rows.index.tolist() == ["b", "a", "c"]  # worst first, and none last
    assert rows["images"].tolist() == [2, 3, 0]
    assert rows["top1_error"][:2].tolist() == [50, pytest.approx(100 / 3)] and np.isnan(rows["top1_error"]["c"])


def test_mistakes_and_confusions_are_listed_worst_first():
    p = make([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.9, 0], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1]], [1, 0, 0, 1, 2])
    assert p.mistakes(10) == [0, 2, 4, 3] and p.mistakes(2) == [0, 2]  # of two equally confident ones, the first
    rows = p.confused(3)
    assert rows[["class", "taken_for"]].to_numpy().tolist() == [["a", "b"], ["b", "a"], ["b", "c"]]
    assert rows["images"].tolist() == [1, 1, 1] and rows["back"].tolist() == [1, 1, 1]
    twice = make([[0.1, 0.9, 0]] * 2 + [[0.1, 0.9, 0]], [0, 0, 1])
    assert twice.confused(5).to_numpy().tolist() == [["a", "b", 2, 0]] and twice.mistakes(5) == [0, 1]


def test_calibration_by_hand():
    # Confident 0.55 (right) and 0.58 (wrong); 0.85 (wrong), 0.9 and 1 (right).
    p = make([[0.55, 0.45], [0.58, 0.42], [0.15, 0.85], [0.9, 0.1], [0.0, 1.0]], [0, 1, 0, 0, 1])
    rows = p.calibration(5)
    assert rows["images"].tolist() == [0, 0, 2, 0, 3]
    assert rows["low"].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert rows["high"].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert rows["confidence"][[2, 4]].tolist() == pytest.approx([0.565, 2.75 / 3])
    assert rows["accuracy"][[2, 4]].tolist() == pytest.approx([0.5, 2 / 3])
    assert rows[["confidence", "accuracy"]].isna().sum().tolist() == [3, 3]
    assert p.calibration_error(5) == pytest.approx(100 * (2 * 0.065 + 3 * 0.25) / 5)
    assert p.calibration_error(1) == pytest.approx(100 * abs(3 / 5 - 3.88 / 5), rel=1e-5)
    with pytest.raises(ValueError, match="bins must be a whole number of at least 1, got 0"):
        p.calibration(0)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    assert make([[0.5, 0.5, 0], [0.75, 0.25, 0]], [0, 0]).calibration(4)["images"].tolist() == [0, 1, 1, 0]


def test_calibration_error_is_that_of_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.randn(500, 4, generator=generator).mul(2).softmax(1)
    labels = torch.randint(4, (500,), generator=generator)
    for bins in (10, 15):
        expected = multiclass_calibration_error(probabilities, labels, 4, n_bins=bins).item()
        error = Predictions(probabilities, labels, NAMES, 1, ("m",), "").calibration_error(bins)
        assert error == pytest.approx(100 * expected, rel=1e-4) and error > 10


# --- ensembles ----------------------------------------------------------------------------------------------


def test_an_ensemble_is_the_mean_of_its_models_probabilities():
    one, two, three = (
        make([[p, 1 - p], [q, 1 - q]], [0, 1], models=(name,), crops=10)
        for name, p, q in (("x", 0.9, 0.6), ("y", 0.2, 0.5), ("z", 0.7, 0.1))
    )
    all_three = average([one, two, three])
    assert torch.allclose(all_three.probabilities, torch.tensor([[0.6, 0.4], [0.4, 0.6]]))
    assert (all_three.models, all_three.passes, all_three.error()) == (("x", "y", "z"), 30, 0)
    assert torch.allclose(average([average([one, two]), three]).probabilities, all_three.probabilities)
    assert torch.equal(average([one]).probabilities, one.probabilities)


@pytest.mark.parametrize(
    "fields, labels, message",
    [
        ({"crops": 10}, [0], "m and n differ in crops: 1 and 10"),
        ({"data": "other"}, [0], "m and n differ in data: same and other"),
        ({"classes": ["a", "c"]}, [0], "m and n differ in classes"),
        ({}, [1], "m and n differ in labels"),
    ],
)
def test_what_cannot_be_averaged_is_named(fields, labels, message):
    one, other = make([[0.9, 0.1]], [0]), make([[0.9, 0.1]], labels, models=("n",), **fields)
    with pytest.raises(ValueError, match=message):
        average([one, one, other])


def test_nothing_cannot_be_averaged():
    with pytest.raises(ValueError, match="predictions must not be empty"):
        average([])


def test_the_ladder_has_a_row_for_each_number_of_crops_and_models():
    # Of four images, all in class 0: a model is right where it gives more than a half.
    right = {
        1: ([0.9, 0.4, 0.4, 0.4], [0.4, 0.9, 0.4, 0.4], [0.9, 0.9, 0.4, 0.4]),
        10: ([0.9, 0.9, 0.9, 0.4],) * 2 + ([0.9, 0.9, 0.9, 0.9],),
    }
    made = [
        make([[p, 1 - p] for p in row], [0] * 4, crops=crops, models=(str(number),))
        for crops in (10, 1)
        for number, row in enumerate(right[crops])
    ]
    table = ladder(made)
    assert table[["crops", "models", "passes"]].values.tolist() == [
        [1, 1, 1],
        [1, 2, 2],
        [1, 3, 3],
        [10, 1, 10],
        [10, 2, 20],
        [10, 3, 30],
    ]
    assert table["ensembles"].tolist() == table["possible"].tolist() == [3, 3, 1] * 2
    # One crop, alone: 75, 75 and 50 %; every pair and all three have two images right. Ten crops, alone: 25, 25 and
    # 0 %; the fourth image has 0.4 + 0.4 (wrong), 0.4 + 0.9 (right) and 0.4 + 0.4 + 0.9 (right).
    expected = [200 / 3, 50, 50, 50 / 3, 25 / 3, 0]
    assert table["top1_error"].tolist() == pytest.approx(expected)
    assert table["top1_deviation"][0] == pytest.approx(np.std([75, 75, 50], ddof=1))
    assert table["top1_change"].tolist() == pytest.approx((table["top1_error"] - 200 / 3).tolist())
    assert table["top5_error"].tolist() == [0] * 6


def test_the_ladder_refuses_what_it_cannot_compare():
    one, other = make([[0.9, 0.1]], [0]), make([[0.9, 0.1]], [0], data="other", crops=10)
    with pytest.raises(ValueError, match="differ in data"):
        ladder([one, other])
    with pytest.raises(ValueError, match="must be of one model each, got an ensemble of 2"):
        ladder([one, average([one, one])])


def test_many_choices_are_drawn_without_repetition_by_a_seed():
    things = list("abcdefghij")
    assert len(choose(things, 5, 252)) == 252 == len(set(choose(things, 5, 252)))
    drawn = choose(things, 5, 100)
    assert len(drawn) == len(set(drawn)) == 100 and all(sorted(set(c)) == list(c) and len(c) == 5 for c in drawn)
    assert drawn == choose(things, 5, 100) != choose(things, 5, 100, seed=1)
    table = ladder([make([[0.9, 0.1]], [0], models=(name,)) for name in things], most=50)
    assert table["possible"].tolist() == [10, 45, 120, 210, 252, 210, 120, 45, 10, 1]
    assert table["ensembles"].tolist() == [10, 45, 50, 50, 50, 50, 50, 45, 10, 1]


# --- crops --------------------------------------------------------------------------------------------------


def plain_crops(image, crops, size):
    """The views of one image (3, H, W), cut one at a time as Section 7 of the paper tells it."""
    if crops == 1:
        yield F.center_crop(F.resize(image, [round(size * 8 / 7)], antialias=True), [size, size])
        return
    for sevenths in (8, 9, 10, 11) if crops == 144 else (8,):
        resized = F.resize(image, [round(size * sevenths / 7)], antialias=True)
        height, width = resized.shape[1:]
        side, rest = min(height, width), max(height, width) - min(height, width)
        for start in (0, rest // 2, rest) if crops == 144 else (rest // 2,):
            top, left = (0, start) if width > height else (start, 0)
            square = resized[:, top : top + side, left : left + side]
            for dy, dx in [(0, 0), (0, side - size), (side - size, 0), (side - size, side - size)]:
                yield square[:, dy : dy + size, dx : dx + size]
            yield F.center_crop(square, [size, size])
            if crops == 144:
                yield F.resize(square, [size, size], antialias=True)


def plain(run, path, crops):
    """The mean softmax of one image file, one forward pass a crop."""
    model, about = load_model(run)
    image = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)
    mean, std = (np.array(about[key], np.float32).reshape(3, 1, 1) for key in ("mean", "std"))
    found = []
    for view in plain_crops(image, crops, tiny.SIZE):
        for pixels in [view.numpy(), view.numpy()[..., ::-1]][: 2 if crops > 1 else 1]:
            seen = torch.from_numpy((pixels / np.float32(255) - mean) / std)
            with torch.no_grad():
                found.append(softmax(model(seen[None])[0].double().numpy()))
    assert len(found) == crops
    return np.mean(found, axis=0)


@pytest.mark.parametrize("crops", [1, 10, 144])
def test_crops_are_averaged_as_a_plain_loop_averages_them(runs, oblong, crops):
    p = evaluate(runs / "one", oblong, crops=crops, store=False)
    paths = sorted((oblong / "val").glob("*/*.png"))
    assert p.labels.tolist() == [NAMES.index(path.parent.name) for path in paths]
    expected = np.stack([plain(runs / "one", path, crops) for path in paths])
    assert np.abs(p.probabilities.numpy() - expected).max() < 1e-5
    assert p.passes == crops and p.probabilities.dtype == torch.float32 and p.labels.dtype == torch.int64
    assert expected.std(axis=0).min() > 1e-3  # the images are told apart


def test_the_size_of_a_batch_changes_nothing(runs, oblong):
    options = dict(crops=144, store=False)
    small, large = (evaluate(runs / "two", oblong, batch=batch, **options) for batch in (5, 1000))
    assert torch.allclose(small.probabilities, large.probabilities, atol=1e-6)


def test_whole_images_are_scaled_and_cut_as_in_training(runs, oblong):
    p = evaluate(runs / "one", oblong, store=False)
    model, _ = load_model(runs / "one")
    images = datasets.load(oblong, "val", size=tiny.SIZE)
    seen = torch.stack([image for image, _ in images])
    logits = model((seen / 255 - 0.4) / 0.25)
    assert torch.allclose(p.probabilities, logits.softmax(1), atol=1e-5) and p.passes == 1


@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_whole_images_give_the_metrics_of_the_run(runs, name):
    metrics = json.loads((runs / name / "metrics.json").read_text())
    p = evaluate(runs / name, val(), store=False)
    assert p.error(1) == pytest.approx(metrics["val_top1_error"], abs=1e-4)
    assert p.error(5) == metrics["val_top5_error"] == 0
    assert p.loss == pytest.approx(metrics["val_loss"], rel=1e-4)


def test_shapes_are_drawn_at_the_size_of_each_run_and_averaged_as_the_same_scenes(tmp_path):
    made = []
    for size in (12, 16):
        recipe = tiny.recipe("tiny-bn", data="shapes", image_size=size, train_images=64, epochs=1)
        metrics = train(recipe, tmp_path / str(size), progress=False, accelerator="cpu")
        p = evaluate(tmp_path / str(size), None)
        assert len(p.labels) == 2000 and p.error(1) == pytest.approx(metrics["val_top1_error"], abs=1e-4)
        made.append(evaluate(tmp_path / str(size), None, crops=10, length=20))
    assert made[0].data == made[1].data != p.data and average(made).passes == 20
    assert torch.equal(made[0].labels, datasets.load("shapes", "val", length=20).batch(range(20))[1])
    one = datasets.load("shapes", "val", size=12, length=1)[0][0]
    seen = torch.cat([v[None] for view in plain_crops(one, 10, 12) for v in (view, view.flip(-1))])
    model, about = load_model(tmp_path / "12")
    assert torch.allclose(
        model((seen / 255 - 0.5) / torch.tensor(about["std"]).view(3, 1, 1)).softmax(1).mean(0),
        made[0].probabilities[0],
        atol=1e-5,
    )


# --- kept in the run folder ---------------------------------------------------------------------------------


@pytest.fixture
def seen(monkeypatch):
    """How many images the network has been shown since the list was emptied."""
    shown = []

    def counting(images, *arguments, **options):
        shown.extend(range(len(images)))
        return normalize(images, *arguments, **options)

    normalize = inference.normalize
    monkeypatch.setattr(inference, "normalize", counting)
    return shown


def kept(run):
    return sorted((run / "predictions").glob("*"))


def same(one, other):
    return torch.equal(one.probabilities, other.probabilities) and torch.equal(one.labels, other.labels)


def test_a_finished_evaluation_is_read(run, seen):
    first = evaluate(run, val())
    assert len(seen) == 50 and len(kept(run)) == 1
    seen.clear()
    assert same(evaluate(run, val()), first) and not seen
    assert same(evaluate(run, val(), store=False), first) and len(seen) == 50
    others = [evaluate(run, val(), crops=10), evaluate(run, val(), split="test"), evaluate(run, val(49))]
    assert len(seen) == 50 + 500 + 50 + 49 and len(kept(run)) == 4
    assert not same(others[0], first) and others[0].data == first.data != others[2].data


@pytest.mark.slow
def test_killed_at_each_step_of_writing_it_ends_bit_equal(run, seen, tmp_path):
    options, middle = {"crops": 10, "batch": 250}, set()
    undisturbed = evaluate(run, val(), store=False, **options)
    # Opening, writing, syncing, renaming, syncing the folder: for nothing, 25 and 50 images, and at the end.
    steps = 5 * 4
    for fatal in some(range(1, steps + 1), 5):
        out = shutil.copytree(run, tmp_path / str(fatal))
        assert killing.run(killing.evaluating_that_dies_while_it_writes, out, val(), options, fatal)
        files = [path for path in kept(out) if path.suffix == ".safetensors"]
        done = len(load_file(files[0])["labels"]) if files else 0
        middle.add(done)
        seen.clear()
        assert same(evaluate(out, val(), **options), undisturbed)
        assert len(seen) == 10 * (50 - done), "it did not go on from where it was"
        assert [path.suffix for path in kept(out)] == [".safetensors"] or done == 50
    assert not killing.run(killing.evaluating_that_dies_while_it_writes, run, val(), options, steps + 1)
    assert middle == {0, 25, 50} if is_thorough() else middle <= {0, 25, 50}


def test_stopped_in_the_middle_it_goes_on(run, seen, monkeypatch):
    undisturbed = evaluate(run, val(), store=False, batch=8)
    monkeypatch.setattr(inference, "SAVE_EVERY", 0)

    class Stops(datasets.InMemory):
        def __getitem__(self, i):
            self.asked = getattr(self, "asked", 0) + 1
            if self.asked > 64 + 30:  # the digest asks for 64
                raise KeyboardInterrupt
            return super().__getitem__(i)

    images = val()
    with pytest.raises(KeyboardInterrupt):
        evaluate(run, Stops(images.images, images.labels, NAMES, images.mean, images.std), batch=8)
    seen.clear()
    assert same(evaluate(run, images, batch=8), undisturbed) and len(seen) == 50 - 24


def test_the_predictions_of_other_weights_are_not_used(run, runs, seen):
    evaluate(run, val())
    shutil.copy(runs / "two" / "model.safetensors", run)
    seen.clear()
    assert same(evaluate(run, val()), evaluate(runs / "two", val(), store=False)) and len(seen) == 100
    assert same(evaluate(run, val()), evaluate(runs / "two", val(), store=False)) and len(seen) == 150


@pytest.mark.parametrize("content", [b"", b"broken", None])
def test_a_broken_file_is_computed_again(run, seen, content):
    first = evaluate(run, val())
    (path,) = kept(run)
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    seen.clear()
    assert same(evaluate(run, val()), first) and len(seen) == 50
    assert same(evaluate(run, val()), first) and len(seen) == 50


def test_a_folder_that_cannot_be_written_to_is_told_before_any_work(run, seen):
    (run / "predictions").write_text("in the way")
    with pytest.raises(RunError, match="predictions.*; store=False .--no-store. evaluates without storing anything"):
        evaluate(run, val())
    assert not seen
    assert len(evaluate(run, val(), store=False).labels) == 50
    assert (run / "predictions").read_text() == "in the way"


# --- what is refused ----------------------------------------------------------------------------------------


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(RunError, match="has no model.safetensors: it is no run folder, or its run is not finished"):
        evaluate(tmp_path, val())


def test_broken_and_foreign_weights_are_refused(run):
    path = run / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(RunError, match="model.safetensors is truncated or holds no weights"):
        evaluate(run, val())
    path.write_bytes(save({"a": torch.zeros(1)}))
    with pytest.raises(RunError, match="does not come from a run of this library"):
        evaluate(run, val())


def test_a_run_of_a_folder_asks_where_the_folder_is(run):
    with pytest.raises(ValueError, match="data must say where the images are:.*a folder named 'stripes'"):
        evaluate(run, None)


def test_a_folder_that_the_recipe_names_is_found_where_it_lies(run, oblong, monkeypatch):
    monkeypatch.chdir(oblong.parent)
    (oblong.parent / "stripes").symlink_to(oblong)
    assert len(evaluate(run, None, store=False).labels) == 6


@pytest.mark.parametrize(
    "classes, message",
    [
        (["a", "b", "d", "c"], "data must have the classes of .*run: class 2 is 'd', not 'c'"),
        (["a", "b", "c"], "data must have the 4 classes of .*run, got 3"),
    ],
)
def test_other_classes_are_refused(run, classes, message):
    images = val()
    images.classes = classes
    with pytest.raises(ValueError, match=message):
        evaluate(run, images)
    assert not (run / "predictions").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"crops": 12}, "crops must be one of 1, 10, 144, got 12"),
        ({"batch": 0}, "batch must be a whole number of at least 1, got 0"),
        ({"length": 3}, "length must not be given with a set of images"),
    ],
)
def test_a_wrong_argument_is_named(run, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate(run, val(), **options)


def test_progress_is_shown_unless_it_is_off(run, capsys):
    predict(run, val(), crops=10, accelerator="cpu")
    err = capsys.readouterr().err
    assert "run, 10 crops: 100%" in err and "50/50" in err
    evaluate(run, val())
    assert capsys.readouterr() == ("", "")


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture
def command(runs, tmp_path, monkeypatch):
    """The command in a folder of three runs, beside the images that they were validated with."""
    images, labels = data().val.images, data().val.labels
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "images" / "val" / NAMES[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:02}.png")
    for name in ("one", "two", "three"):
        shutil.copytree(runs / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return lambda line: main(["evaluate", *line.split()])


def test_the_command_prints_a_line_a_run_and_one_for_all(command, tmp_path, capsys):
    assert command("one two three --data images --quiet") == 0
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert len(lines) == 5 and err == ""
    assert [line[0] for line in lines[1:4]] == ["one", "two", "three"]
    for line in lines[1:4]:
        metrics = json.loads((tmp_path / line[0] / "metrics.json").read_text())
        figures = [f"{metrics['val_top1_error']:.2f}", "0.00"]
        assert line[1:5] == ["50", "1", *figures]
        assert float(line[5]) == pytest.approx(metrics["val_loss"], abs=2e-4)
    together = average([evaluate(tmp_path / name, "images", store=False) for name in ("one", "two", "three")])
    assert lines[4][:5] == ["all", "3", "together", "50", "3"]
    assert lines[4][5:] == [
        f"{together.error():.2f}",
        "0.00",
        f"{together.loss:.4f}",
        f"{together.calibration_error():.2f}",
    ]
    assert len(kept(tmp_path / "one")) == 1


def test_the_commands_json_has_the_errors_of_each_class(command, tmp_path, capsys):
    assert command("one two --data images --crops 10 --length 30 --no-store --json --quiet") == 0
    one, two, both = json.loads(capsys.readouterr().out)
    assert (one["models"], two["models"], both["models"]) == (["one"], ["two"], ["one", "two"])
    assert [r["passes"] for r in (one, two, both)] == [10, 10, 20] and one["images"] == 30
    p = evaluate("one", "images", crops=10, length=30, store=False)
    for key, value in {"top1_error": p.error(), "top5_error": 0, "loss": p.loss, "data": p.data, "crops": 10}.items():
        assert one[key] == (value if isinstance(value, str) else pytest.approx(value)), key
    assert one["calibration_error"] == pytest.approx(p.calibration_error())
    pd.testing.assert_frame_equal(pd.DataFrame(one["by_class"]), p.error_by_class())
    assert not (tmp_path / "one" / "predictions").exists()


@pytest.mark.parametrize(
    "line, status, message",
    [
        ("none --data images", 1, "none does not exist: a run folder is wanted"),
        ("images --data images", 1, "images has no model.safetensors"),
        ("one", 2, "data must say where the images are: one was trained on a folder named 'stripes'"),
        ("one --data images --split test", 2, "has no folder for the split 'test'"),
        ("one --data shapes", 2, "data must have the 4 classes of one, got 10"),
    ],
)
def test_the_command_tells_what_is_wrong(command, line, status, message, capsys):
    assert command(f"{line} --quiet") == status
    out, err = capsys.readouterr()
    assert out == "" and message in err


def test_the_command_takes_no_other_number_of_crops(command, capsys):
    assert command("one --crops 12") == 2
    assert "inception-lab: crops must be one of 1, 10, 144, got 12" in capsys.readouterr().err


def test_mcnemar_counts_what_only_one_gets_wrong():
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    first = make([wrong] * 8 + [right] * 1 + [wrong] * 2 + [right] * 9, [0] * 20)
    second = make([right] * 8 + [wrong] * 1 + [wrong] * 2 + [right] * 9, [0] * 20)
    found = mcnemar(first, second)
    assert found[:2] == (8, 1) and found.points == -35.0
    assert found.p == pytest.approx(2 * (1 + 9) / 2**9)  # of nine tosses, one tail or none, in either direction
    assert mcnemar(second, first).p == found.p and mcnemar(first, first)[:4] == (0, 0, 0.0, 1.0)
    with pytest.raises(ValueError, match="differ in data"):
        mcnemar(first, make([right] * 20, [0] * 20, data="others"))


def test_the_interval_of_a_paired_difference_holds_the_truth_as_often_as_it_says():
    rng, n, only_first, only_second = np.random.default_rng(0), 300, 0.06, 0.02
    held = []
    for _ in range(1000):
        u = rng.random(n)
        found = paired(u < only_first, (only_first <= u) & (u < only_first + only_second))
        assert found.points == pytest.approx(100 * (found.only_second - found.only_first) / n)
        held.append(found.low <= 100 * (only_second - only_first) <= found.high)
    assert 0.94 <= np.mean(held) <= 0.97


@pytest.mark.parametrize("first, second", [([True, False], [True]), ([], []), ([[True]], [[True]])])
def test_different_images_are_no_pairs(first, second):
    with pytest.raises(ValueError, match="wrong and other must be of the same images"):
        paired(first, second)
