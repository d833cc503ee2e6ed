"""A page of all units of a trained network, which opens from a disk: see `exploration`."""

from inception_lab.explorer.exploration import explore

__all__ = ["explore"]
