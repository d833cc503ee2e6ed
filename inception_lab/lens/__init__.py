"""Seeing inside a trained network: what excites its units, which pixels speak for a class, what a unit wants to see.

network = lens.open("googlenet")                         # the published GoogLeNet; or a run, or a module
lens.paths(network), lens.activations(network, images, ["inception_4a.five"]), lens.top_patches(network, data)
lens.grad_cam(network, images, "ring"), lens.visualize(network, [lens.channel("inception_4a.five:12")], size=128)
"""

from inception_lab.data.pictures import photograph
from inception_lab.lens import circuits, controls, recorded, scales, scores
from inception_lab.lens.attribution import cam, edges, grad_cam, gradient, integrated_gradients, occlusion
from inception_lab.lens.deepdream import deep_dream
from inception_lab.lens.network import Network, best_run, open_run
from inception_lab.lens.objectives import Objective, channel, diversity, logit, path, unit
from inception_lab.lens.opening import open
from inception_lab.lens.parametrizations import COLORS, Fourier, Pixels
from inception_lab.lens.patches import TopPatches, crop, crops, receptive_field, top_patches
from inception_lab.lens.scales import Tuning, tuning
from inception_lab.lens.transforms import affine, jitter, standard
from inception_lab.lens.units import Unit, activations, channels, features, find_unit, paths
from inception_lab.lens.visualization import Visualized, excitation, visualize

__all__ = [
    "COLORS",
    "Fourier",
    "Network",
    "Objective",
    "Pixels",
    "TopPatches",
    "Tuning",
    "Unit",
    "Visualized",
    "activations",
    "affine",
    "best_run",
    "cam",
    "channel",
    "channels",
    "circuits",
    "controls",
    "crop",
    "crops",
    "deep_dream",
    "diversity",
    "edges",
    "excitation",
    "features",
    "find_unit",
    "grad_cam",
    "gradient",
    "integrated_gradients",
    "jitter",
    "logit",
    "occlusion",
    "open",
    "open_run",
    "path",
    "paths",
    "photograph",
    "receptive_field",
    "recorded",
    "scales",
    "scores",
    "standard",
    "top_patches",
    "tuning",
    "unit",
    "visualize",
]
