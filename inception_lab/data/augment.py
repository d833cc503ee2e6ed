"""The patches that a network is trained on, drawn as the paper draws them.

Szegedy et al. 2014, Section 6: a patch of 8 to 100 % of the image's area with an aspect ratio of 3/4 to
4/3, mirrored or not, then the photometric distortions of Howard 2013 (arXiv:1312.5402, Section 2.2): contrast,
brightness and color, each by a factor of 0.5 to 1.5, in random order. Two engines draw from one distribution:

    augmentation = Augmentation(224, mean=data.mean, std=data.std)
    one_image = augmentation.transform()         # torchvision's v2, for the workers that read large folders
    batch = augmentation(images, generator)      # all images of a uint8 batch at once, on their device
"""

from dataclasses import dataclass
from functools import partial
from math import ceil, log
from typing import NamedTuple

import torch
from torch.nn.functional import avg_pool2d, grid_sample
from torchvision.transforms import v2

from inception_lab.common.checks import check_whole
from inception_lab.data.images import check_images
from inception_lab.data.pictures import standardize

GRAY = (0.2989, 0.587, 0.114)  # torchvision's and Pillow's weights of red, green and blue
PART = 16  # images at once on a CPU: memory that stays in use is faster than memory that is new


class Draws(NamedTuple):
    """What was drawn for N images, all on the CPU."""

    moves: torch.Tensor  # int64 (N, 2), see `shift`
    boxes: torch.Tensor  # int64 (N, 4), see `draw_boxes`
    flips: torch.Tensor  # bool (N,)
    factors: torch.Tensor  # this and the next: see `draw_distortions`
    order: torch.Tensor
    corners: torch.Tensor  # int64 (N, 2), of the blanked squares

    def part(self, some: slice) -> "Draws":
        """What was drawn for some of the images."""
        return Draws(*(t[some] for t in self))


@dataclass(frozen=True)
class Augmentation:
    """The distribution of training patches, and two engines that draw from it.

    size: side of the patch in pixels. scale: smallest and largest share of the area. ratio: of width to height,
    uniform in log. flip: probability of mirroring. photometric: contrast, brightness and color change by
    factors from 1 − photometric to 1 + photometric; 0 leaves them. shift: pixels by which the whole image moves at
    most, before the patch is cut, with its border mirrored. cutout: side in pixels of a square of the patch that is
    blanked. mean, std: of each channel, for images from 0 to 1, to normalize with. Raises ValueError for a value out
    of range.
    """

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    photometric: float = 0.5
    shift: int = 0
    cutout: int = 0
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        whole = {
            "size": check_whole("size", self.size),
            "shift": check_whole("shift", self.shift, 0),
            "cutout": check_whole("cutout", self.cutout, 0, self.size - 1),
        }
        for name, value in whole.items():
            object.__setattr__(self, name, value)  # an int, where it was one of NumPy's
        for name, allowed, fits in (
            ("scale", "two shares, 0 < low ≤ high ≤ 1", 0 < self.scale[0] <= self.scale[1] <= 1),
            ("ratio", "two ratios, 0 < low ≤ high", 0 < self.ratio[0] <= self.ratio[1]),
            ("flip", "a probability from 0 to 1", 0 <= self.flip <= 1),
            ("photometric", "a number from 0 to 1", 0 <= self.photometric <= 1),
            ("std", "numbers above 0", min(self.std) > 0),
        ):
            if not fits:
                raise ValueError(f"{name} must be {allowed}, got {getattr(self, name)!r}")

    def transform(self) -> v2.Transform:
        """torchvision's engine: uint8 (3, H, W) → normalized float32 (3, size, size), by torch's global generator."""
        p, share = self.photometric, (self.cutout / self.size) ** 2  # of the area that is blanked
        return v2.Compose(
            [
                v2.Lambda(partial(random_shift, most=self.shift)) if self.shift else v2.Identity(),
                v2.RandomResizedCrop(self.size, self.scale, self.ratio, antialias=True),
                v2.RandomHorizontalFlip(self.flip),
                v2.ColorJitter(brightness=p, contrast=p, saturation=p) if p else v2.Identity(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(self.mean, self.std),
                v2.RandomErasing(1, (share, share), (1, 1)) if self.cutout else v2.Identity(),
            ]
        )

    def __call__(self, images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """The batched engine: uint8 (N, 3, H, W) → normalized float32 (N, 3, size, size), on the images' device.

        generator: a CPU generator, so that a seed gives the same patches on every device; None takes torch's
        global one. Distorting comes first, where pixels are fewer, and normalizing with it: both commute with
        interpolation but for the clipping of distorted colors (0.2 of 255 levels on average on photographs).
        """
        check_images(images)
        count, _, height, width = images.shape
        return self.apply(images, self.draw(count, height, width, generator))

    def draw(self, count: int, height: int, width: int, generator: torch.Generator | None = None) -> Draws:
        """What chance decides for so many images of that size; generator: as above.

        For a batch that several processes share, each draws for all of it and applies its part.
        """
        nothing = torch.zeros(count, 2, dtype=torch.int64)
        return Draws(
            torch.randint(-self.shift, self.shift + 1, (count, 2), generator=generator) if self.shift else nothing,
            draw_boxes(count, height, width, self.scale, self.ratio, generator),
            torch.rand(count, generator=generator) < self.flip,
            *draw_distortions(count, self.photometric, generator),
            torch.randint(self.size - self.cutout + 1, (count, 2), generator=generator) if self.cutout else nothing,
        )

    def apply(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """The patches that were drawn, normalized, float32 (N, 3, size, size), of uint8 images (N, 3, H, W)."""
        count, draws = len(images), Draws(*(t.to(images.device, non_blocking=True) for t in draws))
        if self.shift:
            images = shift(images, draws.moves)
        made = torch.empty(count, 3, self.size, self.size, device=images.device)
        part = PART if images.device.type == "cpu" else count
        for start in range(0, count, part):
            some = slice(start, start + part)
            _, boxes, flips, factors, order, _ = draws.part(some)
            pixels = images[some].float() / 255
            if self.photometric:
                pixels = distort(pixels, factors, order, boxes)
            made[some] = crop_and_resize(standardize(pixels, self.mean, self.std), boxes, self.size, flips)
        if self.cutout:
            made.masked_fill_(squares(draws.corners, self.cutout, self.size), 0)
        return made


# --- the batched engine, piece by piece ---------------------------------------------------------------------


def draw_boxes(
    count: int,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Random patches by the rule of torchvision's RandomResizedCrop: int64 (count, 4), top, left, height, width.

    Area and ratio are drawn up to ten times, until the patch fits into the image; if it never does, the patch
    is the largest in the middle whose ratio is allowed.
    """
    draws = torch.rand(count, 10, 2, generator=generator, dtype=torch.float64)
    area = height * width * (scale[0] + (scale[1] - scale[0]) * draws[..., 0])
    aspect = torch.exp(log(ratio[0]) + (log(ratio[1]) - log(ratio[0])) * draws[..., 1])
    w, h = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(1, keepdim=True)
    none = ~fits.any(1)
    largest_w, largest_h = min(width, round(height * ratio[1])), min(height, round(width / ratio[0]))
    w = torch.where(none, largest_w, w.gather(1, first)[:, 0])
    h = torch.where(none, largest_h, h.gather(1, first)[:, 0])
    place = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    top = torch.where(none, (height - h) // 2, (place[:, 0] * (height - h + 1)).long())
    left = torch.where(none, (width - w) // 2, (place[:, 1] * (width - w + 1)).long())
    return torch.stack([top, left, h, w], 1)


def draw_distortions(
    count: int, strength: float, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors of brightness, contrast and color, float32 (count, 3), and the order of the three, int64 (count, 3)."""
    factors = 1 - strength + 2 * strength * torch.rand(count, 3, generator=generator)
    return factors, torch.rand(count, 3, generator=generator).argsort(1)


def distort(images: torch.Tensor, factors: torch.Tensor, order: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Brightness, contrast and color of images from 0 to 1, (N, 3, H, W), as torchvision's `adjust_…` change them.

    Each is a blend with an image that has none of it: black, the patch's mean gray, the pixels' gray. Each
    step clips to 0 and 1. The mean gray is that of the patches `boxes`, as if they had been cut out already.
    """
    rows, columns = (torch.arange(n, device=images.device) for n in images.shape[2:])
    top, left, h, w = (v[:, None] for v in boxes.T)
    down = ((rows >= top) & (rows < top + h)).float() / h
    across = ((columns >= left) & (columns < left + w)).float() / w
    weights = torch.tensor(GRAY, device=images.device).view(3, 1, 1)
    for step in order.T:
        factor = factors.gather(1, step[:, None]).view(-1, 1, 1, 1)
        gray = (images * weights).sum(1, keepdim=True)
        mean = torch.einsum("nchw,nh,nw->n", gray, down, across).view(-1, 1, 1, 1)
        kind = step.view(-1, 1, 1, 1)
        without = torch.where(kind == 0, 0.0, torch.where(kind == 1, mean, gray))
        images = torch.lerp(without, images, factor).clamp(0, 1)
    return images


def crop_and_resize(images: torch.Tensor, boxes: torch.Tensor, size: int, flips: torch.Tensor) -> torch.Tensor:
    """Cut, resize and mirror a batch by one `grid_sample`: (N, C, H, W) → (N, C, size, size).

    boxes: (N, 4), top, left, height, width. flips: bool (N,). Where a patch is enlarged this is torchvision's
    bilinear `resized_crop`, which looks at no pixel outside the patch. Where an image has more than `size` pixels
    along a side, `ceil(side / size)`² points are averaged for each pixel: close to torchvision's antialiasing, not
    equal to it.
    """
    height, width = images.shape[2:]
    points = ceil(max(height, width) / size)
    steps = (torch.arange(size * points, device=images.device) + 0.5) / (size * points)
    top, left, h, w = (v[:, None] for v in boxes.float().T)
    steps_across = torch.where(flips[:, None], 1 - steps, steps)
    # Pixel centers of the patch lie from left to left + w - 1; grid_sample counts from -1 to 1 between image edges.
    x = (left + (w * steps_across - 0.5).clamp(min=0).minimum(w - 1) + 0.5) * 2 / width - 1
    y = (top + (h * steps - 0.5).clamp(min=0).minimum(h - 1) + 0.5) * 2 / height - 1
    grid = images.new_empty(len(images), size * points, size * points, 2)
    grid[..., 0], grid[..., 1] = x[:, None, :], y[:, :, None]
    patches = grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return avg_pool2d(patches, points) if points > 1 else patches


def random_shift(image: torch.Tensor, most: int) -> torch.Tensor:
    """torchvision's engine for `shift`: its RandomCrop, of the image's own size, out of the padded image."""
    return v2.RandomCrop(image.shape[-2:], padding=most, padding_mode="reflect")(image)


def shift(images: torch.Tensor, moves: torch.Tensor) -> torch.Tensor:
    """Each image of (N, C, H, W) moved up and left by its `moves` pixels, int64 (N, 2); what comes in is mirrored.

    The mirror stands on the outermost row of pixels, which is not doubled ("reflect").
    """
    moves = moves.to(images.device)
    rows, columns = (
        _reflected(torch.arange(side, device=images.device) + move[:, None], side)
        for side, move in zip(images.shape[2:], moves.T, strict=True)
    )
    numbers = torch.arange(len(images), device=images.device)[:, None, None]
    return images[numbers, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _reflected(places: torch.Tensor, side: int) -> torch.Tensor:
    return side - 1 - (side - 1 - places.abs()).abs()


def squares(corners: torch.Tensor, side: int, size: int) -> torch.Tensor:
    """Masks (N, 1, size, size) that are true in the square with this top left corner, int64 (N, 2), and this side."""
    places = torch.arange(size, device=corners.device)
    inside = (places >= corners[..., None]) & (places < corners[..., None] + side)  # (N, 2, size)
    return (inside[:, 0, :, None] & inside[:, 1, None, :])[:, None]
