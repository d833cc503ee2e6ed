"""Before a run: how large it is and how long it takes, by a few of its own steps. Nothing is written.

print(dry_run("shapes-laptop"))
"""

import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from inception_lab.common.environment import environment
from inception_lab.training.batches import Data, in_order
from inception_lab.training.recipes import Recipe
from inception_lab.training.trainer import Trainer, evaluate, loss, prepare

WARM_UP, SECONDS, FEWEST = 3, 5.0, 5  # steps before the clock runs; how long it runs, and for how many steps at least
EVALUATED = 8  # batches of validation that are timed


@dataclass
class Estimate:
    """What a run will take. Its counts are exact; what is in seconds and bytes was measured on this machine, now."""

    train_images: int
    val_images: int
    classes: int
    epochs: int
    steps_per_epoch: int
    parameters: int  # trained
    memory: dict[str, int]  # what for → bytes, in each process
    peak: int | None  # bytes that a GPU's memory, or without one the whole process, has held at most
    seconds_per_step: float
    seconds_per_evaluation: float
    timed_steps: int
    device: str
    threads: int

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
            "time": f"{self.hours:.2g} hours, as fast as {self.device} was now with {self.threads} threads",
        }
        return "\n".join(f"{name + ':':12}{line}" for name, line in lines.items())


def dry_run(
    recipe: Recipe | str,
    *,
    data: Data | str | Path | None = None,
    skip_broken: bool = False,
    accelerator: str = "auto",
    devices: int | str = "auto",
    nodes: int = 1,
) -> Estimate | None:
    """Open the data of a run, train a few steps of it, and say what all of it will take. Nothing is written.

    The arguments are those of `train`. Steps are timed for at least 5 seconds, after 3 that are not counted; of the
    validation images, 8 batches are timed. Activations are what one part of a batch keeps for the way back, without
    compilation. Of several processes, the first has the answer, the others None. Raises ValueError as `train` does.
    """
    trainer = trial(recipe, data, skip_broken, accelerator, devices, nodes)
    recipe, fabric, batches = trainer.recipe, trainer.fabric, trainer.batches
    take, done = train_steps(trainer), 0
    for _ in range(WARM_UP):
        next(take)
    start = now(trainer)
    while done < FEWEST or time.perf_counter() - start < SECONDS:
        next(take)
        done += 1
    per_step = (now(trainer) - start) / done

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
        timed_steps=done,
        device=about["device"],
        threads=about["threads"],
    )
    return estimate if fabric.is_global_zero else None


def trial(
    recipe: Recipe | str,
    data: Data | str | Path | None = None,
    skip_broken: bool = False,
    accelerator: str = "auto",
    devices: int | str = 1,
    nodes: int = 1,
) -> Trainer:
    """A trainer whose run folder is never made."""
    return Trainer(*prepare(recipe, data, skip_broken, accelerator, devices, nodes), os.devnull, progress=False)


def train_steps(trainer: Trainer) -> Iterator[None]:
    """Do a run's steps one after the other, without an end: after its last epoch with others like it."""
    for epoch in itertools.count():
        trainer.model.train()
        parts = trainer.clock.watch(trainer.batches.epoch(epoch))
        for _ in range(trainer.batches.steps):
            trainer.train_step(islice(parts, trainer.recipe.accumulation))
            yield
            trainer.unread.clear()


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
