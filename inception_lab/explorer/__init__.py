"""A page of all units of a trained network, which opens from a disk: what excites each, what it reads, what it likes.

explore("data/runs/shapes-laptop", "units")                # then open units/index.html
gallery("units")                                           # the published GoogLeNet, whose units are recorded
"""

from inception_lab.explorer.exploration import explore
from inception_lab.explorer.gallery_page import gallery

__all__ = ["explore", "gallery"]
