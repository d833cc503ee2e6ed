"""Short trainings on real photographs in folders: they learn, leave the right files, and test as a plain loop does."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from test_runs import KEPT
from tiny import history
from torchvision.transforms.v2.functional import resize

from inception_lab.common import files
from inception_lab.evaluation.inference import predict
from inception_lab.training.recipes import Recipe
from inception_lab.training.trainer import train
from inception_lab.training.weights import load_model

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

USUAL = dict(optimizer="adamw", learning_rate=0.002, schedule="one-cycle", warmup_epochs=1, epochs=4, batch=16)
# A short training in memory, by the batched augmentation, and one that reads files and augments each image.
MEMORY = Recipe("memory", "googlenet-uva", image_size=32, augmentation="flip", **USUAL | {"epochs": 3})
FILES = dict(in_memory=False, augmentation="crop", smallest_crop=0.5, averaging="ema", average_decay=0.9)
FILES = Recipe("files", "googlenet-laptop", {"aux": False}, image_size=48, **FILES, **USUAL)
# The packed set and its part; how many of its classes, images to train on and to validate with in each; the recipe.
SETS = {
    "cifar10": ("cifar10", "test", 6, 36, 12, MEMORY),
    "tiny-imagenet": ("tiny-imagenet-200", "val", 4, 40, 10, FILES),
}


@pytest.fixture(scope="module", params=SETS.values(), ids=SETS)
def trained(request, real_images, tmp_path_factory):
    """The row of SETS, the images that were trained on, the run folder and what the training returned."""
    name, part, classes, to_train, to_validate, recipe = request.param
    unpacked = real_images(name, part, to_train + to_validate) / part
    place = tmp_path_factory.mktemp("short")
    folders = sorted(unpacked.iterdir())
    for folder in folders[:: len(folders) // classes][:classes]:
        for split in ("train", "val"):
            (place / "images" / split / folder.name).mkdir(parents=True)
        for number, path in enumerate(sorted(folder.iterdir())):
            shutil.copy(path, place / "images" / ("train" if number < to_train else "val") / folder.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "data_folder", lambda: place)  # where the scan of the folder is remembered
        metrics = train(recipe, place / "run", data=place / "images", progress=False, accelerator="cpu")
        yield request.param, place / "images", place / "run", metrics


def test_the_network_learns(trained):
    (_, _, classes, _, _, _), _, run, metrics = trained
    rows = history(run)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] - 0.2
    assert rows[-1]["train_top1_error"] < rows[0]["train_top1_error"] - 10
    assert rows[-1]["train_loss"] < 0.95 * np.log(classes)
    assert metrics["val_top1_error"] < 90 * (1 - 1 / classes)  # by chance 100 × (1 − 1 / classes)


def test_the_run_folder_has_the_right_files(trained):
    (_, _, classes, to_train, to_validate, recipe), images, run, metrics = trained
    assert sorted(path.name for path in run.iterdir() if path.name != "predictions") == KEPT
    asked = Recipe.from_json((run / "recipe.json").read_text())
    assert asked.data == "images" and recipe.differences(asked) == ["data 'shapes', not 'images'"]
    (session,) = json.loads((run / "environment.json").read_text())["sessions"]
    about_data = {key: session["data"][key] for key in ("name", "classes", "train_images", "val_images")}
    assert list(about_data.values()) == ["images", classes, classes * to_train, classes * to_validate]
    rows = history(run)
    steps = classes * to_train // recipe.batch
    assert [(row["epoch"], row["step"]) for row in rows] == [(e, e * steps) for e in range(1, recipe.epochs + 1)]
    assert json.loads((run / "metrics.json").read_text()) == metrics
    assert all(metrics[key] == rows[-1][key] for key in ("val_loss", "val_top1_error", "val_top5_error"))
    model, about = load_model(run)
    assert about["recipe"] == asked and metrics["averaged"] == (recipe.averaging == "ema")
    assert about["classes"] == sorted(path.name for path in (images / "train").iterdir())
    assert sum(p.numel() for p in model.parameters()) == metrics["parameters"]
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


def test_evaluation_agrees_with_a_plain_loop_and_with_the_training(trained):
    (_, _, classes, _, to_validate, recipe), images, run, metrics = trained
    p = predict(run, images, progress=False, accelerator="cpu")

    model, _ = load_model(run)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    right = among_five = total = seen = 0
    for label, folder in enumerate(sorted((images / "val").iterdir())):
        for path in sorted(folder.iterdir()):
            pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1).contiguous()
            pixels = resize(pixels, [recipe.image_size], antialias=True)
            with torch.no_grad():
                logits = model(((pixels / 255 - mean) / std)[None])[0].double().numpy()
            probabilities = np.exp(logits) / np.exp(logits).sum()
            assert np.abs(p.probabilities[seen].numpy() - probabilities).max() < 1e-4 and p.labels[seen] == label
            right += int(probabilities.argmax() == label)
            among_five += int(label in np.argsort(probabilities)[-5:])
            total -= np.log(probabilities[label])
            seen += 1

    assert seen == len(p.labels) == classes * to_validate
    top1, top5 = 100 * (1 - right / seen), 100 * (1 - among_five / seen)
    assert (p.error(1), p.error(5)) == pytest.approx((top1, top5), abs=1e-9)
    assert (metrics["val_top1_error"], metrics["val_top5_error"]) == pytest.approx((top1, top5), abs=1e-4)
    assert p.loss == pytest.approx(total / seen, rel=1e-4)
    assert metrics["val_loss"] == pytest.approx(total / seen, rel=1e-4)
