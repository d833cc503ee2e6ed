"""Before a run, by some of its own steps: how long it takes, which learning rate suits it, and where its time goes.

print(dry_run("shapes-laptop"))
rates = lr_range("shapes-laptop")     # rates.frame, rates.suggestion
profile("shapes-laptop")              # seconds per step, by part

No run folder is made, and nothing is written.
"""

import itertools
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch

from inception_lab.common.checks import RunError, check_whole
from inception_lab.common.environment import environment
from inception_lab.common.schema import check_type
from inception_lab.training import recipes
from inception_lab.training.batches import Batch, in_order
from inception_lab.training.recipes import Recipe
from inception_lab.training.trainer import Trainer, evaluate, loss, prepare

WARM_UP, SECONDS, FEWEST = 3, 5.0, 5  # steps before the clock runs; how long it runs, and for how many steps at least
EVALUATED = 8  # batches of validation that are timed
SMOOTHING = 0.9  # of the losses of a range test
T = TypeVar("T", bound=Trainer)


@dataclass
class Estimate:
    """What a run will take. Its counts are exact; what is in seconds and bytes was measured on this machine, now."""

    train_images: int
    val_images: int
    classes: int
    epochs: int
    steps_per_epoch: int
    parameters: int
    memory: dict[str, int]  # what for → bytes, in each process
    peak: int | None  # bytes that a GPU's memory, or without one the whole process, has held at most
    seconds_per_step: float
    seconds_per_evaluation: float
    timed_steps: int
    device: str

    @property
    def hours(self) -> float:
        """Of training and evaluation, if the machine stays as fast as it was."""
        seconds_per_epoch = self.steps_per_epoch * self.seconds_per_step + self.seconds_per_evaluation
        return self.epochs * seconds_per_epoch / 3600

    def __str__(self) -> str:
        memory = {**self.memory, "measured peak": self.peak or 0}
        lines = {
            "images": f"{self.train_images:,} to train on, {self.val_images:,} to test on, {self.classes} classes",
            "steps": f"{self.steps_per_epoch:,} per epoch, {self.epochs * self.steps_per_epoch:,} in all",
            "parameters": f"{self.parameters:,}",
            "memory": ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in memory.items() if size),
            "step": f"{self.seconds_per_step:.3g} s, a mean of {self.timed_steps}",
            "evaluation": f"{self.seconds_per_evaluation:.3g} s per epoch",
            "time": f"{self.hours:.2g} hours, if {self.device} stays as fast as it was now",
        }
        return "\n".join(f"{name + ':':12}{line}" for name, line in lines.items())


def dry_run(recipe: Recipe | str, **options: Any) -> Estimate | None:
    """Open the data of a run, train a few steps of it, and say what all of it will take. Nothing is written.

    options: data, skip_broken, accelerator, devices and nodes, as in `train`. Steps are timed for about 5 seconds, at
    least 5 of them, after 3 that do not count; of the validation images, 8 batches are timed. Activations are what one
    part of a batch keeps for the way back, without compilation. Of several processes, the first has the answer, the
    others None. Raises ValueError as `train` does.
    """
    trainer = trial(Trainer, recipe, **options)
    recipe, fabric, batches = trainer.recipe, trainer.fabric, trainer.batches
    take = train_steps(trainer)
    seconds_of(trainer, take, WARM_UP - 1)
    last = seconds_of(trainer, take, 1)
    steps = fabric.broadcast(max(FEWEST, min(1000, round(SECONDS / last))))  # all processes do as many
    per_step = seconds_of(trainer, take, steps) / steps

    of_all = -(-len(trainer.data.val) // (recipe.batch // recipe.accumulation * fabric.world_size))
    timed, classes = min(EVALUATED, of_all), len(trainer.data.classes)
    for number in (1, timed):  # the first is the warm-up
        start = now(trainer)
        some = islice(in_order(trainer.data, recipe, fabric.device, fabric.global_rank, fabric.world_size), number)
        evaluate(fabric, trainer.final_model, some, classes)
    per_evaluation = (now(trainer) - start) / timed * of_all

    about = environment(fabric.device, fabric.world_size, {})
    estimate = Estimate(
        train_images=len(trainer.data.train),
        val_images=len(trainer.data.val),
        classes=classes,
        epochs=recipe.epochs,
        steps_per_epoch=batches.steps,
        parameters=trainer.parameters,
        memory=memory_of(trainer),
        peak=peak_memory(fabric.device),
        seconds_per_step=per_step,
        seconds_per_evaluation=per_evaluation,
        timed_steps=steps,
        device=f"{about['device']} with {about['threads']} threads",
    )
    return estimate if fabric.is_global_zero else None


# --- which learning rate suits it ---------------------------------------------------------------------------


class RateTest(NamedTuple):
    """What `lr_range` found: a table with one row per step, and the rate that it suggests."""

    frame: pd.DataFrame
    suggestion: float


class RisingTrainer(Trainer):
    """A trainer whose learning rate rises by the same factor from step to step."""

    rates: np.ndarray

    def set_learning_rate(self) -> None:
        """Give this step's rate; groups whose rates differ keep their ratio."""
        super().set_learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] *= self.rates[self.step] / self.recipe.learning_rate


def lr_range(
    recipe: Recipe | str, *, low: float = 1e-5, high: float = 1.0, steps: int = 100, **options: Any
) -> RateTest:
    """A learning-rate range test: one short training in which the rate rises from `low` to `high`, and its losses.

    The test of Smith 2015, arXiv:1506.01186, Section 3.3, as fastai makes it (Howard & Gugger 2020, arXiv:2002.04688):
    the rate is multiplied by the same factor in each of `steps` steps, and the loss is watched. smoothed is its
    exponential average with factor SMOOTHING, divided by 1 − SMOOTHING^step. The test ends early where that exceeds
    four times its lowest value, or the loss is not finite.

    suggestion: the rate at which the smoothed loss is lowest, divided by 10, without the first tenth of the steps
    (fastai's rule "minimum"). It is where a search can begin, for this size of batch, and no optimum.

    frame: columns step (from 1), learning_rate, loss and smoothed. recipe: its own rate and schedule do not count; in
    all else the steps are those of its run. options: data, skip_broken and accelerator, as in `train`.

    Raises ValueError unless 0 < low < high and steps is at least 10; RunError where it ends in the first fifth of them.
    """
    check_type("low", Annotated[float, 1e-12, math.inf], low)
    check_type("high", Annotated[float, 1e-12, math.inf], high)
    if low >= high:
        raise ValueError(f"high must be above low ({low:g}), got {high:g}")
    rates = np.geomspace(low, high, check_whole("steps", steps, 10))
    recipe = recipes.find(recipe) if isinstance(recipe, str) else recipe
    level = replace(recipe, schedule="constant", warmup_epochs=0.0)
    trainer = trial(RisingTrainer, level, devices=1, **options)
    trainer.rates, mean, rows = rates, 0.0, list[tuple[int, float, float, float]]()
    for (step, rate), _ in zip(enumerate(rates.tolist(), 1), train_steps(trainer), strict=False):
        value = torch.stack(trainer.unread).mean().item()
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        smoothed = mean / (1 - SMOOTHING**step)
        if not math.isfinite(value):
            break
        rows.append((step, rate, value, smoothed))
        if smoothed > 4 * min(row[3] for row in rows):
            break
    if len(rows) < steps / 5:
        raise RunError(f"the loss diverges after {len(rows)} steps, at the learning rate {rate:g}: low must be lower")
    frame = pd.DataFrame(rows, columns=["step", "learning_rate", "loss", "smoothed"])
    return RateTest(frame, rates[steps // 10 + frame["smoothed"][steps // 10 :].to_numpy().argmin()].item() / 10)


# --- where its time goes ------------------------------------------------------------------------------------


class WatchedTrainer(Trainer):
    """A trainer that waits for the device after each part of a step, and adds up what each part took."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.seconds, self.since = dict.fromkeys(PARTS, 0.0), now(self)
        self.model.register_forward_hook(lambda model, images, outputs: self.after_forward(outputs))

    def mark(self, part: str) -> None:
        """What has passed since the last mark was for this part."""
        before, self.since = self.since, now(self)
        self.seconds[part] += self.since - before

    def to_device(self, images: torch.Tensor, labels: torch.Tensor) -> Batch:
        self.mark("data")
        batch = super().to_device(images, labels)
        self.mark("augmentation")
        return batch

    def after_forward(self, outputs: torch.Tensor | tuple) -> None:
        self.mark("forward")
        if torch.is_grad_enabled():  # the loss ends where the gradient reaches the logits
            logits = outputs[0] if isinstance(outputs, tuple) else outputs
            logits.register_hook(lambda gradient: self.mark("loss"))

    def note(self, *arguments: Any) -> None:
        self.mark("backward")
        super().note(*arguments)
        self.mark("metrics")

    def update_average(self) -> None:
        self.mark("optimizer")
        super().update_average()
        self.mark("average")


PARTS = ("data", "augmentation", "forward", "loss", "backward", "metrics", "optimizer", "average")


def profile(recipe: Recipe | str, *, steps: int = 10, **options: Any) -> pd.Series:
    """Where a step's time goes: part → seconds, as a mean of so many steps, after 3 that do not count.

    data: what it took to read the images; augmentation: with moving them to the device and normalizing; loss: with its
    gradient to the logits; metrics: the epoch's mean loss and accuracy; optimizer: with setting the gradients to None.
    The device is waited for after each part, so that on a GPU the parts add up to more than a step takes without.
    options: data, skip_broken and accelerator, as in `train`. Raises ValueError as that does.
    """
    check_whole("steps", steps)
    trainer = trial(WatchedTrainer, recipe, devices=1, **options)
    take = train_steps(trainer)
    seconds_of(trainer, take, WARM_UP)
    trainer.seconds, trainer.since = dict.fromkeys(PARTS, 0.0), now(trainer)
    seconds_of(trainer, take, steps)
    return pd.Series(trainer.seconds, name="seconds").rename_axis("part") / steps


# --- what they share ----------------------------------------------------------------------------------------


def trial(kind: type[T], recipe: Recipe | str, **options: Any) -> T:
    """A trainer whose run folder is never made."""
    return kind(*prepare(recipe, **options), os.devnull, progress=False)


def train_steps(trainer: Trainer) -> Iterator[None]:
    """Do a run's steps one after the other, without an end: after its last epoch with others like it."""
    for epoch in itertools.count():
        trainer.model.train()
        parts = trainer.clock.watch(trainer.batches.epoch(epoch))
        for _ in range(trainer.batches.steps):
            trainer.train_step(islice(parts, trainer.recipe.accumulation))
            yield
            trainer.unread.clear()


def seconds_of(trainer: Trainer, take: Iterator[None], steps: int) -> float:
    """What so many steps take."""
    start = now(trainer)
    for _ in range(steps):
        next(take)
    return now(trainer) - start


def now(trainer: Trainer) -> float:
    """The time at which the device has done all that it was given, in seconds."""
    if trainer.fabric.device.type == "cuda":
        torch.cuda.synchronize(trainer.fabric.device)
    return time.perf_counter()


def memory_of(trainer: Trainer) -> dict[str, int]:
    """The bytes of what a process holds while it trains, after a step."""
    model, average, data = trainer.model.module, trainer.average, trainer.data
    trained = [p for p in model.parameters() if p.requires_grad]
    of_optimizer = [t for state in trainer.optimizer.state.values() for t in state.values() if torch.is_tensor(t)]
    sets = [s for s in (data.train, data.val) if hasattr(s, "images")]
    return {
        "weights": size(model.state_dict().values()),
        "gradients": size(trained),
        "optimizer": size(of_optimizer),
        "average": size(average.model.state_dict().values()) if average else 0,
        "activations": activations(trainer),
        "images": size(t for s in sets for t in (s.images, s.labels)),
    }


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that this process has held, on a GPU or else in memory; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    from resource import RUSAGE_SELF, getrusage

    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # kilobytes on Linux


def size(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of tensors."""
    return sum(t.numel() * t.element_size() for t in tensors)


def activations(trainer: Trainer) -> int:
    """The bytes that autograd keeps of a part of a batch from the way forward for the way back, without weights."""
    model, kept = trainer.model.module.train(), dict[int, int]()
    images, labels = trainer.batches.to_device(*next(trainer.batches.epoch(0)))

    def keep(t: torch.Tensor) -> torch.Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), trainer.fabric.autocast():
        _ = loss(model(images), labels, trainer.recipe.aux_weight)
    weights = {t.untyped_storage().data_ptr() for t in model.state_dict().values()}
    return sum(nbytes for place, nbytes in kept.items() if place not in weights)
