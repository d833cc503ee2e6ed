"""What a unit reads: its strongest inputs from the stage before, from the weights.

A path of a module is a chain: a 1×1 reduction, then a 3×3 or 5×5 convolution, each followed by batch normalization and
a ReLU. Leave out the ReLUs and the chain is one linear map, and so one convolution, from the stage before to the unit.
Its kernel E is the unit's *expanded kernel* (Voss et al. 2021, "Visualizing Weights", doi 10.23915/distill.00024.007):

    E[j, i, u, v] = g_j Σ_r w_conv[j, r, u, v] · g_r · w_reduce[r, i],    g = γ / √(running variance + ε)

Batch normalization in evaluation is a factor g and a shift. The factor belongs to the weights, and the shift to no
input. A max pool passes one value of its window on, so it counts as 1; local response normalization and the pools
between two stages are left out in the same way.

The strength of input channel i on unit j is  d_i Σ_uv |E[j, i, u, v]|,  where d_i is the standard deviation of channel
i over images and positions. It is split by the sign of E into what excites the unit and what inhibits it. That is how
far the unit's sum before its last ReLU can move if every value of channel i under the kernel moves by one deviation,
as long as the reductions' ReLUs pass. A channel that never changes has no strength, however large its weights are.
"""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from inception_lab.models.blocks import Inception

PASSES_ON = (nn.ReLU, nn.MaxPool2d, nn.LocalResponseNorm, nn.Dropout, nn.Identity)


class Inputs(NamedTuple):
    """The k strongest inputs of each of n units, strongest first."""

    channels: torch.Tensor  # (n, k) int64: which channel of the stage before
    excites: torch.Tensor  # (n, k): the part of the strength with positive weights
    inhibits: torch.Tensor  # (n, k): the part with negative weights, as a positive number
    kernels: torch.Tensor  # (n, k, K, K): the expanded kernels


@torch.no_grad()
def expanded_kernel(chain: nn.Module, in_channels: int) -> torch.Tensor:
    """The kernel of a chain of layers without its ReLUs: (out, in_channels, K, K), as `conv2d` takes it.

    It is what becomes of an impulse in each input channel, mirrored. Strides are taken as 1, so that the kernel counts
    pixels of the input. Raises ValueError for a layer that is no convolution, normalization, pool or ReLU.
    """
    like = next(chain.parameters(), torch.empty(0))
    response = torch.eye(in_channels, dtype=like.dtype, device=like.device)[:, :, None, None]
    for layer in chain.modules():
        if isinstance(layer, nn.Conv2d):
            padding = [side - 1 for side in layer.kernel_size]
            response = functional.conv2d(response, layer.weight, padding=padding, groups=layer.groups)
        elif isinstance(layer, nn.BatchNorm2d) and layer.running_var is not None:
            response = response * (layer.weight / (layer.running_var + layer.eps).sqrt())[:, None, None]
        elif isinstance(layer, nn.AvgPool2d) and isinstance(layer.kernel_size, int):
            side = layer.kernel_size
            mean = response.new_full((response.shape[1], 1, side, side), side**-2)
            response = functional.conv2d(response, mean, padding=side - 1, groups=len(mean))
        elif isinstance(layer, nn.Linear):
            response = functional.conv2d(response, layer.weight[:, :, None, None])
        elif not isinstance(layer, PASSES_ON) and not list(layer.children()):
            raise ValueError(f"chain must be convolutions, normalizations, pools and ReLUs, got {layer}")
    return response.transpose(0, 1).flip(-1, -2)


def strengths(kernel: torch.Tensor, deviations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How strongly each input excites each unit, and how strongly it inhibits it: two of (out, in).

    kernel: (out, in, K, K), expanded. deviations: (in,), of each input channel. Raises ValueError where these differ.
    """
    if deviations.shape != kernel.shape[1:2]:
        raise ValueError(f"deviations must be one for each of {kernel.shape[1]} inputs, got {tuple(deviations.shape)}")
    moved = kernel * deviations.to(kernel)[:, None, None]
    return moved.clamp(min=0).sum((-1, -2)), (-moved).clamp(min=0).sum((-1, -2))


def strongest(kernel: torch.Tensor, deviations: torch.Tensor, k: int = 8) -> Inputs:
    """The k strongest inputs of every unit, or all where there are fewer; arguments as of `strengths`."""
    excites, inhibits = strengths(kernel, deviations)
    channels = (excites + inhibits).topk(min(k, kernel.shape[1])).indices
    units = torch.arange(len(kernel), device=kernel.device)[:, None]
    return Inputs(channels, excites.gather(1, channels), inhibits.gather(1, channels), kernel[units, channels])


def stage_kernels(stage: nn.Module, in_channels: int) -> list[torch.Tensor]:
    """The expanded kernels of what a stage concatenates: of each path of a module, or of the stage itself."""
    chains = list(stage.children()) if isinstance(stage, Inception) else [stage]
    return [expanded_kernel(chain, in_channels) for chain in chains]
