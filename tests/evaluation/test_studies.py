"""A study goes on where it was stopped, its file says all, and a difference is called one only if it is clear."""

import itertools
import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import killing
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from tiny import history
from torch import nn

from inception_lab import cli, count
from inception_lab.common import files
from inception_lab.common.checks import RunError
from inception_lab.data import datasets
from inception_lab.evaluation import STUDIES, Study, compare, read_study, run_study, study_run, study_table
from inception_lab.evaluation.study_table import COLUMNS, LATER, OBJECT_SCALES
from inception_lab.models import zoo
from inception_lab.training.optimization import learning_rate
from inception_lab.training.recipes import RECIPES, Recipe
from inception_lab.training.weights import load_model

pytestmark = pytest.mark.usefixtures("one_thread")
RECORDS = sorted((Path(__file__).parents[2] / "data" / "studies").glob("*.csv"))
TIMED = ["seconds", "images_per_second", "started", "git_commit"]
ODD = 'batch, "norm"'
TINY = Study("tiny", "Is it quick?", tiny.recipe(), {"plain": [], ODD: ["network=tiny-bn"]}, seeds=2)
SHAPES = Study("tiny-shapes", "Is it drawn?", tiny.recipe(data="shapes", train_images=64, epochs=1), TINY.arms, seeds=1)


def quietly(study, out, *arguments, data=None, **options):
    data = data or (tiny.data() if study.recipe.data == "stripes" else None)
    return run_study(study, *arguments, out=out, data=data, progress=False, accelerator="cpu", **options)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with the file and the run folders of TINY, all of it run."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("finished")
    quietly(TINY, folder / "tiny.csv")
    return folder


@pytest.fixture
def done(finished, tmp_path):
    """A copy of it, to change."""
    return Path(shutil.copytree(finished, tmp_path / "done"))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    quietly(SHAPES, folder / "tiny-shapes.csv")
    return folder


# --- the record ---------------------------------------------------------------------------------------------


@cache
def params_and_macs(network, image_size, classes, options):
    """Of one image. The seeds of an arm share them, and so do arms that differ in how they are trained."""
    cost = count(network, image_size, num_classes=classes, **json.loads(options))
    return cost.params, cost.macs


def assert_record(path, study):
    """The file has the columns and types, and each row says what the study in code says and costs."""
    frame = read_study(path)
    kinds = {int: "int64", float: "float64", str: "str"}
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {c: kinds[kind] for c, kind in COLUMNS.items()}
    header = path.read_bytes().decode().splitlines()[0].split(",")
    assert header == [name for name in COLUMNS if name in header] and set(COLUMNS) - set(header) <= set(LATER)
    assert list(frame["arm"].drop_duplicates()) == list(study.arms)
    for row in frame.itertuples():
        recipe = Recipe.from_json(row.recipe)
        stated = replace(study.recipe_of(row.arm, row.seed), data=recipe.data)  # another copy of it, perhaps
        assert recipe.differences(stated) == [] and recipe.data.startswith(study.recipe.data), (row.arm, row.seed)
        costs = params_and_macs(recipe.network, recipe.image_size, row.classes, json.dumps(recipe.options))
        assert (row.parameters, row.macs) == costs, row.arm
        assert row.epochs == recipe.epochs and row.steps == row.epochs * (row.train_images // recipe.batch)
        assert row.images_per_second == pytest.approx(row.steps * recipe.batch / row.seconds)
        scales = [getattr(row, f"val_top1_error_{name}") for name in OBJECT_SCALES]
        assert np.isnan(scales).all() or min(scales) <= row.val_top1_error <= max(scales)
        assert np.isnan(scales).any() == (recipe.data != "shapes")
        assert row.device and row.torch and row.started.endswith("+00:00")
    return frame


def test_a_tiny_study_keeps_the_format(finished, shapes):
    frame = assert_record(finished / "tiny.csv", TINY)
    assert list(zip(frame["arm"], frame["seed"], strict=True)) == [("plain", 0), ("plain", 1), (ODD, 0), (ODD, 1)]
    assert_record(shapes / "tiny-shapes.csv", SHAPES)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_recorded_study_is_what_the_code_says(path):
    frame = assert_record(path, STUDIES[path.stem])
    for arm, runs in frame.groupby("arm"):
        assert sorted(runs["seed"]) == list(range(len(runs))), arm
        assert len(runs) >= 3, "a comparison needs three seeds"


def test_the_ablations_change_one_thing_each_and_cost_what_they_promise():
    study = STUDIES["ablations"]
    base = study.recipe_of("batch norm", 0)
    assert (base.data, base.network, base.options) == ("cifar10", "googlenet-bn-32", {"aux": False, "dropout": 0.4})
    costs, changed = {}, {}
    for arm in study.arms:
        recipe = study.recipe_of(arm, 0)
        cost = count(recipe.network, recipe.image_size, num_classes=10, **recipe.options)
        costs[arm] = cost.macs
        assert [text.split()[0] for text in recipe.differences(base)] == ["options"] * (arm != "batch norm"), arm
        changed[arm] = {key for key in recipe.options if recipe.options[key] != base.options.get(key)}
    norm = {"norm", "bias", "initial_bias"}
    assert (changed.pop("LRN"), changed.pop("LRN, heads")) == (norm, norm | {"aux"})
    assert changed.pop("fully connected, 1024 hidden") == {"final_map", "hidden"} and changed.pop("batch norm") == set()
    assert all(len(keys) == 1 for keys in changed.values())
    for arm in ("1x1 alone", "3x3 alone", "5x5 alone", "naive modules"):
        assert costs[arm] == pytest.approx(costs["batch norm"], rel=0.01), arm
    for arm in ("batch norm, heads", "LRN", "LRN, heads", "dropout 0"):
        assert costs[arm] == costs["batch norm"], arm
    cheaper = ["one 3x3 for 5x5", *(f"without {path}" for path in ("1x1", "3x3", "5x5", "pool"))]
    assert all(costs[arm] < costs["batch norm"] for arm in cheaper)


def test_arms_with_the_same_images_read_them_once(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(
        study_run, "open_data", lambda recipe, source: opened.append(recipe.augmentation) or tiny.data()
    )
    arms = {"plain": [], "batch norm": ["network=tiny-bn"], "mirrored": ["augmentation=flip"]}
    study = Study("three", "?", tiny.recipe(epochs=1), arms, seeds=1)
    frame = run_study(study, out=tmp_path / "three.csv", progress=False, accelerator="cpu")
    assert len(frame) == 3 and opened == ["none", "flip"]


def test_rows_say_which_folder_of_images_they_are_of(tmp_path, monkeypatch):
    sources = []
    monkeypatch.setattr(study_run, "open_data", lambda recipe, source: sources.append(source) or tiny.data())
    study = Study("folder", "?", tiny.recipe(epochs=1), {"plain": []}, seeds=1)
    options = dict(out=tmp_path / "folder.csv", progress=False, accelerator="cpu")
    frame = run_study(study, data=tmp_path / "stripes-jpeg", **options)
    assert sources == [tmp_path / "stripes-jpeg"] and Recipe.from_json(frame["recipe"][0]).data == "stripes-jpeg"
    assert_record(tmp_path / "folder.csv", study)
    assert run_study(study, data=tmp_path / "stripes-jpeg", **options).equals(frame)
    with pytest.raises(RunError, match="data 'stripes', not 'stripes-jpeg'"):
        run_study(study, **options)


def test_a_row_says_what_its_run_folder_says(finished):
    row = read_study(finished / "tiny.csv").set_index(["arm", "seed"]).loc[(ODD, 1)]
    folder = finished / "tiny" / "batch-norm-1"
    metrics = json.loads((folder / "metrics.json").read_text())
    shared = metrics.keys() & COLUMNS.keys() - {"parameters"}
    assert len(shared) == 7 and {name: row[name] for name in shared} == {name: metrics[name] for name in shared}
    last = history(folder)[-1]
    assert row["train_loss"] == last["train_loss"] and row["train_top1_error"] == last["train_top1_error"]
    assert (row["train_images"], row["classes"], row["torch"]) == (64, 4, torch.__version__.split("+")[0])
    assert Recipe.from_json(row["recipe"]) == TINY.recipe_of(ODD, 1) == load_model(folder)[1]["recipe"]


def test_costs_are_those_of_the_recipe_s_options(tmp_path, monkeypatch):
    def wide(num_classes=1000, width=2):
        layers = nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes)
        return nn.Sequential(*layers)

    monkeypatch.setitem(zoo.ZOO, "wide", zoo.Entry(wide, 24, "this test"))
    study = Study("wide", "?", tiny.recipe("wide", epochs=1), {"2": [], "None": ["options.width=5"]}, seeds=1)
    frame = quietly(study, tmp_path / "wide.csv")
    assert list(frame["arm"]) == ["2", "None"]  # texts, whatever they look like
    assert list(frame["parameters"]) == [28 * w + (w + 1) * 4 for w in (2, 5)]
    assert list(frame["macs"]) == [10 * 10 * 27 * w + 4 * w for w in (2, 5)]


def test_error_by_scale_is_that_of_the_images_of_each_scale(shapes):
    row, data = read_study(shapes / "tiny-shapes.csv").iloc[0], datasets.load("shapes", "val", size=tiny.SIZE)
    model = load_model(shapes / "tiny-shapes" / "plain-0")[0]
    wrong = {"small": [], "medium": [], "large": []}
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.mean, data.std))
    images, labels = data.batch(range(len(data)))
    with torch.no_grad():
        mistakes = model((images / 255 - mean) / std).argmax(1) != labels
    for i, mistake in enumerate(mistakes.tolist()):
        scale = data.scale(i)
        wrong["small" if scale <= 1 / 4 else "medium" if scale <= 1 / 2 else "large"].append(mistake)
    assert min(map(len, wrong.values())) > 2000 / 3 - 70  # three standard deviations
    assert {name: row[f"val_top1_error_{name}"] for name in wrong} == {
        name: pytest.approx(100 * np.mean(values), abs=1e-3) for name, values in wrong.items()
    }
    assert row["val_top1_error"] == pytest.approx(100 * np.mean(list(itertools.chain(*wrong.values()))), abs=1e-3)


def test_the_training_images_are_evaluated_as_they_are_with_the_final_weights(shapes):
    row = read_study(shapes / "tiny-shapes.csv").iloc[0]
    model, about = load_model(shapes / "tiny-shapes" / "plain-0")
    data = datasets.load("shapes", "train", size=tiny.SIZE, length=64)
    images, labels = data.batch(range(64))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (about["mean"], about["std"]))
    with torch.no_grad():
        wrong = model((images / 255 - mean) / std).argmax(1) != labels
    assert row["train_eval_top1_error"] == 100 * wrong.float().mean().item()


def test_records_of_before_a_column_was_added_stay_readable_and_take_new_rows(done):
    path = done / "tiny.csv"
    lines = pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns=list(LATER))
    lines[lines["seed"] == "0"].to_csv(path, index=False, lineterminator="\n")
    old = read_study(path)
    assert list(old) == list(COLUMNS) and old["train_eval_top1_error"].isna().all()
    assert len(quietly(TINY, path)) == 4 and path.read_text().startswith(",".join(COLUMNS))


def test_error_by_scale_needs_shapes(finished):
    with pytest.raises(ValueError, match="data must be one of 'shapes', got 'stripes'"):
        study_table.error_by_scale(finished / "tiny" / "plain-0")


# --- stopped, and called again ------------------------------------------------------------------------------


def test_seeds_are_run_as_a_whole_one_after_the_other(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(study_run, "train", lambda recipe, *_, **__: order.append(recipe.name))
    monkeypatch.setattr(study_run, "add_row", lambda *_: None)
    monkeypatch.setattr(study_run, "read_study", lambda *_: None)
    quietly(TINY, tmp_path / "tiny.csv", 3)
    assert order == ["plain-0", "batch-norm-0", "plain-1", "batch-norm-1", "plain-2", "batch-norm-2"]


def test_a_finished_run_is_not_trained_again_even_without_its_folder(done, monkeypatch):
    shutil.rmtree(done / "tiny")
    before = contents(done)
    monkeypatch.setattr(study_run, "train", lambda *_, **__: pytest.fail("trained again"))
    assert len(quietly(TINY, done / "tiny.csv")) == 4 and contents(done) == before


def test_finished_run_folders_are_collected_and_only_read(done):
    path = done / "tiny.csv"
    before = contents(done)
    times = {file: file.stat().st_mtime_ns for file in before}
    path.unlink()
    quietly(TINY, path)
    assert contents(done) == before
    assert [file for file in before if file.stat().st_mtime_ns != times[file]] == [path]


def test_more_seeds_and_arms_are_added_to_what_is_there(done):
    path = done / "tiny.csv"
    old = read_study(path)
    more = replace(TINY, arms=TINY.arms | {"fast": ["learning_rate=0.1"]})
    frame = quietly(more, path, 3, ["fast", "plain"])
    rows = list(zip(frame["arm"], frame["seed"], strict=True))
    assert rows == [*(("plain", seed) for seed in range(3)), (ODD, 0), (ODD, 1), *(("fast", seed) for seed in range(3))]
    pd.testing.assert_frame_equal(frame.iloc[[0, 1, 3, 4]].reset_index(drop=True), old)


def studying(out: Path, fatal: int | str) -> None:
    """Run TINY; die at the `fatal`-th training batch, or "before" or "after" the file is written for the third time."""
    batches = writes = 0

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def augment(images):
        nonlocal batches
        batches += 1
        if batches == fatal:
            die()
        return tiny.flip(images)

    def write(path, *arguments, real=files.write):
        nonlocal writes
        writes += path == out
        if (writes, path, fatal) == (3, out, "before"):
            die()
        real(path, *arguments)
        if (writes, path, fatal) == (3, out, "after"):
            die()

    files.write = write
    torch.set_num_threads(1)
    quietly(TINY, out, data=tiny.data(augment=augment))


@pytest.mark.slow
@pytest.mark.parametrize("fatal, rows", [(21, 2), ("before", 2), ("after", 3)])
def test_killed_and_called_again_it_ends_with_the_same_file(finished, tmp_path, fatal, rows):
    path = tmp_path / "tiny.csv"
    assert killing.run(studying, path, fatal)
    assert len(read_study(path)) == rows and len(list((tmp_path / "tiny").iterdir())) == 3
    quietly(TINY, path)
    again, undisturbed = (frame.drop(columns=TIMED) for frame in (read_study(path), read_study(finished / "tiny.csv")))
    pd.testing.assert_frame_equal(again, undisturbed, check_exact=True)


def one_arm(out: Path, arm: str) -> None:
    torch.set_num_threads(1)
    quietly(TINY, out, arms=[arm])


def test_two_processes_train_two_arms_side_by_side(finished, tmp_path):
    processes = [killing.start(one_arm, tmp_path / "tiny.csv", arm) for arm in TINY.arms]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    frames = (read_study(path).drop(columns=TIMED) for path in (tmp_path / "tiny.csv", finished / "tiny.csv"))
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def one_epoch(out: Path) -> None:
    quietly(TINY.with_settings(["network=tiny-lrn", "epochs=1"]), out, 1)


@pytest.mark.slow
def test_of_two_processes_that_share_each_run_one_writes(tmp_path):
    killing.run_two(one_epoch, tmp_path / "tiny.csv")
    assert len(read_study(tmp_path / "tiny.csv")) == 2
    for folder in (tmp_path / "tiny").iterdir():
        (session,) = json.loads((folder / "environment.json").read_text())["sessions"]
        assert session["processes"] == 2


def test_rows_written_at_the_same_time_are_all_kept(finished, tmp_path):
    place = [(arm, finished / "tiny" / TINY.recipe_of(arm, seed).name) for arm in TINY.arms for seed in (0, 1)]
    for number in range(5):
        path = tmp_path / f"{number}.csv"
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda p, path=path: study_table.add_row(TINY, path, *p, torch.device("cpu")), place))
        assert path.read_bytes() == (finished / "tiny.csv").read_bytes()


# --- refused ------------------------------------------------------------------------------------------------


def test_a_row_of_another_recipe_is_refused_and_nothing_lost(done):
    before = contents(done)
    changed = replace(TINY, recipe=replace(TINY.recipe, epochs=3), arms={"plain": [], "new": []})
    with pytest.raises(RunError) as error:
        quietly(changed, done / "tiny.csv")
    message = str(error.value)
    assert message.startswith(
        f"{done / 'tiny.csv'} has rows that the study 'tiny' would not write as it is now. Delete"
    )
    assert message.splitlines()[1:] == [
        "arm 'plain', seed 0: epochs 3, not 2",
        "arm 'plain', seed 1: epochs 3, not 2",
        f"arm {ODD!r}, seed 0: the study has no such arm",
        f"arm {ODD!r}, seed 1: the study has no such arm",
    ]
    assert contents(done) == before


def test_how_a_run_is_run_makes_no_other_recipe(done):
    before = contents(done)
    quietly(TINY.with_settings(["workers=1", "checkpoint_every=3"]), done / "tiny.csv")
    assert contents(done) == before


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(seeds=0), "seeds must be a whole number of at least 1, got 0"),
        (dict(seeds=1.0), "seeds must be a whole number"),
        (dict(arms=["plain", "planar"]), "arms must be one of 'plain', 'batch, \"norm\"', got 'planar'"),
        (dict(out="tiny"), "out must end in .csv, got 'tiny'"),
        (dict(out=None), r"out must be given: .*tiny\.csv is for the study as STUDIES has it"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_written(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "data_folder", lambda: tmp_path / "data")
    with pytest.raises(ValueError, match=message):
        run_study(TINY, **dict(out=tmp_path / "tiny.csv", data=tiny.data(), accelerator="cpu") | options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arms, message",
    [
        ({}, "arms must be one or more"),
        ({"a, b": [], "a-b": ["epochs=1"]}, "names that differ in a letter or digit, got \\['a-b', 'a-b'\\]"),
    ],
)
def test_a_study_that_cannot_be_run_is_refused_where_it_is_made(arms, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, arms=arms)


def test_settings_for_all_arms_come_after_their_own():
    study = replace(TINY, arms={"slow": ["learning_rate=0.01", "batch=8"], "sick": ["average_from=1"]})
    recipe = study.with_settings(["learning_rate=0.02", "epochs=1"]).recipe_of("slow", 2)
    assert recipe == replace(TINY.recipe, name="slow-2", learning_rate=0.02, batch=8, epochs=1, seed=2, weights_seed=2)
    with pytest.raises(ValueError, match="arm 'sick': average_from must be below epochs"):
        study.with_settings(["epochs=1"]).recipe_of("sick", 0)


def spoil(change):
    return lambda text: change(text.splitlines(keepends=True))


@pytest.mark.parametrize(
    "spoiled, message",
    [
        (spoil(lambda lines: "a,b\n1,2\n"), "its columns differ in \\['a', 'arm', 'b', "),
        (spoil(lambda lines: "".join(lines)[:-40]), "not the record of a study: .*EOF inside string"),
        (spoil(lambda lines: "".join(lines).replace('""epochs""', '""epoch""')), "did you mean 'epochs'"),
        (spoil(lambda lines: "".join(lines).replace("plain,1,", "plain,one,")), "invalid literal.*'one'"),
        (spoil(lambda lines: "".join([*lines, lines[1]])), "two rows of one arm and seed"),
        (spoil(lambda lines: ""), "not the record of a study"),
    ],
)
def test_a_broken_file_is_refused_and_kept(done, spoiled, message):
    path = done / "tiny.csv"
    path.write_text(spoiled(path.read_text()))
    before = contents(done)
    for call in (lambda: read_study(path), lambda: quietly(TINY, path)):
        with pytest.raises(RunError, match=message):
            call()
    assert contents(done) == before


def test_a_record_that_is_not_there_is_told_with_the_studies(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "data_folder", lambda: tmp_path)
    for name in ("schedules", tmp_path / "no.csv"):
        with pytest.raises(
            ValueError, match=r"one of .*'schedules'.* once it has been run, or a file; there is no .*\.csv"
        ):
            read_study(name)


# --- compared -----------------------------------------------------------------------------------------------


def test_any_arm_and_any_column_of_numbers_can_be_compared(finished):
    frame = read_study(finished / "tiny.csv")
    table = compare(frame, "val_loss", baseline=ODD)
    losses = frame.pivot(index="seed", columns="arm", values="val_loss")
    assert table.loc["plain", "ratio"] == pytest.approx(np.exp(np.log(losses["plain"] / losses[ODD]).mean()))
    assert list(compare(frame, "steps")["mean"]) == [8, 8]
    with pytest.raises(ValueError, match="a number for every run, which 'val_top1_error_small' has not"):
        compare(frame, "val_top1_error_small")


# --- the command line ---------------------------------------------------------------------------------------


@pytest.fixture
def known(monkeypatch, tmp_path):
    """SHAPES among the studies, with all that is written in a folder of its own."""
    monkeypatch.setitem(STUDIES, SHAPES.name, SHAPES)
    monkeypatch.setattr(files, "data_folder", lambda: tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_trains_and_compares(known, capsys):
    assert cli.main(["study", "tiny-shapes", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    frame = assert_record(known / "data" / "studies" / "tiny-shapes.csv", SHAPES)
    assert lines[0] == "Is it drawn?" and lines[2].split() == ["arm", "parameters", "macs", "mean", "sd"] + [
        *("against", "seeds", "ratio", "low", "high", "p", "p_corrected", "clear")
    ]
    assert lines[3].split()[0] == "plain" and f"{frame['val_top1_error'][0]:.2f}" in lines[3].split()
    assert len(lines) == 6 and lines[5].startswith(f'"{ODD}": ') and lines[5].endswith(", no verdict from 1 seed")
    assert sorted(path.name for path in (known / "runs" / "studies" / "tiny-shapes").iterdir()) == [
        "batch-norm-0",
        "plain-0",
    ]


@pytest.mark.parametrize(
    "scale, ends", [("ratio", "no verdict: errors are compared as ratios"), ("points", "corrected p < 0.001: clear")]
)
def test_the_scale_is_the_studys_whatever_comes_out(known, monkeypatch, capsys, scale, ends):
    monkeypatch.setitem(STUDIES, "tiny-shapes", replace(SHAPES, scale=scale))
    frame = pd.DataFrame([("a", i, 1, 1, i / 10) for i in range(5)] + [("b", i, 1, 1, 2 + i / 7) for i in range(5)])
    frame.columns = ["arm", "seed", "parameters", "macs", "val_top1_error"]  # one error of the first arm is 0
    monkeypatch.setattr("inception_lab.evaluation.run_study", lambda *_, **__: frame)
    assert cli.main(["study", "tiny-shapes"]) == 0
    out = capsys.readouterr().out
    assert ends in out.splitlines()[-1] and ("ratio" in out) == (scale == "ratio") and "0.20" in out


def test_a_scale_is_one_of_two():
    with pytest.raises(ValueError, match="scale must be one of 'ratio', 'points', got 'log'"):
        replace(TINY, scale="log")


def test_the_command_runs_a_part_at_small_scale(known, capsys):
    small = ["--seeds", "2", "--arms", "plain", "--set", "train_images=32", "--set", "options.aux=false"]
    assert cli.main(["study", "tiny-shapes", *small, "--out", "small/live.csv", "--runs", "folders"]) == 0
    frame = read_study(known / "small" / "live.csv")
    assert list(frame["arm"]) == ["plain", "plain"] and list(frame["train_images"]) == [32, 32]
    assert (known / "folders" / "plain-1" / "metrics.json").exists() and not (known / "data").exists()
    assert "tiny-shapes, run 2 of 2: plain, seed 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        (["no-such"], 2, "study 'no-such' is not known. There are:"),
        (["no-such"], 2, "tiny-shapes  Is it drawn?"),
        (["tiny-shapes", "--seeds", "0"], 2, "seeds must be"),
        (["tiny-shapes", "--arms", "planar"], 2, "arms must be one of"),
        (["tiny-shapes", "--set", "epochs=3"], 2, "out must be given"),
        (["tiny-shapes", "--set", "epoch=3", "--out", "x.csv"], 2, "arm 'plain': 'epoch' is no part of a recipe"),
        (["tiny-shapes", "--out", "broken.csv"], 1, "broken.csv is not the record of a study"),
    ],
)
def test_the_command_refuses(known, capsys, arguments, status, message):
    (known / "broken.csv").write_text("a,b\n")
    assert cli.main(["study", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == "" and message in err


def test_without_a_name_the_studies_are_listed(capsys):
    assert cli.main(["study"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(STUDIES)
    assert all(study.question in line for study, line in zip(STUDIES.values(), lines, strict=True))


# --- the studies of the course ------------------------------------------------------------------------------


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_the_arms_of_a_study_are_different_trainings(study):
    recipes = [study.recipe_of(arm, seed) for arm in study.arms for seed in range(study.seeds)]
    assert study.seeds >= 3 and study.question.endswith("?")
    for number, recipe in enumerate(recipes):
        assert all(recipe.differences(other) for other in recipes[:number])


def test_the_schedules_differ_and_cost_the_same():
    study = STUDIES["schedules"]
    assert study.recipe_of("one-cycle", 0).differences(RECIPES["shapes-laptop"]) == []
    recipes = [study.recipe_of(arm, 0) for arm in study.arms]
    assert len({(r.network, r.epochs, r.batch, r.train_images) for r in recipes}) == 1
    rates = {tuple(learning_rate(r, step, 62) for step in range(248)) for r in recipes}
    assert len(rates) == 3 and recipes[3].averaging == "polyak" and recipes[3].average_from == recipes[3].epochs / 2


# --- threads ------------------------------------------------------------------------------------------------


def test_rows_tell_their_threads_and_older_records_are_read_without(done):
    path = done / "tiny.csv"
    assert (read_study(path)["threads"] == 1).all()
    old = pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns="threads")
    old.iloc[:3].to_csv(path, index=False, lineterminator="\n")
    assert read_study(path)["threads"].isna().all()
    rows = quietly(TINY, path)  # which adds the row that is missing
    assert list(rows["threads"].isna()) == [True] * 3 + [False]
