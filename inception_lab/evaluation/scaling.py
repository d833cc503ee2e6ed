"""What a run has cost, and what a larger one would take: computed from recorded runs, under assumptions that are said.

spent(PLACE / "cifar10-0", euros_per_kwh=0.30, euros_per_hour=3.0)
rate = transferred_rate(PLACE / "tiny-imagenet-0", RECIPES["imagenet-modern"], classes=1000)
forecast(rate, epochs=90, devices=(1, 8, 64), parameters=13_378_280, batch=128, bandwidth=50e9)
"""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from inception_lab import costs
from inception_lab.training.recipes import Recipe

ILSVRC_2012 = 1_281_167  # training images (Russakovsky et al. 2014, arXiv:1409.0575, Table 2)


def spent(folder: str | Path, euros_per_kwh: float, euros_per_hour: float = 0.0, watts: float | None = None) -> dict:
    """Hours of the training loop, kilowatt-hours, and euros for electricity and rent, of a recorded run.

    euros_per_hour: rent of one device. watts: what one device is assumed to draw where the run did not measure it;
    `measured` says which it was. What is measured is the cards' own use, without the host. Raises ValueError where
    the run did not measure and no assumption is given.
    """
    metrics, session = _read(folder, "metrics.json"), _read(folder, "environment.json")["sessions"][-1]
    hours, devices = metrics["seconds"] / 3600, session["processes"]
    measured = "watt_hours" in metrics
    if not measured and watts is None:
        raise ValueError(f"watts must be given: {folder} did not measure its energy")
    kwh = metrics["watt_hours"] / 1000 if measured else watts * devices * hours / 1000
    row = {"hours": hours, "devices": devices, "kwh": kwh, "measured": measured}
    return row | {"electricity": kwh * euros_per_kwh, "rent": hours * devices * euros_per_hour}


def transferred_rate(folder: str | Path, recipe: Recipe, classes: int) -> float:
    """Training images a second that one device would do of another recipe, from the rate of a recorded run.

    The assumption: the device does as many MACs a second with this recipe as with the recorded one, and its images
    come as fast as it takes them. It fits best where the two networks and image sizes are alike.
    """
    metrics, session = _read(folder, "metrics.json"), _read(folder, "environment.json")["sessions"][-1]
    recorded = Recipe.from_json((Path(folder) / "recipe.json").read_text(encoding="utf-8"))
    work = [_macs(recorded, session["data"]["classes"]), _macs(recipe, classes)]
    return metrics["images_per_second"] / session["processes"] * work[0] / work[1]


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
    """A row a number of devices: efficiency, images a second, hours, kilowatt-hours and euros of a whole training.

    rate: images a second of one device. batch: images a device and step. bandwidth: bytes a second that a device can
    send to the next while it receives as much. The model: after each step the gradients, 4 bytes a parameter, go
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
        compute, exchange = batch / rate, 2 * (n - 1) / n * 4 * parameters / bandwidth
        efficiency = compute / (compute + exchange)
        hours = epochs * images / (n * rate * efficiency) / 3600
        kwh = n * watts * hours / 1000
        row = {"devices": n, "efficiency": efficiency, "images_per_second": n * rate * efficiency, "hours": hours}
        rows.append(row | {"kwh": kwh, "electricity": kwh * euros_per_kwh, "rent": n * hours * euros_per_hour})
    return pd.DataFrame(rows)


def _macs(recipe: Recipe, classes: int) -> int:
    """MACs of the forward pass of one image in training, with the heads where there are some."""
    return costs.count(recipe.network, recipe.image_size, num_classes=classes, training=True, **recipe.options).macs


def _read(folder: str | Path, name: str) -> dict:
    return json.loads((Path(folder) / name).read_text(encoding="utf-8"))
