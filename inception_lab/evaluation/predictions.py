"""What predicted probabilities say: top-k error, error by class, confusion, calibration, and what ensembles gain.

    p = evaluation.predict("runs/first", crops=10)         # probabilities (N, C) and labels (N,)
    p.error(5), p.error_by_class(), p.calibration_error()
    q = average([p, evaluation.predict("runs/second", crops=10)])
    q.error(5), q.passes                                   # 20 forward passes an image
    ladder([p, q, ...])                                    # the paper's Table 3

Paper: Szegedy et al. 2014, "Going deeper with convolutions", arXiv:1409.4842, Section 7.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import torch


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
        """Forward passes an image: crops × models, the cost in the paper's Table 3."""
        return (self.crops or 1) * len(self.models)

    @property
    def predicted(self) -> torch.Tensor:
        """The most probable class of each image, int64 (N,)."""
        return self.probabilities.argmax(1)

    def error(self, k: int = 1) -> float:
        """Top-k error in per cent: the share of images whose class is not among the k most probable.

        With k classes or fewer it is 0. Raises ValueError for k below 1.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        most_probable = self.probabilities.topk(min(k, len(self.classes))).indices
        wrong = (most_probable != self.labels[:, None]).all(1)
        return 100 * wrong.sum().item() / len(wrong)

    @property
    def loss(self) -> float:
        """Mean of −log of the right class's probability (at least 10⁻³⁸, so that it is finite)."""
        right = self.probabilities.gather(1, self.labels[:, None]).double()
        return -right.clamp(min=torch.finfo(torch.float32).tiny).log().mean().item()

    def error_by_class(self) -> pd.DataFrame:
        """A row a class, worst first: its name, its number of images and their top-1 error in per cent.

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
        order = torch.where(wrong, confidence, 0).argsort(descending=True, stable=True)
        return order[: min(count, int(wrong.sum()))].tolist()

    def confused(self, count: int) -> pd.DataFrame:
        """The commonest confusions, a row each: class, taken for, how many images, and how many the other way round."""
        wrong, rows = self.confusion().fill_diagonal_(0), []
        for place in wrong.flatten().argsort(descending=True, stable=True)[:count].tolist():
            i, j = divmod(place, len(self.classes))
            if wrong[i, j]:
                row = {"class": self.classes[i], "taken_for": self.classes[j]}
                rows.append(row | {"images": int(wrong[i, j]), "back": int(wrong[j, i])})
        return pd.DataFrame(rows, columns=["class", "taken_for", "images", "back"])

    def confusion(self) -> torch.Tensor:
        """How many images of class i are taken for class j: int64 (C, C), i down and j across."""
        count = len(self.classes)
        return (self.labels * count + self.predicted).bincount(minlength=count**2).view(count, count)

    def calibration(self, bins: int = 15) -> pd.DataFrame:
        """How often the network is right when it is so and so confident (Guo et al. 2017, arXiv:1706.04599, Section 2).

        Confidence is the largest probability of an image. A row a bin of equal width, above `low` and up to `high`:
        its images, their mean confidence and the share that is right (accuracy), all from 0 to 1; NaN without images.
        """
        if bins < 1:
            raise ValueError(f"bins must be at least 1, got {bins}")
        confidence = self.probabilities.amax(1)
        edges = torch.linspace(0, 1, bins + 1)
        number = torch.bucketize(confidence, edges[1:-1])  # a value on an edge belongs to the bin below
        right = self.predicted == self.labels
        images, total, hits = (number.bincount(w, bins) for w in (None, confidence.double(), right.double()))
        rows = {"low": edges[:-1], "high": edges[1:], "images": images}
        rows |= {"confidence": total / images, "accuracy": hits / images}
        return pd.DataFrame({name: column.numpy() for name, column in rows.items()})

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
    total = sum(len(p.models) * p.probabilities.double() for p in predictions)
    models = tuple(name for p in predictions for name in p.models)
    return replace(predictions[0], probabilities=(total / len(models)).float(), models=models)


def ladder(predictions: Iterable[Predictions], most: int = 100, seed: int = 0) -> pd.DataFrame:
    """What more crops and more models gain on a set: the paper's Table 3, over every choice of models.

    predictions: of one model each, in any order. For each number of crops and each n from 1 to the number of models,
    a row: the mean top-1 and top-5 error (per cent) of the ensembles of n models, their standard deviation (NaN for
    one ensemble; ensembles share models, so that it understates what other n models would give), and the change of
    the mean against the first row. `ensembles` says how many were averaged, `possible` how many there are: where
    these are more than `most`, so many are drawn by `seed`.

    Raises ValueError where there is nothing, an ensemble, or predictions of other images.
    """
    predictions = list(predictions)
    check_same(predictions, "data", "classes", "labels")
    if ensembles := [p for p in predictions if len(p.models) > 1]:
        raise ValueError(f"predictions must be of one model each, got an ensemble of {len(ensembles[0].models)}")
    rows = []
    for crops in sorted({p.crops for p in predictions}, key=lambda crops: crops or 0):
        alike = [p for p in predictions if p.crops == crops]
        for n in range(1, len(alike) + 1):
            made = [average(choice) for choice in choose(alike, n, most, seed)]
            row = {"crops": crops, "models": n, "passes": made[0].passes}
            row |= {"ensembles": len(made), "possible": comb(len(alike), n)}
            for k in (1, 5):
                errors = np.array([p.error(k) for p in made])
                row[f"top{k}_error"] = errors.mean()
                row[f"top{k}_deviation"] = errors.std(ddof=1) if len(errors) > 1 else np.nan
            rows.append(row)
    table = pd.DataFrame(rows).astype({"crops": "Int64"})
    for k in (1, 5):
        table[f"top{k}_change"] = table[f"top{k}_error"] - table[f"top{k}_error"].iloc[0]
    return table


def choose(things: list, n: int, most: int, seed: int = 0) -> list[tuple]:
    """All choices of n things, in order; where they are more than `most`, so many different ones drawn by `seed`."""
    if comb(len(things), n) <= most:
        return list(combinations(things, n))
    rng, drawn = random.Random(seed), set()
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
