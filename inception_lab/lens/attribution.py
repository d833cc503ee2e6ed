"""Which pixels speak for a class: Grad-CAM, occlusion and integrated gradients, by captum.

    maps = grad_cam(network, images, "ring")         # (N, H, W), larger where the image speaks for the class

Each takes images, uint8 or floats from 0 to 1, and classes by name or number, one for all images or one for each.
"""

import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
from torch.nn import functional

from inception_lab.lens.network import Network
from inception_lab.lens.units import check_batch, check_names


def grad_cam(network: Network, images: torch.Tensor, targets=None, layer: str | None = None) -> torch.Tensor:
    """Grad-CAM of a stage or path, enlarged to the images: float32 (N, H, W), 0 and up.

    The channels' maps, each weighted by the mean gradient of the class's logit, summed, and cut off below 0
    (Selvaraju et al. 2017, arXiv:1610.02391). targets: by default the class that the network finds. layer: by default
    the last module. Raises ValueError for an unknown layer or class, offering the closest, and for other images.
    """
    images, targets = prepared(network, images, targets)
    layer = last_module(network) if layer is None else check_names(network, layer, "layer")[0]
    method = LayerGradCam(network, network.model.get_submodule(layer))
    maps = method.attribute(images.requires_grad_(), targets, relu_attributions=True).detach()
    return functional.interpolate(maps, images.shape[2:], mode="bilinear", align_corners=False)[:, 0].float()


def occlusion(
    network: Network, images: torch.Tensor, targets=None, window: int | None = None, stride: int | None = None
) -> torch.Tensor:
    """How much the class's logit falls where a square of the mean color covers the image: float32 (N, H, W).

    Each pixel has the mean over the squares that cover it (Zeiler and Fergus 2013, arXiv:1311.2901, Section 4.1).
    window: side of the square, by default an eighth of the image's shorter side. stride: pixels from one square to the
    next, by default half of that. Otherwise as `grad_cam`.
    """
    images, targets = prepared(network, images, targets)
    window = max(1, min(images.shape[2:]) // 8) if window is None else window
    stride = max(1, window // 2) if stride is None else stride
    if not 1 <= window <= min(images.shape[2:]):
        raise ValueError(f"window must be from 1 to {min(images.shape[2:])} pixels, got {window!r}")
    if not 1 <= stride <= window:
        raise ValueError(f"stride must be from 1 to the window's {window} pixels, got {stride!r}")
    maps = Occlusion(network).attribute(
        images,
        (3, window, window),
        (3, stride, stride),
        baselines=network.mean.expand_as(images),
        target=targets,
        perturbations_per_eval=max(1, 64 // len(images)),
    )
    return maps.mean(1).detach().float()


def integrated_gradients(network: Network, images: torch.Tensor, targets=None, steps: int = 32) -> torch.Tensor:
    """What each pixel adds to the class's logit on the straight way from an image of the mean color to this one.

    float32 (N, H, W), the sum over the three colors, which may be negative: all pixels together give the difference
    of the two logits, up to the error of `steps` (Sundararajan et al. 2017, arXiv:1703.01365). Otherwise as `grad_cam`.
    """
    images, targets = prepared(network, images, targets)
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, got {steps!r}")
    baseline = network.mean.expand_as(images)
    method = IntegratedGradients(network, multiply_by_inputs=True)
    maps = method.attribute(images, baseline, targets, n_steps=steps, internal_batch_size=max(64, len(images)))
    return maps.sum(1).detach().float()


def prepared(network: Network, images: torch.Tensor, targets) -> tuple[torch.Tensor, torch.Tensor]:
    """The images as floats from 0 to 1 and their classes as numbers; by default those that the network finds."""
    check_batch(images)
    images = images.to(network.mean.device)
    images = (images / 255 if images.dtype == torch.uint8 else images.detach().clone()).to(network.mean.dtype)
    if targets is None:
        with torch.no_grad():
            return images, network(images).argmax(1)
    return images, network.class_numbers(targets, len(images)).to(images.device)


def last_module(network: Network) -> str:
    """The last stage that has a map."""
    return [stage for stage in network.model.stages if stage.startswith("inception")][-1]
