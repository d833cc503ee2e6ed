"""What a recipe means for the optimizer: parameter groups, the learning rate at each step, averaged weights."""

import copy
import math
from itertools import product

import torch
from torch import nn

from inception_lab.training.recipes import Recipe
from inception_lab.training.weights import new_names


def build_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW. Biases and norm parameters are decayed only where the recipe says so.

    Each group has a `factor`, by which the learning rate of a step is multiplied: `loaded_rate` for what was loaded.
    """
    parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    new = {name for name, _ in parameters} if recipe.loaded_rate == 1 else new_names(recipe)
    groups = []
    for is_new, is_decayed in product((True, False), (True, False)):
        # A bias, and the scale and shift of a norm, are vectors; the weights of layers have two dimensions or four.
        chosen = [
            p for name, p in parameters if (name in new) == is_new and (recipe.decay_all or p.ndim > 1) == is_decayed
        ]
        decay, factor = recipe.weight_decay if is_decayed else 0.0, 1.0 if is_new else recipe.loaded_rate
        groups += [{"params": chosen, "weight_decay": decay, "factor": factor}] if chosen else []
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999))
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step, counted from 0 over the whole run.

    "paper": 4 % less after every 8 epochs (Section 6). "constant": the recipe's. "cosine": half a cosine to 0
    (Loshchilov & Hutter 2016, arXiv:1608.03983). All three rise in a straight line over the warm-up.
    "one-cycle": half a cosine from 1/25 up over the warm-up, then one down to 1/250,000 (Smith 2018,
    arXiv:1803.09820, with the shape and the constants of PyTorch's OneCycleLR).
    """
    warmup = round(recipe.warmup_epochs * steps_per_epoch)
    last = recipe.epochs * steps_per_epoch
    if recipe.schedule in (
        "one-cycle",
        "cosine",
    ):  # they end with the run; a profile takes more steps
        step = min(step, last - 1)
    if recipe.schedule == "one-cycle":
        top = max(warmup - 1, 1)  # the step with the highest rate
        if step <= top:
            factor = _cosine(1 / 25, 1, step / top)
        else:
            factor = _cosine(1, 1 / 250_000, (step - top) / (last - 1 - top))
    elif step < warmup:
        factor = (step + 1) / warmup
    elif recipe.schedule == "paper":
        factor = 0.96 ** (step // steps_per_epoch // 8)
    elif recipe.schedule == "cosine":
        factor = _cosine(1, 0, (step - warmup) / (last - warmup))
    else:
        factor = 1.0
    return recipe.learning_rate * factor


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


class Average:
    """Averaged weights beside the ones being trained: `model` has them, for evaluation and as the result.

    "polyak": the mean of all weights that `update` saw (Polyak & Juditsky 1992). "ema": after the n-th update
    average ← d · average + (1 − d) · weights, where d is the decay but at most (1 + n) / (10 + n), so that a short
    run does not keep its first weights (TensorFlow's ExponentialMovingAverage has this rule). The running
    statistics of batch norm are averaged in the same way.
    """

    def __init__(self, recipe: Recipe, model: nn.Module):
        self.kind, self.decay, self.count = recipe.averaging, recipe.average_decay, 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the weights after a step into the average."""
        n, self.count = self.count, self.count + 1
        share = 1 / (n + 1) if self.kind == "polyak" or n == 0 else 1 - min(self.decay, (1 + n) / (10 + n))
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        averaged, current = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        torch._foreach_lerp_(averaged, current, share)
        for mine, new in pairs:
            if not mine.is_floating_point():  # the number of batches that batch norm has seen
                mine.copy_(new)
