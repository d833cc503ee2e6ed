"""What passes through a network: of the images on the way forward, of the loss on the way back.

gradients(model, images, labels)["map"]   # how much gradient reaches each stage's output
differences(model, images)                # how much of each stage's output depends on the image
"""

import copy

import pandas as pd
import torch
from torch import nn

from inception_lab.training.trainer import loss


def gradients(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, aux_weight: float = 0.3) -> pd.DataFrame:
    """The length of the loss's gradient at every stage that has weights: one row per stage, in the network's order.

    model: a GoogLeNet, in training or evaluation mode; its weights, running statistics and gradients stay as they
    are. images: (N, 3, H, W) as the network sees them. labels: (N,). aux_weight: of each auxiliary loss; with 0 it
    is the gradient of the main loss alone.

    Columns: "map", the norm of the gradient with respect to the stage's output for the loss of one image, as a root
    mean square over the N images, so that it does not depend on the batch; "weights", the norm of the gradient of
    the mean loss with respect to all weights of the stage, without biases and norm parameters.

    The loss is that of Section 5 of Szegedy et al. 2014, arXiv:1409.4842. Raises ValueError for a network that has
    no named stages, or images and labels of different number.
    """
    if len(images) != len(labels):
        raise ValueError(f"labels must be as many as images ({len(images)}), got {len(labels)}")
    model, maps = _watched(model)
    total, rows = loss(model(images), labels, aux_weight), {}
    for x in maps.values():
        x.retain_grad()
    total.backward()
    for stage, x in maps.items():
        if weights := [p for p in getattr(model, stage).parameters() if p.ndim > 1]:
            # The loss is a mean over the images, so that each image's own gradient is N times its part.
            rows[stage] = {"map": len(images) ** 0.5 * _norm([x]), "weights": _norm(weights)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("stage")


@torch.no_grad()
def differences(model: nn.Module, images: torch.Tensor) -> pd.Series:
    """How much of each stage's output depends on the image: stage → a share from 0 to 1.

    It is the variance of each number of the map over the images, summed over the map, divided by the sum of its mean
    squares. 0: all images give the same map; 1: the maps have nothing in common. Stages without weights are left
    out. model, images, errors: as `gradients` takes and raises them; at least 2 images.
    """
    if len(images) < 2:
        raise ValueError(f"images must be at least 2, got {len(images)}")
    model, maps = _watched(model)
    model(images)
    shares = {}
    for stage, x in maps.items():
        if any(p.ndim > 1 for p in getattr(model, stage).parameters()):
            x = x.cpu().double()  # Apple's GPUs have no doubles
            shares[stage] = (x.var(0, correction=0).sum() / x.square().mean(0).sum()).item()
    return pd.Series(shares, name="share").rename_axis("stage")


def _watched(model: nn.Module) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A copy of a network, and a dict that its next forward pass fills: stage → output."""
    stages = getattr(model, "stages", None)
    if not stages:
        raise ValueError(f"model must have named stages, as GoogLeNet has, got {type(model).__name__}")
    model, maps = copy.deepcopy(model), {}
    model.zero_grad()
    for stage in stages:
        getattr(model, stage).register_forward_hook(lambda module, x, y, stage=stage: maps.update({stage: y}))
    return model, maps


def _norm(tensors: list[torch.Tensor]) -> float:
    """The length of all their gradients together."""
    found = [t.grad.cpu().double().square().sum() for t in tensors if t.grad is not None]
    return torch.stack(found).sum().sqrt().item()
