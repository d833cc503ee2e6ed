"""A run folder survives: killed anywhere and resumed it ends bit-equal, and nothing in it is ever lost."""

import json
import os
import random
import shutil
import time
from dataclasses import replace
from pathlib import Path

import killing
import pytest
import tiny
import torch
from materials import some
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny import history, quietly

from inception_lab.common import files
from inception_lab.common.checks import RunError
from inception_lab.data import datasets
from inception_lab.data.shapes import Shapes
from inception_lab.evaluation.inference import predict
from inception_lab.training import checkpoints
from inception_lab.training import tensors as tensor_files
from inception_lab.training.runs import RunFolder
from inception_lab.training.weights import load_model

pytestmark = pytest.mark.usefixtures("one_thread")
TIMED = ("seconds", "images_per_second", "waiting_percent")
KEPT = ["environment.json", "history.csv", "metrics.json", "model.safetensors", "recipe.json", "steps.csv"]


def resume(out, recipe, **options):
    return quietly(recipe, out, resume=True, **options)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "environment.json"}


def assert_same_run(one, other):
    """Equal to the last bit, but for the times; and every file is there, with none left over."""
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
    rows = [[{k: v for k, v in row.items() if k not in TIMED} for row in history(folder)] for folder in (one, other)]
    assert rows[0] == rows[1]
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (one, other)]
    assert all(metrics[0][key] == metrics[1][key] for key in metrics[0] if key not in TIMED)
    assert (one / "steps.csv").read_bytes() == (other / "steps.csv").read_bytes()
    assert names_in(one) == names_in(other) == KEPT


@pytest.fixture
def stopped(tmp_path):
    """A run folder with two checkpoints, stopped after step 5 of 8, and its recipe."""
    recipe = tiny.recipe(checkpoint_every=1)

    def stop(images, calls=[]):  # noqa: B006, it counts
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return tiny.flip(images)

    with pytest.raises(KeyboardInterrupt):
        quietly(recipe, tmp_path / "run", tiny.data(augment=stop))
    names = [
        "checkpoint-before.safetensors",
        "checkpoint.safetensors",
        "environment.json",
        "history.csv",
        "recipe.json",
        "steps.csv",
    ]
    assert names_in(tmp_path / "run") == names
    return tmp_path / "run", recipe


# --- killed and resumed -------------------------------------------------------------------------------------

RUNS = {
    "sgd, batch norm, dropout, ema, channels last": tiny.recipe(
        "tiny-bn", epochs=4, checkpoint_every=3, averaging="ema", channels_last=True, schedule="cosine", nesterov=True
    ),
    "adamw, lrn, polyak, parts": tiny.recipe(
        epochs=4, checkpoint_every=1, averaging="polyak", average_from=1, optimizer="adamw", accumulation=2
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RUNS.values(), ids=RUNS)
def test_killed_at_random_moments_it_ends_bit_equal(recipe, tmp_path):
    undisturbed = tmp_path / "undisturbed"
    quietly(recipe, undisturbed)
    assert not killing.run(killing.training, tmp_path / "warm-up", recipe)  # which starts the server
    start = time.perf_counter()
    assert not killing.run(killing.training, tmp_path / "timed", recipe)
    whole, kills, numbers = time.perf_counter() - start, 0, some(range(5), 2)
    for number in numbers:
        out, chance = tmp_path / str(number), random.Random(f"{recipe.network} {number}")
        for latest in (0.9, 0.7, 0.5, 0.5):
            kills += killing.run(killing.training, out, recipe, kill_after=whole * chance.uniform(0.1, latest))
        resume(out, recipe)
        assert_same_run(undisturbed, out)
    assert kills >= 1.6 * len(numbers), "too few of the processes were still running when they were to be killed"


BETWEEN_RENAMES = 35  # of the older checkpoint and the new one: always among the steps that are tried


@pytest.mark.slow
def test_killed_at_each_step_of_writing_it_ends_bit_equal(tmp_path):
    recipe = tiny.recipe("tiny-bn", epochs=1, batch=32, averaging="ema", checkpoint_every=1)
    undisturbed, checkpoint_lost = tmp_path / "undisturbed", 0
    quietly(recipe, undisturbed, tiny.data())
    # Opening, writing, syncing, renaming, syncing the folder: five for each of nine files, one for the older
    # checkpoint, two for deleting checkpoints, one for the lock.
    steps = 5 * 9 + 1 + 3
    for fatal in sorted({*some(range(1, steps + 1), 9), BETWEEN_RENAMES}):
        out = tmp_path / str(fatal)
        assert killing.run(killing.training_that_dies_while_it_writes, out, recipe, fatal)
        before = checkpoints_in(out)
        unfinished = not (out / "metrics.json").exists()
        checkpoint_lost += unfinished and before == ["checkpoint-before.safetensors"]
        resume(out, recipe)
        assert_same_run(undisturbed, out)
        shutil.rmtree(out)
    assert not killing.run(killing.training_that_dies_while_it_writes, tmp_path / "whole", recipe, steps + 1)
    assert checkpoint_lost == 1  # between the two renames


def checkpoints_in(folder):
    """The checkpoints of a folder, all of which must be whole."""
    found = sorted(folder.glob("checkpoint*.safetensors")) if folder.exists() else []
    for path in found:
        checkpoints.read(path)
    return [path.name for path in found]


def test_resumed_inside_an_epoch_in_the_same_process_too(stopped, tmp_path, capsys):
    out, recipe = stopped
    train = dict(data=tiny.data(), accelerator="cpu", resume=True)
    from inception_lab.training.trainer import train as go_on

    go_on(recipe, out, **train)
    assert f"{out}: going on after step 5 of 8" in capsys.readouterr().out
    quietly(recipe, tmp_path / "undisturbed")
    assert_same_run(tmp_path / "undisturbed", out)
    assert len(json.loads((out / "environment.json").read_text())["sessions"]) == 2


def test_resumed_with_other_workers_and_checkpoints_it_is_the_same_run(stopped, tmp_path):
    out, recipe = stopped
    resume(out, replace(recipe, checkpoint_every=0))
    quietly(recipe, tmp_path / "undisturbed")
    assert_same_run(tmp_path / "undisturbed", out)


def test_a_finished_run_trains_nothing_and_says_so(tmp_path, capsys):
    from inception_lab.training.trainer import train

    recipe = tiny.recipe(epochs=1)
    metrics = quietly(recipe, tmp_path / "run")
    before = contents(tmp_path / "run")
    (tmp_path / "run" / "checkpoint.safetensors").touch()  # killed while it cleaned up

    def never(images):
        raise AssertionError("it trains")

    again = train(recipe, tmp_path / "run", data=tiny.data(augment=never), resume=True, accelerator="cpu")
    assert again == metrics and "is a finished run: nothing to train" in capsys.readouterr().out
    assert contents(tmp_path / "run") == before


def test_resume_begins_where_there_is_nothing_yet(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json.tmp").write_text('{"na')  # killed at its first write
    resume(tmp_path / "run", tiny.recipe(epochs=1))
    assert names_in(tmp_path / "run") == KEPT


# --- what a folder holds ------------------------------------------------------------------------------------


def test_the_folder_says_what_was_run_and_on_what(tmp_path):
    recipe = tiny.recipe("tiny-bn")
    metrics = quietly(recipe, tmp_path / "run")
    assert names_in(tmp_path / "run") == KEPT
    read = {name: (tmp_path / "run" / name).read_text() for name in KEPT if not name.endswith("safetensors")}
    assert read["recipe.json"] == recipe.to_json()
    (session,) = json.loads(read["environment.json"])["sessions"]
    assert session["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert session["device"].startswith("cpu") and (session["processes"], session["threads"]) == (1, 1)
    data = session["data"]
    assert len(data.pop("digest")) == 16
    assert data == {"name": "stripes", "classes": 4, "train_images": 64, "val_images": 50}
    assert json.loads(read["metrics.json"]) == metrics
    assert (metrics["epochs"], metrics["steps"], metrics["averaged"]) == (2, 8, False)
    assert metrics["parameters"] == sum(p.numel() for p in load_model(tmp_path / "run")[0].parameters())
    assert [row["epoch"] for row in history(tmp_path / "run")] == [1, 2]


def test_a_saved_model_comes_back_in_evaluation_mode_with_its_classes(tmp_path):
    recipe, data = tiny.recipe("tiny-bn"), tiny.data()
    quietly(recipe, tmp_path / "run", data)
    model, about = load_model(tmp_path / "run")
    assert not model.training and about["recipe"] == recipe
    assert (about["classes"], about["mean"], about["std"]) == (data.classes, [0.4] * 3, [0.25] * 3)
    with pytest.raises(RunError, match="has no model.safetensors"):
        load_model(tmp_path)


# --- what is refused, with nothing lost ---------------------------------------------------------------------


def refused(out, recipe, message, **options):
    before = contents(out)
    with pytest.raises(RunError, match=message):
        quietly(recipe, out, **{"resume": True} | options)
    assert contents(out) == before


def test_a_folder_with_a_run_is_not_overwritten(stopped):
    out, recipe = stopped
    refused(out, recipe, "holds a run already: resume it", resume=False)


def test_a_folder_of_another_recipe_is_refused(stopped):
    out, recipe = stopped
    refused(out, replace(recipe, epochs=3, momentum=0.8), "belongs to another recipe: momentum 0.8, not 0.9; epochs 3")


def test_other_data_are_refused(stopped):
    out, recipe = stopped
    refused(out, recipe, "belongs to other data", sets=tiny.data(val=49))


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    refused(tmp_path, tiny.recipe(), "is not a run folder, and not empty: it holds thesis.tex")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("precious")
    with pytest.raises(RunError, match="cannot be made a run folder"):
        quietly(tiny.recipe(), tmp_path / "run")
    assert (tmp_path / "run").read_text() == "precious"


@pytest.mark.parametrize("keep", [0, 5, 200, 5000, -1])
def test_a_truncated_checkpoint_is_named_and_the_one_before_taken_when_it_is_deleted(stopped, keep, tmp_path):
    out, recipe = stopped
    checkpoint = out / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:keep])
    message = r"checkpoint.safetensors is truncated or no checkpoint.*checkpoint-before.safetensors is whole \(step 4\)"
    refused(out, recipe, message)
    checkpoint.unlink()
    resume(out, recipe)
    quietly(recipe, tmp_path / "undisturbed")
    assert_same_run(tmp_path / "undisturbed", out)


def test_two_broken_checkpoints_are_told(stopped):
    out, recipe = stopped
    for path in out.glob("checkpoint*"):
        path.write_bytes(b"broken")
    refused(out, recipe, "checkpoint-before.safetensors cannot be used either; start again in another folder")


def test_a_foreign_checkpoint_is_refused(stopped, tmp_path):
    out, recipe = stopped
    (out / "checkpoint-before.safetensors").unlink()
    save_file({"a": torch.zeros(2)}, out / "checkpoint.safetensors")
    refused(out, recipe, "is no checkpoint of this library: its format is None. There is none before it: delete")

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save(Trap(), out / "checkpoint.safetensors")
    refused(out, recipe, "is truncated or no checkpoint")
    assert not (tmp_path / "executed").exists()


def test_the_checkpoint_of_another_run_is_refused(stopped, tmp_path):
    out, recipe = stopped
    before = (out / "checkpoint.safetensors").read_bytes()
    other = replace(recipe, network="tiny-bn")
    shutil.copytree(out, tmp_path / "other")
    (tmp_path / "other" / "recipe.json").write_text(other.to_json())
    refused(tmp_path / "other", other, "belongs to another recipe: network 'tiny-bn', not 'tiny-lrn'")
    assert (out / "checkpoint.safetensors").read_bytes() == before


def test_a_checkpoint_that_does_not_fit_the_network_changes_nothing(stopped, monkeypatch):
    out, recipe = stopped
    grown = replace(tiny.PLAIN, bias=False)  # as if the library had changed since
    monkeypatch.setitem(tiny.zoo.ZOO, "tiny-lrn", tiny.zoo.Entry(lambda **o: tiny.GoogLeNet(grown, **o), 12, ""))
    refused(out, recipe, "the checkpoint is of another network: model.conv1.conv.bias")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
@pytest.mark.parametrize(
    "name", ["checkpoint.safetensors", "history.csv", "steps.csv", "model.safetensors", "metrics.json"]
)
def test_a_full_disk_is_told_and_nothing_lost(stopped, name, tmp_path):
    out, recipe = stopped
    before = {key: value for key, value in contents(out).items() if key.startswith("checkpoint")}
    (out / f"{name}.tmp").symlink_to("/dev/full")  # whatever is written there meets ENOSPC
    with pytest.raises(RunError, match=f"{name} could not be written .No space left on device.; what was there"):
        resume(out, recipe)
    left = checkpoints_in(out)
    assert left == sorted(before) and not list(out.glob("*.tmp"))
    if name == "checkpoint.safetensors":
        assert all((out / key).read_bytes() == value for key, value in before.items())
    resume(out, recipe)
    quietly(recipe, tmp_path / "undisturbed")
    assert_same_run(tmp_path / "undisturbed", out)


def test_strides_of_the_optimizers_state_come_back(tmp_path):
    laid_out = torch.arange(24.0).reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last)
    path = checkpoints.save(tmp_path, tiny.recipe(), {"t": laid_out, "s": torch.tensor(3)}, {"step": 1})
    tensors, state = checkpoints.read(path)
    assert torch.equal(tensors["t"], laid_out) and tensors["t"].stride() == laid_out.stride()
    assert tensors["s"].item() == 3 and state == {"recipe": tiny.recipe().to_json(), "step": 1}


# --- a bit that has changed ---------------------------------------------------------------------------------


def flipped(path, chance, places=60):
    """The file's contents with one bit changed: in what its header says of the checksum, and elsewhere."""
    content = path.read_bytes()
    word = content.index(b"checksum of the file")
    for place in (*range(8), *range(word, word + 100, 3), *(chance.randrange(len(content)) for _ in range(places))):
        changed = bytearray(content)
        changed[place] ^= 1 << chance.randrange(8)
        yield bytes(changed)


def test_a_flipped_bit_in_a_checkpoint_is_noticed_wherever_it_is(stopped):
    out, recipe = stopped
    path = out / checkpoints.NEWEST
    for content in flipped(path, random.Random(0)):
        path.write_bytes(content)
        message = r"checkpoint.safetensors is (damaged|truncated).*checkpoint-before.safetensors is whole \(step 4\)"
        with pytest.raises(RunError, match=message):
            checkpoints.load(out, recipe)
    sessions = (out / "environment.json").read_bytes()
    refused(out, recipe, "delete checkpoint.safetensors to go on from there")
    assert (out / "environment.json").read_bytes() == sessions


def test_a_flipped_bit_in_the_weights_of_a_run_is_noticed(tmp_path):
    quietly(tiny.recipe(epochs=1), tmp_path)
    path = tmp_path / "model.safetensors"
    for content in flipped(path, random.Random(1), places=30):
        path.write_bytes(content)
        with pytest.raises(RunError, match="model.safetensors is (damaged|truncated)"):
            load_model(tmp_path)


def test_files_without_a_checksum_are_read(stopped, tmp_path):
    out, recipe = stopped
    for path in out.glob("checkpoint*"):
        tensors, metadata = tensor_files.read(path)
        save_file(tensors, path, metadata)
        assert b"checksum" not in path.read_bytes()
    resume(out, recipe)
    quietly(recipe, tmp_path / "undisturbed")
    assert_same_run(tmp_path / "undisturbed", out)


# --- forged or foreign --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        ({"step": -1}, "step must be from 0"),
        ({"step": 10**9}, "step must be at most 8"),
        ({"step": 8}, "history must have the 2 epochs before step 8"),
        ({"step": "5"}, "step must be a whole number, got '5'"),
        ({"step": None}, "step must be a whole number, got None"),
        ({"history": {}}, "history must be a list"),
        ({"history": [{}]}, "epoch is missing"),
        ({"history": []}, "history must have the 1 epochs"),
        ({"seconds": "long"}, "seconds must be a number"),
        ({"averaged": 1.5}, "averaged must be a whole number"),
        ({"recipe": 7}, "recipe must be a text"),
        ({"recipe": "{}"}, "must have the keys"),
    ],
)
def test_a_forged_state_is_named(stopped, change, message):
    out, recipe = stopped
    (out / checkpoints.BEFORE).unlink()
    tensors, state = checkpoints.read(out / checkpoints.NEWEST)
    metadata = {"format": checkpoints.FORMAT, "state": json.dumps(state | change), "strides": "{}"}
    files.write(out / checkpoints.NEWEST, tensor_files.to_bytes(tensors, metadata))
    refused(out, recipe, rf"checkpoint.safetensors is no place in this run: .*{message}")
    assert len(json.loads((out / "environment.json").read_text())["sessions"]) == 1


@pytest.mark.parametrize("name, key", [("state", "[1]"), ("state", "{"), ("strides", '{"x": [1]}'), ("strides", "3")])
def test_forged_metadata_are_named(stopped, name, key):
    out, recipe = stopped
    tensors, state = checkpoints.read(out / checkpoints.NEWEST)
    metadata = {"format": checkpoints.FORMAT, "state": json.dumps(state), "strides": "{}"} | {name: key}
    files.write(out / checkpoints.NEWEST, tensor_files.to_bytes(tensors, metadata))
    refused(out, recipe, r"checkpoint.safetensors (has metadata that cannot be read|is no place in this run)")


def test_tensors_that_do_not_fit_are_named(stopped):
    out, recipe = stopped
    tensors, state = checkpoints.read(out / checkpoints.NEWEST)
    del state["recipe"]
    for name, other in (("metrics.loss.weight", None), ("optimizer.0.momentum_buffer", torch.zeros(3))):
        forged = {n: other if n == name else t for n, t in tensors.items() if n != name or other is not None}
        checkpoints.save(out, recipe, forged, state)
        refused(out, recipe, f"the checkpoint .*{name}")


METRICS = dict(val_loss=1, val_top1_error=2, val_top5_error=3, averaged=False, parameters=4, epochs=2, steps=8)
METRICS |= dict(seconds=1, images_per_second=1, waiting_percent=0)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("metrics.json", '{"accuracy": 0.9}', "val_loss is missing"),
        ("metrics.json", "[]", "it must be an object"),
        ("metrics.json", json.dumps(METRICS | {"epochs": "2"}), "epochs must be a whole number"),
        ("metrics.json", json.dumps(METRICS | {"epochs": 9}), "is of another run: it tells of 9 epochs"),
        ("metrics.json", json.dumps(METRICS), "is truncated or holds no weights"),
        ("environment.json", "{}", "sessions is missing"),
        ("environment.json", '{"sessions": [3]}', r"sessions\[0\] must be an object, got 3"),
        ("environment.json", '{"sessions": [{"started": "now"}]}', "device is missing"),
        ("recipe.json", "\x00", "must be JSON"),
    ],
)
def test_a_foreign_file_is_named_and_nothing_deleted(stopped, name, content, message):
    out, recipe = stopped
    (out / name).write_text(content)
    file = "model.safetensors" if "weights" in message else name
    refused(out, recipe, f"{file}.*{message}")
    assert checkpoints_in(out) == ["checkpoint-before.safetensors", "checkpoint.safetensors"]


@pytest.mark.parametrize("name", ["recipe.json", "metrics.json", "environment.json"])
def test_a_binary_file_is_named(stopped, name):
    out, recipe = stopped
    (out / name).write_bytes(b"\x80\x81\xff")
    refused(out, recipe, f"{name} cannot be read")


@pytest.mark.parametrize("cells", ["1,2", "x,4,0.1,1,1,1,1,1,1,1,1", "1,-4,0.1,1,1,1,1,1,1,1,1"])
def test_a_foreign_history_is_named(stopped, cells):
    out, _ = stopped
    path = out / "history.csv"
    path.write_text(path.read_text().splitlines()[0] + f"\n{cells}\n")
    with pytest.raises(RunError, match="history.csv cannot be read"):
        _ = RunFolder(out).history


def test_the_history_is_read_as_it_was_written(stopped):
    out, _ = stopped
    (row,) = RunFolder(out).history
    assert (row.epoch, row.step, row.watt_hours) == (1, 4, None) and row.train_loss == history(out)[0]["train_loss"]


def test_recorded_runs_without_checksums_are_read():
    for folder in Path(files.data_folder() / "runs").glob("*/"):
        run = RunFolder(folder)
        assert run.metrics and run.sessions and len(run.history) == run.recipe.epochs
        if (folder / "model.safetensors").exists():  # some were recorded without
            load_model(folder)


# --- two processes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"resume": True}, {"resume": False}])
def test_a_second_process_is_told_that_another_trains(stopped, options, tmp_path):
    out, recipe = stopped
    held = RunFolder(out)
    held.lock.acquire()
    refused(out, recipe, f"another process trains in {out}", **options)
    held.release()
    resume(out, recipe)
    quietly(recipe, tmp_path / "undisturbed")
    assert_same_run(tmp_path / "undisturbed", out)


def test_the_lock_of_a_killed_process_holds_nobody(stopped, tmp_path):
    out, recipe = stopped
    (out / "training.lock").touch()
    resume(out, recipe)
    assert names_in(out) == KEPT


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, tmp_path):
    from inception_lab.cli import main
    from inception_lab.training import recipes, trainer

    opened = []

    def open_data(recipe, source, skip_broken):
        opened.append((recipe, source))
        return tiny.data()

    monkeypatch.setattr(trainer, "open_data", open_data)
    monkeypatch.setitem(recipes.RECIPES, "tiny", tiny.recipe())
    monkeypatch.chdir(tmp_path)
    return lambda line: (main(["train", *line.split(), "--devices", "1"]), opened)


def test_the_command_trains_into_a_folder_and_resumes(command, tmp_path, capsys):
    status, opened = command("tiny --set epochs=1 --set seed=3 --data some/photographs --quiet")
    assert status == 0 and opened[0][1] == "some/photographs"
    assert (opened[0][0].epochs, opened[0][0].seed, opened[0][0].data) == (1, 3, "photographs")
    assert names_in(tmp_path / "runs" / "tiny") == KEPT
    assert "top-1 error" in capsys.readouterr().out
    assert command("tiny --set epochs=1 --set seed=3 --data elsewhere/photographs --resume")[0] == 0
    assert "is a finished run" in capsys.readouterr().out
    assert command("runs/tiny/recipe.json --out again --quiet")[0] == 0
    assert names_in(tmp_path / "again") == KEPT


def test_a_folder_with_broken_files_is_refused_or_they_are_left_out(tmp_path, monkeypatch, capsys):
    from inception_lab import cli
    from inception_lab.training import recipes

    (tmp_path / "photographs").mkdir()
    for split, images in {"train": 8, "val": 2}.items():
        drawn = Shapes(split, size=16, length=images)
        for number, (image, label) in enumerate(drawn):
            folder = tmp_path / "photographs" / split / drawn.classes[label % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
        (folder / "cut.png").write_bytes((folder / f"{number}.png").read_bytes()[:-40])
    monkeypatch.setitem(recipes.RECIPES, "tiny", tiny.recipe(batch=4, epochs=1))
    monkeypatch.setattr(files, "data_folder", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    line = ["train", "tiny", "--data", "photographs", "--devices", "1", "--quiet"]
    assert cli.main(line) == 2
    error = capsys.readouterr().err
    assert "1 of 9 files" in error and "cut.png" in error and "--skip-broken" in error
    assert not (tmp_path / "runs").exists()
    assert cli.main([*line, "--skip-broken"]) == 0
    evaluating = ["evaluate", "runs/tiny", "--data", "photographs", "--quiet", "--no-store"]
    assert cli.main(evaluating) == 2 and cli.main([*evaluating, "--skip-broken"]) == 0
    environment = json.loads((tmp_path / "runs" / "tiny" / "environment.json").read_text())
    assert environment["sessions"][0]["data"]["train_images"] == 8


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder named shapes with 24 images to train on, in a folder that is the working folder too."""
    place = tmp_path / "shapes"
    for split, images in {"train": 24, "val": 8}.items():
        drawn = Shapes(split, size=16, length=images)
        for number, (image, label) in enumerate(drawn):
            folder = place / split / drawn.classes[label % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    monkeypatch.setattr(files, "data_folder", lambda: tmp_path)
    monkeypatch.chdir(place)
    return place


@pytest.mark.parametrize("given", [".", "../shapes", "{place}"])
def test_a_folder_has_a_name_that_means_no_tier(pictures, given, monkeypatch, capsys, tmp_path):
    from inception_lab.training.trainer import train

    recipe, run = tiny.recipe(batch=8, epochs=1, train_images=1000, augmentation="flip"), tmp_path / "run"
    train(recipe, run, data=given.format(place=pictures), accelerator="cpu", devices=1)
    assert "train_images is 1,000, and there are 24: all are trained on" in capsys.readouterr().out
    assert RunFolder(run).recipe.data == "shapes/" and RunFolder(run).recipe.train_images == 1000
    (session,) = RunFolder(run).sessions
    assert (session["data"]["name"], session["data"]["train_images"]) == ("shapes/", 24)
    with pytest.raises(ValueError, match="data must say where the images are: .* a folder named 'shapes'"):
        predict(run, progress=False, accelerator="cpu")
    assert len(predict(run, str(pictures), progress=False, accelerator="cpu").labels) == 8
    monkeypatch.chdir(tmp_path)
    assert len(predict(run, progress=False, accelerator="cpu").labels) == 8  # found as a folder, not as the tier


def test_names_of_data_are_never_empty():
    names = {"shapes": "shapes", "cifar10": "cifar10", "/a/cifar10": "cifar10/", "/a/b/": "b", "a/..": Path.cwd().name}
    assert {given: datasets.stored_name(given) for given in names} == names
    assert datasets.stored_name("/") == "root" and datasets.stored_name(Path("shapes")) == "shapes/"
    old = tiny.recipe(data="cifar10")
    assert replace(old, data="cifar10/").differences(old) == []  # of a run that an older version began


@pytest.mark.parametrize(
    "line, status, message",
    [
        ("tinny", 2, "recipe must be one of"),
        ("tiny --set epochs=x", 2, "epochs must be a whole number, got 'x'"),
        ("tiny --set batch=999", 2, "batch must be at most the 64 images"),
        ("tiny --out .", 1, "is not a run folder, and not empty"),
    ],
)
def test_the_command_tells_what_is_wrong(command, line, status, message, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert command(line)[0] == status
    assert message in capsys.readouterr().err
    assert names_in(tmp_path) == ["file"]


def test_a_checkpoint_of_version_0_1_is_resumed(stopped, tmp_path):
    """It had the optimizer's state, and the recipe's key, under their British names."""
    out, recipe = stopped
    tensors, state = checkpoints.read(out / checkpoints.NEWEST)
    old = {name.replace("optimizer.", "optimiser."): tensor for name, tensor in tensors.items()}
    del state["recipe"]
    checkpoints.save(out, recipe, old, state)
    recorded = out / "recipe.json"
    recorded.write_text(recorded.read_text().replace('"optimizer"', '"optimiser"'))
    assert any(name.startswith("optimiser.") for name in checkpoints.read(out / checkpoints.NEWEST)[0])
    resume(out, recipe)
    quietly(recipe, tmp_path / "undisturbed")
    assert_same_run(tmp_path / "undisturbed", out)
