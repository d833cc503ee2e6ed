"""Recipes: everything that a training run is made by, as a frozen dataclass that is saved with the run.

    recipe = RECIPES["shapes-laptop"]
    recipe = recipe.with_settings(["learning_rate=0.1", "options.aux=false"])
    Recipe.from_json(recipe.to_json()) == recipe

Paper: Szegedy et al. 2014, "Going deeper with convolutions", arXiv:1409.4842.
"""

import dataclasses
import json
import math
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin, get_type_hints

from inception_lab.common.checks import check_one_of, closest
from inception_lab.common.schema import check_type, yes_or_no
from inception_lab.models import zoo

Whole = Annotated[int, 0, math.inf]  # a number and the smallest and largest value that makes sense
AtLeastOne = Annotated[int, 1, math.inf]
Positive = Annotated[float, 0, math.inf]
BelowOne = Annotated[float, 0, 0.9999]
Seed = Annotated[int, 0, 2**32 - 1]
FORMER_KEYS = {"optimiser": "optimizer"}  # of recipes that version 0.1 wrote
OF_WEIGHTS = ("network", "options", "image_size", "mean", "std")  # what weights bring with them
MAY_CHANGE = ("workers", "checkpoint_every")  # when a run is resumed: no weight depends on them


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a training run goes.

    Two runs of one recipe on one CPU give equal weights, if they have equally many threads (`torch.get_num_threads`):
    sums in another order are rounded otherwise.

    name: of the recipe, and of the run folder unless another is given. network, options: what `zoo.build` takes.
    data: a tier or a folder's name, see `datasets.stored_name`. image_size: side in pixels of what the network sees,
        by default 64. mean, std: of each channel, for images from 0 to 1, by default those of the data.
    init: the weights to begin with, but for the classifier and the auxiliary heads, which are new: "published" (the
        published GoogLeNet), "imagenet" (its publisher's, by default torchvision's GoogLeNet), the name of a recorded
        run or a run folder; "" for none. Then network "", image_size 0, and no mean and std are those of the weights,
        and options are added to theirs. freeze: the last stage that stays as `init` has it, with all before it and
        their batch-norm statistics. loaded_rate: factor of the learning rate for what was loaded.
    train_images: how many to train on, 0 for all; a folder with fewer is trained on as a whole.
    optimizer: "sgd" or "adamw" (whose β₁ is `momentum`, and β₂ 0.999). nesterov: of SGD's momentum.
    learning_rate: the highest of the schedule; schedule, warmup_epochs: see `optimization.learning_rate`.
    batch: images per step, over all processes. accumulation: parts that a batch is computed in, to save memory.
    augmentation: "none", "flip", "shift" (by up to an eighth of the side, with a mirrored border, then flip), "crop"
        (an area from `smallest_crop` to 1, aspect 3/4 to 4/3, then flip) or "paper" ("crop" and photometric
        distortions). cutout: side in pixels of a square that is blanked in each augmented image, 0 for none (DeVries
        & Taylor 2017, arXiv:1708.04552).
    aux_weight: of each auxiliary loss. decay_all: weight decay acts on biases and norm parameters too.
    averaging: "none", "polyak" (the mean of the weights after each step from epoch `average_from` on) or "ema"
        (an exponential average with `average_decay`, from the same epoch on).
    in_memory: hold all images, and augment them on the device, a batch at a time; else `workers` processes read and
        augment them. memory_size: side in pixels at which they are held, 0 for `image_size`; the device resizes them.
    precision: "32-true", "bf16-mixed" or, for GPUs that have no bfloat16, "16-mixed" with a loss that is scaled so
        that small gradients are not rounded to 0 (Micikevicius et al. 2017, arXiv:1710.03740). Fabric's names.
    seed: of the order of the images, their augmentation and dropout. weights_seed: of the first weights. The paper's
        seven models have the same first weights, and differ in the order and the sampling of the images.
    merge_ones: compute the 1×1 convolutions that read one input as one, see `fast_twin.merge_ones`.
    checkpoint_every: steps between two checkpoints inside an epoch; 0 for none but the one at its end.

    Raises ValueError for a value of the wrong type or out of range, naming the field.
    """

    name: str
    network: str
    options: dict = field(default_factory=dict)
    data: str = "shapes"
    image_size: Annotated[int, 0, 4096] = 0
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)
    init: str = ""
    freeze: str = ""
    loaded_rate: Positive = 1.0
    train_images: Whole = 0
    in_memory: bool = True
    memory_size: Annotated[int, 0, 4096] = 0
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: Annotated[float, 1e-12, math.inf] = 0.05
    momentum: BelowOne = 0.9
    nesterov: bool = False
    schedule: Literal["paper", "cosine", "one-cycle", "constant"] = "cosine"
    warmup_epochs: Positive = 0.0
    epochs: AtLeastOne = 10
    batch: AtLeastOne = 64
    accumulation: AtLeastOne = 1
    augmentation: Literal["none", "flip", "shift", "crop", "paper"] = "none"
    smallest_crop: Annotated[float, 0.001, 1] = 0.08
    cutout: Annotated[int, 0, 4095] = 0
    aux_weight: Positive = 0.3
    weight_decay: Positive = 0.0
    decay_all: bool = True
    label_smoothing: BelowOne = 0.0
    averaging: Literal["none", "polyak", "ema"] = "none"
    average_decay: Annotated[float, 0, 0.999999] = 0.999
    average_from: Positive = 0.0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    channels_last: bool = False
    merge_ones: bool = False
    compile: bool = False
    seed: Seed = 0
    weights_seed: Seed = 0
    workers: Annotated[int, 0, 1024] = 0
    checkpoint_every: Whole = 0

    def __post_init__(self) -> None:
        for name, hint in _fields().items():
            object.__setattr__(self, name, check_type(name, hint, getattr(self, name)))
        object.__setattr__(self, "options", dict(self.options))  # nobody else's dict
        if not self.name or self.name.startswith(".") or "/" in self.name or "\\" in self.name:
            raise ValueError(f"name must be usable as the name of a folder, got {self.name!r}")
        self._check_weights()
        for option in self.options.keys() & zoo.YES_NO:
            check_type(f"options.{option}", bool | None, self.options[option])
        if not _survives_json(self.options):
            raise ValueError(f"options must be what JSON can hold, got {self.options!r}")
        if self.nesterov and (self.optimizer != "sgd" or not self.momentum):
            raise ValueError("nesterov=True needs optimizer='sgd' and a momentum above 0")
        if self.batch % self.accumulation:
            raise ValueError(f"accumulation must divide batch ({self.batch}) without rest, got {self.accumulation}")
        for name in ("warmup_epochs", "average_from"):
            if getattr(self, name) >= self.epochs:
                raise ValueError(f"{name} must be below epochs ({self.epochs}), got {getattr(self, name)}")
        if self.memory_size and not self.in_memory:
            raise ValueError(f"memory_size must be 0 unless in_memory is true, got {self.memory_size}")
        if self.cutout and (self.augmentation == "none" or 0 < self.image_size <= self.cutout):
            raise ValueError(f"cutout needs an augmentation and must be below image_size, got {self.cutout}")
        if self.schedule == "one-cycle" and not self.warmup_epochs:
            raise ValueError("schedule 'one-cycle' needs warmup_epochs above 0: its first part rises")

    def _check_weights(self) -> None:
        if self.network or not self.init:
            zoo.entry(self.network)
        if not self.init:
            object.__setattr__(self, "image_size", self.image_size or 64)
            if self.freeze or self.loaded_rate != 1:
                raise ValueError("freeze and loaded_rate need init: they are about weights that were loaded")
        if (len(self.mean), len(self.std)) not in ((0, 0), (3, 3)) or min(self.std, default=1) <= 0:
            raise ValueError(f"mean and std must be 3 numbers each, std above 0, got {self.mean} and {self.std}")

    def to_json(self) -> str:
        """The recipe as JSON, one line per field."""
        return json.dumps(self.stored(), indent=1, ensure_ascii=False) + "\n"

    def stored(self) -> dict[str, Any]:
        """All fields as a run keeps them: of a folder in `init` its name, as a path belongs to one machine."""
        init = self.init
        if "/" in init or "\\" in init or init in (".", ".."):
            init = f"{Path(init).expanduser().resolve().name}/"
        return dataclasses.asdict(self) | {"init": init}

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """The recipe that `to_json` wrote; ValueError names an unknown key or a value of the wrong type."""
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"a recipe must be JSON: {error}") from error
        if not isinstance(values, dict):
            raise ValueError(f"a recipe must be a JSON object, got {type(values).__name__}")
        values = {FORMER_KEYS.get(key, key): value for key, value in values.items()}
        for key in values:
            _kind(key)
        if not {"name", "network"} <= values.keys():
            raise ValueError("a recipe must have the keys 'name' and 'network'")
        return cls(**values)

    def with_settings(self, settings: list[str]) -> "Recipe":
        """The recipe with fields replaced by "key=value" or "options.key=value"; ValueError names what is wrong."""
        values: dict[str, Any] = {}
        for setting in settings:
            key, equals, text = setting.partition("=")
            if not equals:
                raise ValueError(f"a setting must be key=value, got {setting!r}")
            key, _, option = key.strip().partition(".")
            kind = _kind(key)
            if option and kind is not dict:
                raise ValueError(f"{key} has no parts, got {setting!r}")
            is_yes_or_no = kind is bool or option in zoo.YES_NO
            value = text if kind is str else yes_or_no(text) if is_yes_or_no else _parsed(text)
            values[key] = values.get(key, getattr(self, key)) | {option: value} if option else value
        return replace(self, **values)

    def differences(self, other: "Recipe") -> list[str]:
        """The fields that make another training run of `other`, as "epochs 3, not 5"."""
        mine, theirs = self.stored(), other.stored()
        fields = [name for name in mine if name not in ("name", *MAY_CHANGE)]
        changed = [name for name in fields if _differ(name, mine[name], theirs[name], bool(self.init))]
        return [f"{name} {mine[name]!r}, not {theirs[name]!r}" for name in changed]


def find(name: str) -> Recipe:
    """The recipe of that name, or in that JSON file; ValueError for an unknown one, naming all."""
    if name.endswith(".json") and Path(name).is_file():
        try:
            return Recipe.from_json(Path(name).read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise ValueError(f"{name} cannot be read as a recipe: {error}") from error
    check_one_of("recipe", name, RECIPES)
    return RECIPES[name]


@cache
def _fields() -> dict[str, Any]:
    """The fields of a recipe, each with what its annotation says."""
    return get_type_hints(Recipe, include_extras=True)


def _kind(key: str) -> Any:
    """The type of a field; ValueError for an unknown one, offering the closest."""
    if key not in _fields():
        close = closest(key, _fields()).removesuffix("?")
        raise ValueError(f"{key!r} is no part of a recipe{close}. It has {', '.join(_fields())}")
    hint = _fields()[key]
    return str if get_origin(hint) is Literal else getattr(hint, "__origin__", hint)


def _differ(name: str, value: Any, other: Any, loads: bool) -> bool:
    """Whether two values of a field mean different things. loads: whether weights bring what the first leaves open."""
    if name in ("data", "init"):  # older recipes have "cifar10" for a folder of this name, too, not "cifar10/"
        return value.rstrip("/") != other.rstrip("/")
    if loads and name in OF_WEIGHTS and (not value or (name == "options" and value.items() <= other.items())):
        return False
    return value != other


def _survives_json(value: Any) -> bool:
    with suppress(TypeError, ValueError):
        return json.loads(json.dumps(value)) == value
    return False


def _parsed(text: str) -> Any:
    """What a setting's text means: JSON, or a word that says yes or no in any case; other text stays text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return yes_or_no(text)


# fmt: off
# What recipes share: of ours for two cores, of ours for one GPU, and of those for minutes on a large one.
_laptop = partial(
    Recipe, network="googlenet-laptop", options={"aux": False}, optimizer="adamw", learning_rate=0.005,
    schedule="one-cycle", weight_decay=5e-4, decay_all=False, channels_last=True,
)
_gpu = partial(
    Recipe, nesterov=True, schedule="cosine", weight_decay=5e-4, decay_all=False, label_smoothing=0.1, averaging="ema",
    precision="bf16-mixed", channels_last=True,
)
_fast = partial(_gpu, batch=512, compile=True, workers=8)  # docs/gpu-runs.md says where their values come from

_RECIPES = (
    # About 90 seconds.
    _laptop("shapes-laptop", train_images=8000, augmentation="flip", warmup_epochs=1, epochs=4),
    # The same network for crops at test time: an object may be cut off, so it takes a little longer.
    _laptop("shapes-crops", train_images=8000, augmentation="crop", smallest_crop=0.5, warmup_epochs=1, epochs=5),
    # Photographs, in about 20 minutes: images enlarged to what the network takes.
    _laptop("cifar10-laptop", data="cifar10", augmentation="crop", smallest_crop=0.5, warmup_epochs=2, epochs=8,
            batch=128, label_smoothing=0.1),
    _gpu("cifar10", "googlenet-bn-32", {}, "cifar10", 32, augmentation="crop", smallest_crop=0.35, learning_rate=0.1,
         warmup_epochs=2, epochs=60, batch=128),
    _gpu("tiny-imagenet", "googlenet-bn-64", {}, "tiny-imagenet", 64, augmentation="crop", smallest_crop=0.25,
         learning_rate=0.2, warmup_epochs=3, epochs=60, batch=256, checkpoint_every=200),
    # The recorded run tiny-imagenet-96: the whole width on photographs, two hours on two cores with bfloat16.
    _gpu("tiny-imagenet-cpu", "googlenet-bn", {}, "tiny-imagenet", 96, memory_size=64, augmentation="crop",
         smallest_crop=0.5, learning_rate=0.1, warmup_epochs=0.5, epochs=10, batch=128, average_decay=0.998,
         average_from=6, checkpoint_every=200),
    _fast("cifar10-fast", "googlenet-bn-32", {"aux": False, "dropout": 0.0}, "cifar10", 32, augmentation="shift",
          cutout=12, learning_rate=0.4, warmup_epochs=5, epochs=30, average_decay=0.995),
    _fast("cifar10-uva", "googlenet-uva", {}, "cifar10", 32, augmentation="shift", learning_rate=0.2, warmup_epochs=5,
          epochs=100, label_smoothing=0.0, average_decay=0.995),
    _fast("tiny-imagenet-224", "googlenet-bn", {}, "tiny-imagenet", 224, memory_size=64, augmentation="crop",
          smallest_crop=0.25, learning_rate=0.4, warmup_epochs=3, epochs=40, average_decay=0.998),
    # CIFAR-10 at full width on a free T4 of Colab, in about 20 minutes: an estimate. An image takes 9.4 GFLOPs (3 × 2 ×
    # MACs) and moves 0.24 GB (15 passes over its activations, 2 bytes each); at a quarter of the T4's 65 TFLOP/s and
    # 80 % of its 320 GB/s, one after the other, an epoch of 50,000 images takes 76 s, and 14 take 18 minutes.
    _gpu("colab", "googlenet-bn-32", {"aux": False, "dropout": 0.0}, "cifar10", 32, augmentation="shift", cutout=12,
         learning_rate=0.2, warmup_epochs=2, epochs=14, batch=256, average_decay=0.99, precision="16-mixed", workers=2),
    # A few hundred photographs of one's own, in minutes on two cores: docs/finetuning.md. The rates of new and loaded
    # weights are the best of those tried on CIFAR-10: data/finetuning.
    Recipe("finetune", "", {"aux": False}, "my_photos", init="published", loaded_rate=0.01, memory_size=256,
           augmentation="crop", smallest_crop=0.3, learning_rate=0.003, warmup_epochs=1, epochs=10, batch=16,
           weight_decay=5e-4, decay_all=False, channels_last=True),
    # The paper's: PAPER says where each value comes from.
    Recipe("imagenet-2014", "googlenet", {}, "imagenet", 224, in_memory=False, augmentation="paper",
           smallest_crop=0.08, learning_rate=0.01, momentum=0.9, schedule="paper", epochs=250, batch=32, aux_weight=0.3,
           weight_decay=2e-4, averaging="polyak", average_from=240, workers=8, checkpoint_every=2000),
    # 0.1 a 256 images, 5 epochs of warm-up, weight decay: Goyal et al. 2017, arXiv:1706.02677. Cosine, no decay of
    # biases: He et al. 2018, arXiv:1812.01187. Smoothing, averages: Szegedy et al. 2015, arXiv:1512.00567. Rest ours.
    _gpu("imagenet-modern", "googlenet-bn", {}, "imagenet", 224, in_memory=False, augmentation="crop",
         smallest_crop=0.08, learning_rate=0.4, warmup_epochs=5, epochs=90, batch=1024, weight_decay=1e-4,
         average_decay=0.9999, compile=True, workers=12, checkpoint_every=250),
)
# fmt: on
RECIPES = {recipe.name: recipe for recipe in _RECIPES}

_BVLC = "not in the paper: BVLC/caffe, models/bvlc_googlenet/solver.prototxt"
PAPER = {  # field of imagenet-2014 → where its value comes from
    "network": "paper, Table 1",
    "image_size": "paper, Section 5: 224×224",
    "optimizer": "paper, Section 6: asynchronous stochastic gradient descent; here synchronous",
    "momentum": "paper, Section 6: 0.9",
    "learning_rate": _BVLC,
    "schedule": "paper, Section 6: 4 % less every 8 epochs",
    "epochs": f"{_BVLC} (10,000,000 steps of 32 images)",
    "batch": "not in the paper: BVLC/caffe, models/bvlc_googlenet/train_val.prototxt",
    "augmentation": "paper, Section 6: crops of 8 to 100 % of the area, aspect 3/4 to 4/3, photometric distortions",
    "smallest_crop": "paper, Section 6: 8 % of the area",
    "aux_weight": "paper, Section 5: 0.3",
    "weight_decay": _BVLC,
    "decay_all": "not in the paper: as BVLC/caffe's solver does",
    "averaging": "paper, Section 6: Polyak averaging",
    "average_from": "not in the paper: our choice, the last 10 epochs",
}
