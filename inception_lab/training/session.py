"""What a training run consists of: network, optimizer, averaged weights, place and history, kept in its folder."""

from collections.abc import Iterable
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from inception_lab import costs
from inception_lab.common.checks import RunError
from inception_lab.common.seeds import seed_all, seed_of
from inception_lab.data.datasets import digest
from inception_lab.models import zoo
from inception_lab.models.blocks import merge_ones
from inception_lab.training import checkpoints, runs
from inception_lab.training.batches import Batches, Data, in_order
from inception_lab.training.devices import on_rank_zero
from inception_lab.training.optimization import Average, build_optimizer, learning_rate
from inception_lab.training.progress import Clock, Progress
from inception_lab.training.recipes import Recipe


class Session:
    """A run in progress. `training` moves it on; here it is built, saved, taken up again and finished.

    model: the network. network, stepper: the model and the optimizer as Fabric runs them, on its device, in its
    precision and among its processes. step: steps done. history: a dict an epoch.

    Raises ValueError where network, options, image size, batch and data do not go together.
    """

    def __init__(self, recipe: Recipe, data: Data, fabric: Fabric, out: str | Path, progress: bool = True):
        self.parameters = check_network(recipe, len(data.classes))
        self.recipe, self.data, self.fabric, self.folder = recipe, data, fabric, runs.RunFolder(out)
        self.batches = Batches(recipe, data, fabric.device, fabric.global_rank, fabric.world_size)
        self.progress = Progress(recipe, self.batches.steps, progress and fabric.is_global_zero)
        torch.backends.cudnn.benchmark = fabric.device.type == "cuda"  # try algorithms: all batches have one size
        seed_all(seed_of(recipe.weights_seed, "weights"))
        self.model = zoo.build(recipe.network, len(data.classes), **recipe.options).to(fabric.device)
        if recipe.merge_ones:
            merge_ones(self.model)
        if recipe.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.optimizer = build_optimizer(recipe, self.model)
        self.average = Average(recipe, self.model) if recipe.averaging != "none" else None
        network = torch.compile(self.model) if recipe.compile else self.model
        self.network, self.stepper = fabric.setup(network, self.optimizer)
        self.metrics = {"loss": MeanMetric(nan_strategy="disable"), "top1": accuracy(len(data.classes))}
        self.metrics = {name: metric.to(fabric.device) for name, metric in self.metrics.items()}
        self.step, self.saved, self.history = 0, None, []
        self.clock = Clock(fabric.device)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return self.step // self.batches.steps

    @property
    def result(self) -> nn.Module:
        """The network to evaluate and to keep: with averaged weights as soon as there are some."""
        return self.average.model if self.average and self.average.count else self.model

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return learning_rate(self.recipe, step, self.batches.steps)

    def validation(self) -> Iterable:
        """This process's batches of validation images, as the network sees them, and classes."""
        return in_order(self.data, self.recipe, self.fabric.device, self.fabric.global_rank, self.fabric.world_size)

    def end_epoch(self, results: dict) -> None:
        """Write the epoch's row and a checkpoint, and start counting anew."""
        loss, top1 = self.metrics["loss"].compute().item(), error(self.metrics["top1"])
        rate, seconds = self.learning_rate(self.step - 1), self.clock.seconds
        row = {"epoch": self.epoch, "step": self.step, "learning_rate": rate}
        row |= {"train_loss": loss, "train_top1_error": top1, **results, "seconds": seconds}
        row["images_per_second"] = self.batches.steps * self.recipe.batch / seconds
        row["waiting_percent"] = 100 * self.clock.waited / seconds
        if self.clock.joules is not None:
            joules = self.fabric.all_reduce(torch.tensor(self.clock.joules, device=self.fabric.device), reduce_op="sum")
            row["watt_hours"] = joules.item() / 3600
        self.history.append(row)
        self.clock = Clock(self.fabric.device)
        for metric in self.metrics.values():
            metric.reset()
        on_rank_zero(self.fabric, self.folder.write_history, self.history)  # killed here, it is written again
        self.save()
        self.progress.end_epoch(row)

    def save(self) -> None:
        """Write a checkpoint. Raises RunError where a weight is not finite, or the disk does not take it."""
        tensors = checkpoints.pack(self.model, self.optimizer, self.average and self.average.model)
        if not all(t.isfinite().all() for t in tensors.values()):
            self.stop("a weight is not finite after the update", self.step)
        for name, metric in self.metrics.items():
            with metric.sync_context():  # summed over the processes
                tensors |= {f"metrics.{name}.{key}": value.clone() for key, value in metric.metric_state.items()}
        state = {"step": self.step, "history": self.history}
        state |= {"seconds": self.clock.seconds, "waited": self.clock.waited, "joules": self.clock.joules}
        state["averaged"] = self.average.count if self.average else 0
        on_rank_zero(self.fabric, self.folder.save, self.recipe, tensors, state)
        self.saved = self.step

    def stop(self, why: str, step: int) -> None:
        """Raise RunError: why the run stops, at which step (counted from 1), and what there is to go on from."""
        good = "there is no checkpoint yet"
        if self.saved is not None:
            good = f"the last good checkpoint is {self.folder.checkpoint} (step {self.saved})"
        raise RunError(f"{why} at step {step}, with the learning rate {self.learning_rate(step - 1):g}; {good}")

    def open(self, resume: bool) -> dict | None:
        """Make or take up the run folder, and go to where its last checkpoint stands; the metrics if it is finished."""
        fabric, folder = self.fabric, self.folder
        data = {
            "name": self.recipe.data,
            "digest": digest(self.data.classes, self.data.train, self.data.val),
            "classes": len(self.data.classes),
        }
        data |= {"train_images": len(self.data.train), "val_images": len(self.data.val)}
        environment = runs.environment(fabric.device, fabric.world_size, data)
        on_rank_zero(fabric, folder.open, self.recipe, environment, resume)
        if finished := on_rank_zero(fabric, lambda: folder.metrics):
            self.progress.say(f"{folder.path} is a finished run: nothing to train")
            return finished
        if found := on_rank_zero(fabric, folder.load, self.recipe):
            self.restore(*found)
            steps = self.recipe.epochs * self.batches.steps
            self.progress.say(f"{folder.path}: going on after step {self.step} of {steps}")
        return None

    def restore(self, tensors: dict[str, torch.Tensor], state: dict) -> None:
        """Go to the place in the run that a checkpoint holds."""
        checkpoints.unpack(tensors, self.model, self.optimizer, self.average and self.average.model)
        self.step = self.saved = state["step"]
        self.history = state["history"]
        self.clock = Clock(self.fabric.device, state["seconds"], state["waited"], state.get("joules"))
        if self.average:
            self.average.count = state["averaged"]
        for name, metric in self.metrics.items():
            if self.fabric.is_global_zero:  # which carries the sums of all processes
                for key in metric.metric_state:
                    setattr(metric, key, tensors[f"metrics.{name}.{key}"].to(self.fabric.device))

    def finish(self) -> dict:
        """Write weights and metrics; returns the metrics."""
        seconds = sum(row["seconds"] for row in self.history)
        waited = sum(row["seconds"] * row["waiting_percent"] for row in self.history)
        metrics = {name: value for name, value in self.history[-1].items() if name.startswith("val_")}
        metrics |= {"averaged": self.result is not self.model, "parameters": self.parameters}
        metrics |= {"epochs": self.epoch, "steps": self.step, "seconds": seconds}
        metrics["images_per_second"] = self.step * self.recipe.batch / seconds
        metrics["waiting_percent"] = waited / seconds
        if all("watt_hours" in row for row in self.history):
            metrics["watt_hours"] = sum(row["watt_hours"] for row in self.history)
        if self.fabric.device.type == "cuda":
            metrics["peak_memory_gb"] = torch.cuda.max_memory_allocated(self.fabric.device) / 1e9
        about = {"classes": self.data.classes, "mean": self.data.mean, "std": self.data.std}
        on_rank_zero(self.fabric, self.folder.finish, self.result, self.recipe, about, metrics)
        return metrics


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
        return costs.count(recipe.network, size, training=True, num_classes=num_classes, **options).params
    except TypeError as error:
        raise ValueError(f"options {options} do not go with the network {recipe.network!r}: {error}") from error
