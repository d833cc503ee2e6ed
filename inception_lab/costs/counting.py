"""Exact costs of a network, layer by layer: parameters, multiply-accumulates, activations, receptive field.

Nothing is computed for real. The network is copied to PyTorch's meta device, where tensors have a shape and
no values, and one image is sent through it; every operator that runs is recorded. A MAC is one
multiply-accumulate, and FLOPs are 2 × MACs. PyTorch's own counter watches the same pass, and a disagreement
raises an error.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.weak import WeakTensorKeyDictionary

from inception_lab.common.checks import check_whole
from inception_lab.costs import operators, receptive_fields
from inception_lab.models import zoo

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and few callers need it

Size = int | Sequence[int]  # a side in pixels, or (channels, height, width)
READY_MADE = ("torch", "torchvision", "timm", "inception_lab")  # packages whose layers are each one step


@dataclass
class Layer:
    """One row of a count: a layer of the network, or an operator that a module calls by itself."""

    name: str
    operation: str
    input: tuple[int, ...]
    output: tuple[int, ...]
    kernel: str = ""
    stride: int | None = None
    params: int = 0
    macs: int = 0
    activations: int = 0
    receptive_field: int | None = None
    total_stride: int | None = None


@dataclass
class Count:
    """The costs of one pass over one image.

    params: parameters of the layers that ran. idle: parameters of those that did not, by layer; the
    auxiliary heads of GoogLeNet are idle in evaluation. params + sum(idle) is all that the model holds.
    macs: multiply-accumulates. flops: 2 × macs.
    activations: elements of the new tensors that were written; what works in place (ReLU, mostly) writes none. A layer
        of PyTorch or timm counts what it hands on, without the temporary tensors that it is computed with (local
        response normalization has six); a recurrent layer, and a module of your own, count all that they write.
    fields: of each layer's output, by the layer's name, the (vertical, horizontal) `receptive_fields.Field`, that is
        which pixels a unit sees; None where windows do not say it.
    """

    name: str
    input_size: tuple[int, int, int]
    layers: list[Layer] = field(repr=False)
    idle: dict[str, int] = field(default_factory=dict, repr=False)
    fields: dict[str, tuple | None] = field(default_factory=dict, repr=False)

    @property
    def params(self) -> int:
        return sum(layer.params for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self) -> int:
        return 2 * self.macs

    @property
    def activations(self) -> int:
        return sum(layer.activations for layer in self.layers)

    @cached_property
    def rows(self) -> "pd.DataFrame":
        """A DataFrame with one row per layer, in the order of the pass.

        Columns: name, operation, input and output (shapes without the batch), kernel, stride, params, macs, activations
        (elements), receptive_field and total_stride (pixels of the input, of the longer side; empty where a
        layer mixes positions in another way than by windows).
        """
        import pandas as pd  # here, because it is slow to import and few callers need it

        frame = pd.DataFrame([vars(layer) for layer in self.layers])
        whole = ["stride", "receptive_field", "total_stride"]
        return frame.astype(dict.fromkeys(whole, "Int64"))

    def by_stage(self, depth: int = 1) -> "pd.DataFrame":
        """The rows summed by stage: the first `depth` parts of a layer's name, such as "inception_4a".

        Output, receptive field and total stride are those of the stage's last layer.
        """
        stage = self.rows["name"].str.split(".").str[:depth].str.join(".")
        last = ["output", "receptive_field", "total_stride"]
        summed = ["params", "macs", "activations"]
        how = {"output": "last"} | dict.fromkeys(summed, "sum") | dict.fromkeys(last, "last")
        grouped = self.rows.groupby(stage, sort=False).agg(how)
        return grouped.rename_axis("stage")

    def __str__(self) -> str:
        size = "×".join(map(str, self.input_size))
        text = (
            f"{self.name} at {size}: {self.params:,} parameters, {self.macs:,} MACs, {self.activations:,} activations"
        )
        if self.idle:
            text += f"; idle: {sum(self.idle.values()):,} parameters in {', '.join(self.idle_stages)}"
        return text

    @property
    def idle_stages(self) -> list[str]:
        return sorted({name.split(".")[0] for name in self.idle})


def count(model: nn.Module | str, input_size: Size | None = None, *, training: bool = False, **options: Any) -> Count:
    """Count what one image costs in a network.

    model: a module, which comes back untouched, or the name of a network of the zoo; nothing is allocated
        for a name. `options` go to `zoo.build` with a name: `count("vgg16", num_classes=10)`.
    input_size: (channels, height, width), or one number for a square RGB image. By default the network's own
        size for a name, and (3, 224, 224) for a module.
    training: count the pass as in training, auxiliary heads included, rather than as in evaluation.

    Raises ValueError for an unknown name, a size that does not fit the network (saying one that
    works) and an operator that no rule covers; RuntimeError where PyTorch's own counter disagrees.
    """
    if isinstance(model, str):
        name = model
        input_size = zoo.entry(name).input_size if input_size is None else input_size
        with torch.device("meta"):
            model = zoo.build(name, **options)
    elif not isinstance(model, nn.Module):
        raise ValueError(f"model must be a name of the zoo or a torch.nn.Module, got {model!r}")
    elif options:
        raise ValueError(f"{', '.join(options)} only go with a name of the zoo, not with a module")
    else:
        name = type(model).__name__
        model = meta_copy(model)
    input_size = _image_size(224 if input_size is None else input_size)
    model.train(training)
    try:
        return _count(model, name, input_size)
    except (UncountedOperator, CounterDisagreement):
        raise
    except Exception as error:  # whatever a layer raises on a shape that it cannot take
        raise _size_error(model, name, input_size, error) from error


class UncountedOperator(ValueError):
    """An operator ran that no rule of `operators` covers, so that its MACs are not known."""


class CounterDisagreement(RuntimeError):
    """This counter and PyTorch's own found different numbers of operations in the same pass."""


def meta_copy(model: nn.Module) -> nn.Module:
    """A copy of the model on the meta device, made without allocating its weights per second time.

    The copy has no hooks of yours, so that counting does not call them. Tensors that a module keeps as plain
    attributes move to the meta device too.
    """
    memo = {id(t): torch.empty_like(t, device="meta") for t in _kept_tensors(model)}
    for p in model.parameters():
        memo[id(p)] = nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=False)
    duplicate = copy.deepcopy(model, memo)
    for module in duplicate.modules():
        module._forward_hooks.clear()
        for key, hook in list(module._forward_pre_hooks.items()):
            if not type(hook).__module__.startswith("torch.nn.utils"):  # weight norm works by such a hook
                del module._forward_pre_hooks[key]
    return duplicate


def _kept_tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    yield from model.buffers()
    for module in model.modules():
        yield from (value for value in vars(module).values() if isinstance(value, torch.Tensor))


def _image_size(size: Size) -> tuple[int, int, int]:
    sides = tuple(size) if isinstance(size, list | tuple | torch.Size) else (3, size, size)
    try:
        channels, height, width = (check_whole("input_size", side) for side in sides)
    except ValueError:
        whole = "one whole number or (channels, height, width), all above 0"
        raise ValueError(f"input_size must be {whole}, got {sides}") from None
    return channels, height, width


def _count(model: nn.Module, name: str, input_size: tuple[int, int, int]) -> Count:
    # In training, batch normalization of a 1×1 map needs two images. What layers compute and write is proportional
    # to the batch.
    batch = 2 if model.training else 1
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    image = torch.empty(batch, *input_size, device="meta", dtype=dtype)
    recorder = _Recorder(model, image)
    with torch.no_grad(), FlopCounterMode(display=False) as torch_counter, recorder:
        model(image)
    recorder.check(torch_counter)
    for layer in recorder.layers:
        layer.macs //= batch
        layer.activations //= batch
    return Count(name, input_size, recorder.layers, recorder.idle, recorder.fields_by_layer)


class _Recorder(TorchDispatchMode):
    """Sees every operator of a pass and adds its cost to the layer that is running."""

    def __init__(self, model: nn.Module, image: torch.Tensor):
        super().__init__()
        self.layers: list[Layer] = []
        self.running: list[tuple[str, nn.Module, list]] = [("", model, [])]
        self.macs_by_operator: dict = {}
        self.unknown: dict[str, str] = {}
        self.fields = WeakTensorKeyDictionary({image: receptive_fields.INPUT_FIELD})
        self.fields_by_layer: dict[str, tuple | None] = {}
        # By storage, which a view shares with its parameter: so a transposed weight is recognized.
        self.unused = {_storage(p): (name, p.numel()) for name, p in model.named_parameters()}
        for name, module in model.named_modules():
            module.register_forward_pre_hook(partial(self._enter, name))
            module.register_forward_hook(self._leave)

    def _enter(self, name: str, module: nn.Module, inputs: Any) -> None:
        self.running.append((name, module, []))

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.running.pop()

    def __torch_dispatch__(self, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = operator(*args, **(kwargs or {}))
        output = result[0] if isinstance(result, tuple | list) else result
        if isinstance(output, torch.Tensor):
            self._record(operator, args, output)
        return result

    def _record(self, operator: Any, args: tuple, output: torch.Tensor) -> None:
        packet = operator._overloadpacket
        tensors = [t for a in args for t in (a if isinstance(a, list | tuple) else [a]) if isinstance(t, torch.Tensor)]
        inputs = [self.fields[t] for t in tensors if t in self.fields]
        fields = receptive_fields.output_fields(operator, inputs, output, args) if inputs else None
        if inputs:  # what does not come from the image, such as a weight, has no receptive field to carry on
            self.fields[output] = self.fields_by_layer[self.running[-1][0]] = fields
        if operator.is_view or packet in (torch.ops.aten._unsafe_view, torch.ops.aten.lift_fresh):
            return

        macs = operators.MACS[packet](output, *args) if packet in operators.MACS else 0
        if macs:
            self.macs_by_operator[packet] = self.macs_by_operator.get(packet, 0) + macs
        elif packet not in operators.MACS and not operators.has_no_macs(operator):
            self.unknown[str(operator)] = self.running[-1][0]

        layer = self._layer(packet)
        read = [t for t in tensors if t in self.fields] or tensors  # what comes from the image rather than a weight
        if read and not layer.input:
            layer.input = tuple(read[0].shape[1:])
        layer.output = tuple(output.shape[1:])
        layer.macs += macs
        # A parameter counts where it is first read, so that shared weights count once.
        layer.params += sum(self.unused.pop(_storage(t), ("", 0))[1] for t in tensors)
        if not operator._schema.is_mutable:
            layer.activations = output.numel() + (0 if _hands_on_one(self.running[-1][1]) else layer.activations)
        if packet in receptive_fields.WINDOWS and output.ndim == 4:
            kernel, stride, *_ = receptive_fields.WINDOWS[packet](*args)
            layer.kernel, layer.stride = "×".join(map(str, kernel)), max(stride)
        if fields:
            layer.receptive_field = max(f.size for f in fields)
            layer.total_stride = max(f.step for f in fields)

    def _layer(self, packet: Any) -> Layer:
        """The row to add to: one for a call of a module without children, else one for each operator."""
        name, module, rows = self.running[-1]
        is_leaf = next(module.children(), None) is None
        if not (is_leaf and rows):
            operation = type(module).__name__ if is_leaf else packet.__name__
            rows.append(Layer(name, operation, (), ()))
            self.layers.append(rows[-1])
        return rows[-1]

    @property
    def idle(self) -> dict[str, int]:
        """Parameters that no operator read, by the module that holds them."""
        idle: dict[str, int] = {}
        for name, size in self.unused.values():
            module = name.rpartition(".")[0]
            idle[module] = idle.get(module, 0) + size
        return idle

    def check(self, torch_counter: FlopCounterMode) -> None:
        if self.unknown:
            found = ", ".join(f"{operator} in layer '{layer}'" for operator, layer in self.unknown.items())
            raise UncountedOperator(f"no rule says how many MACs these operators do: {found}")
        flops = torch_counter.get_flop_counts().get("Global", {})
        differing = [
            f"{packet}: {2 * self.macs_by_operator.get(packet, 0):,} FLOPs here, {flops.get(packet, 0):,} by PyTorch"
            for packet in {**self.macs_by_operator, **flops}
            if 2 * self.macs_by_operator.get(packet, 0) != flops.get(packet, 0)
        ]
        if differing:
            raise CounterDisagreement("this counter and PyTorch's disagree on " + "; ".join(differing))


def _hands_on_one(module: nn.Module) -> bool:
    """Whether the module hands on one of the tensors that it writes, and the others are temporary."""
    return type(module).__module__.partition(".")[0] in READY_MADE and not isinstance(module, nn.RNNBase)


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _size_error(model: nn.Module, name: str, input_size: tuple[int, int, int], error: Exception) -> ValueError:
    """What to raise where a network fails: the reason, and the channels or a size at which it works if there is one."""
    channels, height, width = input_size
    reason = str(error).splitlines()[0]
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is not None and first.in_channels != channels:
        return ValueError(f"input_size must have {first.in_channels} channels for {name}, got {channels} ({reason})")
    usual = zoo.entry(name).input_size if name in zoo.ZOO else 224
    try:
        _count(model, name, (channels, usual, usual))
    except Exception:
        why = "on the meta device, where tensors have shapes and no values, it fails"
        return ValueError(f"{name} cannot be counted: {reason} ({why} at {height}×{width} and at {usual}×{usual})")
    return ValueError(f"input_size {height}×{width} does not fit {name}: {reason}; {usual}×{usual} works")
