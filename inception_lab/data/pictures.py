"""Pictures of any kind as tensors: reading, RGB, one size, normalizing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as F

from inception_lab.data.images import printable

MOST_SIDES = 100  # the longer side of an image is at most so many times the shorter one

Source = str | Path | Image.Image | np.ndarray | torch.Tensor


def photograph(source: Source, size: int | None = None, longest: int | None = None) -> torch.Tensor:
    """A photograph of any mode and size as float32 (1, 3, H, W) from 0 to 1.

    source: a file, a PIL image, or an array or tensor of 8-bit or 16-bit values or of floats from 0 to 1, (H, W), (H,
    W, 1), (H, W, 3) or with a fourth channel for opacity; also (3, H, W) if it is a tensor. What is transparent shows
    white. size: scale its shorter side to so many pixels and cut the center square. longest: scale it down until no
    side has more pixels. Raises ValueError for anything else, and for a file that is no image.
    """
    image = F.pil_to_tensor(_open(source))[None].float() / 255
    if size is not None:
        return fit(image, size).clamp(0, 1)
    if longest is not None and max(image.shape[-2:]) > longest:
        share = longest / max(image.shape[-2:])
        sides = [max(1, round(side * share)) for side in image.shape[-2:]]
        image = F.resize(image, sides, antialias=True).clamp(0, 1)
    return image


def fit(image: torch.Tensor, size: int) -> torch.Tensor:
    """Scale the shorter side to `size` pixels and cut the center square: (..., H, W) → (..., size, size)."""
    return F.center_crop(F.resize(image, [size], antialias=True), [size, size])


def normalize(
    images: torch.Tensor, mean: Sequence[float], std: Sequence[float], *, channels_last: bool = False
) -> torch.Tensor:
    """uint8 (N, 3, H, W) → floats with mean 0 and standard deviation 1 in each channel, in this memory layout.

    mean, std: of each channel, for images from 0 to 1. Floats have been normalized already, and keep their values.
    """
    if images.dtype == torch.uint8:
        images = standardize(images / 255, mean, std)
    return images.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def standardize(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Images from 0 to 1, (N, 3, H, W), minus each channel's mean, divided by its standard deviation."""
    center, scale = (torch.tensor(values, device=images.device).view(-1, 1, 1) for values in (mean, std))
    return (images - center) / scale


# --- reading ------------------------------------------------------------------------------------------------


def read_rgb(path: str | Path) -> Image.Image:
    """An image file as 8-bit RGB, the right way up.

    Gray, palette, CMYK and other modes are converted by Pillow; 16 bits of gray become 8 by dividing by 257,
    so that white stays white; what is transparent shows white behind it; an EXIF orientation is carried out.
    Raises OSError for a file that is broken, and ValueError for pixels whose range is not known and for an image
    with one side more than 100 times the other.
    """
    with Image.open(path) as image:
        return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """A Pillow image of any mode as 8-bit RGB, see `read_rgb`."""
    check_sides(image)
    _scale_key(image)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        values = np.asarray(image)
        gray = _to_8_bits(values, image.mode)
        gray[values == image.info.get("transparency", -1)] = 255
        image = Image.fromarray(gray)
    elif image.mode == "F":
        raise ValueError("floating-point pixels, whose range is not known")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def check_sides(image: Image.Image) -> None:
    """Raise ValueError for a strip, before it is decoded: 1×65000 pixels, resized to 64×4160000, would take 800 MB.

    The number of pixels is bounded by Pillow (`Image.MAX_IMAGE_PIXELS`), but not what resizing makes of them.
    """
    if max(image.size) > MOST_SIDES * min(image.size):
        raise ValueError(f"{image.width}×{image.height} pixels: one side is more than {MOST_SIDES} times the other")


def _scale_key(image: Image.Image) -> None:
    """Bring the transparent color of a PNG, which has the bits of the file, to the 8 bits of Pillow's pixels."""
    key, tiles = image.info.get("transparency"), getattr(image, "tile", None)
    kind = tiles[0][3] if image.format == "PNG" and tiles else None  # as the pixels lie in the file
    if kind == "RGB;16B" and key is not None:
        image.info["transparency"] = tuple(value >> 8 for value in key)
    elif kind in ("L;2", "L;4") and key is not None:
        image.info["transparency"] = key * (85 if kind == "L;2" else 17)


def _to_8_bits(values: np.ndarray, kind: str) -> np.ndarray:
    """16 bits, 0 to 65535, as 8 bits, 0 to 255. kind: what an error calls these pixels."""
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"{kind} pixels from {values.min()} to {values.max()}, where 0 to 65535 was expected")
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _open(source: Source) -> Image.Image:
    if isinstance(source, Image.Image):
        return to_rgb(source)
    if isinstance(source, str | Path):
        name = printable(source)
        if Path(source).is_dir():
            raise ValueError(f"source must be an image file, and {name} is a folder: datasets.load reads folders")
        try:
            return read_rgb(source)
        except (OSError, ValueError) as error:
            raise ValueError(f"source must be an image file, and {name} cannot be read as one ({error})") from error
    if isinstance(source, torch.Tensor):
        source = source.squeeze(0) if source.ndim == 4 else source
        source = source.permute(1, 2, 0) if source.ndim == 3 and source.shape[0] in (1, 3, 4) else source
        try:
            source = source.detach().cpu()
            source = (source.float() if source.is_floating_point() and source.itemsize < 4 else source).numpy()
        except (TypeError, RuntimeError) as error:  # sparse, quantized or on the meta device
            raise ValueError(f"source must be a tensor that NumPy can hold, got {source.dtype} ({error})") from error
    return to_rgb(Image.fromarray(_pixels(np.asarray(source))))


def _pixels(values: np.ndarray) -> np.ndarray:
    """An array of one of the kinds that `photograph` knows, as uint8 (H, W), (H, W, 3) or (H, W, 4)."""
    pixels = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
    if pixels.size and (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        if pixels.dtype == np.uint8:
            return pixels
        if pixels.dtype == np.uint16:
            return _to_8_bits(pixels, "16-bit")
        if pixels.dtype == bool:
            return pixels.astype(np.uint8) * 255
        if pixels.dtype.kind == "f" and pixels.min() >= 0 and pixels.max() <= 1:
            return (pixels * 255 + 0.5).astype(np.uint8)
    raise ValueError(
        "source must be an image file, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) of 8-bit values or "
        f"of floats from 0 to 1, got {pixels.dtype} {pixels.shape}"
    )
