"""Which pixels speak for a class: CAM, Grad-CAM, occlusion, gradients and integrated gradients; and an edge filter.

    maps = grad_cam(network, images, "ring")         # (N, H, W), larger where the image speaks for the class

Each takes images, uint8 or floats from 0 to 1, and classes by name or number, one for all images or one for each; by
default those that the network finds. Each computes in the network's precision, also under `no_grad`, `inference_mode`
and `autocast`, and gives float32 (N, H, W) on the CPU. Raises ValueError for an unknown layer or class, offering the
closest, and for other images.
"""

from itertools import product

import torch
from captum.attr import IntegratedGradients, LayerGradCam, Saliency
from torch.nn import functional

from inception_lab.common.checks import check_whole
from inception_lab.lens.network import Network, Targets, instrument
from inception_lab.lens.units import check_names, modules

AT_ONCE = 32  # images in one pass


@instrument
def cam(network: Network, images: torch.Tensor, targets: Targets | None = None) -> torch.Tensor:
    """The class activation map: where the last module's map raises the class's logit, and where it lowers it.

    The logit is a bias plus weights times *means* over the positions of the last map, so it is that bias plus the mean
    over the positions of weights times values (Zhou et al. 2016, arXiv:1512.04150). Those are the map, enlarged.
    """
    images, targets = prepared(network, images, targets)
    return enlarged(class_maps(network, images)[range(len(images)), targets], images)


@torch.no_grad()
def class_maps(network: Network, images: torch.Tensor) -> torch.Tensor:
    """What each position of the last module's map adds to each class: (N, classes, h, w); the mean is logit − bias."""
    last = modules(network)[-1]
    weights = network.model.get_parameter("linear.weight")
    return functional.conv2d(network.extract(images, [last])[last], weights[:, :, None, None])


@instrument
def grad_cam(
    network: Network, images: torch.Tensor, targets: Targets | None = None, layer: str | None = None
) -> torch.Tensor:
    """Grad-CAM of a stage or path, enlarged to the images, 0 and up. layer: by default the last module.

    The channels' maps, each weighted by the mean gradient of the class's logit, summed, and cut off below 0
    (Selvaraju et al. 2017, arXiv:1610.02391). At the last module it is `cam`, cut off, over the number of positions.
    """
    images, targets = prepared(network, images, targets)
    layer = modules(network)[-1] if layer is None else check_names(network, layer, "layer")[0]
    method = LayerGradCam(network, network.model.get_submodule(layer))
    maps = method.attribute(images.requires_grad_(), targets, relu_attributions=True)
    return enlarged(maps[:, 0], images)


@instrument
@torch.no_grad()
def occlusion(
    network: Network,
    images: torch.Tensor,
    targets: Targets | None = None,
    window: int | None = None,
    stride: int | None = None,
) -> torch.Tensor:
    """How much the class's logit falls where a square of the mean color covers the image.

    Each pixel has the mean over the squares that cover it (Zeiler and Fergus 2013, arXiv:1311.2901, Section 4.1).
    window: side of the square, by default an eighth of the image's shorter side. stride: pixels from one square to the
    next, by default three quarters of that; the last squares lie at the image's edges.
    """
    images, targets = prepared(network, images, targets)
    side = min(images.shape[2:])
    window = check_whole("window", max(1, side // 8) if window is None else window, 1, side)
    stride = check_whole("stride", max(1, 3 * window // 4) if stride is None else stride, 1, window)
    tops, lefts = ([*range(0, length - window, stride), length - window] for length in images.shape[2:])
    squares, logits = [*product(tops, lefts)], network.for_inference()
    count, before = len(images), logits(images).gather(1, targets[:, None])
    fall, covers = images.new_zeros(count, *images.shape[2:]), images.new_zeros(images.shape[2:])
    step = max(1, AT_ONCE // count)
    for some in (squares[start : start + step] for start in range(0, len(squares), step)):
        covered = images.repeat(len(some), 1, 1, 1).unflatten(0, (len(some), count))
        for batch, (top, left) in zip(covered, some, strict=True):
            batch[:, :, top : top + window, left : left + window] = network.mean
        after = logits(covered.flatten(0, 1)).gather(1, targets.repeat(len(some))[:, None])
        for lost, (top, left) in zip(before - after.unflatten(0, (len(some), count)), some, strict=True):
            fall[:, top : top + window, left : left + window] += lost[:, :, None]
            covers[top : top + window, left : left + window] += 1
    return (fall / covers).float().cpu()


@instrument
def gradient(network: Network, images: torch.Tensor, targets: Targets | None = None) -> torch.Tensor:
    """The size of the logit's gradient at each pixel, summed over colors (Simonyan et al. 2013, arXiv:1312.6034)."""
    images, targets = prepared(network, images, targets)
    return Saliency(network).attribute(images.requires_grad_(), targets).sum(1).detach().float().cpu()


@instrument
def integrated_gradients(
    network: Network, images: torch.Tensor, targets: Targets | None = None, steps: int = 32, signed: bool = True
) -> torch.Tensor:
    """What each pixel adds to the class's logit on the straight way from an image of the mean color to this one.

    The sum over the three colors, which may be negative: all pixels together give the difference of the two logits, up
    to the error of `steps` (Sundararajan et al. 2017, arXiv:1703.01365). signed=False: its size, whatever its sign.
    """
    images, targets = prepared(network, images, targets)
    steps = check_whole("steps", steps)
    baseline = network.mean.to(images).expand_as(images)
    method = IntegratedGradients(network, multiply_by_inputs=True)
    maps = method.attribute(images, baseline, targets, n_steps=steps, internal_batch_size=max(AT_ONCE, len(images)))
    maps = maps.sum(1).detach().float().cpu()
    return maps if signed else maps.abs()


@instrument
def edges(network: Network, images: torch.Tensor, targets: Targets | None = None) -> torch.Tensor:
    """A Sobel filter on the gray image: what a map can show that knows neither the network nor the class."""
    gray = network.pixels(images).float().cpu().mean(1, keepdim=True)
    across = torch.tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=torch.float32)
    kernels = torch.stack([across, across.T])[:, None]
    return functional.conv2d(functional.pad(gray, (1, 1, 1, 1), mode="reflect"), kernels).norm(dim=1)


def enlarged(maps: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Maps (N, h, w) at the images' size."""
    found = functional.interpolate(maps.detach()[:, None], images.shape[2:], mode="bilinear", align_corners=False)
    return found[:, 0].float().cpu()


def prepared(network: Network, images: torch.Tensor, targets: Targets | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The images as floats from 0 to 1 and their classes as numbers; by default those that the network finds."""
    images = network.pixels(images).detach().clone()
    images = images.to(torch.promote_types(images.dtype, torch.float32))  # a half would round what is added up
    if targets is None:
        with torch.no_grad():
            return images, network(images).argmax(1)
    return images, network.class_numbers(targets, len(images)).to(images.device)
