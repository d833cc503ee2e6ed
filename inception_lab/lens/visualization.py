"""Feature visualization: images optimized to excite what one asks for, many of them as one batch.

    seen = visualize(network, [channel("inception_4a.five:12"), logit("ring")], size=128)
    seen.images, seen.excitation, seen.dead

After Olah et al. 2017, "Feature Visualization", doi:10.23915/distill.00007. The image is a parametrization, what is
asked an objective, what makes it robust a list of transforms; each can be changed without the others.
"""

import random
import warnings
from typing import NamedTuple

import torch
from tqdm.auto import tqdm

from inception_lab.common.checks import check_whole
from inception_lab.lens.network import Network, instrument
from inception_lab.lens.objectives import BatchObjective, Objective
from inception_lab.lens.parametrizations import Fourier, Pixels
from inception_lab.lens.transforms import Transform, standard
from inception_lab.lens.units import Unit, find_unit, peaks


class Visualized(NamedTuple):
    """Optimized images and what they excite."""

    images: torch.Tensor  # float32 (N, 3, size, size) from 0 to 1
    history: torch.Tensor  # float32 (steps, N): the objective in each step, of the transformed image
    excitation: torch.Tensor  # float32 (N,): the largest activation of the objective's unit in the image
    dead: torch.Tensor  # bool (N,): units that stayed at 0


@instrument
def visualize(
    network: Network,
    objectives: Objective | list[Objective],
    *,
    size: int | None = None,
    steps: int = 256,
    learning_rate: float = 0.05,
    parametrization: Pixels | Fourier | None = None,
    transforms: list[Transform] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Visualized:
    """Optimize one image for each objective, all together, by Adam.

    objectives: see `objectives`; equal ones start from different noise, so that `diversity` can tell them apart.
    size: pixels along a side, by default what the network was trained on. parametrization: `Fourier()` by default.
    transforms: by default `transforms.standard(size)`; [] for none. An image does not depend on what else is in the
    batch, but for the rounding of sums, and for `diversity`.

    A unit that no step makes positive is dead, as far as this search can tell: its entry of `dead` is True, and a
    warning names it. Raises ValueError for a wrong argument, before the first step.
    """
    objectives = list(objectives) if isinstance(objectives, list | tuple) else [objectives]
    if not objectives:
        raise ValueError("objectives must be at least one, got none")
    size = check_whole("size", network.size if size is None else size, network.smallest)
    steps = check_whole("steps", steps)
    batch_objective = BatchObjective(network, objectives)
    parametrization = Fourier() if parametrization is None else parametrization
    transforms = standard(size) if transforms is None else transforms

    numbers = [objectives[:i].count(objective) for i, objective in enumerate(objectives)]
    rng = random.Random(seed)
    values = parametrization.start([1000 * seed + n for n in numbers], size).to(network.mean.device).requires_grad_()
    optimizer, history = torch.optim.Adam([values], lr=learning_rate), []
    for _ in tqdm(range(steps), f"optimizing {len(objectives)}", unit=" steps", disable=not progress):
        images = parametrization.images(values, size)
        for transform in transforms:
            images = transform(images, rng)
        reached = batch_objective(images)
        optimizer.zero_grad()
        (-reached.sum()).backward()
        optimizer.step()
        history.append(reached.detach().float().cpu())
    images = parametrization.images(values.detach(), size).float()
    reached = excitation(network, images, objectives)
    dead = reached <= 0
    if dead.any():
        names = ", ".join(str(o) for o, is_dead in zip(objectives, dead, strict=True) if is_dead)
        warnings.warn(f"dead: {names}. No step of {steps} made it positive anywhere", stacklevel=2)
    return Visualized(images.cpu(), torch.stack(history), reached, dead)


@instrument
@torch.no_grad()
def excitation(network: Network, images: torch.Tensor, objectives: list[Objective]) -> torch.Tensor:
    """The largest activation, after the ReLU and over all positions, of each image's unit: float32 (N,).

    The unit is that of the objective's heaviest term that has a channel; infinite for an objective without one, and
    the logit for one with a class alone, as neither can be dead.
    """
    found = torch.full((len(objectives),), torch.inf, dtype=torch.float32)
    units = {i: _heaviest_unit(network, objective) for i, objective in enumerate(objectives)}
    for path in dict.fromkeys(unit.path for unit in units.values() if unit):
        chosen = {i: unit.channel for i, unit in units.items() if unit and unit.path == path}
        largest = peaks(network.extract(images[list(chosen)], [path])[path])
        found[list(chosen)] = largest[range(len(chosen)), list(chosen.values())]
    return found


def _heaviest_unit(network: Network, objective: Objective) -> Unit | None:
    """The unit of the term with the largest weight among those with a channel; None where there is no such term."""
    terms = sorted(objective.terms, key=lambda term: -term.weight)
    return next((find_unit(network, (str(t.name), t.channel)) for t in terms if t.channel >= 0), None)
