"""What is varied when an image is optimized: its pixels, or its spectrum; its colors as they are, or decorrelated.

    Pixels(decorrelate=False)     # the naive way
    Fourier()                     # the default of `visualize`

After Olah et al. 2017, "Feature Visualization", doi:10.23915/distill.00007, and Lucid, lucid/optvis/param.
"""

from dataclasses import dataclass

import torch

# The square root of the covariance of colors in ImageNet (tensorflow/lucid, lucid/optvis/param/color.py): its columns
# are brightness, blue against yellow, and green against magenta, each as long as it varies in photographs.
COLORS = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], dtype=torch.float32, device="cpu")


@dataclass(frozen=True)
class Pixels:
    """Each pixel's red, green and blue are free; a sigmoid keeps them between 0 and 1.

    decorrelate: the free numbers are coordinates in `COLORS`, in which photographs vary independently. deviation: of
    the noise to start from, before the sigmoid.
    """

    decorrelate: bool = True
    deviation: float = 0.01

    def start(self, seeds: list[int], size: int) -> torch.Tensor:
        """What to optimize, (N, ...), for N images; images of one seed start equal."""
        return self.deviation * _noise(seeds, (3, size, size))

    def images(self, values: torch.Tensor, size: int) -> torch.Tensor:
        """The images (N, 3, size, size), from 0 to 1, that the values stand for."""
        return torch.sigmoid(mix_colors(values) if self.decorrelate else values)


@dataclass(frozen=True)
class Fourier:
    """The coefficients of the image's Fourier transform are free, each divided by its frequency.

    A step of equal size in every coefficient is then a step of equal energy in every octave, as natural images have it,
    where a step in pixels is mostly the highest frequencies. decay: power of the frequency. Other fields as `Pixels`.
    """

    decorrelate: bool = True
    deviation: float = 0.01
    decay: float = 1.0

    def start(self, seeds: list[int], size: int) -> torch.Tensor:
        return self.deviation * _noise(seeds, (3, size, size // 2 + 1, 2))

    def images(self, values: torch.Tensor, size: int) -> torch.Tensor:
        spectrum = torch.view_as_complex(values) * self.scale(size).to(values.device)
        image = torch.fft.irfft2(spectrum, s=(size, size)) / 4
        return torch.sigmoid(mix_colors(image) if self.decorrelate else image)

    def scale(self, size: int) -> torch.Tensor:
        """What each coefficient is multiplied by, (size, size // 2 + 1): size over frequency in cycles per pixel."""
        vertical, horizontal = (f(size, dtype=torch.float32) for f in (torch.fft.fftfreq, torch.fft.rfftfreq))
        frequency = (vertical[:, None].square() + horizontal.square()).sqrt().clamp(min=1 / size)
        return size / frequency**self.decay


def mix_colors(values: torch.Tensor) -> torch.Tensor:
    """Coordinates in `COLORS` (N, 3, H, W) → red, green and blue."""
    mix = (COLORS / COLORS.norm(dim=0).max()).to(values)
    return torch.einsum("rc,nchw->nrhw", mix, values)


def _noise(seeds: list[int], shape: tuple[int, ...]) -> torch.Tensor:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return torch.stack([torch.randn(shape, generator=generator, dtype=torch.float32) for generator in generators])
