"""Every network that the course compares, by name.

What torchvision or timm has is taken from there, with new weights: nothing is downloaded unless it is asked for.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from inception_lab.common.checks import DataError, check_one_of, check_whole, closest
from inception_lab.common.schema import check_type
from inception_lab.models import classics
from inception_lab.models.designs import DESIGNS, Design
from inception_lab.models.googlenet import GoogLeNet
from inception_lab.models.torchvision_weights import from_torchvision
from inception_lab.models.variants import vary

# The options of networks that are true or false; `aux` may be None too, for what the design has.
YES_NO = ("aux", "aux_logits", "bias", "init_weights", "residual", "separable", "transform_input")


class Entry(NamedTuple):
    """A network of the zoo: how it is made, the image size it was published for, and where."""

    make: Callable[..., nn.Module]
    input_size: int
    source: str


def build(name: str, num_classes: int | None = None, *, weights: str | None = None, **options: Any) -> nn.Module:
    """The network of that name with new weights, in training mode.

    name: one of `names()`. num_classes: the published number by default (1000, or 10 for CIFAR networks).
    weights: "imagenet" asks the publisher, torchvision or timm, for the weights that it hands out, see PUBLISHERS; what
        is not in its cache yet is downloaded. It goes with no other argument.
    options: of the network's own constructor; for a GoogLeNet `aux=False`, `in_channels`, and what
        `variants.vary` takes, such as `dropout=0.0` or `modules="3x3 alone"`.

    Raises ValueError for an unknown name, offering the closest ones, for a number of classes below 1, and for an option
    that must be true or false and is not; DataError where the publisher's weights cannot be got.
    """
    make = entry(name).make
    if weights is not None:
        check_one_of("weights", weights, ["imagenet"])
        if num_classes is not None or options:
            raise ValueError(f"weights={weights!r} must be the only argument, got num_classes={num_classes}, {options}")
        return _published(name)
    for option in options.keys() & YES_NO:
        options[option] = check_type(option, bool | None, options[option])
    if num_classes is not None:
        options["num_classes"] = check_whole("num_classes", num_classes)
    return make(**options)


def names() -> list[str]:
    """The names that `build` knows, in the order of the course."""
    return list(ZOO)


def entry(name: str) -> Entry:
    """The zoo's entry of that name; ValueError for an unknown one, offering the closest."""
    if name in ZOO:
        return ZOO[name]
    hint = closest(name, ZOO, most=3).replace("'", "") or "."
    raise ValueError(f"name {name!r} is not in the zoo{hint} All names: {', '.join(ZOO)}")


def _published(name: str) -> nn.Module:
    """The network with its publisher's weights."""
    if name == "googlenet":
        raise ValueError("weights of googlenet are its own publisher's: inception_lab.pretrained('googlenet') has them")
    check_one_of("name, for published weights,", name, PUBLISHERS)
    publisher, model = PUBLISHERS[name]
    try:
        if publisher == "timm":
            import timm

            return timm.create_model(model, pretrained=True)
        import torchvision

        published = torchvision.models.get_model(model, weights="IMAGENET1K_V1")
    except (OSError, RuntimeError) as error:
        raise DataError(f"the weights of {name} could not be got from {publisher}: {error}") from error
    if name == "googlenet-torchvision":
        return from_torchvision(published.state_dict(), transform_input=True)
    return published


def _googlenet(
    design: Design, /, *, num_classes: int | None = None, aux: bool | None = None, in_channels: int = 3, **fields: Any
) -> nn.Module:
    return GoogLeNet(vary(design, **fields), num_classes, in_channels=in_channels, aux=aux)


def _torchvision(model: str, /, **options: Any) -> nn.Module:
    import torchvision  # here, so that a name from elsewhere does not wait for it

    return getattr(torchvision.models, model)(weights=None, **options)


def _timm(model: str, /, **options: Any) -> nn.Module:
    import timm  # here, because importing it takes seconds

    return timm.create_model(model, pretrained=False, **options)


# The designs' names, each with the size and the place of its publication.
GOOGLENETS = {
    "googlenet": (224, "Szegedy et al. 2014, arXiv:1409.4842, Table 1"),
    "googlenet-released": (224, "widths of Google's inception5h graph; separable conv1 inferred from Table 1"),
    "googlenet-bn": (224, "the paper's network with batch normalization (Ioffe & Szegedy 2015)"),
    "googlenet-torchvision": (224, "torchvision, torchvision/models/googlenet.py"),
    "googlenet-pytorch-cifar": (32, "kuangliu/pytorch-cifar, models/googlenet.py"),
    "googlenet-d2l": (96, "Dive into Deep Learning, section 8.4"),
    "googlenet-uva": (32, "UvA Deep Learning tutorial 5"),
    "googlenet-laptop": (64, "this course: googlenet-bn at a quarter of its width"),
    "googlenet-32": (32, "the paper's network with a stem for 32×32 images"),
    "googlenet-64": (64, "the paper's network with a stem for 64×64 images"),
    "googlenet-bn-32": (32, "googlenet-bn with a stem for 32×32 images"),
    "googlenet-bn-64": (64, "googlenet-bn with a stem for 64×64 images"),
    "inception-v2": (224, "Ioffe & Szegedy 2015, arXiv:1502.03167, Figure 5"),
}

ZOO: dict[str, Entry] = {
    "alexnet-2012": Entry(classics.alexnet_2012, 227, "Krizhevsky et al. 2012"),
    "alexnet": Entry(partial(_torchvision, "alexnet"), 224, "Krizhevsky 2014, arXiv:1404.5997"),
    "zfnet": Entry(classics.zfnet, 224, "Zeiler & Fergus 2013, arXiv:1311.2901"),
    "nin": Entry(classics.nin, 224, "Lin et al. 2013, arXiv:1312.4400"),
    **{
        vgg: Entry(partial(_torchvision, vgg), 224, "Simonyan & Zisserman 2014, arXiv:1409.1556")
        for vgg in ("vgg11", "vgg13", "vgg16", "vgg19")
    },
    **{name: Entry(partial(_googlenet, DESIGNS[name]), size, source) for name, (size, source) in GOOGLENETS.items()},
    "inception-v3": Entry(
        partial(_torchvision, "inception_v3", init_weights=True), 299, "Szegedy et al. 2015, arXiv:1512.00567"
    ),
    "inception-v4": Entry(partial(_timm, "inception_v4"), 299, "Szegedy et al. 2016, arXiv:1602.07261"),
    "inception-resnet-v2": Entry(partial(_timm, "inception_resnet_v2"), 299, "Szegedy et al. 2016, arXiv:1602.07261"),
    "xception": Entry(partial(_timm, "legacy_xception"), 299, "Chollet 2016, arXiv:1610.02357"),
    "nasnet-a": Entry(partial(_timm, "nasnetalarge"), 331, "Zoph et al. 2017, arXiv:1707.07012"),
}

# Who hands out ImageNet weights for which of these networks, and under what name.
PUBLISHERS = {
    "alexnet": ("torchvision", "alexnet"),
    **{vgg: ("torchvision", vgg) for vgg in ("vgg11", "vgg13", "vgg16", "vgg19")},
    "googlenet-torchvision": ("torchvision", "googlenet"),
    "inception-v3": ("torchvision", "inception_v3"),
    "inception-v4": ("timm", "inception_v4"),
    "inception-resnet-v2": ("timm", "inception_resnet_v2"),
    "xception": ("timm", "legacy_xception"),
    "nasnet-a": ("timm", "nasnetalarge"),
}
