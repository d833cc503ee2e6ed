"""A page of all units of a trained network, which opens from a disk: what excites each, what it reads, what it likes.

explore("data/runs/shapes-laptop", "units")                # then open units/index.html
"""

from inception_lab.explorer.exploration import explore

__all__ = ["explore"]
