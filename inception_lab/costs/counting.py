"""Exact costs of a network, layer by layer: parameters, multiply-accumulates, activations, receptive field.

Nothing that depends on the image is computed for real. It is sent through the network on PyTorch's meta device, where
tensors have a shape and no values, and every operator that runs is recorded. A MAC is one multiply-accumulate, and
FLOPs are 2 × MACs. PyTorch's own counter watches the same pass, and a disagreement raises an error.
"""

import inspect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry
from torch.utils.weak import WeakTensorKeyDictionary

from inception_lab.common.checks import check_whole
from inception_lab.costs import operators, receptive_fields
from inception_lab.costs.lent import lent, storage
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

        columns = [column.name for column in fields(Layer)]
        frame = pd.DataFrame([vars(layer) for layer in self.layers], columns=columns)
        whole = ["stride", "receptive_field", "total_stride"]
        return frame.astype(dict.fromkeys(whole, "Int64"))

    def by_stage(self, depth: int = 1) -> "pd.DataFrame":
        """The rows summed by stage: the first `depth` parts of a layer's name, such as "inception_4a".

        Output, receptive field and total stride are those of the stage's last layer.
        """
        stage = self.rows["name"].str.split(".").str[:depth].str.join(".")
        how = {"output": "last", "params": "sum", "macs": "sum", "activations": "sum"}
        how |= {"receptive_field": "last", "total_stride": "last"}
        return self.rows.groupby(stage, sort=False).agg(how).rename_axis("stage")

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

    model: a module, which comes back untouched and whose hooks of yours are not called, or the name of a network of
        the zoo; nothing is allocated for a name. `options` go to `zoo.build` with a name:
        `count("vgg16", num_classes=10)`. Lazy layers are counted with the sizes that the image gives them.
    input_size: (channels, height, width), or one number for a square RGB image. By default the network's own
        size for a name, and (3, 224, 224) for a module.
    training: count the pass as in training, auxiliary heads included, rather than as in evaluation. Where batch norm
        refuses one image, two, three and four are counted, and one follows by extrapolation.

    Raises ValueError for an unknown name, a size that does not fit the network (saying one that works), a model that
    does not take one image (saying what it takes), an operator that no rule covers (see `operators.rule`) and costs
    that are not linear in the number of images; RuntimeError where PyTorch's own counter disagrees.
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
        model = getattr(model, "_orig_mod", model)  # what torch.compile was given
        name = type(model).__name__
    input_size = _image_size(224 if input_size is None else input_size)
    _check_takes_an_image(model, name)
    try:
        return _count(model, name, input_size, training)
    except _PassFailed as failed:
        raise _size_error(model, name, input_size, training, failed) from failed.__cause__


class _PassFailed(Exception):
    """The network raised the cause of this, such as on a shape that it cannot take, while `module` was running."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module


def _image_size(size: Size) -> tuple[int, int, int]:
    sides = tuple(size) if isinstance(size, list | tuple | torch.Size) else (3, size, size)
    try:
        channels, height, width = (check_whole("input_size", side) for side in sides)
    except ValueError:
        whole = "one whole number or (channels, height, width), all above 0"
        raise ValueError(f"input_size must be {whole}, got {sides}") from None
    return channels, height, width


def _check_takes_an_image(model: nn.Module, name: str) -> None:
    """Raise ValueError, saying what the model is and what to do, where one image cannot be sent through it."""
    for layer in model.modules():
        kind = f"{type(layer).__module__}.{type(layer).__name__}"
        if isinstance(layer, torch.jit.ScriptModule):
            raise ValueError(
                f"{name} is scripted or traced (torch.jit), and hides its layers: count what it was made from"
            )
        if kind.startswith("torch.ao.nn.") and ".quantized" in kind:
            raise ValueError(f"{name} is quantized (it has a {kind}): count the float network that it was made from")
    try:
        signature = inspect.signature(model.forward)
    except ValueError:  # a function that is written in C has none
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise ValueError(f"{name}.forward{signature} does not take one image alone ({error}): {WRAP}") from None


WRAP = "count a module of yours whose forward makes from an image what it takes"


def _count(model: nn.Module, name: str, input_size: tuple[int, int, int], training: bool) -> Count:
    run = partial(_one_pass, model, name, input_size, training)
    try:
        return run(batch=1)
    except _PassFailed as failed:  # in training, batch normalization of a 1×1 map refuses one image
        if not training:
            raise
        try:
            two, three, four = run(batch=2), run(batch=3), run(batch=4)
        except _PassFailed:
            raise failed from failed.__cause__
    layers = [_extrapolated(*rows) for rows in zip(two.layers, three.layers, four.layers, strict=True)]
    return replace(two, layers=layers)


def _extrapolated(two: Layer, three: Layer, four: Layer) -> Layer:
    """The row of one image, from those of two, three and four: a fixed part and one that grows with the batch."""
    for cost in ("macs", "activations"):
        counts = [getattr(layer, cost) for layer in (two, three, four)]
        if four.name != two.name or counts[2] - counts[1] != counts[1] - counts[0]:
            images = ", ".join(f"{n:,}" for n in counts)
            raise ValueError(f"{cost} of layer '{two.name}' are {images} for 2, 3 and 4 images: one's share is unknown")
    return replace(two, macs=2 * two.macs - three.macs, activations=2 * two.activations - three.activations)


def _one_pass(model: nn.Module, name: str, input_size: tuple[int, int, int], training: bool, batch: int) -> Count:
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), None)
    # Outside inference mode, where composite operators would arrive whole; `forward` may draw random numbers.
    with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng(devices=()), lent(model) as on_meta:
        recorder = None
        try:
            image = torch.empty(batch, *input_size, device="meta", dtype=dtype)
            if any(map(is_lazy, (*model.parameters(), *model.buffers()))):
                model.train()  # so that heads get their sizes too
                with on_meta:
                    model(torch.empty(max(batch, 2), *input_size, device="meta", dtype=dtype))
            model.train(training)
            recorder = _Recorder(model, image)
            with FlopCounterMode(display=False) as torch_counter, recorder, on_meta:
                model(image)
        except Exception as error:
            raise _PassFailed(recorder.running[-1][1] if recorder else model) from error
    recorder.check(torch_counter)
    return Count(name, input_size, recorder.layers, recorder.idle, recorder.fields_by_layer)


class _Recorder(TorchDispatchMode):
    """Sees every operator of a pass and adds its cost to the layer that is running."""

    def __init__(self, model: nn.Module, image: torch.Tensor):
        super().__init__()
        self.layers: list[Layer] = []
        self.running: list[tuple[str, nn.Module, list]] = [("", model, [])]
        self.macs_by_operator: Counter = Counter()
        self.unknown: dict[str, str] = {}
        self.fields = WeakTensorKeyDictionary({image: receptive_fields.INPUT_FIELD})
        self.fields_by_layer: dict[str, tuple | None] = {}
        # By storage, which a view shares with its parameter: so a transposed weight is recognized.
        self.unused = {storage(p): (name, p.numel()) for name, p in model.named_parameters()}
        for name, module in model.named_modules():
            module.register_forward_pre_hook(partial(self._enter, name))
            module.register_forward_hook(self._leave)

    def _enter(self, name: str, module: nn.Module, inputs: Any) -> None:
        self.running.append((name, module, []))

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.running.pop()

    def __torch_dispatch__(self, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        result = operator(*args, **kwargs)
        output = result[0] if isinstance(result, tuple | list) and result else result
        if isinstance(output, torch.Tensor):
            self._record(operator, args, kwargs, output)
        return result

    def _record(self, operator: Any, args: tuple, kwargs: dict, output: torch.Tensor) -> None:
        packet = operator._overloadpacket
        tensors = [t for a in args for t in (a if isinstance(a, list | tuple) else [a]) if isinstance(t, torch.Tensor)]
        inputs = [self.fields[t] for t in tensors if t in self.fields]
        fields = receptive_fields.output_fields(operator, inputs, output, args) if inputs else None
        if inputs:  # what does not come from the image, such as a weight, has no receptive field to carry on
            self.fields[output] = self.fields_by_layer[self.running[-1][0]] = fields
        if operator.is_view or packet in (torch.ops.aten._unsafe_view, torch.ops.aten.lift_fresh):
            return

        macs = operators.macs(operator, output, args, kwargs)
        if macs is None:
            self.unknown[str(operator)] = self.running[-1][0]
            macs = 0
        self.macs_by_operator[packet] += macs

        layer = self._layer(packet)
        read = [t for t in tensors if t in self.fields] or tensors  # what comes from the image rather than a weight
        if read and not layer.input:
            layer.input = tuple(read[0].shape[1:])
        layer.output = tuple(output.shape[1:])
        layer.macs += macs
        # A parameter counts where it is first read, so that shared weights count once.
        layer.params += sum(self.unused.pop(storage(t), ("", 0))[1] for t in tensors)
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
            advice = "add one by inception_lab.costs.rule, as CONTRIBUTING.md shows"
            raise ValueError(f"no rule says how many MACs these operators do: {found}; {advice}")
        flops = torch_counter.get_flop_counts().get("Global", {})
        differing = [
            f"{packet}: {2 * self.macs_by_operator[packet]:,} FLOPs here, {flops.get(packet, 0):,} by PyTorch"
            for packet in flop_registry  # PyTorch has no rule for a matrix times a vector, among others
            if 2 * self.macs_by_operator[packet] != flops.get(packet, 0)
        ]
        if differing:
            raise RuntimeError("this counter and PyTorch's disagree on " + "; ".join(differing))


def _hands_on_one(module: nn.Module) -> bool:
    """Whether the module hands on one of the tensors that it writes, and the others are temporary."""
    return type(module).__module__.partition(".")[0] in READY_MADE and not isinstance(
        module, nn.RNNBase | nn.RNNCellBase
    )


def _size_error(
    model: nn.Module, name: str, input_size: tuple[int, int, int], training: bool, failed: _PassFailed
) -> ValueError:
    """What to raise where a network fails: the reason, and what works or what the network takes if that is known."""
    error = failed.__cause__
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    channels, height, width = input_size
    kinds = {nn.Conv3d: "volumes or video", nn.Conv1d: "sequences", nn.Embedding: "whole numbers, such as words"}
    # The image goes to the layer that refused it; where the network refused it itself, most likely to its first one.
    layers = (m for m in (failed.module, *model.modules()) if isinstance(m, (nn.Conv2d, *kinds)))
    first = next(layers, None)
    wanted = first.in_channels if isinstance(first, nn.Conv2d) else channels
    usual = zoo.entry(name).input_size if name in zoo.ZOO else 224
    for size in ((wanted, height, width), (channels, usual, usual), (wanted, usual, usual)):
        if size == input_size:
            continue
        try:
            _count(model, name, size, training)
        except Exception:
            continue
        if size[1:] == (height, width):
            return ValueError(f"input_size must have {wanted} channels for {name}, got {channels} ({reason})")
        given, works = ("×".join(map(str, s[1:] if size[0] == channels else s)) for s in (input_size, size))
        return ValueError(f"input_size {given} does not fit {name}: {reason}; {works} works")
    if any(part in reason for part in ("got str", "no attribute 'keys'", "no attribute 'items'", "too many indices")):
        why = f"it takes a dictionary, and one image is sent: {WRAP}"
    elif type(first) in kinds:
        why = f"it takes {kinds[type(first)]}, and one image is sent: {WRAP}"
    elif "item()" in reason or "meta" in reason or "ata-dependent" in reason:
        why = "it needs values, and the pass runs on the meta device, where tensors have shapes and no values"
    else:
        why = f"so at {height}×{width} and at {usual}×{usual}"
    return ValueError(f"{name} cannot be counted: {reason} ({why})")
