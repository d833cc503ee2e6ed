"""Recorded runs: what is copied, what it costs in accuracy, and that the overview tells the folders' truth."""

import json
import shutil

import killing
import pytest
import tiny
import torch
from materials import some
from safetensors.torch import save_file
from torchvision.io import write_png

from inception_lab.cli import main
from inception_lab.common import files
from inception_lab.data import datasets
from inception_lab.evaluation import inference, records
from inception_lab.evaluation.inference import predict
from inception_lab.evaluation.predictions import Predictions
from inception_lab.training.runs import RunError, RunFolder
from inception_lab.training.tensors import read as tensors_of
from inception_lab.training.trainer import train
from inception_lab.training.weights import load_model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train(tiny.recipe("tiny-aux"), folder, data=tiny.data(), progress=False, devices=1)
    return folder


def test_a_copy_has_half_of_the_bytes_no_heads_and_the_same_logits(run, tmp_path):
    copy = records.record(run, "first", into=tmp_path)
    assert sorted(f.name for f in copy.iterdir()) == [
        "environment.json",
        "history.csv",
        "metrics.json",
        "model.safetensors",
        "recipe.json",
        "steps.csv",
    ]
    assert RunFolder(copy).steps == RunFolder(run).steps
    whole, small = load_model(run)[0], load_model(copy)[0]
    assert whole.heads and not small.heads
    assert {t.dtype for t in small.state_dict().values()} <= {torch.float32, torch.int64}
    images = torch.randn(20, 3, tiny.SIZE, tiny.SIZE)
    torch.testing.assert_close(small(images), whole(images), rtol=0.01, atol=0.01)
    assert not torch.equal(small(images), whole(images))  # or nothing was halved


@pytest.fixture
def evaluated(run, tmp_path, monkeypatch):
    """A copy of the run with predictions for whole images, and the folder of images that they are of."""
    tree = tmp_path / "tree"
    drawn = tiny.data(val=40).val
    for number, (image, label) in enumerate(drawn):
        place = tree / "val" / tiny.data().classes[label]
        place.mkdir(parents=True, exist_ok=True)
        write_png(image, str(place / f"{number:02}.png"))
    monkeypatch.setattr(files, "data_folder", lambda: tmp_path)
    monkeypatch.setattr(inference, "check_classes", lambda *names: None)  # folders are sorted, the stripes are not
    copied = shutil.copytree(run, tmp_path / "evaluated")
    return copied, tree, predict(copied, tree, progress=False, accelerator="cpu")


def assert_same_predictions(kept, p):
    assert torch.equal(kept.labels, p.labels) and torch.equal(kept.predicted, p.predicted)
    assert (kept.crops, kept.data) == (p.crops, p.data)
    for k in range(1, 6):
        assert kept.error(k) == p.error(k)
    assert kept.calibration_error() == pytest.approx(p.calibration_error(), abs=1e-6)
    assert torch.equal(kept.confusion(), p.confusion())


def test_predictions_are_kept_and_read_without_images_or_weights(evaluated, tmp_path):
    run, _, p = evaluated
    copy = records.record(run, "small", weights=False, into=tmp_path / "runs")
    kept = records.recorded_predictions(copy)
    assert_same_predictions(kept, p)
    assert kept.classes == p.classes and torch.equal(kept.probabilities, p.probabilities)
    assert_same_predictions(records.recorded_predictions(run), p)  # as predict wrote them
    with pytest.raises(ValueError, match="must have one file of predictions for val, 10"):
        records.recorded_predictions(copy, crops=10)


def test_of_many_classes_the_five_most_probable_are_kept(tmp_path):
    generator = torch.Generator().manual_seed(0)
    probabilities = (3 * torch.randn(300, 200, generator=generator)).softmax(1)
    classes, labels = [f"class {i}" for i in range(200)], torch.randint(200, (300,), generator=generator)
    labels[::2] = probabilities.topk(7).indices[::2, 3]  # so that many a label is among the first five
    folder = tmp_path / "run" / "predictions"
    folder.mkdir(parents=True)
    save_file({"probabilities": probabilities, "labels": labels}, tmp_path / "whole.safetensors")
    content = records.condensed(tmp_path / "whole.safetensors", classes)
    assert len(content) < (tmp_path / "whole.safetensors").stat().st_size / 15
    (folder / "val-whole-abc.safetensors").write_bytes(content)
    kept = records.recorded_predictions(tmp_path / "run")
    assert kept.classes == classes and torch.allclose(kept.probabilities.sum(1), torch.ones(300))
    assert_same_predictions(kept, Predictions(probabilities, labels, classes, None, ("run",), "abc"))


def test_pictures_of_the_worst_mistakes_are_kept(evaluated, tmp_path):
    run, tree, p = evaluated
    copy = records.record(run, "pictures", data=tree, note="drawn by a test", into=tmp_path / "runs")
    pictures, numbers = records.mistakes(copy)
    wrong = (p.predicted != p.labels).nonzero()[:, 0].tolist()
    confidence = p.probabilities.amax(1)
    assert set(numbers) <= set(wrong) and len(numbers) == min(12, len(wrong)) > 0
    assert confidence[numbers].tolist() == sorted((confidence[i].item() for i in wrong), reverse=True)[:12]
    for i, picture in zip(numbers, pictures, strict=True):
        assert torch.equal(picture, datasets.load(tree, "val")[i][0])
    assert "| stripes (drawn by a test) |" in (tmp_path / "runs" / "README.md").read_text()
    with pytest.raises(ValueError, match="must hold mistakes.safetensors"):
        records.mistakes(run)


def test_pictures_of_other_images_are_refused_before_anything_is_written(evaluated, tmp_path):
    run, tree, _ = evaluated
    next((tree / "val").rglob("*.png")).unlink()
    with pytest.raises(ValueError, match="data must be the images that .*evaluated was evaluated on"):
        records.record(run, "other", data=tree, into=tmp_path / "runs")
    assert not (tmp_path / "runs" / "other").exists()


def test_the_overview_has_a_row_a_run(run, tmp_path):
    records.record(run, "b", into=tmp_path)
    records.record(run, "a", into=tmp_path, weights=False)
    text = (tmp_path / "README.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| run")]
    metrics = json.loads((run / "metrics.json").read_text())
    assert [row.split(" | ")[0] for row in rows] == ["| a", "| b"]
    assert f"{metrics['val_top1_error']:.2f} %" in rows[0] and "not kept" in rows[0] and "MB" in rows[1]
    assert not (tmp_path / "a" / "model.safetensors").exists()


def test_a_name_that_is_taken_and_an_unfinished_run_are_refused(run, tmp_path):
    records.record(run, "first", into=tmp_path)
    with pytest.raises(RunError, match="first is there already"):
        records.record(run, "first", into=tmp_path)
    unfinished = shutil.copytree(run, tmp_path / "unfinished")
    (unfinished / "metrics.json").unlink()
    with pytest.raises(RunError, match="unfinished holds no finished run"):
        records.record(unfinished, "second", into=tmp_path)
    assert not (tmp_path / "second").exists()


STEPS = 50  # of writing, and of making and deleting folders


@pytest.mark.slow
def test_killed_at_any_step_there_is_the_whole_copy_or_none_and_it_can_be_made(run, tmp_path):
    whole = records.record(run, "copy", into=tmp_path / "undisturbed")
    for fatal in some(range(1, STEPS + 1), 8):
        into = tmp_path / str(fatal)
        assert killing.run(killing.recording_that_dies_while_it_writes, run, into, fatal)
        copy = into / "copy"
        if not copy.exists():
            assert not records.overview(into).count("copy")  # it is not taken for a recorded run
            records.record(run, "copy", into=into)
        assert contents(copy) == contents(whole)
        assert (into / "README.md").read_text() == records.HEAD + records.overview(into)
    assert not killing.run(killing.recording_that_dies_while_it_writes, run, tmp_path / "last", STEPS + 1)
    assert not (tmp_path / "last" / ".partial").exists()


def contents(folder):
    """What the files hold; safetensors writes the metadata in any order."""

    def content(path):
        if path.suffix != ".safetensors":
            return path.read_bytes()
        tensors, metadata = tensors_of(path)
        return {name: t.tolist() for name, t in tensors.items()}, metadata

    return {path.relative_to(folder): content(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["../evil", "a/b", ".", "..", "", "/evil", "a\\b", ".hidden", "a\nb", "a|b"])
def test_a_name_that_is_a_path_is_refused(name, run, tmp_path):
    with pytest.raises(ValueError, match="name must be a plain name"):
        records.record(run, name, into=tmp_path / "into")
    assert list(tmp_path.iterdir()) == []


def test_a_run_with_a_broken_file_is_told_by_its_name_and_leaves_nothing(run, tmp_path):
    for name in (*records.FILES, "model.safetensors", "predictions/val-10-a.safetensors"):
        broken = shutil.copytree(run, tmp_path / "broken")
        (broken / name).parent.mkdir(exist_ok=True)
        (broken / name).write_bytes(b"\xff\x00{")
        with pytest.raises(RunError, match="broken|copy"):
            records.record(broken, "copy", into=tmp_path / "into")
        assert not (tmp_path / "into").exists() or list((tmp_path / "into").iterdir()) == [], name
        shutil.rmtree(broken)


def test_a_full_disk_is_told_and_leaves_nothing(run, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError, match="could not be written .No space left on device"):
        records.record(run, "copy", into=tmp_path / "into")
    assert list((tmp_path / "into").iterdir()) == []


def test_the_command_records(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "data_folder", lambda: tmp_path)
    assert main(["record", str(run), "--name", "mine"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "runs" / "mine")
    assert main(["record", str(run), "--name", "mine"]) == 1
    assert "is there already" in capsys.readouterr().err


def test_the_overview_in_the_repository_is_that_of_its_folders():
    folder = records.own_folder()
    if folder.is_dir():
        assert (folder / "README.md").read_text() == records.HEAD + records.overview()


def test_recorded_runs_are_listed_and_found_by_name(run, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "data_folder", lambda: tmp_path / "data")
    assert records.recorded_runs() == []
    for name in ("tiny-1", "tiny-0", "other"):
        records.record(run, name, weights=False)
    (tmp_path / "data" / "runs" / "unfinished").mkdir()
    assert [folder.name for folder in records.recorded_runs()] == ["other", "tiny-0", "tiny-1"]
    assert [folder.name for folder in records.recorded_runs("tiny-*")] == ["tiny-0", "tiny-1"]
    assert records.recorded_run("tiny-1") == tmp_path / "data" / "runs" / "tiny-1"
    with pytest.raises(ValueError, match="name must be one of 'other', .*, got 'tiny-2'; did you mean 'tiny-"):
        records.recorded_run("tiny-2")


def test_one_s_own_runs_go_before_those_of_the_wheel(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "IN_CHECKOUT", False)
    monkeypatch.setattr(files, "PACKAGE", tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    shipped, own = tmp_path / "package" / "recorded" / "runs", tmp_path / "data" / "runs"
    for folder in (shipped / "a", shipped / "b", own / "b", own / "c"):
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text("{}")
    assert records.recorded_runs() == [own / "b", own / "c", shipped / "a"]
    assert records.recorded_run("a") == shipped / "a" and records.recorded_run("b") == own / "b"
    assert records.own_folder() == own
