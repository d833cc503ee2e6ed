"""A trained network with what it takes to look inside: images as one sees them, and no part that hides another.

network = open_run("data/runs/shapes-laptop")
network(images)                      # logits; images from 0 to 1, or uint8
network.classes, network.size        # what it was trained on
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, wraps
from numbers import Integral
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.feature_extraction import create_feature_extractor

from inception_lab import costs
from inception_lab.common import files
from inception_lab.common.checks import check_whole, closest
from inception_lab.data.crops import center_view
from inception_lab.data.images import check_images
from inception_lab.data.pictures import Source
from inception_lab.hub.published import most_probable
from inception_lab.models.fast_twin import fast
from inception_lab.models.googlenet import GoogLeNet
from inception_lab.plots.style import path_labels
from inception_lab.training.runs import RunFolder
from inception_lab.training.weights import load_model

DRAWN = "shapes"  # the one data tier that holds no photographs
ROUNDING = 1e-3  # how far from 0 and 1 the values of an image may lie that was scaled or turned
Targets = str | int | Sequence[str | int] | torch.Tensor  # class names or numbers, one for all images or each


class Network(nn.Module):
    """A GoogLeNet in evaluation mode that takes images from 0 to 1: (N, 3, H, W) → logits (N, num_classes).

    model: stays as it is; this is a copy. In the copy each batch normalization is folded into the convolution before
    it, which computes the same with fewer operators; no ReLU works in place, so that what was before it can be seen;
    and no weight has a gradient, since only images are ever changed. mean, std: of each channel, to normalize images
    with. classes: names, by default numbers. size: pixels along a side of the images that it was trained on.
    published: whether it is the published GoogLeNet, and not a run that stands in for it (see `opening`).

    Raises ValueError for a model that is no GoogLeNet, and for a wrong number of classes.
    """

    mean: torch.Tensor
    std: torch.Tensor
    published = False

    @torch.inference_mode(False)  # no gradient passes a tensor that was made under it
    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float] = (0, 0, 0),
        std: Sequence[float] = (1, 1, 1),
        classes: Sequence[str] | None = None,
        size: int = 224,
        name: str = "",
    ):
        super().__init__()
        if not isinstance(model, GoogLeNet):
            raise ValueError(f"model must be a GoogLeNet of this library, got {type(model).__name__}")
        self.size, self.name = check_whole("size", size, model.smallest_input), name
        outputs = len(model.get_parameter("linear.weight"))
        self.classes = [str(i) for i in range(outputs)] if classes is None else list(classes)
        if len(self.classes) != outputs:
            raise ValueError(f"classes must be {outputs} names, one for each output, got {len(self.classes)}")
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        for unit in self.model.modules():
            conv, bn = getattr(unit, "conv", None), getattr(unit, "bn", None)
            if isinstance(unit, nn.ReLU):
                unit.inplace = False
            elif isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d):
                unit.conv, unit.bn = fuse_conv_bn_eval(conv, bn).requires_grad_(False), nn.Identity()
        self.model.to(memory_format=torch.channels_last)
        for key, values in {"mean": mean, "std": std}.items():
            self.register_buffer(key, self.model.get_parameter("linear.weight").new_tensor(values).view(1, -1, 1, 1))
        self._extractors: dict[tuple[str, ...], nn.Module] = {}

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_extractors": {}}  # a copy makes its own: copied ones put all layers in training mode

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.model(self.normalize(images))

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """Images as the network takes them, see `pixels`, minus each channel's mean, divided by its deviation."""
        return ((self.pixels(images) - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """Images as floats from 0 to 1 on the network's device, in its precision; ValueError as `check_pixels`."""
        check_pixels(images)
        found = images.to(self.mean)
        return found / 255 if images.dtype == torch.uint8 else found

    def view(self, photograph: Source) -> torch.Tensor:
        """A photograph as the network is tested on it, (1, 3, size, size), from 0 to 1: see `crops.center_view`."""
        return center_view(photograph, self.size)

    @torch.no_grad()
    def guess(self, photograph: Source, top: int = 5) -> list[tuple[str, float]]:
        """The `top` classes that a photograph most probably shows, each with its probability, the likeliest first."""
        return most_probable(self(self.view(photograph)), self.classes, top)

    def for_inference(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Images → logits, without gradients: on a CPU by the fast twin, where it knows all layers, in float32."""
        if self.mean.dtype == torch.float32 and self.mean.device.type == "cpu":
            try:
                twin = fast(self.model)
                return lambda images: twin(self.normalize(images))
            except ValueError:  # a layer that it does not know
                pass
        return self

    def extract(self, images: torch.Tensor, nodes: Iterable[str]) -> dict[str, torch.Tensor]:
        """The values of some nodes of the network's graph, and no layer computed that comes after the last of them."""
        return self.extractor(tuple(nodes))(self.normalize(images))

    def extractor(self, nodes: tuple[str, ...]) -> nn.Module:
        """torchvision's feature extractor: normalized images → {node: value}. It is made once for each choice."""
        if nodes not in self._extractors:
            extractor = create_feature_extractor(self.model, list(nodes), suppress_diff_warning=True)
            self._extractors[nodes] = extractor.requires_grad_(False)
        return self._extractors[nodes]

    @property
    def path_labels(self) -> dict[str, str]:
        """What a figure calls each path, by the kernels that it has: "five" may be "3×3 (for 5×5)"."""
        return path_labels(self.model.design)

    @property
    def smallest(self) -> int:
        """Pixels along a side of the smallest image that it takes."""
        return self.model.smallest_input

    def class_numbers(self, targets: Targets, count: int) -> torch.Tensor:
        """Class names or numbers, one for all images or one for each → int64 (count,); ValueError for one unknown."""
        each = targets.tolist() if hasattr(targets, "tolist") else targets
        each = list(each) if isinstance(each, Sequence) and not isinstance(each, str) else [each] * count
        if len(each) != count:
            raise ValueError(f"targets must be one class, or one for each of the {count} images, got {len(each)}")
        return torch.tensor([self._class_number(target) for target in each])

    def _class_number(self, target: str | int) -> int:
        if target in self.classes:
            return self.classes.index(str(target))
        last = len(self.classes) - 1
        if not isinstance(target, Integral) or isinstance(target, bool) or not 0 <= target <= last:
            raise ValueError(f"class must be from 0 to {last} or a name, got {target!r}{closest(target, self.classes)}")
        return int(target)


def check_pixels(images: torch.Tensor) -> None:
    """Raise ValueError unless images are uint8, or floats from 0 to 1 but for rounding, (N, 3, H, W)."""
    check_images(images, dtype=None)
    wanted = "images must be uint8, or floats from 0 to 1"
    if not images.is_floating_point():
        if images.dtype != torch.uint8:
            raise ValueError(f"{wanted}, got {images.dtype}")
    elif not images.is_meta:
        low, high = (value.item() for value in images.detach().aminmax())
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # so put that NaN fails, too
            raise ValueError(f"{wanted}, got {images.dtype} from {low:g} to {high:g}")


P = ParamSpec("P")
R = TypeVar("R")


def instrument(function: Callable[Concatenate[Network, P], R]) -> Callable[Concatenate[Network, P], R]:
    """Let a function give the same under `inference_mode`, `no_grad`, `autocast` and with another default device.

    Raises ValueError for what is no network, and for one that was changed under `inference_mode`.
    """

    @wraps(function)
    def called(network: Network, *args: P.args, **kwargs: P.kwargs) -> R:
        if not isinstance(network, Network):
            raise ValueError(f"network must be one that lens.open gives, got {type(network).__name__}")
        if network.mean.is_inference():
            raise ValueError("network was moved or converted under torch.inference_mode(): do that before, outside it")
        full_precision = torch.autocast(network.mean.device.type, enabled=False)
        with torch.inference_mode(False), torch.enable_grad(), full_precision, torch.device("cpu"):
            return function(network, *args, **kwargs)

    return called


def open_run(folder: str | Path | None = None) -> Network:
    """The network of a finished run folder, to look inside; by default that of `best_run()`.

    Raises RunError for a folder without finished weights.
    """
    folder = best_run() if folder is None else Path(folder)
    model, about = load_model(folder)
    return Network(model, about["mean"], about["std"], about["classes"], about["recipe"].image_size, folder.name)


def best_run(place: str | Path | None = None) -> Path:
    """The recorded run to look inside: the one with the lowest validation error.

    A run on photographs goes before any on `shapes`.

    place: a folder of run folders, by default data/runs. Raises ValueError where it holds no run with weights.
    """
    pattern, found = "*/model.safetensors", []
    for weights in files.all_recorded("runs", pattern) if place is None else sorted(Path(place).glob(pattern)):
        run = RunFolder(weights.parent)
        if run.metrics:
            found.append((run.recipe.data == DRAWN, run.metrics["val_top1_error"], run.path))
    if not found:
        raise ValueError(f"place must hold finished run folders with weights, and {place or 'data/runs'} holds none")
    return min(found)[2]


@lru_cache(maxsize=16)
@instrument
def geometry(network: Network, size: int) -> costs.Count:
    """The costs, shapes and receptive fields of the network at a size of images."""
    return costs.count(network.model, size)
