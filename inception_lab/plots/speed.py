"""Figures about seconds."""

import numpy as np

from inception_lab.plots.style import HIGHLIGHT, INK, QUIET


def roofline(ax, layers, peak: float, bandwidth: float):
    """Each layer's speed against its work for each byte, under the two limits of the machine.

    layers: a DataFrame with the columns macs, bytes, seconds and kernel, a row a layer. peak: multiply-accumulates a
    second. bandwidth: bytes a second. Returns the axes.
    """
    intensity, speed = layers["macs"] / layers["bytes"], layers["macs"] / layers["seconds"] / 1e9
    reach = np.geomspace(min(intensity.min(), peak / bandwidth) / 2, intensity.max() * 2, 100)
    ax.plot(reach, np.minimum(peak, reach * bandwidth) / 1e9, color=INK)
    colors = dict(zip(sorted(layers["kernel"].unique()), (QUIET, HIGHLIGHT, "#8C6D1F", "#3B6EA8"), strict=False))
    for kernel, color in colors.items():
        chosen = layers["kernel"] == kernel
        ax.scatter(intensity[chosen], speed[chosen], color=color, label=f"{kernel} convolution", s=24)
    ax.set(xscale="log", yscale="log", xlabel="MACs for each byte that has to move", ylabel="billion MACs a second")
    ax.legend()
    return ax
