"""The palette: letters that can be read, and paths that color-blind readers can tell apart."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from skimage.color import rgb2lab

from inception_lab import plots

# What linear RGB looks like to somebody who lacks one kind of cone: Machado, Oliveira & Fernandes 2009, "A
# Physiologically-based Model for Simulation of Color Vision Deficiency", severity 1.
SIGHT = {
    "all three cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(color):
    rgb = np.array(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(one, other="white"):
    """The contrast of two colors by WCAG 2.2: from 1 to 21."""
    light = sorted(linear(color) @ [0.2126, 0.7152, 0.0722] for color in (one, other))
    return (light[1] + 0.05) / (light[0] + 0.05)


def seen(color, sight):
    """CIELAB coordinates of a color as it looks to this sight."""
    rgb = np.clip(np.array(SIGHT[sight]) @ linear(color), 0, 1)
    return rgb2lab(np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)[None, None])[0, 0]


@pytest.mark.parametrize("sight", SIGHT)
def test_no_two_paths_look_alike(sight):
    colors = {name: seen(color, sight) for name, color in plots.PATHS.items()}
    nearest = min(combinations(colors, 2), key=lambda pair: np.linalg.norm(colors[pair[0]] - colors[pair[1]]))
    assert np.linalg.norm(colors[nearest[0]] - colors[nearest[1]]) > 15, nearest  # 2 can just be told apart


def test_letters_have_the_contrast_that_wcag_asks_for():
    assert contrast(plots.INK) >= 7  # level AAA


def test_marks_stand_out_from_the_paper():
    # WCAG asks for 3 where color alone tells something. The orange and the light blue of Okabe and Ito have 2.2, and
    # the gray 2.8: no figure may rest on them without a label, a place or a line style beside them.
    assert {name for name, color in plots.PATHS.items() if contrast(color) < 3} == {"three"}
    assert contrast(plots.HIGHLIGHT) >= 3
    assert min(contrast(color) for color in (*plots.PATHS.values(), plots.QUIET, plots.LIGHT)) > 2.2


def test_letters_on_figures_of_paths_are_not_in_the_colors_of_paths():
    images = {path: np.zeros((4, 4)) for path in plots.PATHS}
    figure = plots.path_images(np.zeros((4, 4, 3)), images)
    for ax in figure.axes:
        assert contrast(ax.title.get_color()) >= 4.5
    assert [line.get_color() for ax in figure.axes[1:] for line in ax.lines] == list(plots.PATHS.values())
    plt.close(figure)
