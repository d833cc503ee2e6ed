"""The course's figures, in one style. Each function draws what it is given, on the axes it is given."""

from inception_lab.plots.architecture import draw_module, draw_network, impulse_responses, path_images, receptive_fields
from inception_lab.plots.costs import (
    cost_by_module,
    error_against_cost,
    object_and_kernels,
    path_costs,
    share_of_variance,
    tuning_curves,
)
from inception_lab.plots.images import crop_boxes, image_grid, titled_images
from inception_lab.plots.lens import (
    attributions,
    filters,
    path_maps,
    picture_rows,
    preferred_scales,
    scores,
    tuning_by_path,
)
from inception_lab.plots.plane import accuracy_cost, frontier, with_notes
from inception_lab.plots.speed import roofline
from inception_lab.plots.style import HIGHLIGHT, INK, LIGHT, PATH_LABELS, PATHS, QUIET, ramp, use_style
from inception_lab.plots.training import by_stage, confusion, crop_ladders, reliability, run_curves, study
from inception_lab.plots.widgets import costs_by_path, module_cost
