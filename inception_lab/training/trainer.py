"""Training: the loop, its three losses, and a run that can be killed at any moment and resumed.

`plain` has the same training as one short script. Device, precision and several processes are Lightning Fabric's:
`train(..., devices=4)` starts the same program three more times, and under torchrun the processes that it started
are used.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from inception_lab.common.checks import RunError
from inception_lab.common.environment import environment
from inception_lab.common.schema import from_dict
from inception_lab.costs import count
from inception_lab.data.datasets import digest, stored_name
from inception_lab.models import merge_ones
from inception_lab.training import checkpoints, recipes
from inception_lab.training.batches import Batch, Batches, Data, in_order, open_data
from inception_lab.training.devices import all_reduce, make_fabric, on_rank_zero, rank_zero_first
from inception_lab.training.optimization import Average, build_optimizer, learning_rate
from inception_lab.training.progress import Clock, Progress, Steps, TensorBoard, Watcher
from inception_lab.training.recipes import Recipe
from inception_lab.training.runs import RunFolder
from inception_lab.training.state import Epoch, Metrics, State, known
from inception_lab.training.weights import complete, initial_model


def train(
    recipe: Recipe | str,
    out: str | Path | None = None,
    *,
    data: Data | str | Path | None = None,
    resume: bool = False,
    skip_broken: bool = False,
    progress: bool = True,
    watch: Watcher | None = None,
    tensorboard: bool = False,
    accelerator: str = "auto",
    devices: int | str = "auto",
    nodes: int = 1,
) -> dict:
    """Train by a recipe, or resume a run that was stopped; returns what metrics.json holds (see `state.Metrics`).

    recipe: or the name of one. out: the run folder, by default runs/NAME. data: a tier or a folder in place of
    the recipe's, or the sets themselves. resume: go on from the last checkpoint, if there is one; a finished
    run is not trained again. skip_broken: leave out the files of a folder that are no whole images, instead of
    refusing it. progress: show a bar, and one line per epoch. watch: called with the rows of steps.csv and of
    history.csv so far, each time that there are new ones; `plots.LivePlot()` draws them. tensorboard: write them for
    TensorBoard too, to `tensorboard` in the run folder. accelerator, devices, nodes: Fabric's.

    Raises ValueError for a wrong argument; RunError where the run folder cannot be used, or the loss is not finite.
    """
    recipe = recipes.find(recipe) if isinstance(recipe, str) else recipe
    out = Path("runs") / recipe.name if out is None else Path(out)
    recipe = complete(recipe, out)
    watchers = [watcher for watcher in (watch, TensorBoard(out) if tensorboard else None) if watcher]
    ready = prepare(recipe, data, skip_broken, accelerator, devices, nodes)
    return Trainer(*ready, out, progress, watchers).fit(resume)


def prepare(
    recipe: Recipe | str,
    data: Data | str | Path | None = None,
    skip_broken: bool = False,
    accelerator: str = "auto",
    devices: int | str = "auto",
    nodes: int = 1,
) -> tuple[Recipe, Data, Fabric]:
    """What a trainer begins with, from arguments of `train`: its processes are running, and its data are open."""
    recipe = complete(recipes.find(recipe) if isinstance(recipe, str) else recipe)
    if isinstance(data, str | Path):
        recipe = replace(recipe, data=stored_name(data))
    fabric = make_fabric(recipe, accelerator, devices, nodes)
    fabric.launch()
    if not isinstance(data, Data):
        data = rank_zero_first(fabric, open_data, recipe, data, skip_broken)
    return recipe, data, fabric


class Trainer:
    """One run: network, optimizer, averaged weights, step and history, kept in a run folder.

    model, optimizer: as Fabric runs them, on its device, in its precision and among its processes; `model.module` is
    the network itself. step: steps done. history: one `state.Epoch` per epoch. steps: see `progress.Steps`.

    Raises ValueError where network, options, image size, batch and data do not go together.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        fabric: Fabric,
        folder: str | Path,
        progress: bool = True,
        watchers: Sequence[Watcher] = (),
    ):
        recipe = complete(recipe, folder)
        self.parameters = check_network(recipe, len(data.classes))
        if recipe.mean and (recipe.mean, recipe.std) != (list(data.mean), list(data.std)):
            raise ValueError(f"data must have the recipe's mean and std, {recipe.mean} and {recipe.std}: see open_data")
        self.recipe, self.data, self.fabric, self.folder = recipe, data, fabric, RunFolder(folder)
        self.batches = Batches(recipe, data, fabric.device, fabric.global_rank, fabric.world_size)
        self.progress = Progress(recipe, self.batches.steps, progress and fabric.is_global_zero)
        self.watchers = watchers if fabric.is_global_zero else ()
        self.clock = Clock(fabric.device)
        self.mean_loss = MeanMetric(nan_strategy="disable").to(fabric.device)
        self.top1 = accuracy(len(data.classes)).to(fabric.device)
        self.metrics = {"loss": self.mean_loss, "top1": self.top1}  # both of this epoch
        self.step, self.history, self.steps = 0, list[Epoch](), Steps(recipe, self.batches.steps)
        self.saved: int | None = None  # the step of the last checkpoint
        self.unread: list[torch.Tensor] = []  # losses on the device that nobody has looked at yet

        torch.backends.cudnn.benchmark = fabric.device.type == "cuda"  # try algorithms: all batches have one size
        model = initial_model(recipe, len(data.classes), load=not self.folder.has_begun).to(fabric.device)
        if recipe.merge_ones:
            merge_ones(model)
        if recipe.channels_last:
            model.to(memory_format=torch.channels_last)
        self.average = Average(recipe, model) if recipe.averaging != "none" else None
        optimizer = build_optimizer(recipe, model)
        network = cast(nn.Module, torch.compile(model)) if recipe.compile else model
        self.model, self.optimizer = fabric.setup(network, optimizer)

    def fit(self, resume: bool = False) -> dict:
        """Train to the last epoch, from the start or from the last checkpoint; returns what metrics.json holds."""
        try:
            if finished := self.begin(resume):
                return finished
            while self.epoch < self.recipe.epochs:
                self.train_epoch()
                self.end_epoch(self.evaluate())
            self.progress.close()
            return self.finish()
        finally:
            self.progress.close()
            self.folder.release()

    def train_epoch(self) -> None:
        """Train to the end of the epoch, from wherever in it the run stands."""
        self.model.train()
        first = self.step % self.batches.steps
        parts = self.clock.watch(self.batches.epoch(self.epoch, first))
        for _ in range(first, self.batches.steps):
            self.train_step(islice(parts, self.recipe.accumulation))
            self.after_step()

    def train_step(self, parts: Iterable[Batch]) -> None:
        """One step. parts: the batch, as one part or, to save memory, as several whose gradients add up."""
        for number, (images, labels) in enumerate(parts, 1):
            with self.fabric.no_backward_sync(self.model, enabled=number < self.recipe.accumulation):
                images, labels = self.to_device(images, labels)
                outputs = self.model(images)  # the logits and, with auxiliary heads, those of both heads
                total = loss(outputs, labels, self.recipe.aux_weight, self.recipe.label_smoothing)
                self.fabric.backward(total / self.recipe.accumulation)
            self.note(total, outputs, labels)
        self.set_learning_rate()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.update_average()

    # --- what hangs on a step -------------------------------------------------------------------------------

    def to_device(self, images: torch.Tensor, labels: torch.Tensor) -> Batch:
        """A part on the device, augmented and normalized. What that takes counts as waiting for data."""
        with self.clock.waiting():
            return self.batches.to_device(images, labels)

    def note(self, total: torch.Tensor, outputs: torch.Tensor | tuple, labels: torch.Tensor) -> None:
        """Take the loss and the logits of a part into the epoch's means, without waiting for the device."""
        self.unread.append(total.detach())
        self.mean_loss.update(total.detach())
        self.top1.update(outputs[0] if isinstance(outputs, tuple) else outputs, labels)

    def set_learning_rate(self) -> None:
        """Give the optimizer this step's learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * learning_rate(self.recipe, self.step, self.batches.steps)

    def update_average(self) -> None:
        """Take the weights into their average, from the recipe's epoch on."""
        if self.average and self.step > self.recipe.average_from * self.batches.steps:
            self.average.update(self.model)

    def after_step(self) -> None:
        """Read the losses now and then, and save a checkpoint when it is due."""
        ends_epoch, every = self.step % self.batches.steps == 0, self.recipe.checkpoint_every
        due = bool(every) and self.step % every == 0 and not ends_epoch  # an epoch is saved when it has been evaluated
        # To read a loss, the program has to wait for a GPU, and then the GPU for the program: not at every step.
        if ends_epoch or due or self.fabric.device.type == "cpu" or self.step % 10 == 0:
            self.read_losses()
        if due:
            self.save()

    def read_losses(self) -> None:
        """Note and show the losses of the last steps, and stop the run if one is not finite."""
        parts = all_reduce(self.fabric, torch.stack(self.unread)).cpu()  # means over the processes
        losses = parts.double().view(-1, self.recipe.accumulation).mean(1).tolist()
        for step, value in enumerate(losses, self.step - len(losses) + 1):
            if not math.isfinite(value):
                self.stop(f"the loss is {value}", step)
            self.steps.add(step, value)
        self.unread.clear()
        self.clock.read()
        self.progress.show(self.step, self.mean_loss.compute().item(), self.top1.compute().item())
        self.tell_watchers()

    def tell_watchers(self) -> None:
        """Hand the rows of steps.csv and of history.csv, as they are so far, to those who watch."""
        for watch in self.watchers:
            watch(self.steps.rows, self.history)

    def stop(self, why: str, step: int) -> None:
        """Raise RunError: why the run stops, at which step (counted from 1), and what there is to go on from."""
        good = "there is no checkpoint yet"
        if self.saved is not None:
            good = f"the last good checkpoint is {self.folder.path / checkpoints.NEWEST} (step {self.saved})"
        rate = learning_rate(self.recipe, step - 1, self.batches.steps)
        raise RunError(f"{why} at step {step}, with the learning rate {rate:g}; {good}")

    # --- what hangs on an epoch -----------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return self.step // self.batches.steps

    @property
    def final_model(self) -> nn.Module:
        """The network to evaluate and to keep: with averaged weights as soon as there are some."""
        return self.average.model if self.average and self.average.count else self.model.module

    def evaluate(self) -> dict[str, float]:
        """Mean loss, top-1 and top-5 error of the final model on the validation images of all processes."""
        rank, processes = self.fabric.global_rank, self.fabric.world_size
        batches = in_order(self.data, self.recipe, self.fabric.device, rank, processes)
        return evaluate(self.fabric, self.final_model, batches, len(self.data.classes))

    def end_epoch(self, results: dict[str, float]) -> None:
        """Write the epoch's row and a checkpoint, and start counting anew."""
        clock, joules = self.clock, None
        if clock.joules is not None:
            joules = all_reduce(self.fabric, torch.tensor(clock.joules, device=self.fabric.device), "sum")
        row = Epoch(
            epoch=self.epoch,
            step=self.step,
            learning_rate=learning_rate(self.recipe, self.step - 1, self.batches.steps),
            train_loss=self.mean_loss.compute().item(),
            train_top1_error=error(self.top1),
            **results,
            seconds=clock.seconds,
            images_per_second=self.batches.steps * self.recipe.batch / clock.seconds,
            waiting_percent=100 * clock.waited / clock.seconds,
            watt_hours=None if joules is None else joules.item() / 3600,
        )
        self.history.append(row)
        self.clock = Clock(self.fabric.device)
        for metric in self.metrics.values():
            metric.reset()
        self.save()
        self.progress.end_epoch(row)
        self.tell_watchers()

    # --- the run folder -------------------------------------------------------------------------------------

    def begin(self, resume: bool) -> dict | None:
        """Make the run folder, or go to where its last checkpoint stands; the metrics if the run is finished."""
        fabric, folder, data, asked = self.fabric, self.folder, self.data, self.recipe.train_images
        about: dict = {"name": self.recipe.data, "digest": digest(data.classes, data.train, data.val)}
        about |= {"classes": len(data.classes), "train_images": len(data.train), "val_images": len(data.val)}
        on_rank_zero(fabric, folder.prepare, self.recipe, about, resume)
        if finished := on_rank_zero(fabric, lambda: folder.metrics):
            self.progress.say(f"{folder.path} is a finished run: nothing to train")
            return finished
        if found := on_rank_zero(fabric, checkpoints.load, folder.path, self.recipe, self.batches.steps):
            self.restore(*found)
            on_rank_zero(fabric, folder.write_tables, self.history, self.steps.rows)  # they may be ahead of it
            steps = self.recipe.epochs * self.batches.steps
            self.progress.say(f"{folder.path}: going on after step {self.step} of {steps}")
        if len(data.train) < asked:
            self.progress.say(f"train_images is {asked:,}, and there are {len(data.train):,}: all are trained on")
        on_rank_zero(fabric, folder.add_session, environment(fabric.device, fabric.world_size, about))
        return None

    def save(self) -> None:
        """Write a checkpoint. Raises RunError where a weight is not finite, or the disk does not take it."""
        average = self.average.model if self.average else None
        tensors = checkpoints.pack(self.model, self.optimizer, average)
        if not all(t.isfinite().all() for t in tensors.values()):
            self.stop("a weight is not finite after the update", self.step)
        for name, metric in self.metrics.items():
            with metric.sync_context():  # summed over the processes
                tensors |= {f"metrics.{name}.{key}": getattr(metric, key).clone() for key in metric.metric_state}
        on_rank_zero(self.fabric, self.folder.write_tables, self.history, self.steps.rows)  # killed here: again
        state = {
            "step": self.step,
            "history": [asdict(row) for row in self.history],
            "steps": [vars(row) for row in self.steps.rows],
            "seconds": self.clock.seconds,
            "waited": self.clock.waited,
            "joules": self.clock.joules,
            "averaged": self.average.count if self.average else 0,
            "scaler": self.fabric.strategy.precision.state_dict(),
        }
        on_rank_zero(self.fabric, checkpoints.save, self.folder.path, self.recipe, tensors, state)
        self.saved = self.step

    def restore(self, tensors: dict[str, torch.Tensor], state: dict) -> None:
        """Go to the place in the run that a checkpoint holds."""
        average, place = self.average.model if self.average else None, from_dict(State, state)
        sums = {f"metrics.{name}.{key}": (m, key) for name, m in self.metrics.items() for key in m.metric_state}
        if missing := sums.keys() - tensors.keys():
            raise RunError(f"the checkpoint has no {', '.join(sorted(missing))}")
        checkpoints.unpack(tensors, self.model, self.optimizer, average)
        self.step, self.saved, self.history = place.step, place.step, place.history
        self.steps = Steps(self.recipe, self.batches.steps, place.steps)
        self.clock = Clock(self.fabric.device, place.seconds, place.waited, place.joules)
        self.fabric.strategy.precision.load_state_dict(place.scaler)
        if self.average:
            self.average.count = place.averaged
        if self.fabric.is_global_zero:  # which carries the sums of all processes
            for name, (metric, key) in sums.items():
                setattr(metric, key, tensors[name].to(self.fabric.device))

    def finish(self) -> dict:
        """Write weights and metrics; returns the metrics."""
        last, seconds = self.history[-1], sum(row.seconds for row in self.history)
        energy = [row.watt_hours for row in self.history if row.watt_hours is not None]
        on_gpu = self.fabric.device.type == "cuda"
        metrics = Metrics(
            val_loss=last.val_loss,
            val_top1_error=last.val_top1_error,
            val_top5_error=last.val_top5_error,
            averaged=self.average is not None and self.average.count > 0,
            parameters=self.parameters,
            epochs=self.epoch,
            steps=self.step,
            seconds=seconds,
            images_per_second=self.step * self.recipe.batch / seconds,
            waiting_percent=sum(row.seconds * row.waiting_percent for row in self.history) / seconds,
            watt_hours=sum(energy) if len(energy) == len(self.history) else None,
            peak_memory_gb=torch.cuda.max_memory_allocated(self.fabric.device) / 1e9 if on_gpu else None,
        )
        labels = {"classes": self.data.classes, "mean": self.data.mean, "std": self.data.std}
        on_rank_zero(self.fabric, self.folder.finish, self.final_model, self.recipe, labels, metrics)
        return known(metrics)


def loss(
    outputs: torch.Tensor | tuple, labels: torch.Tensor, aux_weight: float = 0.3, label_smoothing: float = 0.0
) -> torch.Tensor:
    """The cross entropy of the logits, plus `aux_weight` times that of each auxiliary head (Section 5).

    outputs: logits (N, C), or a named tuple that begins with them, such as `googlenet.Outputs`. labels: (N,).
    """
    logits, *heads = outputs if isinstance(outputs, tuple) else (outputs,)
    total = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    for head in heads:
        if head is not None:
            total = total + aux_weight * F.cross_entropy(head, labels, label_smoothing=label_smoothing)
    return total


@torch.no_grad()
def evaluate(fabric: Fabric, model: nn.Module, batches: Iterable[Batch], num_classes: int) -> dict[str, float]:
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
    return {"val_loss": mean.compute().item(), "val_top1_error": error(top1), "val_top5_error": error(top5)}


def accuracy(num_classes: int, top_k: int = 1) -> MulticlassAccuracy:
    """The share of images whose class is among the `top_k` largest logits."""
    return MulticlassAccuracy(num_classes, top_k=min(top_k, num_classes), average="micro", validate_args=False)


def error(metric: MulticlassAccuracy) -> float:
    """What is missing to an accuracy of 1, in per cent, without the digits that single precision does not have."""
    return round(100 - 100 * metric.compute().item(), 4)


def check_network(recipe: Recipe, num_classes: int) -> int:
    """How many parameters are trained. Raises ValueError unless the network takes the recipe's options and images."""
    if num_classes < 2:
        raise ValueError(f"data must have at least 2 classes, got {num_classes}")
    size, options = recipe.image_size, recipe.options
    try:
        return count(recipe.network, size, training=True, num_classes=num_classes, **options).params
    except TypeError as problem:
        raise ValueError(f"options {options} do not go with the network {recipe.network!r}: {problem}") from problem
