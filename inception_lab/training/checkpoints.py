"""The training state of a run in one file that is whole or not there, read without running code from it.

A checkpoint is a safetensors file: weights, averaged weights and the optimizer's state as tensors, and as JSON in its
metadata the recipe, the step and the history. The order of the images and all random numbers follow from the recipe
and the step (see `batches`), so that no generator's state has to be kept. The one before is kept too.
"""

import json
from pathlib import Path

import torch
from torch import nn

from inception_lab.common.checks import RunError
from inception_lab.common.files import write
from inception_lab.common.schema import from_dict
from inception_lab.training.recipes import Recipe
from inception_lab.training.state import State
from inception_lab.training.tensors import Tensors, to_bytes
from inception_lab.training.tensors import read as read_tensors

FORMAT = "inception-lab training state 1"
NEWEST, BEFORE = "checkpoint.safetensors", "checkpoint-before.safetensors"


def save(folder: Path, recipe: Recipe, tensors: Tensors, state: dict) -> Path:
    """Write the newest checkpoint of a run folder, and keep the one before; returns its path.

    state: what JSON can hold. Raises RunError where the disk does not take it; the old files are still there then.
    """
    # The file holds tensors row by row. The optimizer's elements must come back in the order they had in memory,
    # because the rounding of vectorized and of strided loops may differ in the last bit.
    strides = {name: t.stride() for name, t in tensors.items() if not t.is_contiguous()}
    state = {"recipe": recipe.to_json(), **state}
    metadata = {"format": FORMAT, "state": json.dumps(state), "strides": json.dumps(strides)}
    write(folder / NEWEST, to_bytes(tensors, metadata), previous=folder / BEFORE)
    return folder / NEWEST


def load(folder: Path, recipe: Recipe, steps: int | None = None) -> tuple[Tensors, dict] | None:
    """Tensors and state (see `State`) of the newest checkpoint of a run folder; None where there is none yet.

    steps: of an epoch, so that the state can be checked against the run. Raises RunError for a file that is damaged,
    foreign or of another recipe, saying whether the one before is whole.
    """
    newest, before = folder / NEWEST, folder / BEFORE
    # Killed between two renames, a run has no newest checkpoint, but the one before.
    path = next((path for path in (newest, before) if path.exists()), None)
    if path is None:
        return None
    try:
        return _of_recipe(path, recipe, steps)
    except RunError as error:
        advice = f"There is none before it: delete {path.name} to start again"
        if path == newest and before.exists():
            try:
                _, state = _of_recipe(before, recipe, steps)
                advice = f"{BEFORE} is whole (step {state['step']}): delete {NEWEST} to go on from there"
            except RunError:
                advice = f"{BEFORE} cannot be used either; start again in another folder"
        raise RunError(f"{error}. {advice}") from error


def _of_recipe(path: Path, recipe: Recipe, steps: int | None) -> tuple[Tensors, dict]:
    tensors, state = read(path)
    try:
        known = from_dict(State, state, "its state")
        if steps:
            known.check(recipe.epochs, steps)
        differences = recipe.differences(Recipe.from_json(known.recipe))
    except ValueError as error:
        raise RunError(f"{path} is no place in this run: {error}") from error
    if differences:
        raise RunError(f"{path} belongs to another recipe: {'; '.join(differences)}")
    return tensors, state


def read(path: Path) -> tuple[Tensors, dict]:
    """Tensors and state of one checkpoint. Raises RunError for a file that is damaged, truncated or something else."""
    tensors, metadata = read_tensors(path, "no checkpoint")
    if metadata.get("format") != FORMAT:
        raise RunError(f"{path} is no checkpoint of this library: its format is {metadata.get('format')!r}")
    try:
        for name, stride in json.loads(metadata["strides"]).items():
            t = tensors[name]
            tensors[name] = torch.empty_strided(t.shape, stride, dtype=t.dtype).copy_(t)
        return tensors, json.loads(metadata["state"])
    except (ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
        raise RunError(f"{path} has metadata that cannot be read: {error}") from error


def delete(folder: Path) -> None:
    """Delete the checkpoints of a finished run, and what a killed one left half written."""
    for path in (folder / NEWEST, folder / BEFORE, *folder.glob("*.tmp")):
        path.unlink(missing_ok=True)


def pack(model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None = None) -> Tensors:
    """The tensors of a run by name: model.NAME, average.NAME and optimizer.NUMBER.NAME."""
    tensors = {f"model.{name}": t for name, t in model.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": t for name, t in average.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": t for key, t in values.items() if t is not None}
    return tensors


def unpack(
    tensors: Tensors, model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None = None
) -> None:
    """Put the tensors of `pack` back. Raises RunError, before anything is changed, where they do not fit."""
    weights = ("model.", "average.")
    wanted = {n: t for n, t in pack(model, optimizer, average).items() if n.startswith(weights)}
    found = {n: t for n, t in tensors.items() if n.startswith(weights)}
    wrong = [n for n in wanted | found if n not in wanted or n not in found or wanted[n].shape != found[n].shape]
    parameters = {str(i): p for i, p in enumerate(p for group in optimizer.param_groups for p in group["params"])}
    state: dict[int, Tensors] = {}
    for name, tensor in tensors.items():
        if name.startswith(("optimizer.", "optimiser.")):  # the second in files of version 0.1
            number, _, key = name.partition(".")[2].partition(".")
            if number not in parameters or (tensor.ndim and tensor.shape != parameters[number].shape):
                wrong.append(name)
            else:
                state.setdefault(int(number), {})[key] = tensor
    if wrong:
        raise RunError(f"the checkpoint is of another network: {', '.join(wrong[:3])} of {len(wrong)} do not fit")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(found[name])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
