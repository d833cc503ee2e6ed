"""DeepDream: a photograph changed step by step into what the network sees in it, from coarse to fine.

    dream = deep_dream(network, "holiday.jpg", path("inception_4c"))

After Mordvintsev, Olah and Tyka 2015, "Inceptionism: Going Deeper into Neural Networks", and the notebook that they
published with it (google/deepdream): gradient steps of equal mean size, over octaves.
"""

import random
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional
from tqdm.auto import tqdm

from inception_lab.common.checks import check_whole
from inception_lab.data.pictures import photograph
from inception_lab.lens.network import Network, instrument
from inception_lab.lens.objectives import BatchObjective, Objective, path
from inception_lab.lens.units import modules


@instrument
def deep_dream(
    network: Network,
    source: Any,
    objective: Objective | None = None,
    *,
    octaves: int = 4,
    ratio: float = 1.4,
    steps: int = 10,
    rate: float = 0.012,
    shift: int = 16,
    longest: int = 512,
    seed: int = 0,
    progress: bool = True,
) -> torch.Tensor:
    """A photograph, changed so that the objective grows: float32 (1, 3, H, W) from 0 to 1.

    source: anything that `images.photograph` takes. objective: by default all of the fourth of the network's modules.
    octaves: sizes, each `ratio` times the one before, the last one the photograph's; those that are too small for the
    network are left out. In each, `steps` steps of mean size `rate`, on the picture shifted at random by up to `shift`
    pixels around its edges. longest: a larger photograph is scaled down to so many pixels first; one that is smaller
    than the network takes is scaled up. Raises ValueError for a wrong argument, before any work.
    """
    for name, value in {"octaves": octaves, "steps": steps, "longest": longest}.items():
        check_whole(name, value)
    check_whole("shift", shift, 0)
    if not ratio > 1:
        raise ValueError(f"ratio must be above 1, got {ratio!r}")
    middle = modules(network)[len(modules(network)) // 2]
    reached = BatchObjective(network, [path(middle) if objective is None else objective])
    picture = at_least(photograph(source, longest=longest).to(network.mean.device), network.smallest)
    rng, detail = random.Random(seed), None
    with tqdm(total=octaves * steps, desc="dreaming", unit=" steps", disable=not progress) as bar:
        for sides in octave_sizes(picture.shape[2:], octaves, ratio, network.smallest):
            plain = resized(picture, sides)
            image = plain if detail is None else (plain + resized(detail, sides)).clamp(0, 1)
            for _ in range(steps):
                places = (rng.randint(-shift, shift), rng.randint(-shift, shift))
                seen = image.roll(places, (2, 3)).requires_grad_()
                (gradient,) = torch.autograd.grad(reached(seen).sum(), seen)
                step = rate * gradient / gradient.abs().mean().clamp(min=1e-12)
                image = (image + step.roll([-p for p in places], (2, 3))).clamp(0, 1)
                bar.update()
            detail = image - plain
    return image.cpu()


def octave_sizes(sides: Sequence[int], octaves: int, ratio: float, smallest: int) -> list[tuple[int, int]]:
    """The sizes (height, width) of the octaves, smallest first; never below what the network takes."""
    height, width = sides
    sizes = [(round(height / ratio**n), round(width / ratio**n)) for n in reversed(range(octaves))]
    return [size for size in sizes[:-1] if min(size) >= smallest] + sizes[-1:]


def at_least(picture: torch.Tensor, smallest: int) -> torch.Tensor:
    """The picture, scaled up where its shorter side has fewer pixels."""
    height, width = picture.shape[2:]
    factor = max(1, smallest / min(height, width))
    return picture if factor == 1 else resized(picture, (round(height * factor), round(width * factor)))


def resized(picture: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
    """The picture (N, 3, H, W) at other sides (height, width)."""
    return functional.interpolate(picture, tuple(sides), mode="bilinear", align_corners=False, antialias=True)
