"""DeepDream: a photograph changed step by step into what the network sees in it, from coarse to fine.

    dream = deep_dream(network, "holiday.jpg", path("inception_4c"))

After Mordvintsev, Olah and Tyka 2015, "Inceptionism: Going Deeper into Neural Networks", and the notebook that they
published with it (google/deepdream): gradient steps of equal mean size, over octaves.
"""

import random

import torch
from torch.nn import functional
from tqdm.auto import tqdm

from inception_lab.data.pictures import photograph
from inception_lab.lens.network import Network
from inception_lab.lens.objectives import Batch, Objective, path


def deep_dream(
    network: Network,
    source,
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
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if not ratio > 1:
        raise ValueError(f"ratio must be above 1, got {ratio!r}")
    batch = Batch(network, [path(_middle(network)) if objective is None else objective])
    extractor = network.extractor(tuple(batch.nodes))
    picture = at_least(photograph(source, longest=longest).to(network.mean.device), network.smallest)
    rng, detail = random.Random(seed), None
    with tqdm(total=octaves * steps, desc="dreaming", unit=" steps", disable=not progress) as bar:
        for sides in octave_sizes(picture.shape[2:], octaves, ratio, network.smallest):
            plain = resized(picture, sides)
            image = plain if detail is None else (plain + resized(detail, sides)).clamp(0, 1)
            for _ in range(steps):
                places = (rng.randint(-shift, shift), rng.randint(-shift, shift))
                seen = image.roll(places, (2, 3)).requires_grad_()
                (gradient,) = torch.autograd.grad(batch(extractor(network.normalize(seen))).sum(), seen)
                step = rate * gradient / gradient.abs().mean().clamp(min=1e-12)
                image = (image + step.roll([-p for p in places], (2, 3))).clamp(0, 1)
                bar.update()
            detail = image - plain
    return image


def octave_sizes(sides, octaves: int, ratio: float, smallest: int) -> list[tuple[int, int]]:
    """The sizes (height, width) of the octaves, smallest first; never below what the network takes."""
    sizes = [tuple(round(side / ratio**n) for side in sides) for n in reversed(range(octaves))]
    return [size for size in sizes[:-1] if min(size) >= smallest] + sizes[-1:]


def at_least(picture: torch.Tensor, smallest: int) -> torch.Tensor:
    """The picture, scaled up where its shorter side has fewer pixels."""
    height, width = picture.shape[2:]
    factor = max(1, smallest / min(height, width))
    return picture if factor == 1 else resized(picture, (round(height * factor), round(width * factor)))


def resized(picture: torch.Tensor, sides) -> torch.Tensor:
    return functional.interpolate(picture, tuple(sides), mode="bilinear", align_corners=False, antialias=True)


def _middle(network: Network) -> str:
    """The module in the middle of the network, inception_4c in GoogLeNet."""
    modules = [stage for stage in network.model.stages if stage.startswith("inception")]
    return modules[len(modules) // 2]
