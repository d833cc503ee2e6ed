"""Where a run computes: Fabric's devices and processes, and what the first process does for all."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

from inception_lab.common.checks import RunError
from inception_lab.training.recipes import Recipe

Result = TypeVar("Result")


def make_fabric(recipe: Recipe, accelerator: str = "auto", devices: int | str = "auto", nodes: int = 1) -> Fabric:
    """Fabric for these devices; for those that torchrun has started a process for, where it has.

    Raises ValueError for devices that are not there, or that do not have the recipe's precision.
    """
    if "LOCAL_WORLD_SIZE" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    if recipe.precision == "16-mixed" and not has_cuda(accelerator):  # where Fabric would take bfloat16 in its place
        raise ValueError("precision must be '32-true' or 'bf16-mixed' unless there is a CUDA GPU, got '16-mixed'")
    try:
        return Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, precision=recipe.precision)
    except (TypeError, ValueError, RuntimeError, MisconfigurationException) as error:
        got = f"accelerator {accelerator!r}, devices {devices!r}, nodes {nodes!r}"
        raise ValueError(f"accelerator, devices and nodes must be some that are here, got {got} ({error})") from error


def has_cuda(accelerator: str = "auto") -> bool:
    """Whether a CUDA GPU would be used."""
    return accelerator != "cpu" and torch.cuda.is_available()


def all_reduce(fabric: Fabric, values: torch.Tensor, how: str = "mean") -> torch.Tensor:
    """The mean (or "sum") of a tensor over the processes."""
    reduced = fabric.all_reduce(values, reduce_op=how)
    assert isinstance(reduced, torch.Tensor)  # Fabric takes collections too
    return reduced


def on_rank_zero(fabric: Fabric, function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call that one process makes. What it raises is a RunError in the others, so that none hangs."""
    result = error = message = None
    if fabric.is_global_zero:
        try:
            result = function(*arguments)
        except Exception as raised:  # whatever it is: the others wait
            error, message = raised, str(raised) or type(raised).__name__
    result, message = fabric.broadcast((result, message))
    if error is not None:
        raise error
    if message is not None:
        raise RunError(message)
    return result


def rank_zero_first(fabric: Fabric, function: Callable[..., Result], *arguments: Any) -> Result:
    """The result of a call that every process makes, after the first one has made it and downloaded what all need.

    What it raises in the first is a RunError in the others.
    """
    made: list[Result] = []  # on the first process: what it makes is not sent to the others
    on_rank_zero(fabric, lambda: made.append(function(*arguments)))
    return made[0] if made else function(*arguments)
