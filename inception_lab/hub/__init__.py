"""Networks that others have published with their weights: got in one step, checked by digest, never needed.

google = pretrained("googlenet")     # the published GoogLeNet, if its weights are here; `where()` says whether
google.guess("photograph.jpg")       # [("Egyptian cat", 0.47), ...]

The name is PyTorch's own for the place that weights come from, torch.hub. What torchvision and timm publish,
`inception_lab.build(name, weights="imagenet")` has.
"""

from inception_lab.hub.lucent import from_lucent
from inception_lab.hub.published import Accuracy, Pretrained, overview, pretrained
from inception_lab.hub.sources import digest, fetch, where

__all__ = ["Accuracy", "Pretrained", "digest", "fetch", "from_lucent", "overview", "pretrained", "where"]
