"""Training: the loop, its three losses, and a run that can be killed at any moment and taken up again.

    metrics = train("shapes-laptop")                                    # in the folder runs/shapes-laptop
    metrics = train(RECIPES["cifar10"], "runs/second", resume=True)

Device, precision and several processes are Lightning Fabric's: `train(..., devices=4)` starts the same program three
more times, and under torchrun the processes that it started are used.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional as F
from torchmetrics import MeanMetric

from inception_lab.training import recipes
from inception_lab.training.batches import Data, open_data
from inception_lab.training.devices import make_fabric
from inception_lab.training.recipes import Recipe
from inception_lab.training.session import Session, accuracy, error


def train(
    recipe: Recipe | str,
    out: str | Path | None = None,
    *,
    data: Data | str | Path | None = None,
    resume: bool = False,
    skip_broken: bool = False,
    progress: bool = True,
    accelerator: str = "auto",
    devices: int | str = "auto",
    nodes: int = 1,
) -> dict:
    """Train by a recipe, or go on with a run that was stopped; returns what metrics.json holds.

    recipe: or the name of one. out: the run folder, by default runs/NAME. data: a tier or a folder in place of
    the recipe's, or the sets themselves. resume: go on from the last checkpoint, if there is one; a finished
    run is not trained again. skip_broken: leave out the files of a folder that are no whole images, instead of
    refusing it. progress: show a bar, and a line an epoch. accelerator, devices, nodes: Fabric's.

    Raises ValueError for a wrong argument; RunError where the run folder cannot be used, or the loss is not finite.
    """
    recipe = recipes.find(recipe) if isinstance(recipe, str) else recipe
    if isinstance(data, str | Path):
        recipe = replace(recipe, data=Path(data).name)  # a path of one machine has no place in a recipe
    fabric = make_fabric(recipe, accelerator, devices, nodes)
    fabric.launch()
    if not isinstance(data, Data):
        with fabric.rank_zero_first():  # one process downloads
            data = open_data(recipe, data, skip_broken)
    run = Session(recipe, data, fabric, Path("runs") / recipe.name if out is None else out, progress)
    if finished := run.open(resume):
        return finished
    with run.progress:
        while run.epoch < recipe.epochs:
            train_epoch(run)
            run.end_epoch(evaluate(fabric, run.result, run.validation(), len(data.classes)))
        return run.finish()


def train_epoch(run: Session) -> None:
    """Train to the end of the epoch, from wherever in it the run stands."""
    recipe, fabric = run.recipe, run.fabric
    losses = []  # that nobody has looked at yet
    run.network.train()
    parts = run.batches.epoch(run.epoch, run.step % run.batches.steps)
    for number, (images, labels) in enumerate(run.clock.watch(parts), 1):
        is_whole = number % recipe.accumulation == 0  # all parts of the batch have been seen
        with fabric.no_backward_sync(run.network, enabled=not is_whole):
            outputs = run.network(images)
            total = loss(outputs, labels, recipe.aux_weight, recipe.label_smoothing)
            fabric.backward(total / recipe.accumulation)
        losses.append(total.detach())
        run.metrics["loss"].update(losses[-1])
        run.metrics["top1"].update(outputs[0] if isinstance(outputs, tuple) else outputs, labels)
        if is_whole:
            update(run)
            look_after(run, losses)


def loss(outputs, labels: torch.Tensor, aux_weight: float = 0.3, label_smoothing: float = 0.0) -> torch.Tensor:
    """The cross entropy of the logits, plus `aux_weight` times that of each auxiliary head (Section 5).

    outputs: logits (N, C), or a named tuple that begins with them, such as `googlenet.Outputs`. labels: (N,).
    """
    logits, *heads = outputs if isinstance(outputs, tuple) else (outputs,)
    total = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    for head in heads:
        if head is not None:
            total = total + aux_weight * F.cross_entropy(head, labels, label_smoothing=label_smoothing)
    return total


def update(run: Session) -> None:
    """One step: change the weights at this step's learning rate, then take them into the average."""
    for group in run.optimizer.param_groups:
        group["lr"] = run.learning_rate(run.step)
    run.stepper.step()
    run.stepper.zero_grad()
    run.step += 1
    if run.average and run.step > run.recipe.average_from * run.batches.steps:
        run.average.update(run.model)


def look_after(run: Session, losses: list[torch.Tensor]) -> None:
    """Show the losses, stop the run if one is not finite, and save it if it is time to."""
    ends_epoch, every = run.step % run.batches.steps == 0, run.recipe.checkpoint_every
    saves = not ends_epoch and every and run.step % every == 0  # an epoch is saved when it has been evaluated
    # To read a loss, the program has to wait for a GPU, and then the GPU for the program: not at every step.
    if not (ends_epoch or saves or run.fabric.device.type == "cpu" or run.step % 10 == 0):
        return
    values = run.fabric.all_reduce(torch.stack(losses)).tolist()  # means over the processes
    for number, value in enumerate(values, 1):
        if not math.isfinite(value):
            run.stop(f"the loss is {value}", run.step - (len(values) - number) // run.recipe.accumulation)
    losses.clear()
    run.clock.read()
    run.progress.show(run.step, *(metric.compute().item() for metric in run.metrics.values()))
    if saves:
        run.save()


@torch.no_grad()
def evaluate(fabric: Fabric, model: nn.Module, batches: Iterable, num_classes: int) -> dict:
    """Mean cross entropy, top-1 and top-5 error (per cent) of the logits over batches of all processes."""
    model.eval()
    mean = MeanMetric(nan_strategy="disable").to(fabric.device)
    top1, top5 = (accuracy(num_classes, k).to(fabric.device) for k in (1, 5))
    for images, labels in batches:
        with fabric.autocast():
            logits = model(images)
        mean.update(F.cross_entropy(logits.float(), labels, reduction="none"))
        top1.update(logits, labels)
        top5.update(logits, labels)
    return {
        "val_loss": mean.compute().item(),
        "val_top1_error": error(top1),
        "val_top5_error": error(top5),
    }
