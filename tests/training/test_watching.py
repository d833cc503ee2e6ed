"""A run can be watched: its loss by step, in a table that survives as the run does, in a figure and in TensorBoard."""

import errno
import importlib.util
import json
import math
import os
import stat
import sys
import time
from dataclasses import replace
from types import ModuleType

import killing
import pandas as pd
import pytest
import tiny
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from tiny import history, quietly

from inception_lab.cli import main
from inception_lab.common import files
from inception_lab.common.checks import RunError
from inception_lab.evaluation import inference, records
from inception_lab.training import checkpoints, lr_range, profile, recipes, trainer, trials
from inception_lab.training import tensors as tensor_files
from inception_lab.training.optimization import learning_rate
from inception_lab.training.progress import Steps, TensorBoard
from inception_lab.training.runs import RunFolder
from inception_lab.training.state import Epoch, Step
from inception_lab.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")


def stop_after(parts, kind=KeyboardInterrupt):
    """Data whose augmentation raises when so many parts of batches have been augmented."""
    done = []

    def augment(images):
        done.append(1)
        if len(done) > parts:
            raise kind
        return tiny.flip(images)

    return tiny.data(augment=augment)


def stopped(out, recipe, parts, **options):
    """Begin a run, or go on with it, and stop it after so many parts of batches."""
    with pytest.raises(KeyboardInterrupt):
        quietly(recipe, out, stop_after(parts), **options)
    return out


# --- steps.csv ----------------------------------------------------------------------------------------------


def test_every_step_has_its_loss_and_its_learning_rate(tmp_path):
    recipe = tiny.recipe(schedule="cosine")
    quietly(recipe, tmp_path / "run")
    rows = RunFolder(tmp_path / "run").steps
    assert [(row.step, row.epoch, row.steps) for row in rows] == [(i, 1 + (i > 4), 1) for i in range(1, 9)]
    assert [row.learning_rate for row in rows] == [learning_rate(recipe, step, 4) for step in range(8)]
    for epoch, row in enumerate(history(tmp_path / "run")):
        losses = [step.loss for step in rows[4 * epoch : 4 * epoch + 4]]
        assert sum(losses) / 4 == pytest.approx(row["train_loss"], rel=1e-6)
    constant = tiny.recipe()
    quietly(constant, tmp_path / "constant")
    _, losses = tiny.by_hand(constant, tiny.data())
    assert [row.loss for row in RunFolder(tmp_path / "constant").steps] == pytest.approx(losses, rel=1e-4)


@pytest.mark.parametrize("most", [4000, 3])
@pytest.mark.parametrize("settings", [{}, {"accumulation": 2}])
def test_the_steps_of_a_run_that_was_resumed_are_those_of_an_unbroken_one(most, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(Steps, "MOST", most)
    recipe, out, parts = tiny.recipe(checkpoint_every=2, **settings), tmp_path / "run", settings.get("accumulation", 1)
    quietly(recipe, tmp_path / "unbroken")
    stopped(out, recipe, 3 * parts)
    stopped(out, recipe, 1 * parts, resume=True)
    stopped(out, recipe, 4 * parts, resume=True)
    assert RunFolder(out).steps[-1].step == 6
    quietly(recipe, out, resume=True)
    assert (out / "steps.csv").read_bytes() == (tmp_path / "unbroken" / "steps.csv").read_bytes()


def test_what_lies_beyond_the_checkpoint_is_cut_when_the_run_goes_on(tmp_path):
    recipe = tiny.recipe(checkpoint_every=1)
    out = stopped(tmp_path / "run", recipe, 5)
    ahead = (out / "steps.csv").read_bytes()
    (out / checkpoints.NEWEST).unlink()  # as is advised where it is damaged
    stopped(out, recipe, 0, resume=True)
    rows = RunFolder(out).steps
    assert [row.step for row in rows] == [1, 2, 3, 4] and ahead.count(b"\n") == 6


def test_a_long_run_keeps_few_rows_each_the_mean_of_a_stretch(tmp_path, monkeypatch):
    quietly(tiny.recipe(), tmp_path / "whole")
    losses = [row.loss for row in RunFolder(tmp_path / "whole").steps]
    monkeypatch.setattr(Steps, "MOST", 3)
    quietly(tiny.recipe(), tmp_path / "few")
    rows = RunFolder(tmp_path / "few").steps
    assert [(row.step, row.epoch, row.steps) for row in rows] == [(3, 1, 3), (6, 2, 3), (8, 2, 2)]
    means = [sum(losses[i : i + 3]) / len(losses[i : i + 3]) for i in (0, 3, 6)]
    assert [row.loss for row in rows] == pytest.approx(means)


def test_a_million_steps_are_4000_rows():
    steps = Steps(tiny.recipe(epochs=1000), 1000)
    for step in range(1, 501):
        steps.add(step, float(step))
    assert [(row.step, row.steps, row.loss) for row in steps.rows] == [(250, 250, 125.5), (500, 250, 375.5)]
    assert 1_000_000 / steps.stretch == Steps.MOST == 4000


def test_runs_of_before_stay_readable_can_be_resumed_and_recorded(tmp_path):
    recipe = tiny.recipe(checkpoint_every=1)
    out = stopped(tmp_path / "run", recipe, 5)
    (out / "steps.csv").unlink()
    tensors, state = checkpoints.read(out / checkpoints.NEWEST)
    del state["steps"]
    checkpoints.save(out, recipe, tensors, {key: value for key, value in state.items() if key != "recipe"})
    assert RunFolder(out).steps == []
    quietly(recipe, out, resume=True)
    assert [row.step for row in RunFolder(out).steps] == [6, 7, 8]  # nobody knows those before
    assert (records.record(out, "new", into=tmp_path) / "steps.csv").read_bytes() == (out / "steps.csv").read_bytes()
    (out / "steps.csv").unlink()
    assert not (records.record(out, "old", into=tmp_path) / "steps.csv").exists()


@pytest.mark.parametrize("cells", ["1,2", "x,1,0.5,0.1,1", "1,1,,0.1,1", "-1,1,0.5,0.1,1"])
def test_a_foreign_table_of_steps_is_named(cells, tmp_path):
    (tmp_path / "steps.csv").write_text(f"step,epoch,loss,learning_rate,steps\n{cells}\n")
    with pytest.raises(RunError, match="steps.csv cannot be read"):
        _ = RunFolder(tmp_path).steps


@pytest.mark.parametrize("steps", [[{"step": 3, "epoch": 1, "loss": 1.0, "learning_rate": 0.1, "steps": 1}], [{}], 3])
def test_a_checkpoint_with_foreign_steps_is_refused(steps, tmp_path):
    recipe = tiny.recipe(checkpoint_every=1)
    out = stopped(tmp_path / "run", recipe, 5)
    tensors, state = checkpoints.read(out / checkpoints.NEWEST)
    metadata = {"format": checkpoints.FORMAT, "state": json.dumps(state | {"steps": steps}), "strides": "{}"}
    files.write(out / checkpoints.NEWEST, tensor_files.to_bytes(tensors, metadata))
    with pytest.raises(RunError, match="is no place in this run: .*step"):
        quietly(recipe, out, resume=True)


# --- those who watch ----------------------------------------------------------------------------------------


def test_who_watches_is_shown_every_step_and_every_epoch(tmp_path):
    seen = []
    quietly(tiny.recipe(), tmp_path / "run", watch=lambda steps, epochs: seen.append((len(steps), len(epochs))))
    assert seen == [(1, 0), (2, 0), (3, 0), (4, 0), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (8, 2)]


def test_losses_that_are_read_seldom_are_the_same_rows(tmp_path, monkeypatch):
    """As on a GPU, which is waited for at every tenth step alone."""

    def after_step(self):
        if self.step % 3 == 0 or self.step % self.batches.steps == 0:
            self.read_losses()

    recipe = tiny.recipe(accumulation=2)
    quietly(recipe, tmp_path / "often")
    monkeypatch.setattr(Trainer, "after_step", after_step)
    quietly(recipe, tmp_path / "seldom")
    assert RunFolder(tmp_path / "seldom").steps == RunFolder(tmp_path / "often").steps


def test_training_imports_no_figures(tmp_path):
    assert not killing.run(killing.write_modules, tmp_path / "modules")
    imported = set((tmp_path / "modules").read_text().split())
    assert "inception_lab.training" in imported and not {"inception_lab.plots", "tensorboard"} & imported


# --- TensorBoard --------------------------------------------------------------------------------------------


class Writer:
    """As SummaryWriter: it remembers what was written, and forgets from `purge_step` on."""

    points: dict = {}  # noqa: RUF012

    def __init__(self, folder, purge_step=None):
        self.tags = self.points.setdefault(folder, {})
        for tag, found in self.tags.items():
            self.tags[tag] = [point for point in found if point[0] < purge_step]

    def add_scalar(self, tag, value, step):
        self.tags.setdefault(tag, []).append((step, value))

    def flush(self):
        pass


@pytest.fixture
def written(monkeypatch):
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Writer, "points", {})
    return Writer.points


def test_tensorboard_has_every_step_once_also_after_a_resume(tmp_path, written):
    recipe, out = tiny.recipe(checkpoint_every=2), tmp_path / "run"
    stopped(out, recipe, 7, tensorboard=True)
    quietly(recipe, out, resume=True, tensorboard=True)
    (tags,) = written.values()
    run = RunFolder(out)
    assert tags["train/loss"] == [(row.step, row.loss) for row in run.steps]
    assert tags["train/learning_rate"] == [(row.step, row.learning_rate) for row in run.steps]
    assert tags["val/top1_error"] == [(row.step, row.val_top1_error) for row in run.history]
    assert set(written) == {out / "tensorboard"} and len(tags) == 6


def test_a_stretch_that_still_grows_is_not_written(written, tmp_path):
    board = TensorBoard(tmp_path)
    rows = [Step(10, 1, 2.0, 0.1, 10), Step(12, 1, 1.0, 0.1, 2)]
    board(rows, [])
    assert written[tmp_path / "tensorboard"]["train/loss"] == [(10, 2.0)]
    rows[-1] = Step(20, 1, 1.5, 0.1, 10)
    board(rows, [Epoch(1, 20, 0.1, 1.0, 50.0, 1.0, 50.0, 10.0, 1.0, 1.0, 0.0)])
    assert written[tmp_path / "tensorboard"]["train/loss"] == [(10, 2.0), (20, 1.5)]


def test_tensorboard_that_is_missing_is_told_before_any_work(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # import fails
    monkeypatch.setattr(trainer, "open_data", lambda *_: pytest.fail("data were opened"))
    assert main(["train", "shapes-laptop", "--tensorboard", "--out", str(tmp_path / "run")]) == 2
    assert "pip install 'inception-lab[tensorboard]'" in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="tensorboard is not installed")
def test_the_events_are_those_that_tensorboard_reads(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe, out = tiny.recipe(checkpoint_every=2), tmp_path / "run"
    stopped(out, recipe, 7, tensorboard=True)
    quietly(recipe, out, resume=True, tensorboard=True)
    board = EventAccumulator(str(out / "tensorboard"))
    board.Reload()
    points = [(event.step, pytest.approx(event.value)) for event in board.Scalars("train/loss")]
    assert [(row.step, row.loss) for row in RunFolder(out).steps] == points
    assert [event.step for event in board.Scalars("val/top1_error")] == [4, 8]


# --- before a run -------------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(trials, "SECONDS", 0.0)


@pytest.mark.usefixtures("short")
def test_a_dry_run_says_what_the_run_will_be_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = tiny.recipe("tiny-bn", epochs=3, averaging="ema", optimizer="adamw", accumulation=2)
    estimate = trials.dry_run(recipe, data=tiny.data(), accelerator="cpu")
    assert not list(tmp_path.iterdir())
    metrics = quietly(recipe, tmp_path / "run")
    assert (estimate.train_images, estimate.val_images, estimate.classes) == (64, 50, 4)
    assert estimate.epochs * estimate.steps_per_epoch == metrics["steps"] == 12
    assert estimate.parameters == metrics["parameters"]
    memory, weights = estimate.memory, tensor_files.read(tmp_path / "run" / "model.safetensors")[0].values()
    assert memory["weights"] == memory["average"] == trials.size(weights)
    assert memory["gradients"] == 4 * estimate.parameters
    assert 8 * estimate.parameters <= memory["optimizer"] < 8 * estimate.parameters + 1000  # m, v and counters
    assert memory["images"] == (64 + 50) * (3 * 12 * 12 + 8)
    assert estimate.seconds_per_step > 0 and estimate.timed_steps == trials.FEWEST and estimate.peak > 1e7
    expected = 12 * estimate.seconds_per_step + 3 * estimate.seconds_per_evaluation
    assert estimate.hours == pytest.approx(expected / 3600)


@pytest.mark.usefixtures("short")
def test_the_estimate_of_hours_is_of_the_steps_that_were_timed(monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(trials, "now", lambda trainer: next(clock))  # from one look to the next it is a second
    estimate = trials.dry_run(tiny.recipe(batch=4), data=tiny.data(), accelerator="cpu")
    assert estimate.seconds_per_step == 1 / 5
    assert estimate.seconds_per_evaluation == 1 / 8 * 13  # of 13 batches of validation, 8 were timed


def test_activations_are_what_a_network_keeps_for_the_way_back():
    small, large = (
        trials.activations(trials.trial(Trainer, tiny.recipe(batch=n), data=tiny.data(), accelerator="cpu"))
        for n in (8, 16)
    )
    assert 1.9 < large / small < 2.1 and large > 16 * 3 * 12 * 12 * 4


@pytest.mark.usefixtures("short")
def test_the_command_trains_only_when_it_is_no_dry_run(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(trainer, "open_data", lambda *_: tiny.data())
    monkeypatch.setitem(recipes.RECIPES, "tiny", tiny.recipe())
    monkeypatch.chdir(tmp_path)
    assert main(["train", "tiny", "--dry-run", "--devices", "1", "--set", "epochs=5"]) == 0
    out = capsys.readouterr().out
    assert "64 to train on, 50 to test on, 4 classes" in out and "4 per epoch, 20 in all" in out
    assert "hours" in out and not list(tmp_path.iterdir())


def estimating(out):
    os.chdir(out)
    estimate = trials.dry_run(tiny.recipe(), data=tiny.data(augment=tiny.FLIP), accelerator="cpu")
    if estimate:
        with open("estimate.txt", "a") as file:
            file.write(str(estimate))


@pytest.mark.slow
def test_two_processes_time_equally_many_steps(tmp_path):
    killing.run_two(estimating, tmp_path)
    (estimate,) = tmp_path.iterdir()  # of the first process; and nothing else is left
    assert estimate.read_text().count("4 per epoch, 8 in all") == 1


# --- which learning rate ------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"accumulation": 2, "schedule": "one-cycle", "warmup_epochs": 1}])
def test_a_range_test_is_plain_training_with_a_rate_that_rises(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe, data = tiny.recipe(epochs=3, **settings), tiny.data(augment=tiny.FLIP)
    frame, suggestion = lr_range(recipe, low=1e-4, high=1e-2, steps=12, data=data, accelerator="cpu")
    assert frame["step"].tolist() == list(range(1, 13))
    ratios = frame["learning_rate"] / frame["learning_rate"].shift()
    assert frame["learning_rate"][0] == 1e-4 and ratios[1:].tolist() == pytest.approx([100 ** (1 / 11)] * 11)
    _, losses = tiny.by_hand(replace(recipe, accumulation=1), data, rates=frame["learning_rate"])
    assert frame["loss"].tolist() == pytest.approx(losses, rel=1e-4)
    weights = [0.9**k for k in range(12)]  # a mean of the losses in which each counts for 0.9 of the next
    for n in range(1, 13):
        mean = sum(w * x for w, x in zip(weights, frame["loss"][:n][::-1], strict=False)) / sum(weights[:n])
        assert frame["smoothed"][n - 1] == pytest.approx(mean)
    lowest = frame["smoothed"][1:].idxmin()  # without the first tenth
    assert suggestion == pytest.approx(frame["learning_rate"][lowest] / 10)
    assert not list(tmp_path.iterdir())


def test_a_range_test_ends_when_the_loss_diverges_and_suggests_less():
    frame, suggestion = lr_range(tiny.recipe(), low=1e-3, high=1e4, steps=60, data=tiny.data(), accelerator="cpu")
    assert 12 <= len(frame) < 60 and frame["loss"].map(math.isfinite).all()
    assert suggestion < frame["learning_rate"].iloc[-1] / 10
    with pytest.raises(RunError, match="the loss diverges after .* low must be lower"):
        lr_range(tiny.recipe(), low=1e4, high=1e9, steps=60, data=tiny.data(), accelerator="cpu")


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(low=0.0), "low must be from 1e-12"),
        (dict(high=math.inf), "high must be a finite number"),
        (dict(low=0.1, high=0.1), r"high must be above low \(0.1\), got 0.1"),
        (dict(steps=9), "steps must be a whole number of at least 10, got 9"),
    ],
)
def test_a_range_that_is_none_is_refused(options, message, monkeypatch):
    monkeypatch.setattr(trainer, "open_data", lambda *_: pytest.fail("data were opened"))
    with pytest.raises(ValueError, match=message):
        lr_range("shapes-laptop", **options)


def test_the_command_writes_losses_and_picture_and_says_the_rate(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(trainer, "open_data", lambda *_: tiny.data())
    monkeypatch.setitem(recipes.RECIPES, "tiny", tiny.recipe())
    monkeypatch.chdir(tmp_path)
    assert main(["lr-range", "tiny", "--steps", "20", "--set", "learning_rate=0.25"]) == 0
    assert "suggested learning rate: " in (out := capsys.readouterr().out) and "the recipe's is 0.25" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lr-range-tiny.csv", "lr-range-tiny.png"]
    assert len(pd.read_csv("lr-range-tiny.csv")) <= 20
    assert main(["lr-range", "tiny", "--out", "x.txt"]) == 2
    assert "out must end in .csv, got 'x.txt'" in capsys.readouterr().err


# --- where its time goes ------------------------------------------------------------------------------------


def test_a_profile_says_which_part_of_a_step_takes_how_long(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def slow(images):
        time.sleep(0.05)
        return tiny.flip(images)

    recipe = tiny.recipe("tiny-aux", averaging="ema", accumulation=2)
    usual = profile(recipe, steps=5, data=tiny.data(), accelerator="cpu")
    assert list(usual.index) == list(trials.PARTS) and (usual > 0).all() and not list(tmp_path.iterdir())
    slowed = profile(recipe, steps=5, data=tiny.data(augment=slow), accelerator="cpu")
    assert slowed["augmentation"] >= 2 * 0.05 and slowed.idxmax() == "augmentation"  # of two parts
    assert usual.idxmax() in ("forward", "backward")


@pytest.mark.usefixtures("short")
def test_a_recipe_that_begins_with_weights_is_tried_too(tmp_path):
    quietly(tiny.recipe("tiny-aux", epochs=1), tmp_path / "run")
    recipe = tiny.recipe("", init=str(tmp_path / "run"), image_size=0, freeze="conv2", loaded_rate=0.1)
    options = dict(data=tiny.data(), accelerator="cpu")
    estimate = trials.dry_run(recipe, **options)
    assert 0 < estimate.memory["gradients"] < 4 * estimate.parameters  # some are frozen, and have none
    assert lr_range(recipe, steps=10, **options).suggestion > 0
    assert (profile(recipe, steps=2, **options) > 0).all()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


# --- half precision with a loss that is scaled ----------------------------------------------------------------


@pytest.mark.filterwarnings("error")
def test_16_mixed_without_cuda_is_refused_and_not_exchanged(tmp_path):
    message = "precision must be '32-true' or 'bf16-mixed' unless there is a CUDA GPU, got '16-mixed'"
    with pytest.raises(ValueError, match=message):
        quietly(tiny.recipe(precision="16-mixed"), tmp_path / "run")
    assert not list(tmp_path.iterdir())


class Scaled(Fabric):
    """Fabric as with a CUDA GPU in "16-mixed": on a CPU, and with a scale so high that the first steps overflow."""

    def __init__(self, **options):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=3)
        super().__init__(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))


@pytest.fixture
def scaled(monkeypatch):
    monkeypatch.setattr(trainer, "make_fabric", lambda *_: Scaled())
    return tiny.recipe("tiny-bn", precision="16-mixed", epochs=6, checkpoint_every=1, averaging="ema")


def test_a_step_that_the_scaler_skips_does_not_stop_the_run(scaled, tmp_path):
    quietly(scaled, tmp_path / "run", tiny.data(256))
    rows = history(tmp_path / "run")
    assert rows[-1]["train_loss"] < 0.9 < rows[0]["train_loss"]  # it has learned after all


def test_the_scale_is_kept_so_that_a_resumed_run_is_equal(scaled, tmp_path):
    quietly(scaled, tmp_path / "unbroken")
    stopped(tmp_path / "run", scaled, 13)
    scaler = checkpoints.read(tmp_path / "run" / checkpoints.NEWEST)[1]["scaler"]
    assert scaler["scale"] < 2.0**24  # steps have been skipped
    quietly(scaled, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "steps.csv").read_bytes() == (tmp_path / "unbroken" / "steps.csv").read_bytes()
    a, b = (tensor_files.read(tmp_path / name / "model.safetensors")[0] for name in ("run", "unbroken"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_loss_that_is_no_number_stops_a_scaled_run_too(scaled, tmp_path):
    def poisoned(images):
        return (images / 255 - 0.4) / 0.25 * math.nan

    with pytest.raises(RunError, match="the loss is nan at step 1,"):
        quietly(scaled, tmp_path / "run", tiny.data(augment=poisoned))


@pytest.mark.filterwarnings("error")
def test_a_run_of_a_gpu_with_16_mixed_is_evaluated_on_a_cpu(scaled, tmp_path, monkeypatch):
    quietly(replace(scaled, epochs=1), tmp_path / "run")
    monkeypatch.setattr(inference, "check_classes", lambda *names: None)
    answers = inference.predict(tmp_path / "run", tiny.data().val, progress=False, accelerator="cpu", store=False)
    assert len(answers.labels) == 50


# --- drives that come and go --------------------------------------------------------------------------------


def test_a_folder_that_vanishes_stops_the_run_and_no_other_is_begun_in_its_place(tmp_path):
    recipe, out, calls = tiny.recipe(checkpoint_every=1), tmp_path / "drive" / "run", []

    def unplug(images):
        calls.append(1)
        if len(calls) == 6:
            (tmp_path / "drive").rename(tmp_path / "away")
        return tiny.flip(images)

    with pytest.raises(RunError, match="run has vanished while the run was training: if it is on a drive"):
        quietly(recipe, out, tiny.data(augment=unplug))
    assert not (tmp_path / "drive").exists()
    (tmp_path / "away").rename(tmp_path / "drive")
    assert quietly(recipe, out, resume=True)["steps"] == 8
    quietly(recipe, tmp_path / "unbroken")
    assert (out / "steps.csv").read_bytes() == (tmp_path / "unbroken" / "steps.csv").read_bytes()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_drive_that_cannot_sync_a_folder_will_do_and_one_with_a_fault_will_not(number, tmp_path, monkeypatch):
    def fsync(descriptor, sync=os.fsync):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    if number == errno.EINVAL:
        files.write(tmp_path / "x", b"1")
        assert (tmp_path / "x").read_bytes() == b"1"
    else:
        with pytest.raises(RunError, match="could not be written"):
            files.write(tmp_path / "x", b"1")
