"""Training by a recipe, into a run folder that a killed run is resumed from.

train("shapes-laptop")                # in the folder runs/shapes-laptop
load_model("runs/shapes-laptop")      # the trained network, and what belongs to it
"""

from inception_lab.common.checks import RunError
from inception_lab.common.seeds import seed_all, seed_of
from inception_lab.training import checkpoints
from inception_lab.training.batches import Batches, Data, open_data
from inception_lab.training.devices import make_fabric
from inception_lab.training.gradient_norms import differences, gradients
from inception_lab.training.optimization import Average, build_optimizer, learning_rate
from inception_lab.training.recipes import PAPER, RECIPES, Recipe
from inception_lab.training.runs import RunFolder
from inception_lab.training.trainer import Trainer, evaluate, loss, train
from inception_lab.training.trials import Estimate, RateTest, dry_run, lr_range, profile
from inception_lab.training.weights import initial_model, load_model

__all__ = [
    "PAPER",
    "RECIPES",
    "Average",
    "Batches",
    "Data",
    "Estimate",
    "RateTest",
    "Recipe",
    "RunError",
    "RunFolder",
    "Trainer",
    "build_optimizer",
    "checkpoints",
    "differences",
    "dry_run",
    "evaluate",
    "gradients",
    "initial_model",
    "learning_rate",
    "load_model",
    "loss",
    "lr_range",
    "make_fabric",
    "open_data",
    "profile",
    "seed_all",
    "seed_of",
    "train",
]
