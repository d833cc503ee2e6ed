"""What a run shows while it trains: a bar, one line per epoch, how long it waited for data, and the energy it took."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from tqdm.auto import tqdm

from inception_lab.training.recipes import Recipe
from inception_lab.training.state import Epoch


class Clock:
    """Seconds that an epoch has taken so far, how many of them the loop waited for its batches, and joules.

    A GPU works behind the program that drives it: whether it had to wait, only its own clock can tell. Its joules
    are None where its driver does not tell them.
    """

    def __init__(self, device: torch.device, seconds: float = 0.0, waited: float = 0.0, joules: float | None = 0.0):
        self.on_gpu, self.seconds, self.waited = device.type == "cuda", seconds, waited
        self._start, self._joules_before = 0.0, 0.0
        self._waits: list[tuple[Any, Any]] = []  # the beginning and the end of each since `read`
        self._counter = energy_counter(device)
        self.joules = joules if self._counter else None

    def watch(self, batches: Iterable) -> Iterator:
        """The same batches; the clock runs from here on, and notes how long each takes to come."""
        batches = iter(batches)
        self._start = time.perf_counter() - self.seconds
        if self._counter and self.joules is not None:
            self._joules_before = self._counter() - self.joules
        while True:
            with self.waiting():
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What is done inside counts as waiting for data."""
        start = self._now()
        yield
        self._waits.append((start, self._now()))

    def _now(self) -> Any:
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def read(self) -> None:
        """Bring `seconds`, `waited` and `joules` up to date, once the device has done all that it was given."""
        if self.on_gpu:
            torch.cuda.synchronize()
            self.waited += sum(start.elapsed_time(end) for start, end in self._waits) / 1000
        else:
            self.waited += sum(end - start for start, end in self._waits)
        self.seconds, self._waits = time.perf_counter() - self._start, []
        if self._counter and self.joules is not None:
            self.joules = self._counter() - self._joules_before


@cache
def energy_counter(device: torch.device) -> Callable[[], float] | None:
    """A function that gives the joules that a GPU has used since its driver was loaded; None where nobody can tell.

    Nobody can for a CPU, without nvidia-ml-py, or for a card or a virtual machine that refuses (before Volta all do).
    The counter is of the whole card: what other programs do on it counts, and what the host draws does not.
    """
    if device.type != "cuda":
        return None
    try:
        import pynvml  # the module of nvidia-ml-py
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        # By its UUID, because CUDA_VISIBLE_DEVICES gives the cards other numbers than NVML.
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000  # it counts millijoules


class Progress:
    """A tqdm bar over all images of a run, in a terminal or a notebook; nothing at all where it is off."""

    def __init__(self, recipe: Recipe, steps: int, on: bool = True):
        self.recipe, self.steps, self.on = recipe, steps, on
        self.bar: tqdm | None = None

    def show(self, step: int, loss: float, top1: float) -> None:
        """Move the bar to a step: images per second and time left, with the epoch's mean loss and top-1 accuracy."""
        if not self.on:
            return
        epochs, images = self.recipe.epochs, self.recipe.batch
        if self.bar is None:  # a run that is resumed begins in the middle
            total, done = epochs * self.steps * images, (step - 1) * images
            self.bar = tqdm(total=total, initial=done, unit=" images", unit_scale=True, smoothing=0.1)
        self.bar.set_description(f"epoch {(step - 1) // self.steps + 1}/{epochs}", refresh=False)
        self.bar.set_postfix_str(f"loss {loss:.3f}, top-1 {100 * top1:.1f} %", refresh=False)
        self.bar.update(step * images - self.bar.n)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self.on:
            tqdm.write(line)

    def end_epoch(self, row: Epoch) -> None:
        """Print what an epoch has come to."""
        self.say(
            f"epoch {row.epoch}/{self.recipe.epochs}: loss {row.train_loss:.3f}, top-1 error "
            f"{row.train_top1_error:.2f} %; validation: loss {row.val_loss:.3f}, top-1 error "
            f"{row.val_top1_error:.2f} %; {row.images_per_second:.0f} images/s, waiting for data "
            f"{row.waiting_percent:.1f} % of the time"
        )

    def close(self) -> None:
        """Leave the bar as it is."""
        if self.bar is not None:
            self.bar.close()
