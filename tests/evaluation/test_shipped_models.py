"""The weights in data/runs give the accuracy that their folders state: on a part of the images, and on all of them.

Where the answers to single images were recorded too, those to the part are compared one by one.
"""

import json
import math
import os
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
from materials import THOROUGH, WHOLE_SETS, is_thorough

from inception_lab import count
from inception_lab.common import files
from inception_lab.evaluation import recorded_predictions, recorded_runs
from inception_lab.evaluation.inference import predict
from inception_lab.training import load_model
from inception_lab.training.recipes import Recipe

SHIPPED = [folder for folder in recorded_runs() if (folder / "model.safetensors").exists()]
CIFAR10, TINY = ("cifar10", "test"), ("tiny-imagenet-200", "val")  # packed sets, each with its split
PACKED = {"cifar10": CIFAR10, "cifar10-jpeg": CIFAR10, "tiny-imagenet": TINY, "tiny-imagenet-200": TINY}  # by data
WORDS = "tiny-imagenet-200-words.tsv"  # beside the packed sets: names of the classes
# The whole set through a network of more MACs than this takes a CPU many minutes: wanted by WHOLE_SETS only.
LARGE = 200e6


@cache
def about(folder):
    recipe = Recipe.from_json((folder / "recipe.json").read_text())
    session = json.loads((folder / "environment.json").read_text())["sessions"][-1]
    metrics = json.loads((folder / "metrics.json").read_text())
    macs = count(recipe.network, recipe.image_size, num_classes=session["data"]["classes"], **recipe.options).macs
    return recipe, session["data"], metrics, macs


def evaluate(folder, request, monkeypatch, tmp_path, images):
    """Predictions for the first so many validation images, of each class as many; for all where `images` is None."""
    recipe, data, _, _ = about(folder)
    options = dict(store=False, progress=False, accelerator="auto")
    if recipe.data not in PACKED:
        return predict(folder, length=images or data["val_images"], **options)
    name, split = PACKED[recipe.data]
    per_class = (images or data["val_images"]) // data["classes"]
    tree = request.getfixturevalue("real_images")(name, split, per_class)
    packed = Path(os.environ.get("INCEPTION_LAB_REAL_IMAGES", Path(__file__).parents[3] / "shared" / "data"))
    if PACKED[recipe.data] == TINY and (packed / WORDS).is_file() and not ids(folder):
        shutil.copy(packed / WORDS, tree / "words.txt")
    monkeypatch.setattr(files, "data_folder", lambda: tmp_path)
    return predict(folder, tree, split=split, **options)


def ids(folder):
    """Whether the classes of a run are WordNet's numbers, because its images had no words.txt."""
    return load_model(folder)[1]["classes"][0].startswith("n0")


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_part_of_the_images_is_classified_as_recorded(folder, request, monkeypatch, tmp_path):
    recipe, data, metrics, macs = about(folder)
    images = max(data["classes"], 100 if macs > LARGE else 500)
    p = evaluate(folder, request, monkeypatch, tmp_path, images)
    for k in (1, 5):  # within sampling error
        share = metrics[f"val_top{k}_error"] / 100
        deviation = math.sqrt(share * (1 - share) / len(p.labels))
        assert abs(p.error(k) / 100 - share) < 4 * deviation + 1 / len(p.labels), (p.error(k), metrics)
    if (folder / "predictions").exists():
        kept, first = recorded_predictions(folder), slice(len(p.labels))
        if recipe.data in PACKED:  # of each class the first
            first = torch.arange(len(kept.labels)).view(data["classes"], -1)[:, : images // data["classes"]].flatten()
        assert p.labels.tolist() == kept.labels[first].tolist()
        # One was evaluated in bfloat16, and all with unrounded weights.
        assert (p.predicted == kept.predicted[first]).float().mean() > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_all_images_are_classified_as_recorded(folder, request, monkeypatch, tmp_path):
    """So half precision, in which the weights are kept, changes the accuracy by less than 0.1 points."""
    recipe, data, metrics, macs = about(folder)
    if not (is_thorough() or os.environ.get(WHOLE_SETS)):
        pytest.skip(f"set {THOROUGH} to wait for {data['val_images']:,} images")
    if macs > LARGE and not torch.cuda.is_available() and not os.environ.get(WHOLE_SETS):
        pytest.skip(
            f"{data['val_images']:,} images of {macs / 1e9:.1f} billion MACs: set {WHOLE_SETS} to wait for them"
        )
    p = evaluate(folder, request, monkeypatch, tmp_path, None)
    assert len(p.labels) == data["val_images"]
    # Where the run was evaluated in bfloat16 and this machine does it in another precision, that differs too.
    limit = 0.1 if recipe.precision == "32-true" else 0.2
    assert abs(p.error(1) - metrics["val_top1_error"]) < limit
    assert abs(p.error(5) - metrics["val_top5_error"]) < limit
