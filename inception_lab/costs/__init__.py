"""What a network costs: parameters, multiply-accumulates, activations and receptive fields, and what others state.

count("googlenet").rows               # a DataFrame, one row per layer
compare_counters("googlenet")         # this count, PyTorch's, fvcore's and torchinfo's, and why they differ
"""

from inception_lab.costs import published
from inception_lab.costs.counters import compare_counters
from inception_lab.costs.counting import Count, count
from inception_lab.costs.operators import rule
from inception_lab.costs.speed import peak

__all__ = ["Count", "compare_counters", "count", "peak", "published", "rule"]
