"""The same function with fewer, larger operations: an inference twin of a GoogLeNet.

    twin = fast(model)                                        # float32
    twin = fast(model, dtype=torch.bfloat16, compile=True)

What changes: batch norm is folded into the convolution before it, the 1×1 convolutions that read one input are merged
into one, bias and ReLU are computed with the convolution, maps lie in the layout channels_last, and a large batch is
computed in parts. What does not change is the function, up to rounding: tests/models/test_fast_twin.py compares them.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from inception_lab.common.checks import check_one_of
from inception_lab.models.blocks import ConvUnit, Inception, NaiveInception
from inception_lab.models.fused import FusedConv, FusedInception, FusedInput, FusedLinear, FusedResponseNorm
from inception_lab.models.googlenet import GoogLeNet, check_images, imagenet_to_tensorflow

DTYPES = (torch.float32, torch.bfloat16)
# 8 images of 224×224 pixels: the widest map, 64×112×112 numbers each, then takes 26 MB. glibc's malloc hands blocks
# of more than 32 MB back to the system at once, and gets them anew page by page.
PIXELS_AT_ONCE = 8 * 224 * 224


def fast(model: GoogLeNet, *, dtype: torch.dtype = torch.float32, compile: bool = False) -> "Twin":
    """A network with the outputs that `model` has in evaluation mode, made for inference.

    model: a GoogLeNet of any design; it is not changed, and later changes of its weights do not reach the twin.
    dtype: what the convolutions are computed in, torch.float32 or torch.bfloat16. The logits are float32 always.
    compile: let PyTorch's compiler make machine code of the twin, with the weights as constants. The first call with
        a shape of the input then takes some ten seconds.

    Raises ValueError for a model that is not made of known parts only, naming the first that was not recognized.
    """
    check_one_of("dtype", dtype, DTYPES)
    if type(model) is not GoogLeNet:
        hint = ""
        if type(model).__module__ == "torchvision.models.googlenet":
            hint = "; from_torchvision(model.state_dict()) makes one of torchvision's"
        raise ValueError(f"model must be a GoogLeNet of this library, got {type(model).__name__}{hint}")
    with torch.inference_mode(False), torch.no_grad():
        return Twin(model, dtype, compile)


class Twin(nn.Sequential):
    """What `fast` makes. (N, in_channels, H, W) → logits (N, num_classes), float32, without gradients."""

    def __init__(self, model: GoogLeNet, dtype: torch.dtype, compile: bool):
        check_untouched("model", model)
        known = {*model.stages, *model.heads.values()}
        for name, _ in model.named_children():
            if name not in known:
                raise unrecognized(name, model.get_submodule(name), "which is no stage")
        affine = affine_of(imagenet_to_tensorflow) if model.design.transform_input else (None, None)
        stages: dict[str, nn.Module] = {"input": FusedInput(dtype, *affine)}
        for name in model.stages:
            stages[name] = convert(name, model.get_submodule(name), dtype)
        super().__init__(OrderedDict(stages))
        self.in_channels, self.smallest_input = model.in_channels, model.smallest_input
        self.wants_compiler = compile
        self.machine_code: Callable[[torch.Tensor], torch.Tensor] | None = None
        self.eval().to(next(model.parameters()).device)

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_images(x, self.in_channels, self.smallest_input)
        run: Callable[[torch.Tensor], torch.Tensor] = super().forward
        if self.wants_compiler and x.device.type != "meta":  # on which costs are counted
            self.machine_code = run = self.machine_code or compiled(run, x.device.type)
        parts = x.split(max(1, PIXELS_AT_ONCE // x[0, 0].numel()) if x.device.type == "cpu" else len(x))
        logits = [run(part) for part in parts]
        if x.device.type == "cuda":
            return logits[0].clone()  # the next launch of a graph writes to the same memory
        return logits[0] if len(logits) == 1 else torch.cat(logits)

    def train(self, mode: bool = True) -> "Twin":
        """Raises ValueError for True: a twin has no training mode."""
        if mode:
            raise ValueError("a fast twin is for inference: train the model that it was made of")
        return super().train(False)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"machine_code": None}


def compiled(run: Callable, device: str, *, freeze: bool = True) -> Callable:
    """A function of one tensor as machine code; on a GPU as one graph that is launched at once.

    freeze: take the weights as constants, so that they are packed once. PyTorch asks for `freezing` while it traces,
    in the first call with a shape, and asks the global settings alone: as an option of torch.compile it does nothing
    (torch/_dynamo/utils.py, is_parameter_freezing).

    PyTorch keeps its machine code by the function's code object, so that two networks of one class share an entry, or
    push one another out. A copy of the code object keeps them apart. Then the one thing that can change from call to
    call is the tensor; to check for more takes 2 % of the time at batch 1.
    """
    from torch._inductor import config  # here, because it takes long to import

    def call(x: torch.Tensor) -> torch.Tensor:
        return run(x)

    alone = FunctionType(call.__code__.replace(), globals(), closure=call.__closure__)
    options: dict[str, Any] = {"triton.cudagraphs": True} if device == "cuda" else {}
    options["guard_filter_fn"] = torch.compiler.keep_tensor_guards_unsafe
    return config.patch(freezing=freeze)(torch.compile(alone, options=options, dynamic=False))


# --- from a layer to its twin


def convert(name: str, module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The twin of a module of this name; ValueError for one that CONVERSIONS does not know."""
    conversion = CONVERSIONS.get(type(module))
    if conversion is None:
        raise unrecognized(name, module, f"which is none of {', '.join(t.__name__ for t in CONVERSIONS)}")
    check_untouched(name, module)
    return conversion(name, module, dtype)


def unrecognized(name: str, module: nn.Module, why: str) -> ValueError:
    """What to raise for a part of the network that has no twin."""
    return ValueError(f"model cannot be made fast: {name} is a {type(module).__name__}, {why}")


def check_untouched(name: str, module: nn.Module) -> None:
    """Raise ValueError where hooks or a forward of its own may make the module compute something else."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise unrecognized(name, module, "with hooks, which a twin would not call")
    if "forward" in vars(module):
        raise unrecognized(name, module, "with a forward of its own")


def fold(name: str, unit: ConvUnit, dtype: torch.dtype) -> nn.Module:
    """A convolution unit as one operation, or as two if it is separable."""
    parts = dict(unit.named_children())
    for part in parts.values():
        check_untouched(name, part)
    depthwise, conv = parts.pop("depthwise", None), parts.pop("conv", None)
    norm, relu = parts.pop("bn", None), parts.pop("relu", None)
    is_known = not parts and type(relu) is nn.ReLU and (depthwise is None or is_plain(depthwise))
    if not is_known or not is_plain(conv) or not is_normalization(norm):
        raise unrecognized(name, unit, "but not a convolution, batch norm with running statistics or none, and ReLU")
    weight, bias = folded(conv, norm)
    pointwise = FusedConv(weight.to(dtype), bias.to(dtype), conv)
    if depthwise is None:
        return pointwise
    assert is_plain(depthwise)  # as checked above
    shift = None if depthwise.bias is None else depthwise.bias.to(dtype)
    return nn.Sequential(FusedConv(depthwise.weight.to(dtype), shift, depthwise, relu=False), pointwise)


def is_plain(conv: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    """Whether it is PyTorch's convolution with zeros around the map."""
    return type(conv) is nn.Conv2d and conv.padding_mode == "zeros"


def is_normalization(norm: nn.Module | None) -> TypeGuard[nn.BatchNorm2d | None]:
    """Whether it is PyTorch's batch norm with running statistics, or none."""
    return norm is None or (type(norm) is nn.BatchNorm2d and norm.running_var is not None)


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The weights and bias of a convolution with the batch norm after it, in double precision.

    Batch norm computes γ (y − μ) / √(σ² + ε) + β in each channel of the convolution's output y. In evaluation μ and σ²
    are constants, so a factor goes into the weights and the rest into the bias (Jacob et al. 2017, arXiv:1712.05877,
    Section 3.2).
    """
    weight = conv.weight.double()
    bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.double()
    if norm is None or norm.running_mean is None or norm.running_var is None:
        return weight, bias
    mean, var = norm.running_mean.double(), norm.running_var.double()
    return fuse_conv_bn_weights(weight, bias, mean, var, norm.eps, norm.weight, norm.bias)


def convert_sequential(name: str, layers: nn.Sequential, dtype: torch.dtype) -> nn.Module:
    """The twin of layers that follow each other."""
    parts = {part: convert(f"{name}.{part}", m, dtype) for part, m in layers.named_children()}
    return nn.Sequential(OrderedDict(parts))


def convert_inception(name: str, inception: Inception | NaiveInception, dtype: torch.dtype) -> FusedInception:
    """The twin of a module: the first convolution of each path, if it is 1×1, is joined to the others."""
    firsts: list[FusedConv | None] = []
    rests: list[nn.Module] = []
    for path, parts in inception.named_children():
        twin = convert(f"{name}.{path}", parts, dtype)
        first, *rest = twin if isinstance(twin, nn.Sequential) else [twin]
        joined = first if isinstance(first, FusedConv) and first.is_pointwise else None
        firsts.append(joined)
        rests.append(nn.Sequential(*([first, *rest] if joined is None else rest)))
    return FusedInception(firsts, rests)


def convert_unchanged(name: str, layer: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of a layer that has nothing to gain."""
    return copy.deepcopy(layer)


def affine_of(function: Callable) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift, (3,) each, of a function that is affine in each of 3 channels."""
    shift = function(torch.zeros(1, 3, 1, 1)).flatten()
    return function(torch.ones(1, 3, 1, 1)).flatten() - shift, shift


# --- the 1×1 convolutions of a module as one, in training too


class MergedInception(Inception):
    """An Inception module that computes the 1×1 convolutions of its input as one, see `merge_ones`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        paths = [(name, [path] if name == "one" else list(path.children())) for name, path in self.named_children()]
        firsts = [layers.pop(0) for name, layers in paths if name != "pool"]
        reduced = merged([unit for unit in firsts if isinstance(unit, ConvUnit)], x)
        outputs = []
        for name, layers in paths:
            y = x if name == "pool" else reduced.pop(0)
            for layer in layers:
                y = layer(y)
            outputs.append(y)
        return torch.cat(outputs, dim=1)


def merged(units: list[ConvUnit], x: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of 1×1 units that read one input, computed as one convolution, one batch norm and one ReLU.

    Each filter, and each channel of a batch norm, works by itself. So it makes no difference, in training neither, if
    the weights of several stand one behind the other; gradients and running statistics go back to where they belong.
    """
    if not units:
        return []
    convs, norms = [unit.conv for unit in units], [unit.bn for unit in units if hasattr(unit, "bn")]

    def joined(modules: Sequence[nn.Module], name: str) -> torch.Tensor | None:
        parts = [getattr(module, name) for module in modules]
        return None if parts[0] is None else torch.cat(parts)

    y = F.conv2d(x, torch.cat([conv.weight for conv in convs]), joined(convs, "bias"))
    widths = [conv.out_channels for conv in convs]
    if norms:
        training, first = norms[0].training, norms[0]
        mean, var = joined(norms, "running_mean"), joined(norms, "running_var")
        scale, shift = joined(norms, "weight"), joined(norms, "bias")
        y = F.batch_norm(y, mean, var, scale, shift, training, first.momentum or 0.0, first.eps)
        if training:
            keep_statistics(norms, mean, var)
    return list(F.relu_(y).split(widths, dim=1))


def keep_statistics(norms: list[nn.BatchNorm2d], mean: torch.Tensor | None, var: torch.Tensor | None) -> None:
    """Give each batch norm its part of the running statistics of all, one behind the other."""
    widths = [norm.num_features for norm in norms]
    for name, joined in (("running_mean", mean), ("running_var", var)):
        if joined is not None:
            for norm, values in zip(norms, joined.split(widths), strict=True):
                getattr(norm, name).copy_(values)
    for norm in norms:
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked += 1


def merge_ones(model: nn.Module, on: bool = True) -> nn.Module:
    """Let every Inception module compute its 1×1 convolutions of the input as one; returns the model.

    The modules become `MergedInception`, or `Inception` again, and their weights stay where they are, so that state
    dicts are the same either way. Hooks on the units that are merged are not called. Raises ValueError for a model
    without Inception modules.
    """
    modules = [module for module in model.modules() if type(module) in (Inception, MergedInception)]
    if not modules:
        raise ValueError(
            f"model must have Inception modules for their 1×1 convolutions to be merged, got {type(model)}"
        )
    for module in modules:
        module.__class__ = MergedInception if on else Inception
    return model


CONVERSIONS: dict[type[nn.Module], Callable[[str, Any, torch.dtype], nn.Module]] = {
    ConvUnit: fold,
    nn.Sequential: convert_sequential,
    Inception: convert_inception,
    MergedInception: convert_inception,
    NaiveInception: convert_inception,
    nn.Linear: lambda name, layer, dtype: FusedLinear(layer),
    nn.LocalResponseNorm: lambda name, norm, dtype: FusedResponseNorm(norm),
    nn.Dropout: lambda name, dropout, dtype: nn.Identity(),
    **dict.fromkeys((nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity), convert_unchanged),
}
