"""Images that are held small in memory and seen large: the device resizes them, in training and in evaluation."""

from dataclasses import replace

import pytest
import torch
from torchvision.io import write_png

from inception_lab.common import files
from inception_lab.data.pictures import fit
from inception_lab.data.shapes import Shapes
from inception_lab.evaluation.inference import predict, views
from inception_lab.training.batches import Batches, check_memory, in_order, open_data
from inception_lab.training.recipes import RECIPES, Recipe
from inception_lab.training.trainer import train

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
RECIPE = Recipe("small", "googlenet-uva", image_size=48, memory_size=16, batch=8, epochs=1, learning_rate=0.01)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A folder of shapes, 20 pixels wide."""
    place = tmp_path_factory.mktemp("shapes")
    for split, count in (("train", 32), ("val", 24)):
        drawn = Shapes(split, size=20, length=count)
        for number, (image, label) in enumerate(drawn):
            (place / split / drawn.classes[label]).mkdir(parents=True, exist_ok=True)
            write_png(image, str(place / split / drawn.classes[label] / f"{number:02}.png"))
    return place


@pytest.fixture(autouse=True)
def scans(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "data_folder", lambda: tmp_path)


@pytest.mark.parametrize("augmentation", ["none", "flip", "shift", "crop"])
def test_they_are_held_at_one_size_and_trained_on_at_another(tree, augmentation):
    recipe = replace(RECIPE, augmentation=augmentation)
    data = open_data(recipe, tree)
    assert data.train.images.shape == (32, 3, 16, 16) and data.val.images.shape == (24, 3, 16, 16)
    batches = Batches(recipe, data, CPU)
    images, labels = batches.to_device(*next(batches.epoch(0)))
    assert images.shape == (8, 3, 48, 48) and images.dtype == torch.float32 and labels.shape == (8,)


def test_without_augmentation_training_and_validation_see_the_resized_image(tree):
    data = open_data(RECIPE, tree)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.mean, data.std))
    batches = Batches(RECIPE, data, CPU)
    for read, part in zip(batches.epoch(0), batches.order(0), strict=True):
        images, labels = batches.to_device(*read)
        expected = torch.stack([(fit(data.train.images[i], 48) / 255 - mean) / std for i in part])
        assert (images - expected).abs().max() < 1e-6 and torch.equal(labels, data.train.labels[part])
    seen = torch.cat([images for images, _ in in_order(data, RECIPE, CPU)])
    assert (seen - (fit(data.val.images, 48) / 255 - mean) / std).abs().max() < 1e-6


def test_a_patch_of_the_small_image_is_enlarged(tree):
    """The augmented batch is the recipe's crop of the small image, as if the large one had never been there."""
    recipe = replace(RECIPE, augmentation="crop", smallest_crop=0.5)
    data = open_data(recipe, tree)
    assert data.augment.size == 48
    whole = replace(data.augment, scale=(1, 1), ratio=(1, 1), flip=0, mean=(0, 0, 0), std=(1, 1, 1))
    large = torch.nn.functional.interpolate(data.train.images / 255, size=48, mode="bilinear")
    assert (whole(data.train.images) - large).abs().max() < 1e-5


def test_evaluation_sees_what_validation_in_training_saw(tree, tmp_path):
    recipe = replace(RECIPE, augmentation="flip")
    metrics = train(recipe, tmp_path / "run", data=tree, progress=False, accelerator="cpu")
    p = predict(tmp_path / "run", tree, progress=False, accelerator="cpu")
    assert p.loss == pytest.approx(metrics["val_loss"], rel=1e-4)
    assert (p.error(1), p.error(5)) == pytest.approx((metrics["val_top1_error"], metrics["val_top5_error"]), abs=1e-4)
    large = predict(
        tmp_path / "run", tree, crops=1, progress=False, accelerator="cpu"
    )  # from the 20 pixels that there are
    assert not torch.allclose(p.probabilities, large.probabilities, atol=1e-4)


@pytest.mark.parametrize("crops, count", [(None, 1), (1, 1), (10, 10), (144, 48)])
def test_views_of_a_batch_are_those_of_its_images(crops, count):
    images = Shapes("val", size=20, length=3).batch(range(3))[0]
    together = views(images, crops, RECIPE)
    assert together.shape == (3, count, 3, 48, 48)
    assert torch.equal(together, torch.cat([views(image[None], crops, RECIPE) for image in images]))


def test_memory_is_reckoned_at_the_size_that_is_held():
    with pytest.raises(ValueError, match="110,000 images of 224×224 pixels are 17 GB"):
        check_memory(110_000, 224)
    check_memory(110_000, RECIPES["tiny-imagenet-224"].memory_size)
