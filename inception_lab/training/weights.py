"""The network that a run starts from, and the trained one of its folder with what belongs to it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from inception_lab import hub
from inception_lab.common.checks import DataError, RunError
from inception_lab.common.schema import from_dict
from inception_lab.common.seeds import seed_all, seed_of
from inception_lab.data.folders import IMAGENET_MEAN, IMAGENET_STD
from inception_lab.models import GoogLeNet, zoo
from inception_lab.training import tensors
from inception_lab.training.recipes import Recipe
from inception_lab.training.runs import RunFolder, find_run
from inception_lab.training.state import Labels

HEADS = ("aux1.", "aux2.")  # what the names of the auxiliary heads' weights begin with


def initial_model(recipe: Recipe, classes: int, load: bool = True) -> nn.Module:
    """The network of a recipe before the first step of training, in training mode; it starts all random numbers anew.

    Its weights depend on network, options, number of classes, `init` and `weights_seed`, and on nothing else of the
    recipe. load: False leaves `init` out, for a network that gets all its weights from a checkpoint. Raises ValueError
    where the weights are of another network, or it has no such stage to freeze.
    """
    recipe = complete(recipe)
    seed_all(seed_of(recipe.weights_seed, "weights"))
    model = zoo.build(recipe.network, classes, **recipe.options)
    if recipe.init and load:
        weights, new = load_init(recipe)[0].state_dict(), new_names(recipe)
        wanted = {name: t for name, t in model.state_dict().items() if name not in new}
        if wrong := misfit(weights, wanted):
            raise ValueError(f"init must be weights of {recipe.network} with options {recipe.options}: {wrong}")
        model.load_state_dict({name: weights[name] for name in wanted}, strict=False)
    if recipe.freeze:
        if not isinstance(model, GoogLeNet):
            raise ValueError(f"freeze must be '' for {recipe.network}, which has no stages, got {recipe.freeze!r}")
        model.freeze(recipe.freeze)
    return model


# --- what training begins with


def complete(recipe: Recipe, folder: str | Path | None = None) -> Recipe:
    """The recipe with what it leaves open (see `Recipe`, `init`) as the weights have it; another recipe as it is.

    folder: of the run. Where it has begun with these weights, it knows all of this, and they are not asked. Raises
    ValueError where there are no such weights, and where the recipe names another network than theirs.
    """
    if not recipe.init or (recipe.network and recipe.image_size and recipe.mean):
        return recipe
    known = RunFolder(folder).recipe if folder and Path(folder, "recipe.json").is_file() else None
    if known is None or known.stored()["init"].rstrip("/") != recipe.stored()["init"].rstrip("/"):
        model, about = load_init(recipe)
        known = replace(about["recipe"], mean=list(about["mean"]), std=list(about["std"]))
        if recipe.network not in ("", known.network):
            with torch.device("meta"):
                wrong = misfit(model.state_dict(), zoo.build(recipe.network, len(about["classes"])).state_dict())
            raise ValueError(
                f"network must be {known.network!r} for init={recipe.init!r}, or '' for that of the weights, got "
                f"{recipe.network!r}: {wrong or 'the same weights in another network'}"
            )
    return replace(
        recipe,
        network=recipe.network or known.network,
        options=known.options | recipe.options,
        image_size=recipe.image_size or known.image_size,
        mean=recipe.mean or known.mean,
        std=recipe.std or known.std,
    )


def load_init(recipe: Recipe) -> tuple[nn.Module, dict]:
    """The network that `init` names and what belongs to it, as `load_model` gives them."""
    if recipe.init == "published":
        try:
            return load_published("googlenet")
        except DataError as error:
            raise DataError(f"{error}. Or begin with a recorded run: --set init=tiny-imagenet-96") from error
    if recipe.init == "imagenet":
        return load_published(recipe.network if recipe.network in zoo.PUBLISHERS else "googlenet-torchvision")
    return load_model(find_run(recipe.init, "init", "published", "imagenet"))


def load_published(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """A network with published weights and what `load_model` gives with one; DataError where they cannot be got.

    Images are normalized as its publisher does, and cut to the size that it was published for.
    """
    from torchvision.models import GoogLeNet_Weights

    model: nn.Module
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    if name == "googlenet":
        found = hub.pretrained(name)
        model, mean, std = found.network, found.mean, found.std
    else:
        model = zoo.build(name, weights="imagenet")
        theirs = getattr(model, "pretrained_cfg", {})  # timm's
        mean, std = theirs.get("mean", mean), theirs.get("std", std)
    # torchvision's weights that were converted from TensorFlow turn the normalization around; no state dict says so.
    options = {"transform_input": True} if getattr(getattr(model, "design", model), "transform_input", False) else {}
    recipe = Recipe(name, name, options, data="ILSVRC-2012", image_size=zoo.entry(name).input_size)
    classes = GoogLeNet_Weights.IMAGENET1K_V1.meta["categories"]
    return model.eval(), {"recipe": recipe, "classes": classes, "mean": mean, "std": std}


def new_names(recipe: Recipe) -> set[str]:
    """The tensors that begin anew after `init`: what depends on the number of classes, and the auxiliary heads."""
    recipe = complete(recipe)
    with torch.device("meta"):
        two, three = (zoo.build(recipe.network, n, **recipe.options).state_dict() for n in (2, 3))
    return {name for name, t in two.items() if t.shape != three[name].shape or name.startswith(HEADS)}


def misfit(weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> str:
    """The first of the wanted tensors that the weights have in another shape, or not at all; "" if all fit."""
    for name, tensor in wanted.items():
        if name in weights and weights[name].shape != tensor.shape:
            theirs, ours = ("×".join(map(str, t.shape)) for t in (weights[name], tensor))
            kind = " (weights of another 5×5)" if ".five." in name else ""
            return f"{name} is {theirs} in the weights, and {ours} in the network{kind}"
    return next((f"the weights have no {name}" for name in wanted if name not in weights), "")


def load_model(folder: str | Path) -> tuple[nn.Module, dict]:
    """The trained network of a run folder, in evaluation mode, and what belongs to it.

    The second part has `recipe` (a Recipe), `classes`, `mean` and `std` (of images from 0 to 1). Weights that were
    kept in half precision come back in single precision; where the heads were not kept, the network has none.
    Raises RunError for a folder without finished weights, and for weights that are damaged or no run's.
    """
    path = Path(folder) / "model.safetensors"
    if not Path(folder).exists():
        raise RunError(f"{folder} does not exist: a run folder is wanted, as `inception-lab train` makes")
    if not path.exists():
        raise RunError(f"{folder} has no model.safetensors: it is no run folder, or its run is not finished")
    weights, metadata = tensors.read(path, "holds no weights")
    if "recipe" not in metadata:
        raise RunError(f"{path} does not come from a run of this library: it names no recipe")
    try:
        about = {key: value if key == "recipe" else json.loads(value) for key, value in metadata.items()}
        from_dict(Labels, about)
        about["recipe"] = recipe = Recipe.from_json(about["recipe"])
        model = zoo.build(recipe.network, len(about["classes"]), **recipe.options)
        if getattr(model, "heads", None) and not any(name.startswith(HEADS) for name in weights):
            model = zoo.build(recipe.network, len(about["classes"]), **recipe.options | {"aux": False})
        model.load_state_dict(weights)
    except (ValueError, TypeError, RuntimeError) as error:
        raise RunError(f"{path} is not what a run of this library writes: {error}") from error
    return model.eval(), about
