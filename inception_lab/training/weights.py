"""The network that a run starts from, and the trained one of its folder with what belongs to it."""

import json
from pathlib import Path

from torch import nn

from inception_lab.common.checks import RunError
from inception_lab.common.schema import from_dict
from inception_lab.common.seeds import seed_all, seed_of
from inception_lab.models import zoo
from inception_lab.training import tensors
from inception_lab.training.recipes import Recipe
from inception_lab.training.state import Labels

HEADS = ("aux1.", "aux2.")  # what the names of the auxiliary heads' weights begin with


def initial_model(recipe: Recipe, classes: int) -> nn.Module:
    """The network of a recipe before the first step of training, in training mode; it starts all random numbers anew.

    Its weights depend on network, options, number of classes and `weights_seed`, and on nothing else of the recipe.
    """
    seed_all(seed_of(recipe.weights_seed, "weights"))
    return zoo.build(recipe.network, classes, **recipe.options)


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
