"""What the files of a run folder hold, as dataclasses: what is read is checked against them (see `schema`)."""

import math
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

Count = Annotated[int, 0, math.inf]


@dataclass
class Epoch:
    """One row of history.csv. Errors are in per cent."""

    epoch: Count
    step: Count  # steps done at its end
    learning_rate: float  # of its last step
    train_loss: float  # this and the error: as it went, while the weights changed
    train_top1_error: float
    val_loss: float
    val_top1_error: float
    val_top5_error: float
    seconds: float  # of the training loop
    images_per_second: float
    waiting_percent: float  # of the seconds, waited for data
    watt_hours: float | None = None  # where the devices tell


@dataclass
class Step:
    """One row of steps.csv: a step or, in a long run, a stretch of several, see `progress.Steps`."""

    step: Count  # the last of the stretch, counted from 1
    epoch: Count
    loss: float  # the mean of the stretch
    learning_rate: float  # of its last step
    steps: Count  # how many the stretch has


@dataclass
class Metrics:
    """metrics.json: the result of a finished run. Errors are in per cent."""

    val_loss: float  # this and the errors: of the weights that are kept
    val_top1_error: float
    val_top5_error: float
    averaged: bool  # whether these weights are averages
    parameters: Count
    epochs: Count
    steps: Count
    seconds: float  # of the training loop
    images_per_second: float
    waiting_percent: float
    watt_hours: float | None = None
    peak_memory_gb: float | None = None  # of a GPU


@dataclass
class DataState:
    """The data of a session: their name, a digest of their content, and how many they are."""

    name: str
    digest: str
    classes: Count
    train_images: Count  # trained on: fewer than the recipe's where a folder has fewer
    val_images: Count


@dataclass
class Session:
    """One start of a run; the file has more, see `environment`. One and two threads give other weights."""

    started: str
    device: str
    packages: dict
    data: DataState
    processes: Count = 1
    threads: Count | None = None  # of each process
    git_commit: str | None = None


@dataclass
class Sessions:
    """environment.json: what the run was begun on, and each time that it was resumed."""

    sessions: list[Session]

    def __post_init__(self) -> None:
        if not self.sessions:
            raise ValueError("sessions must not be empty")


@dataclass
class Labels:
    """What somebody who uses the weights needs, in the metadata of model.safetensors."""

    recipe: str
    classes: list[str]
    mean: list[float]
    std: list[float]


@dataclass
class State:
    """What a checkpoint holds beside its tensors."""

    recipe: str  # as JSON
    step: Count
    history: list[Epoch]
    seconds: float  # of the epoch that has begun, as the next two
    waited: float
    averaged: Count  # weights that are in the average
    joules: float | None = None
    scaler: dict = field(default_factory=dict)  # of the loss, with precision "16-mixed"
    steps: list[Step] = field(default_factory=list)  # none where version 0.2 or before wrote it

    def check(self, epochs: int, steps: int) -> None:
        """Raise ValueError unless this is a place in a run of so many epochs, of so many steps each."""
        if self.step > epochs * steps:
            raise ValueError(f"step must be at most {epochs * steps}, got {self.step}")
        if [row.step for row in self.history] != [steps * (i + 1) for i in range(self.step // steps)]:
            raise ValueError(f"history must have the {self.step // steps} epochs before step {self.step}")
        if self.steps and self.steps[-1].step != self.step:
            raise ValueError(f"steps must end with step {self.step}, got {self.steps[-1].step}")


def known(row: Any) -> dict[str, Any]:
    """The fields of a dataclass as a dict, without those that are not known."""
    return {name: value for name, value in asdict(row).items() if value is not None}
