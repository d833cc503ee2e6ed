"""Networks, images and recipes small enough to train in a test, for this process and for those that tests start."""

import csv
from dataclasses import replace
from functools import partial
from itertools import repeat

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import Dataset

from inception_lab.common.seeds import seed_all, seed_of
from inception_lab.data import Augmentation
from inception_lab.models import zoo
from inception_lab.models.designs import Design, Row
from inception_lab.models.googlenet import GoogLeNet
from inception_lab.training.batches import Batches, Data
from inception_lab.training.recipes import Recipe
from inception_lab.training.runs import RunFolder
from inception_lab.training.state import Metrics
from inception_lab.training.trainer import train

SIZE, CLASSES = 12, 4

# fmt: off
TABLE = (
    Row("conv1",        "convolution",  3, 2, 1, 8),
    Row("conv2",        "convolution",  3, 1, 2, 0,  0, 8, 16),
    Row("inception_3a", "inception",    0, 1, 2, 0,  4, 4, 8, 2, 4, 4),
    Row("pool3",        "max pool",     3, 2, 0),
    Row("inception_4a", "inception",    0, 1, 2, 0,  8, 8, 8, 4, 8, 8),
)
# fmt: on
PLAIN = Design(TABLE, dropout=0.0, aux_after=(), aux_pool="adaptive")
NETWORKS = {
    "tiny-lrn": PLAIN,
    "tiny-bn": replace(PLAIN, norm="batch", bias=False, dropout=0.3),
    "tiny-aux": replace(PLAIN, aux_after=("inception_3a",), aux_dropout=0.0),
}
for _name, _design in NETWORKS.items():
    zoo.ZOO[_name] = zoo.Entry(partial(GoogLeNet, _design), SIZE, "the tests")


class Stripes(Dataset):
    """Colored stripes on noise: horizontal or vertical, reddish or bluish, uint8 (3, 12, 12)."""

    def __init__(self, count: int, seed: int):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, CLASSES, count)
        images = rng.integers(0, 120, (count, 3, SIZE, SIZE))
        for image, label in zip(images, labels, strict=True):
            start, channel = rng.integers(0, 3), 0 if label < 2 else 2
            stripes = image[channel].T if label % 2 else image[channel]
            stripes[start::3] += 80
        self.pixels, self.classes = torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.pixels[i], int(self.classes[i])


class InMemory(Stripes):
    """The same, in the form that is held in memory as a whole."""

    @property
    def images(self) -> torch.Tensor:
        return self.pixels

    @property
    def labels(self) -> torch.Tensor:
        return self.classes


def flip(images: torch.Tensor) -> torch.Tensor:
    """Mirror each image or not, by the global random numbers."""
    return torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images, images.flip(-1))


FLIP = Augmentation(SIZE, (1.0, 1.0), (1.0, 1.0), photometric=0.0, mean=(0.4,) * 3, std=(0.25,) * 3)


def data(train: int = 64, val: int = 50, kind=InMemory, augment=flip) -> Data:
    names = ["red rows", "red columns", "blue rows", "blue columns"]
    return Data(kind(train, 0), kind(val, 1), names, (0.4,) * 3, (0.25,) * 3, augment)


def recipe(network: str = "tiny-lrn", **settings) -> Recipe:
    usual = dict(data="stripes", image_size=SIZE, epochs=2, batch=16, learning_rate=0.05, schedule="constant")
    return Recipe("tiny", network, **usual | settings)


def quietly(recipe: Recipe, out, sets=None, **options) -> dict:
    """Train on these sets, or on `data()`, and show nothing."""
    return train(recipe, out, data=sets or data(), progress=False, accelerator="cpu", **options)


def history(folder) -> list[dict]:
    """The rows of a run folder's history, one per epoch."""
    with open(folder / "history.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def metrics() -> Metrics:
    """The result of a run that nobody made, for tests that need a finished folder and no training."""
    return Metrics(
        1.0, 50.0, 10.0, False, parameters=1, epochs=1, steps=1, seconds=1.0, images_per_second=1.0, waiting_percent=0.0
    )


def by_hand(recipe: Recipe, data: Data, average=None, rates=None) -> tuple[torch.nn.Module, list[float]]:
    """The same training in plain PyTorch: SGD, one loss, batches and random numbers from `Batches`.

    rates: the learning rate of each step, by default the recipe's. average: takes the weights after each step.
    """
    seed_all(seed_of(recipe.weights_seed, "weights"))
    model = zoo.build(recipe.network, CLASSES)
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.learning_rate, momentum=0.9)
    batches, losses = Batches(recipe, data, torch.device("cpu")), []
    rates = repeat(recipe.learning_rate) if rates is None else iter(rates)
    for epoch in range(recipe.epochs):
        for part in batches.epoch(epoch):
            images, labels = batches.to_device(*part)
            value = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            value.backward()
            optimizer.param_groups[0]["lr"] = next(rates)
            optimizer.step()
            losses.append(value.item())
            if average:
                average.update(model)
    return model, losses


def finished(folder, model: torch.nn.Module, recipe: Recipe, labels: dict) -> None:
    """Make the folder of a finished run that has these weights."""
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(recipe.to_json())
    RunFolder(folder).finish(model, recipe, labels, metrics())
