"""Draw the picture of the README: photographs, what the published GoogLeNet calls them, and where its paths answer.

python scripts/front_picture.py        writes docs/_static/what-it-sees.jpg; it needs the published weights

Each map is the strength of one path of a module at each position: the root of the sum of its channels' squares.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from skimage import data

from inception_lab import lens, pretrained
from inception_lab.common import console
from inception_lab.plots import PATHS, use_style
from inception_lab.plots.style import ramp

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "_static" / "what-it-sees.jpg"
PHOTOGRAPHS, MODULE = ("chelsea", "coffee", "camera", "astronaut"), "inception_4a"


def draw() -> plt.Figure:
    """A row per photograph: the photograph with the most probable class, then its four paths in MODULE."""
    use_style()
    google = pretrained("googlenet")
    network = lens.open(google, device="cpu")
    figure, axes = plt.subplots(len(PHOTOGRAPHS), 5, figsize=(8.4, 6.9), dpi=120)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    for number, (row, name) in enumerate(zip(axes, PHOTOGRAPHS, strict=True)):
        photograph = getattr(data, name)()
        view = network.view(photograph)
        ((guess, probability),) = google.guess(photograph, top=1)
        row[0].imshow(view[0].permute(1, 2, 0))
        row[0].set_title(f"“{guess}”, {100 * probability:.0f} %", fontsize=10, loc="center")
        maps = lens.activations(network, view, [f"{MODULE}.{path}" for path in PATHS])
        for ax, (path, color), values in zip(row[1:], PATHS.items(), maps.values(), strict=True):
            strength = values[0].square().sum(0).sqrt()
            large = torch.nn.functional.interpolate(strength[None, None], view.shape[-2:], mode="bicubic")[0, 0]
            ax.imshow(view[0].mean(0), cmap="gray", vmin=-0.6, vmax=1.2)
            ax.imshow(
                large, cmap=ramp(color), alpha=((large - large.min()) / (large.max() - large.min())).clamp(0, 0.9)
            )
            if number == 0:
                ax.set_title(network.path_labels[path], fontsize=11, loc="center", color=color, weight="bold")
    return figure


def main() -> None:
    figure = draw()
    figure.savefig(PICTURE, pil_kwargs={"quality": 82, "optimize": True})
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    sys.exit(console.run("front_picture.py", main))
