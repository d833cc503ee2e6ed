"""What a run shows while it trains: a bar, one line per epoch, how long it waited for data, and the energy it took."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from inception_lab.training.optimization import learning_rate
from inception_lab.training.recipes import Recipe
from inception_lab.training.state import Epoch, Step


class Steps:
    """Loss and learning rate of a run by step: one `state.Step` for each of at most MOST stretches of equal length."""

    MOST = 4000  # so that the table stays small however long the run is

    def __init__(self, recipe: Recipe, steps_per_epoch: int, rows: list[Step] | None = None):
        self.recipe, self.steps_per_epoch, self.rows = recipe, steps_per_epoch, rows or []
        self.stretch = -(-recipe.epochs * steps_per_epoch // self.MOST)

    def add(self, step: int, loss: float) -> None:
        """Take in the loss of a step, counted from 1."""
        epoch, rate = -(-step // self.steps_per_epoch), learning_rate(self.recipe, step - 1, self.steps_per_epoch)
        if not self.rows or (step - 1) % self.stretch == 0:
            self.rows.append(Step(step, epoch, loss, rate, steps=1))
        else:
            row = self.rows[-1]
            n = row.steps + 1
            self.rows[-1] = Step(step, epoch, row.loss + (loss - row.loss) / n, rate, steps=n)


Watcher = Callable[[list[Step], list[Epoch]], object]  # called with the rows of steps.csv and history.csv so far


class TensorBoard:
    """A watcher that writes what it is shown as TensorBoard's events, in the folder `tensorboard` of a run.

    A process that resumes a run writes all rows anew, and has TensorBoard forget those of the processes before: what
    one that was killed had not written yet is there, and no step twice. Raises ValueError where the package is missing.
    """

    def __init__(self, run: Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            extra = "pip install 'inception-lab[tensorboard]'"
            raise ValueError(f"tensorboard must be false where the package of this name is missing: {extra}") from error
        self.open = partial(SummaryWriter, run / "tensorboard", purge_step=0)
        self.writer: Any = None
        self.rows = self.epochs = 0  # how many have been written

    def __call__(self, steps: list[Step], epochs: list[Epoch]) -> None:
        """Write the rows that are new. The last one is still growing, unless an epoch has just ended."""
        self.writer = self.writer or self.open()
        ends_epoch = bool(epochs) and epochs[-1].step == steps[-1].step
        last = len(steps) if ends_epoch else len(steps) - 1
        for row in steps[self.rows : last]:
            self.writer.add_scalar("train/loss", row.loss, row.step)
            self.writer.add_scalar("train/learning_rate", row.learning_rate, row.step)
        for epoch in epochs[self.epochs :]:
            for name in ("train_top1_error", "val_loss", "val_top1_error", "val_top5_error"):
                self.writer.add_scalar(name.replace("_", "/", 1), getattr(epoch, name), epoch.step)
        self.rows, self.epochs = last, len(epochs)
        if ends_epoch:
            self.writer.flush()


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
