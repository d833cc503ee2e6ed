"""A network lent out for one pass: its weights have shapes and no values, and whatever the pass changes is undone.

A copy would be simpler, but many modules refuse one (they hold a lock, a file or an activation), and a function that
replaces `forward` would still call the original.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@contextmanager
def lent(model: nn.Module, *, meta: bool = True) -> Iterator["OnMeta"]:
    """The very model without hooks of yours and, with `meta`, with stand-ins for its weights; gives the mode to run in.

    Each module gets other attributes for the time being: weights on the meta device, copies of lists, dictionaries
    and other objects. What cannot be copied (locks, files) is shared. At the end the old attributes are put back.
    """
    modules = list(model.modules())
    before = [(type(module), vars(module)) for module in modules]
    weights = WeakTensorKeyDictionary({p: _stand_in(p) if meta else p for p in model.parameters()})
    copies: dict[int, Any] = {id(shared): shared for shared in (*modules, *model.parameters(), *model.buffers())}
    try:
        for module in modules:
            object.__setattr__(module, "__dict__", {name: _copied(v, copies) for name, v in vars(module).items()})
            for name, parameter in module._parameters.items():
                module._parameters[name] = None if parameter is None else weights[parameter]
            for name, buffer in module._buffers.items():  # the others are safe, see OnMeta
                module._buffers[name] = _stand_in(buffer) if buffer is not None and is_lazy(buffer) else buffer
            for hooks in HOOKS:
                for key, hook in list(vars(module)[hooks].items()):
                    if not hook.__module__.startswith("torch.nn."):  # lazy layers and weight norm work by hooks
                        del vars(module)[hooks][key]
        yield OnMeta(weights)
    finally:
        for module, (kind, attributes) in zip(modules, before, strict=True):
            object.__setattr__(module, "__dict__", attributes)
            module.__class__ = kind  # a lazy layer changes its class


def _stand_in(weight: Tensor) -> Tensor:
    if is_lazy(weight):
        kind: Any = type(weight)
        return kind(device="meta", dtype=weight.dtype, requires_grad=False)
    return nn.Parameter(torch.empty_like(weight, device="meta"), requires_grad=False)


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    """A deep copy that shares modules, tensors and what refuses to be copied. copies: by identity, those made."""
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, nn.Module | Tensor):
        return value
    duplicate: Any
    if isinstance(value, dict):
        copies[id(value)] = duplicate = copy.copy(value)
        duplicate.update({key: _copied(v, copies) for key, v in value.items()})
    elif isinstance(value, list):
        copies[id(value)] = duplicate = copy.copy(value)
        duplicate[:] = [_copied(v, copies) for v in value]
    else:
        try:
            return copy.deepcopy(value, copies)
        except Exception:  # each class refuses in its own way
            return value
    return duplicate


class OnMeta(TorchDispatchMode):
    """Moves each operator to the meta device that meets a tensor of the meta device, whatever device it asks for.

    What does not depend on the image or the weights, such as a table of positions that `forward` makes, is computed
    for real and keeps its values. No tensor that was there before the pass is written to: such an operator runs
    on the meta device too, and the tensor's values are unknown from then on.
    """

    def __init__(self, weights: WeakTensorKeyDictionary):
        super().__init__()
        self.stand_ins = weights
        self.made: set[int] = set()  # storages of the real tensors that the pass made
        self.unknown: dict[int, Any] = {}  # storages of real tensors that should have been written to

    def __torch_dispatch__(self, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), "CompositeImplicitAutograd"):
            with self:  # where `forward` turns inference mode on, composite operators arrive whole
                return operator.decompose(*args, **kwargs)
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        written = [] if operator in LIFTS else _written(operator, args, kwargs)
        if any(map(self._is_shape_only, tensors)) or any(storage(t) not in self.made for t in written):
            self.unknown |= {storage(t): t.untyped_storage() for t in written if not t.is_meta}
            args, kwargs = tree_map_only(Tensor, self._stand_in, (args, kwargs))
            kwargs |= {"device": torch.device("meta")} if "device" in kwargs else {}  # as x.cpu() does
            return operator(*args, **kwargs)
        results = operator(*args, **kwargs)
        if not operator.is_view or operator in LIFTS:
            old = set() if operator in LIFTS else {storage(t) for t in tensors}
            self.made |= {storage(t) for t in tree_leaves(results) if isinstance(t, Tensor)} - old
        return results

    def _is_shape_only(self, tensor: Tensor) -> bool:
        return tensor.is_meta or tensor in self.stand_ins or storage(tensor) in self.unknown

    def _stand_in(self, tensor: Tensor) -> Tensor:
        if tensor.is_meta:
            return tensor
        if tensor not in self.stand_ins:
            with _disable_current_modes():
                self.stand_ins[tensor] = torch.empty_like(tensor, device="meta")
        return self.stand_ins[tensor]


LIFTS = {torch.ops.aten.lift_fresh.default, torch.ops.aten.lift.default}  # torch.tensor([...]) ends in one


def _written(operator: Any, args: tuple, kwargs: dict) -> list[Tensor]:
    """The tensors that an operator writes to, as its schema says."""
    written = []
    for position, argument in enumerate(operator._schema.arguments):
        value = args[position] if position < len(args) else kwargs.get(argument.name)
        if argument.alias_info is not None and argument.alias_info.is_write:
            written += [t for t in tree_leaves(value) if isinstance(t, Tensor)]
    return written


def storage(tensor: Tensor) -> int:
    """A number for the memory of a tensor, which its views share."""
    return tensor.untyped_storage()._cdata
