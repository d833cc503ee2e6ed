"""What a run shows while it trains: a bar, a line an epoch, how long it waited for data, and the energy it took."""

import time
from collections.abc import Iterable, Iterator

import torch
from tqdm.auto import tqdm

from inception_lab.training import energy
from inception_lab.training.recipes import Recipe


class Clock:
    """Seconds that an epoch has taken so far, how many of them the loop waited for its batches, and joules.

    A GPU works behind the program that drives it: whether it had to wait, only its own clock can tell. Its joules
    are None where its driver does not tell them.
    """

    def __init__(self, device: torch.device, seconds: float = 0.0, waited: float = 0.0, joules: float | None = 0.0):
        self.on_gpu, self.seconds, self.waited = device.type == "cuda", seconds, waited
        self._start, self._spans = None, []
        self._counter = energy.counter(device)
        self.joules = joules if self._counter else None

    def watch(self, batches: Iterable) -> Iterator:
        """The same batches, with the time measured that each takes to come."""
        batches = iter(batches)
        self._start = time.perf_counter() - self.seconds
        if self.joules is not None:
            self._joules_before = self._counter() - self.joules
        while True:
            start = self._now()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._spans.append((start, self._now()))
            yield batch

    def _now(self):
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def read(self) -> None:
        """Bring `seconds` and `waited` up to date, once the device has done all that it was given."""
        if self.on_gpu:
            torch.cuda.synchronize()
            self.waited += sum(start.elapsed_time(end) for start, end in self._spans) / 1000
        else:
            self.waited += sum(end - start for start, end in self._spans)
        self.seconds, self._spans = time.perf_counter() - self._start, []
        if self.joules is not None:
            self.joules = self._counter() - self._joules_before


class Progress:
    """A tqdm bar over all images of a run, in a terminal or a notebook; nothing at all where it is off."""

    def __init__(self, recipe: Recipe, steps: int, on: bool = True):
        self.recipe, self.steps, self.on, self.bar = recipe, steps, on, None

    def show(self, step: int, loss: float, top1: float) -> None:
        """Move the bar to a step: images a second and time left, with the epoch's mean loss and top-1 accuracy."""
        if not self.on:
            return
        epochs, images = self.recipe.epochs, self.recipe.batch
        if self.bar is None:  # a run that is resumed begins in the middle
            options = dict(initial=(step - 1) * images, unit=" images", unit_scale=True, smoothing=0.1)
            self.bar = tqdm(total=epochs * self.steps * images, **options)
        self.bar.set_description(f"epoch {(step - 1) // self.steps + 1}/{epochs}", refresh=False)
        self.bar.set_postfix_str(f"loss {loss:.3f}, top-1 {100 * top1:.1f} %", refresh=False)
        self.bar.update(step * images - self.bar.n)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self.on:
            tqdm.write(line)

    def end_epoch(self, row: dict) -> None:
        """Print what an epoch has come to."""
        self.say(
            f"epoch {row['epoch']}/{self.recipe.epochs}: loss {row['train_loss']:.3f}, top-1 error "
            f"{row['train_top1_error']:.2f} %; validation: loss {row['val_loss']:.3f}, top-1 error "
            f"{row['val_top1_error']:.2f} %; {row['images_per_second']:.0f} images/s, waiting for data "
            f"{row['waiting_percent']:.1f} % of the time"
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error) -> None:
        if self.bar is not None:
            self.bar.close()
