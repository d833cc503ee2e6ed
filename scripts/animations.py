"""Make the animations of notebooks 02 and 04, each with a still for print: docs/_static/NAME.webp and NAME-still.png.

python scripts/animations.py [NAME ...]        mixing, sweeping, field; it needs the published weights

All three show the published GoogLeNet on the photograph of a cat: what moves is what its layers computed.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from skimage import data
from slide_figures import webp

from inception_lab import lens
from inception_lab.common import console
from inception_lab.plots import HIGHLIGHT, LIGHT, PATH_LABELS, PATHS, ramp, use_style

PLACE = Path(__file__).resolve().parent.parent / "docs" / "_static"
REACH = {"one": 1, "three": 3, "five": 5, "pool": 3}  # the window of each path, in positions
Frame = tuple[Figure, int]  # what is shown, and for how many milliseconds


def panels(titles: list[str], rows: int = 1) -> tuple[Figure, np.ndarray]:
    """A small figure of images in rows, without axes."""
    columns = len(titles) // rows
    figure, axes = plt.subplots(rows, columns, figsize=(6.6, 0.3 + 6.2 * rows / columns), squeeze=False)
    for ax, title in zip(axes.flat, titles, strict=True):
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, loc="center", fontsize=9)
    return figure, axes.ravel()


@torch.no_grad()
def mixing(network: lens.Network) -> Iterator[Frame]:
    """A 1×1 convolution of module 3a: channel times weight, one after the other, summed at every pixel."""
    cat = lens.photograph(data.chelsea(), size=2 * network.size)  # twice as large: finer maps
    channels = network.extract(cat, ["pool2"])["pool2"][0]
    conv = network.model.inception_3a.one.conv
    weights, bias = conv.weight[:, :, 0, 0], conv.bias
    sums = torch.einsum("oc,chw->ohw", weights, channels)
    unit = int((sums + bias[:, None, None]).relu().flatten(1).std(1).argmax())
    order = (weights[unit].abs() * channels.flatten(1).std(1)).argsort(descending=True)
    result = (sums[unit] + bias[unit]).relu()
    limit, total = float(sums[unit].abs().max()), torch.zeros_like(result)
    figure, (left, middle, right) = panels([" ", " ", f"after bias and ReLU: map {unit}"])
    right.imshow(result, cmap=ramp(PATHS["one"]))
    read = left.imshow(channels[order[0]], cmap="gray")
    summed = middle.imshow(total, cmap="RdBu_r", vmin=-limit, vmax=limit)
    for done, channel in enumerate(order[:16], 1):
        total = total + weights[unit, channel] * channels[channel]
        read.set_data(channels[channel])
        read.autoscale()
        summed.set_data(total)
        left.set_title(f"channel {int(channel)} · {float(weights[unit, channel]):+.2f}", fontsize=9, loc="center")
        middle.set_title(f"sum of {done} of {len(order)}", fontsize=9, loc="center")
        yield figure, 500
    left.clear()
    left.axis("off")
    left.text(0.5, 0.5, f"and {len(order) - 16}\nchannels more", transform=left.transAxes, ha="center", va="center")
    summed.set_data(sums[unit])
    middle.set_title(f"sum of all {len(order)}", fontsize=9, loc="center")
    yield figure, 2500


@torch.no_grad()
def sweeping(network: lens.Network) -> Iterator[Frame]:
    """The four paths of module 3a on the same input map: each window moves over it, and the output appears."""
    cat = network.view(data.chelsea())
    nodes = [f"inception_3a.{path}" for path in PATHS]
    found = {"pool2": network.extract(cat, ["pool2"])["pool2"], **lens.activations(network, cat, nodes)}
    source = found["pool2"][0].square().sum(0).sqrt()
    titles = [f"{PATH_LABELS[path]}: reads {REACH[path]}×{REACH[path]}" for path in PATHS] + ["written so far"] * 4
    figure, axes = panels(titles, rows=2)
    side, windows, outputs = len(source), [], []
    for (path, reach), above, below in zip(REACH.items(), axes[:4], axes[4:], strict=True):
        values = found[f"inception_3a.{path}"][0]
        values = values[values[:, 2:-2, 2:-2].flatten(1).std(1).argmax()]  # not one that answers to the border
        above.imshow(source, cmap="gray")
        above.set_xlabel(f"{len(found['pool2'][0])} channels", fontsize=8)
        box = Rectangle((0, 0), reach, reach, fc=PATHS[path] + "80", ec=PATHS[path], lw=2)
        windows.append(above.add_patch(box))
        image = below.imshow(
            torch.full_like(values, torch.nan), cmap=ramp(PATHS[path]), vmin=0, vmax=float(values.max())
        )
        outputs.append((image, values.flatten()))
    for position in range(6, side * side, 7):
        y, x = divmod(position, side)
        for box, reach, (image, values) in zip(windows, REACH.values(), outputs, strict=True):
            box.set_xy((x - reach / 2, y - reach / 2))
            image.set_data(torch.where(torch.arange(side * side) <= position, values, torch.nan).view(side, side))
        yield figure, 80 if position < side * side - 1 else 2500


def field(network: lens.Network) -> Iterator[Frame]:
    """The receptive field of the middle position of each stage, and the gradient of its activations in it."""
    cat = network.view(data.chelsea())
    figure, (ax,) = panels([" "])
    figure.set_size_inches(4, 4.3)
    before = None
    for stage in network.model.stages:
        if not stage.startswith(("conv", "pool", "inception")):
            continue
        pixels = cat.clone().requires_grad_()
        values = network.extract(pixels, [stage])[stage]
        middle = values.shape[-1] // 2
        (gradient,) = torch.autograd.grad(values[0, :, middle, middle].sum(), pixels)
        strength = gradient[0].abs().sum(0)
        alpha = (strength / strength.max()).sqrt()
        widest = f"{stage}.five" if stage.startswith("inception") else stage
        box = np.array(lens.receptive_field(network, widest, middle, middle), dtype=float)
        for step in np.linspace(0, 1, 6)[1:]:
            left, top, right, bottom = box if before is None else before + step * (box - before)
            ax.clear()
            ax.set(xticks=[], yticks=[], facecolor="#e4e4e4")
            extent = (0, network.size, network.size, 0)
            ax.imshow(cat[0].mean(0), vmin=-0.5, vmax=1.1, extent=extent)
            ax.imshow(np.ones(alpha.shape), cmap=ramp(LIGHT), vmin=0, vmax=1, alpha=alpha.numpy(), extent=extent)
            ax.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, ec=HIGHLIGHT, lw=2))
            margin = max(12.0, 0.12 * (right - left))
            ax.set(xlim=(left - margin, right + margin), ylim=(bottom + margin, top - margin))
            ax.set_title(f"{stage}: {box[2] - box[0]:.0f} × {box[3] - box[1]:.0f} pixels", loc="center", fontsize=10)
            yield figure, 40 if step < 1 else 900
        before = box


def save(name: str, frames: Iterator[Frame]) -> None:
    """Write the frames as an animation that repeats, and the last one as a still."""
    images, times = [], []
    for figure, milliseconds in frames:
        figure.canvas.draw()
        figure.set_layout_engine("none")  # from now on nothing moves but what is drawn
        images.append(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]))
        times.append(milliseconds)
    plt.close("all")
    path = PLACE / f"{name}.webp"
    how = {"save_all": True, "append_images": images[1:], "duration": times, "loop": 0, "method": 4}
    # Small maps in flat squares are smaller without loss, and sharper; photographs are smaller with it.
    path.write_bytes(min(webp(images[0], lossless=True, **how), webp(images[0], quality=50, **how), key=len))
    images[-1].save(PLACE / f"{name}-still.png", optimize=True)
    print(f"{path}: {len(images)} frames, {sum(times) / 1000:.0f} s, {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    makers = {maker.__name__: maker for maker in (mixing, sweeping, field)}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *makers], metavar="NAME", help=f"one of {', '.join(makers)}")
    names = parser.parse_args().names
    use_style()
    network = lens.open("googlenet", device="cpu")
    if not network.published:
        raise SystemExit("animations.py needs the published weights: inception-lab pretrained googlenet fetches them")
    for name in names or makers:
        save(name, makers[name](network))


if __name__ == "__main__":
    sys.exit(console.run("animations.py", main))
