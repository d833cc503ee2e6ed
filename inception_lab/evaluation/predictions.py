"""What predicted probabilities say: top-k error, error by class, confusion, calibration, and what ensembles gain.

    p = predict("runs/first", crops=10)                    # probabilities (N, C) and labels (N,)
    p.error(5), p.error_by_class(), p.calibration_error()
    q = predict("runs/second", crops=10)
    average([p, q]).error(5), average([p, q]).passes       # 20 forward passes per image
    ladder([p, q])                                         # the paper's Table 3

Paper: Szegedy et al. 2014, "Going deeper with convolutions", arXiv:1409.4842, Section 7.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from scipy.stats import binomtest, norm

from inception_lab.common.checks import check_whole


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities of N images, and what the images show.

    probabilities: float32 (N, C), means over the crops of an image and over the models. labels: int64 (N,), the right
    class. classes: C names. crops: of each image; None for the whole image, as validation in training sees it.
    models: the run folders. data: a digest of the images, equal for equal images.
    """

    probabilities: torch.Tensor
    labels: torch.Tensor
    classes: list[str]
    crops: int | None
    models: tuple[str, ...]
    data: str

    @property
    def passes(self) -> int:
        """Forward passes per image: crops × models, the cost in the paper's Table 3."""
        return (self.crops or 1) * len(self.models)

    @property
    def predicted(self) -> torch.Tensor:
        """The most probable class of each image, int64 (N,)."""
        return self.probabilities.argmax(1)

    def error(self, k: int = 1) -> float:
        """Top-k error in per cent: the share of images whose class is not among the k most probable.

        With k classes or fewer it is 0. Raises ValueError for k below 1.
        """
        check_whole("k", k)
        most_probable = self.probabilities.topk(min(k, len(self.classes))).indices
        wrong = (most_probable != self.labels[:, None]).all(1)
        return 100 * wrong.sum().item() / len(wrong)

    @property
    def loss(self) -> float:
        """Mean of −log of the right class's probability (at least 10⁻³⁸, so that it is finite)."""
        right = self.probabilities.gather(1, self.labels[:, None]).double()
        return -right.clamp(min=torch.finfo(torch.float32).tiny).log().mean().item()

    def error_by_class(self) -> pd.DataFrame:
        """One row per class, worst first: its name, its number of images and their top-1 error in per cent.

        A class without images has no error (NaN).
        """
        counts = self.confusion()
        images = counts.sum(1)
        error = 100 * (images - counts.diagonal()).double() / images
        rows = {"class": self.classes, "images": images.numpy(), "top1_error": error.numpy()}
        return pd.DataFrame(rows).sort_values("top1_error", ascending=False, kind="stable", ignore_index=True)

    def mistakes(self, count: int) -> list[int]:
        """The numbers of the images that are taken for another class, most confident first, `count` at most."""
        confidence, predicted = self.probabilities.max(1)
        wrong = predicted != self.labels
        order = torch.where(wrong, confidence, torch.zeros(())).argsort(descending=True, stable=True)
        return order[: min(count, int(wrong.sum()))].tolist()

    def confused(self, count: int) -> pd.DataFrame:
        """The commonest confusions, `count` rows at most: so many images of `class` were taken for `taken_for`.

        back: how many were confused the other way round.
        """
        wrong, rows = self.confusion().fill_diagonal_(0), []
        for place in wrong.flatten().argsort(descending=True, stable=True)[:count].tolist():
            i, j = divmod(place, len(self.classes))
            if wrong[i, j]:
                rows.append((self.classes[i], self.classes[j], int(wrong[i, j]), int(wrong[j, i])))
        return pd.DataFrame(rows, columns=["class", "taken_for", "images", "back"])

    def confusion(self) -> torch.Tensor:
        """How many images of class i are taken for class j: int64 (C, C), i down and j across."""
        count = len(self.classes)
        return (self.labels * count + self.predicted).bincount(minlength=count**2).view(count, count)

    def calibration(self, bins: int = 15) -> pd.DataFrame:
        """How often the network is right when it is so and so confident (Guo et al. 2017, arXiv:1706.04599, Section 2).

        Confidence is the largest probability of an image. One row per bin, all of equal width, above `low` and up to
        `high`: how many images, their mean confidence and the share that is right (accuracy), both from 0 to 1; NaN
        without images.
        """
        check_whole("bins", bins)
        confidence = self.probabilities.amax(1)
        edges = torch.linspace(0, 1, bins + 1)
        number = torch.bucketize(confidence, edges[1:-1])  # a value on an edge belongs to the bin below
        right = self.predicted == self.labels
        images = number.bincount(minlength=bins)
        columns = {
            "low": edges[:-1],
            "high": edges[1:],
            "images": images,
            "confidence": number.bincount(confidence.double(), bins) / images,
            "accuracy": number.bincount(right.double(), bins) / images,
        }
        return pd.DataFrame({name: column.numpy() for name, column in columns.items()})

    def calibration_error(self, bins: int = 15) -> float:
        """Expected calibration error in per cent: the mean over images of their bin's |accuracy − confidence|."""
        rows = self.calibration(bins)
        gaps = (rows["accuracy"] - rows["confidence"]).abs() * rows["images"]
        return 100 * gaps.sum() / len(self.labels)


def average(predictions: Iterable[Predictions]) -> Predictions:
    """The ensemble: the mean of the models' probabilities (Section 7).

    Raises ValueError, naming the two and what differs, unless all saw as many crops of the same images.
    """
    predictions = list(predictions)
    check_same(predictions, "crops", "data", "classes", "labels")
    total = sum((len(p.models) * p.probabilities.double() for p in predictions), start=torch.zeros(()))
    models = tuple(name for p in predictions for name in p.models)
    return replace(predictions[0], probabilities=(total / len(models)).float(), models=models)


@dataclass(frozen=True)
class Rung:
    """One row of `ladder`: the ensembles of so many models, with so many crops. Errors are in per cent."""

    crops: int | None
    models: int  # in each ensemble
    passes: int  # forward passes per image
    ensembles: int  # how many were averaged; means and deviations are over them
    possible: int  # how many there are
    top1_error: float
    top1_deviation: float  # NaN for one ensemble
    top5_error: float
    top5_deviation: float


def ladder(predictions: Iterable[Predictions], most: int = 100, seed: int = 0) -> pd.DataFrame:
    """What more crops and more models gain on a set: the paper's Table 3, over every choice of models.

    predictions: of one model each, in any order. One row per number of crops and number of models, with the columns of
    Rung, and `top1_change` and `top5_change`: the error minus that of the first row. Ensembles share models, so that
    their standard deviation understates what other models would give. Where more than `most` ensembles are possible,
    so many are drawn by `seed`.

    Raises ValueError where there is nothing, an ensemble, or predictions of other images.
    """
    predictions = list(predictions)
    check_same(predictions, "data", "classes", "labels")
    if ensembles := [p for p in predictions if len(p.models) > 1]:
        raise ValueError(f"predictions must be of one model each, got an ensemble of {len(ensembles[0].models)}")
    rungs = []
    for crops in sorted({p.crops for p in predictions}, key=lambda crops: crops or 0):
        alike = [p for p in predictions if p.crops == crops]
        for n in range(1, len(alike) + 1):
            ensembles = [average(choice) for choice in choose(alike, n, most, seed)]
            top1, top5 = (pd.Series([p.error(k) for p in ensembles]) for k in (1, 5))
            rung = Rung(
                crops=crops,
                models=n,
                passes=ensembles[0].passes,
                ensembles=len(ensembles),
                possible=comb(len(alike), n),
                top1_error=top1.mean(),
                top1_deviation=top1.std(),
                top5_error=top5.mean(),
                top5_deviation=top5.std(),
            )
            rungs.append(rung)
    table = pd.DataFrame(rungs).astype({"crops": "Int64"})
    for column in ("top1", "top5"):
        table[f"{column}_change"] = table[f"{column}_error"] - table[f"{column}_error"].iloc[0]
    return table


class Paired(NamedTuple):
    """Two networks or settings on the same images: what only one of them gets wrong, and how surprising that is."""

    only_first: int  # images that only the first gets wrong
    only_second: int
    points: float  # error of the second minus the first's, in per cent
    p: float  # two-sided and exact: of as uneven a split, or more, by tosses of a fair coin
    low: float  # this and `high`: the 95 % interval of `points`
    high: float


def mcnemar(first: Predictions, second: Predictions) -> Paired:
    """Whether two networks differ by more than the choice of images explains, in their top-1 error: see `paired`.

    It tests these two networks: other trainings of the same recipe would differ as well. Raises ValueError for
    predictions of other images.
    """
    check_same([first, second], "data", "classes", "labels")
    return paired(first.predicted != first.labels, second.predicted != second.labels)


def paired(wrong: ArrayLike, other: ArrayLike) -> Paired:
    """Which images are wrong, bool (N,), with two networks or in two settings (McNemar 1947).

    Images that both get right or both get wrong say nothing. Of the others, equal networks would miss as many each,
    as by tosses of a coin. The interval is Bonett and Price's (2012, doi 10.3102/1076998611411915): Wald's, with one
    more image that only the first gets wrong, and one that only the second does. Raises ValueError where the numbers of
    images differ.
    """
    wrong, other = np.asarray(wrong, bool), np.asarray(other, bool)
    if wrong.shape != other.shape or wrong.ndim != 1 or not len(wrong):
        raise ValueError(f"wrong and other must be of the same images, got shapes {wrong.shape} and {other.shape}")
    a, b, n = int((wrong & ~other).sum()), int((other & ~wrong).sum()), len(wrong)
    p = float(binomtest(a, a + b).pvalue) if a + b else 1.0
    middle = (b - a) / (n + 2)
    half = norm.ppf(0.975) * (((a + b + 2) / (n + 2) - middle**2) / (n + 2)) ** 0.5
    return Paired(a, b, 100 * (b - a) / n, p, 100 * float(middle - half), 100 * float(middle + half))


def choose(things: list, n: int, most: int, seed: int = 0) -> list[tuple]:
    """All choices of n things, in order; where they are more than `most`, so many different ones drawn by `seed`."""
    if comb(len(things), n) <= most:
        return list(combinations(things, n))
    rng = random.Random(seed)
    drawn: set[tuple[int, ...]] = set()
    while len(drawn) < most:
        drawn.add(tuple(sorted(rng.sample(range(len(things)), n))))
    return [tuple(things[i] for i in numbers) for numbers in sorted(drawn)]


def check_same(predictions: list[Predictions], *names: str) -> None:
    """Raise ValueError, naming what differs, unless all predictions have these fields in common."""
    if not predictions:
        raise ValueError("predictions must not be empty")
    first = predictions[0]
    for other in predictions[1:]:
        for name in names:
            one, two = getattr(first, name), getattr(other, name)
            if not (torch.equal(one, two) if name == "labels" else one == two):
                values = f": {one} and {two}" if name in ("crops", "data") else ""
                raise ValueError(f"{', '.join(first.models)} and {', '.join(other.models)} differ in {name}{values}")
