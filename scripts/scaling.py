"""What a run has cost, and what a larger one would take: computed from recorded runs, under assumptions that are said.

spent(recorded_run("cifar10-0"), euros_per_kwh=0.30, euros_per_hour=3.0)
rate = transferred_rate(recorded_run("tiny-imagenet-0"), RECIPES["imagenet-modern"], classes=1000)
forecast(rate, epochs=90, devices=(1, 8, 64), parameters=13_385_816, batch=128, bandwidth=50e9)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from inception_lab import costs
from inception_lab.training import RunFolder
from inception_lab.training.recipes import Recipe

ILSVRC_2012 = 1_281_167  # training images (Russakovsky et al. 2014, arXiv:1409.0575, Table 2)


@dataclass(frozen=True)
class Spent:
    """What a recorded run has cost."""

    hours: float  # of the training loop
    devices: int
    kwh: float  # of the devices, without the host
    measured: bool  # whether kwh was measured, or comes from an assumed power
    electricity: float  # euros, and so is the rent
    rent: float


def spent(folder: str | Path, euros_per_kwh: float, euros_per_hour: float = 0.0, watts: float | None = None) -> Spent:
    """What a recorded run has cost.

    euros_per_hour: rent of one device. watts: what one device is assumed to draw where the run did not measure it.
    Raises ValueError where the run did not measure and no assumption is given.
    """
    run = RunFolder(folder)
    metrics, session = run.read("metrics.json"), run.read("environment.json")["sessions"][-1]
    hours, devices = metrics["seconds"] / 3600, session["processes"]
    if "watt_hours" in metrics:
        kwh = metrics["watt_hours"] / 1000
    elif watts is not None:
        kwh = watts * devices * hours / 1000
    else:
        raise ValueError(f"watts must be given: {folder} did not measure its energy")
    measured, rent = "watt_hours" in metrics, hours * devices * euros_per_hour
    return Spent(hours, devices, kwh, measured, electricity=kwh * euros_per_kwh, rent=rent)


def transferred_rate(folder: str | Path, recipe: Recipe, classes: int) -> float:
    """Training images per second that one device would do of another recipe, from the rate of a recorded run.

    The assumption: the device does as many MACs per second with this recipe as with the recorded one, and its images
    come as fast as it takes them. It fits best where the two networks and image sizes are alike.
    """
    run = RunFolder(folder)
    metrics, session = run.read("metrics.json"), run.read("environment.json")["sessions"][-1]
    ratio = training_macs(run.recipe, session["data"]["classes"]) / training_macs(recipe, classes)
    return metrics["images_per_second"] / session["processes"] * ratio


@dataclass(frozen=True)
class Forecast:
    """One row of `forecast`: a whole training on so many devices."""

    devices: int
    efficiency: float  # images per second, of what as many devices would do that exchange nothing
    images_per_second: float
    hours: float
    kwh: float
    electricity: float  # euros, and so is the rent
    rent: float


def forecast(
    rate: float,
    epochs: int,
    *,
    parameters: int,
    batch: int,
    bandwidth: float,
    devices: Iterable[int] = (1, 8, 64),
    images: int = ILSVRC_2012,
    watts: float = 0.0,
    euros_per_kwh: float = 0.0,
    euros_per_hour: float = 0.0,
) -> pd.DataFrame:
    """What a whole training takes: one row per number of devices, with the columns of Forecast.

    rate: images per second of one device. batch: images per device and step. bandwidth: bytes per second that a device
    can send to the next while it receives as much. The model: after each step the gradients, 4 bytes per parameter, go
    round a ring of n devices, in which each sends 2 (n − 1) / n of them (Patarasuk & Yuan 2009), and nothing else is
    done meanwhile. In fact most of that is hidden behind the backward pass, while stragglers and the network's delay,
    which the model leaves out, cost something. watts, euros_per_hour: of one device, its share of the host included.

    Raises ValueError for a number that is not above 0 where it must be.
    """
    for name, value in dict(rate=rate, epochs=epochs, parameters=parameters, batch=batch, bandwidth=bandwidth).items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}")
    rows = []
    for n in devices:
        computing, exchanging = batch / rate, 2 * (n - 1) / n * 4 * parameters / bandwidth  # seconds per step
        efficiency = computing / (computing + exchanging)
        hours = epochs * images / (n * rate * efficiency) / 3600
        kwh = n * watts * hours / 1000
        euros = dict(electricity=kwh * euros_per_kwh, rent=n * hours * euros_per_hour)
        rows.append(Forecast(n, efficiency, n * rate * efficiency, hours, kwh, **euros))
    return pd.DataFrame(rows)


def training_macs(recipe: Recipe, classes: int) -> int:
    """MACs of the forward pass of one image in training, with the heads where there are some."""
    return costs.count(recipe.network, recipe.image_size, num_classes=classes, training=True, **recipe.options).macs
