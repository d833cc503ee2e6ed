"""The rules by which the published GoogLeNets set their first weights. Each changes a model in place.

`hidden_bias` is the constant for the biases of all layers but the classifiers; only Xavier's rule uses it.
"""

from torch import nn


def xavier(model: nn.Module, hidden_bias: float) -> None:
    """Uniform weights ±√(6 / (fan-in + fan-out)) (Glorot & Bengio 2010); hidden biases are constant."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                is_classifier = name == "linear" or name.endswith("fc2")
                nn.init.constant_(module.bias, 0.0 if is_classifier else hidden_bias)


def truncated_normal(model: nn.Module, hidden_bias: float) -> None:
    """torchvision's: normal weights with deviation 0.01, cut at ±2; biases stay as PyTorch sets them."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.01, a=-2, b=2)


def kaiming(model: nn.Module, hidden_bias: float) -> None:
    """The UvA tutorial's: normal convolution weights with variance 2 / fan-in (He et al. 2015)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


INITIALIZATIONS = {
    "xavier": xavier,
    "truncated normal": truncated_normal,
    "kaiming": kaiming,
    "pytorch": lambda model, hidden_bias: None,  # as PyTorch makes each layer: He et al.'s uniform rule with a = √5
}
