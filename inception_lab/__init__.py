"""Inception Lab: the companion library of a course on GoogLeNet."""

from inception_lab.costs import count
from inception_lab.hub import pretrained
from inception_lab.models import build

__version__ = "0.2.0"
__all__ = ["build", "count", "pretrained"]
