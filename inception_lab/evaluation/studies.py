"""Studies as data: which networks or recipes are compared, over how many seeds, and the question that they answer.

STUDIES["schedules"].arms                            # name → the settings in which an arm differs
run_study(STUDIES["schedules"])                      # hours; killed and called again, it is resumed
compare(read_study("schedules"))                     # one row per arm, from data/studies/schedules.csv
live = STUDIES["schedules"].with_settings(["epochs=2", "train_images=500"])
run_study(live, seeds=1, arms=["cosine"], out="live.csv")  # the same code in about a minute
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

from inception_lab.common.checks import check_one_of
from inception_lab.evaluation.comparison import SCALES
from inception_lab.training.recipes import RECIPES, Recipe


@dataclass(frozen=True)
class Study:
    """A question, and the runs that answer it.

    recipe: what the arms share. arms: name → the settings in which the arm differs, as `Recipe.with_settings` takes
    them. seeds: how many runs per arm; they have the seeds 0, 1, 2, ..., also for their first weights. scale: on which
    errors are compared, see `compare`, fixed before the runs are seen.

    Raises ValueError for arms whose run folders would have one name, and for an unknown scale.
    """

    name: str
    question: str
    recipe: Recipe
    arms: dict[str, list[str]]
    seeds: int = 5  # the fewest that `compare` gives a verdict for
    scale: Literal["ratio", "points"] = "ratio"

    def __post_init__(self) -> None:
        check_one_of("scale", self.scale, SCALES)
        folders = [folder_name(arm) for arm in self.arms]
        if not folders or len(set(folders)) < len(folders):
            raise ValueError(f"arms must be one or more, with names that differ in a letter or digit, got {folders}")

    def recipe_of(self, arm: str, seed: int) -> Recipe:
        """The recipe of one run, named after its arm and seed; ValueError for an unknown arm or setting."""
        check_one_of("arm", arm, self.arms)
        try:
            recipe = self.recipe.with_settings(self.arms[arm])
            return replace(recipe, name=f"{folder_name(arm)}-{seed}", seed=seed, weights_seed=seed)
        except ValueError as error:
            raise ValueError(f"arm {arm!r}: {error}") from error

    def with_settings(self, settings: list[str]) -> "Study":
        """The study with these settings in all arms, after their own: to try it at small scale, for example."""
        return replace(self, arms={arm: [*own, *settings] for arm, own in self.arms.items()})


def folder_name(arm: str) -> str:
    """An arm's name as part of a folder's: "batch norm, heads" → "batch-norm-heads"."""
    return re.sub(r"\W+", "-", arm).strip("-")


LRN = ["options.norm=lrn", "options.bias=true"]
ZERO_BIAS = ["options.initial_bias=0"]
HEADS = ["options.aux=true"]
# For comparisons on one GPU, about one minute per run: AdamW at the usual rate, at which local response normalization
# trains too, and nothing that a small effect could hide behind (smoothing, averaged weights, cutout).
CIFAR10 = RECIPES["cifar10-fast"].with_settings(
    ["options.dropout=0.4", "optimizer=adamw", "nesterov=false", "learning_rate=0.001", "schedule=one-cycle"]
    + ["warmup_epochs=2", "epochs=10", "batch=256", "label_smoothing=0", "averaging=none", "cutout=0", "compile=false"]
)
STUDIES = {
    study.name: study
    for study in (
        Study(
            "kernels",
            "At equal MACs and depth: kernels of one size, or a mix of sizes?",
            RECIPES["shapes-laptop"],
            {
                "inception": [],
                **{f"{k}x{k} alone": [f"options.modules={k}x{k} alone"] for k in (1, 3, 5)},
                "inception, 3x3 for 5x5": ["options.modules=3x3 for 5x5"],  # the control: one path changed, not all
            },
        ),
        # Few images, so that there is overfitting, and a rate at which local response normalization can be trained.
        Study(
            "heads",
            "Do the auxiliary heads help to train, and do they regularize?",
            RECIPES["shapes-laptop"].with_settings(["train_images=3000", "epochs=10", "learning_rate=0.002"]),
            {
                "batch norm": [],
                "batch norm, heads": [*HEADS],
                "LRN, biases 0": [*LRN, *ZERO_BIAS],
                "LRN, biases 0, heads": [*LRN, *ZERO_BIAS, *HEADS],
                "LRN, biases 0.2": [*LRN],
                "LRN, biases 0.2, heads": [*LRN, *HEADS],
            },
            seeds=10,
        ),
        # Bias 0 for LRN: the study of heads found that with 0.2 it hardly trains in so few steps.
        Study(
            "ablations",
            "What does each choice in GoogLeNet's design bring on CIFAR-10?",
            CIFAR10,
            {
                "batch norm": [],
                "batch norm, heads": [*HEADS],
                "LRN": [*LRN, *ZERO_BIAS],
                "LRN, heads": [*LRN, *ZERO_BIAS, *HEADS],
                "two 3x3 for 5x5": ["options.five_by_five=two 3x3"],
                "one 3x3 for 5x5": ["options.five_by_five=3x3"],
                **{f"without {path}": [f"options.modules=without {path}"] for path in ("1x1", "3x3", "5x5", "pool")},
                **{f"{k}x{k} alone": [f"options.modules={k}x{k} alone"] for k in (1, 3, 5)},
                "naive modules": ["options.modules=naive"],
                "fully connected": ["options.final_map=8"],
                "fully connected, 1024 hidden": ["options.final_map=8", "options.hidden=1024"],
                "dropout 0": ["options.dropout=0"],
            },
        ),
        # The paper's 4 % less every 8 epochs has no arm: over the 4 epochs of this recipe it is the constant rate.
        Study(
            "schedules",
            "How much do the schedule of the learning rate and averaged weights matter, at equal cost?",
            RECIPES["shapes-laptop"],
            {
                "one-cycle": [],
                "cosine": ["schedule=cosine"],
                "constant": ["schedule=constant"],
                "constant, Polyak average": ["schedule=constant", "averaging=polyak", "average_from=2"],
            },
            seeds=10,
        ),
        Study(
            "limits",
            "At equal MACs: are the widths, the depth and the average pool of Table 1 better than others?",
            RECIPES["shapes-laptop"],
            {
                "as in Table 1": [],
                **{f"widths {how}": [f"options.modules=widths {how}"] for how in ("shuffled", "uniform", "× 3/4")},
                **{f"{n} modules": [f"options.modules={n} modules"] for n in (3, 18)},
                "no average pooling": ["options.final_map=4"],  # the side of the last map
            },
        ),
        # So few images that the network can learn them by heart, and long enough for it to do so.
        Study(
            "overfitting",
            "With few images: do the average pool and dropout keep the network from learning them by heart?",
            RECIPES["shapes-laptop"].with_settings(["train_images=1000", "epochs=32", "options.dropout=0.0"]),
            {
                "average pool": [],
                "average pool, dropout 40 %": ["options.dropout=0.4"],
                "fully connected": ["options.final_map=4"],  # the side of the last map
                "fully connected, dropout 40 %": ["options.final_map=4", "options.dropout=0.4"],
            },
        ),
        Study(
            "descendants",
            "At equal MACs: which idea that came after GoogLeNet makes it better?",
            RECIPES["shapes-laptop"],
            {
                "GoogLeNet": [],
                "5×5 → two 3×3": ["options.modules=two 3x3"],
                "n×n → 1×n, n×1": ["options.modules=1xn nx1"],
                "grid reduction": ["options.modules=grid reduction"],
                "label smoothing": ["label_smoothing=0.1"],
                "residual": ["options.modules=residual"],
                "separable": ["options.modules=separable"],
            },
        ),
    )
}


def find(name: str) -> Study:
    """The study of that name; ValueError for an unknown one, listing all with their questions."""
    if name not in STUDIES:
        raise ValueError(f"study {name!r} is not known. There are:\n{overview()}")
    return STUDIES[name]


def overview() -> str:
    """One line per study: its name and its question."""
    width = max(map(len, STUDIES))
    return "\n".join(f"{name:{width}}  {study.question}" for name, study in STUDIES.items())
