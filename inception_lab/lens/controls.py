"""Networks that know nothing, to compare a trained one with: weights in random order, and weights before training.

    shuffled("shapes-laptop", seed=1)           # a recorded run, or a run folder
    untrained("runs/mine")

The statistics of batch normalization are measured anew in both, so that values have a usual size.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from inception_lab.data.pictures import normalize
from inception_lab.data.shapes import CLASSES, Shapes
from inception_lab.lens.network import Network
from inception_lab.training.recipes import Recipe
from inception_lab.training.runs import find_run
from inception_lab.training.weights import initial_model, load_model


def shuffled(run: str | Path, seed: int = 0, images: int = 256) -> Network:
    """The network of a run on `shapes` with the entries of each weight tensor in random order.

    A sanity check (Adebayo et al. 2018, arXiv:1810.03292): an attribution that still finds the object does not show
    what the network has learned. run: a run folder, or the name of a recorded run. images: how many of the training
    split batch normalization is measured on. Raises ValueError for no run, RunError for one without finished weights.
    """
    folder = find_run(run)
    model, about = load_model(folder)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(weights.flatten()[torch.randperm(weights.numel(), generator=generator)].view_as(weights))
    return _measured(model, about, images, f"{folder.name}, shuffled")


def untrained(run: str | Path | Recipe, images: int = 256) -> Network:
    """The network of a run on `shapes`, or of its recipe, as it was before the first step; otherwise as `shuffled`."""
    about: dict[str, Any] = {"recipe": run, "classes": CLASSES, "mean": Shapes.mean, "std": Shapes.std}
    if not isinstance(run, Recipe):
        _, about = load_model(find_run(run))
    with torch.random.fork_rng(devices=[]):
        model = initial_model(about["recipe"], len(about["classes"]))
    return _measured(model, about, images, f"{about['recipe'].name}, new")


def _measured(model: nn.Module, about: dict[str, Any], images: int, name: str) -> Network:
    """The network to look inside, its batch normalization measured. about: what `load_model` gives with a model."""
    size = about["recipe"].image_size
    recalibrate(model, Shapes("train", size=size, length=images), about["mean"], about["std"])
    return Network(model, about["mean"], about["std"], about["classes"], size, name)


def recalibrate(model: nn.Module, data: Shapes, mean: Sequence[float], std: Sequence[float]) -> None:
    """Set the running means and variances of batch normalization to those over all images of a set, as one batch.

    The model is left in evaluation mode. mean, std: of each channel, to normalize the images from 0 to 1 with.
    """
    images = normalize(data.batch(range(len(data)))[0], mean, std)
    with torch.random.fork_rng(devices=[]):  # dropout draws, and comes after the last batch normalization
        update_bn([images], model)
    model.eval()
