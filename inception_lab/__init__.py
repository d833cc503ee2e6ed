"""Inception Lab: the companion library of a course on GoogLeNet."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inception_lab.costs import count
    from inception_lab.hub import pretrained
    from inception_lab.models import build

__version__ = "0.2.0"
__all__ = ["build", "count", "pretrained"]


def __getattr__(name: str) -> Any:
    """A public function or a package, when it is first asked for: what they need, PyTorch, takes seconds to import."""
    package = {"build": "models", "count": "costs", "pretrained": "hub"}.get(name, name)
    try:
        module = import_module(f"{__name__}.{package}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{package}":  # a package of somebody else is missing
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from error
    return module if package == name else getattr(module, name)


def __dir__() -> list[str]:
    """What completion offers."""
    return sorted({*globals(), *__all__})
