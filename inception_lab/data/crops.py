"""The crops of an image that a network is tested on: 1, 10 or 144, as the paper averages over them (Section 7)."""

import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F

from inception_lab.common.checks import check_one_of, check_whole
from inception_lab.data.images import check_images
from inception_lab.data.pictures import Source
from inception_lab.data.pictures import photograph as read_photograph

CROPS = (1, 10, 144)
SCALES = (8, 9, 10, 11)  # sevenths of the crop's size: 256, 288, 320 and 352 for 224


def evaluation_crops(images: torch.Tensor, crops: int = 144, size: int = 224) -> torch.Tensor:
    """The crops of each image that the paper averages over: (N, 3, H, W) → (N, crops, 3, size, size).

    1: the shorter side is resized to 8/7 · size, and the center cut. 10: of the center square of the same, the
    four corners and the center (Krizhevsky et al. 2012), and their mirror images. 144 (Szegedy et al. 2014, Section 7):
    the shorter side is resized to 256, 288, 320 and 352 (for 224); of each the left, center and right square, or top,
    center and bottom; of each square the four corners and the center at `size`, and the whole square resized to it; and
    their mirror images. Of a square image the three squares are one. Order: scale, square, view (top left, top
    right, bottom left, bottom right, center, whole), mirrored.

    Pixels keep their type. Raises ValueError for a number of crops that is not 1, 10 or 144, a size below 1, and
    images that are no batch.
    """
    check_one_of("crops", crops, CROPS)
    check_images(images, dtype=None)
    size = check_whole("size", size)
    if crops == 1:
        return F.center_crop(_resize(images, SCALES[0], size), [size, size])[:, None]
    views: list[torch.Tensor] = []
    for scale in SCALES if crops == 144 else SCALES[:1]:
        squares = _squares(_resize(images, scale, size))
        for square in squares if crops == 144 else squares[1:2]:
            views += F.five_crop(square, [size, size])
            if crops == 144:
                views.append(F.resize(square, [size, size], antialias=True))
    return torch.stack([way for view in views for way in (view, view.flip(-1))], dim=1)


def center_view(photograph: Source, size: int = 224) -> torch.Tensor:
    """A photograph as a network is tested on it with one crop: (1, 3, size, size), from 0 to 1.

    The shorter side is scaled to 8/7 · size pixels as Pillow does it (bicubic), which published accuracies are stated
    with, and the center is cut out. Raises ValueError for what `photograph` does not take.
    """
    image = F.to_pil_image(read_photograph(photograph)[0])
    shorter = round(size * SCALES[0] / 7)
    image = image.resize([round(side * shorter / min(image.size)) for side in image.size], Image.Resampling.BICUBIC)
    left, top = ((side - size) // 2 for side in image.size)
    return F.pil_to_tensor(image.crop((left, top, left + size, top + size)))[None] / 255


def _resize(images: torch.Tensor, sevenths: int, size: int) -> torch.Tensor:
    return F.resize(images, [round(size * sevenths / 7)], antialias=True)


def _squares(images: torch.Tensor) -> list[torch.Tensor]:
    """Left, center and right square of landscape images; top, center and bottom square of portrait ones."""
    height, width = images.shape[-2:]
    side, rest = min(height, width), abs(height - width)
    along = -1 if width >= height else -2
    return [images.narrow(along, start, side) for start in (0, rest // 2, rest)]
