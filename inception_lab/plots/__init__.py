"""The course's figures, in one style: each function draws what it is given, and no figure computes what it shows.

plots.use_style()                     # at the top of a notebook
plots.draw_network(model), plots.study(frame), plots.module_cost()
"""

from inception_lab.plots.architecture import draw_module, draw_network, receptive_fields
from inception_lab.plots.costs import (
    accuracy_cost,
    cost_by_module,
    error_against_cost,
    frontier,
    object_and_kernels,
    roofline,
    share_of_variance,
    tuning_curves,
    with_notes,
)
from inception_lab.plots.images import image_grid, titled_images
from inception_lab.plots.lens import (
    attributions,
    filters,
    guesses,
    impulse_responses,
    path_images,
    path_maps,
    picture_rows,
    preferred_scales,
    scores,
    tuning_by_path,
)
from inception_lab.plots.style import HIGHLIGHT, INK, LIGHT, PATH_LABELS, PATHS, QUIET, path_labels, ramp, use_style
from inception_lab.plots.training import (
    LivePlot,
    by_images,
    by_stage,
    confusion,
    crop_ladders,
    lr_range,
    reliability,
    run_curves,
    run_log,
    step_time,
    study,
)
from inception_lab.plots.widgets import costs_by_path, living, module_cost, upload

__all__ = [
    "HIGHLIGHT",
    "INK",
    "LIGHT",
    "PATHS",
    "PATH_LABELS",
    "QUIET",
    "LivePlot",
    "accuracy_cost",
    "attributions",
    "by_images",
    "by_stage",
    "confusion",
    "cost_by_module",
    "costs_by_path",
    "crop_ladders",
    "draw_module",
    "draw_network",
    "error_against_cost",
    "filters",
    "frontier",
    "guesses",
    "image_grid",
    "impulse_responses",
    "living",
    "lr_range",
    "module_cost",
    "object_and_kernels",
    "path_images",
    "path_labels",
    "path_maps",
    "picture_rows",
    "preferred_scales",
    "ramp",
    "receptive_fields",
    "reliability",
    "roofline",
    "run_curves",
    "run_log",
    "scores",
    "share_of_variance",
    "step_time",
    "study",
    "titled_images",
    "tuning_by_path",
    "tuning_curves",
    "upload",
    "use_style",
    "with_notes",
]
