"""Which pixels speak for a class: Grad-CAM, occlusion and integrated gradients, by captum.

    maps = grad_cam(network, images, "ring")         # (N, H, W), larger where the image speaks for the class

Each takes images, uint8 or floats from 0 to 1, and classes by name or number, one for all images or one for each. Each
computes in the network's precision, also under `no_grad`, `inference_mode` and `autocast`.
"""

import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
from torch.nn import functional

from inception_lab.common.checks import check_whole
from inception_lab.lens.network import Network, Targets, instrument
from inception_lab.lens.units import check_names, modules


@instrument
def grad_cam(
    network: Network, images: torch.Tensor, targets: Targets | None = None, layer: str | None = None
) -> torch.Tensor:
    """Grad-CAM of a stage or path, enlarged to the images: float32 (N, H, W), 0 and up.

    The channels' maps, each weighted by the mean gradient of the class's logit, summed, and cut off below 0
    (Selvaraju et al. 2017, arXiv:1610.02391). targets: by default the class that the network finds. layer: by default
    the last module. Raises ValueError for an unknown layer or class, offering the closest, and for other images.
    """
    images, targets = prepared(network, images, targets)
    layer = modules(network)[-1] if layer is None else check_names(network, layer, "layer")[0]
    method = LayerGradCam(network, network.model.get_submodule(layer))
    maps = method.attribute(images.requires_grad_(), targets, relu_attributions=True).detach()
    return functional.interpolate(maps, images.shape[2:], mode="bilinear", align_corners=False)[:, 0].float()


@instrument
def occlusion(
    network: Network,
    images: torch.Tensor,
    targets: Targets | None = None,
    window: int | None = None,
    stride: int | None = None,
) -> torch.Tensor:
    """How much the class's logit falls where a square of the mean color covers the image: float32 (N, H, W).

    Each pixel has the mean over the squares that cover it (Zeiler and Fergus 2013, arXiv:1311.2901, Section 4.1).
    window: side of the square, by default an eighth of the image's shorter side. stride: pixels from one square to the
    next, by default half of that. Otherwise as `grad_cam`.
    """
    images, targets = prepared(network, images, targets)
    side = min(images.shape[2:])
    window = check_whole("window", max(1, side // 8) if window is None else window, 1, side)
    stride = check_whole("stride", max(1, window // 2) if stride is None else stride, 1, window)
    maps = Occlusion(network).attribute(
        images,
        (3, window, window),
        (3, stride, stride),
        baselines=network.mean.to(images).expand_as(images),
        target=targets,
        perturbations_per_eval=max(1, 64 // len(images)),
    )
    return maps.mean(1).detach().float()


@instrument
def integrated_gradients(
    network: Network, images: torch.Tensor, targets: Targets | None = None, steps: int = 32
) -> torch.Tensor:
    """What each pixel adds to the class's logit on the straight way from an image of the mean color to this one.

    float32 (N, H, W), the sum over the three colors, which may be negative: all pixels together give the difference
    of the two logits, up to the error of `steps` (Sundararajan et al. 2017, arXiv:1703.01365). Otherwise as `grad_cam`.
    """
    images, targets = prepared(network, images, targets)
    steps = check_whole("steps", steps)
    baseline = network.mean.to(images).expand_as(images)
    method = IntegratedGradients(network, multiply_by_inputs=True)
    maps = method.attribute(images, baseline, targets, n_steps=steps, internal_batch_size=max(64, len(images)))
    return maps.sum(1).detach().float()


def prepared(network: Network, images: torch.Tensor, targets: Targets | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The images as floats from 0 to 1 and their classes as numbers; by default those that the network finds."""
    images = network.pixels(images).detach().clone()
    images = images.to(torch.promote_types(images.dtype, torch.float32))  # a half would round what is added up
    if targets is None:
        with torch.no_grad():
            return images, network(images).argmax(1)
    return images, network.class_numbers(targets, len(images)).to(images.device)
