"""Recorded runs: what is copied, what it costs in accuracy, and that the overview tells the folders' truth."""

import json
import shutil

import pytest
import tiny
import torch

from inception_lab import records
from inception_lab.cli import main
from inception_lab.runs import RunError, load_model
from inception_lab.training import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train(tiny.recipe("tiny-aux"), folder, data=tiny.data(), progress=False, devices=1)
    return folder


def test_a_copy_has_half_of_the_bytes_no_heads_and_the_same_logits(run, tmp_path):
    copy = records.record(run, "first", place=tmp_path)
    assert sorted(f.name for f in copy.iterdir()) == [
        "environment.json",
        "history.csv",
        "metrics.json",
        "model.safetensors",
        "recipe.json",
    ]
    whole, small = load_model(run)[0], load_model(copy)[0]
    assert whole.heads and not small.heads
    assert {t.dtype for t in small.state_dict().values()} <= {torch.float32, torch.int64}
    images = torch.randn(20, 3, tiny.SIZE, tiny.SIZE)
    torch.testing.assert_close(small(images), whole(images), rtol=0.01, atol=0.01)
    assert not torch.equal(small(images), whole(images))  # or nothing was halved


def test_the_overview_has_a_row_a_run(run, tmp_path):
    records.record(run, "b", place=tmp_path)
    records.record(run, "a", place=tmp_path, weights=False)
    text = (tmp_path / "README.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| run")]
    metrics = json.loads((run / "metrics.json").read_text())
    assert [row.split(" | ")[0] for row in rows] == ["| a", "| b"]
    assert f"{metrics['val_top1_error']:.2f} %" in rows[0] and "not kept" in rows[0] and "MB" in rows[1]
    assert not (tmp_path / "a" / "model.safetensors").exists()


def test_a_name_that_is_taken_and_an_unfinished_run_are_refused(run, tmp_path):
    records.record(run, "first", place=tmp_path)
    with pytest.raises(RunError, match="first is there already"):
        records.record(run, "first", place=tmp_path)
    unfinished = shutil.copytree(run, tmp_path / "unfinished")
    (unfinished / "metrics.json").unlink()
    with pytest.raises(RunError, match="unfinished holds no finished run"):
        records.record(unfinished, "second", place=tmp_path)
    assert not (tmp_path / "second").exists()


def test_the_command_records(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(records.record, "__kwdefaults__", {"weights": True, "place": tmp_path})
    assert main(["record", str(run), "--name", "mine"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "mine")
    assert main(["record", str(run), "--name", "mine"]) == 1
    assert "is there already" in capsys.readouterr().err


def test_the_overview_in_the_repository_is_that_of_its_folders():
    if records.PLACE.is_dir():
        assert (records.PLACE / "README.md").read_text() == records.HEAD + records.overview()
