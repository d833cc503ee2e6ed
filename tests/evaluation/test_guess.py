"""What a network says of photographs of any size: as `predict` says it, with names, and broken files by name."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from PIL import Image

from inception_lab import hub
from inception_lab.cli import main
from inception_lab.data import datasets
from inception_lab.evaluation import guess, predict, recorded_runs
from inception_lab.training import Recipe
from inception_lab.training import tensors as tensor_files

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder with two classes of photographs, none of them square."""
    folder, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for i in range(8):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (20 + i, 30 - i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "ab"[i % 2] / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, photographs):
    """A run on them that holds its images at another size than it looks at, and in bfloat16."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    recipe = tiny.recipe("tiny-bn", batch=4, memory_size=16, precision="bf16-mixed", channels_last=True)
    tiny.quietly(recipe, folder, photographs)
    return folder


def test_a_run_guesses_what_its_evaluation_says(run, photographs):
    data = datasets.load(photographs, "train")
    found = guess(run, [path for path, _ in data.samples])
    assert list(found.columns) == ["photograph", "class", "probability"] and len(found) == 2 * len(data)  # top 5 of two
    table = found.pivot(index="photograph", columns="class", values="probability")
    table = table.loc[[str(path) for path, _ in data.samples]]
    said = predict(run, photographs, split="train", progress=False).probabilities
    torch.testing.assert_close(torch.tensor(table.to_numpy(), dtype=torch.float32), said, atol=5e-3, rtol=0)
    assert (found.groupby("photograph")["probability"].first() >= 0.5).all()


def test_one_photograph_of_any_kind_gives_the_same(run, photographs):
    path = photographs / "a" / "0.png"
    named = guess(run, path, top=1)
    assert len(named) == 1 and named["photograph"][0] == str(path)
    with Image.open(path) as image:
        for source in (image, np.asarray(image), [image], (p for p in [image])):
            found = guess(str(run), source, top=1)
            assert found["photograph"][0] == 0
            pd.testing.assert_frame_equal(found.iloc[:, 1:], named.iloc[:, 1:])
    with pytest.raises(ValueError, match="top must be a whole number of at least 1, got 0"):
        guess(run, path, top=0)


def test_a_run_of_a_gpu_in_half_precision_guesses_on_a_processor(run, photographs, tmp_path):
    tensors, about = tensor_files.read(run / "model.safetensors")
    recipe = replace(Recipe.from_json(about["recipe"]), precision="16-mixed")
    content = tensor_files.to_bytes(tensors, about | {"recipe": recipe.to_json()})
    (tmp_path / "model.safetensors").write_bytes(content)
    path = photographs / "a" / "0.png"
    found, other = (guess(folder, path)["probability"] for folder in (tmp_path, run))
    assert found.tolist() == pytest.approx(other.tolist(), abs=5e-3)


def test_the_published_network_guesses_as_it_does_itself(published_weights, monkeypatch, photographs):
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", str(published_weights))
    path = photographs / "b" / "1.png"
    found = guess("googlenet", path, top=3)
    assert list(zip(found["class"], found["probability"], strict=True)) == hub.pretrained().guess(path, 3)


def test_a_recorded_run_goes_by_its_name(photographs):
    name = next(folder.name for folder in recorded_runs() if (folder / "model.safetensors").is_file())
    assert len(guess(name, photographs / "a" / "0.png", top=2)) == 2


def test_the_command_prints_names_and_probabilities(run, photographs, capsys):
    paths = [str(photographs / "a" / "0.png"), str(photographs / "b" / "1.png")]
    assert main(["guess", str(run), *paths]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["photograph", "class", "probability"] and len(lines) == 5
    assert [line[0] for line in lines[1::2]] == paths and len(lines[2]) == 2 and lines[1][2].endswith("%")
    assert main(["guess", str(run), *paths, "--top", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["photograph"] for row in rows] == paths and rows[0]["class"] == lines[1][1]


def test_what_cannot_be_guessed_is_named(run, photographs, tmp_path, capsys, monkeypatch):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photograph")
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", "off")
    for arguments, said in (
        ([run, photographs / "a" / "0.png", broken], "broken.jpg cannot be read as one"),
        ([run, tmp_path / "nowhere.jpg"], "nowhere.jpg cannot be read as one"),
        ([run, photographs], "is a folder"),
        (["googlenett", broken], "run must be one of 'googlenet', "),
        ([tmp_path, broken], "has no model.safetensors"),
        (["googlenet", broken], "inception-lab pretrained googlenet"),
    ):
        assert main(["guess", *map(str, arguments)]) != 0
        error = capsys.readouterr().err
        assert said in error and "Traceback" not in error
