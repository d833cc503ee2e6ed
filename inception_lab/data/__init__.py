"""Images: data tiers by name or path, photographs, augmentation, and the crops that networks are tested on.

data = load("shapes")                 # or "cifar10", "tiny-imagenet", a folder of class folders
Augmentation(224)(images), evaluation_crops(images, 144)
"""

from inception_lab.data import datasets
from inception_lab.data.augment import Augmentation, crop_and_resize, distort, draw_boxes
from inception_lab.data.crops import center_view, evaluation_crops
from inception_lab.data.datasets import InMemory, Part, digest, in_memory, load
from inception_lab.data.folders import Folder
from inception_lab.data.images import ImageSet
from inception_lab.data.pictures import normalize, photograph
from inception_lab.data.shapes import Shapes

__all__ = [
    "Augmentation",
    "Folder",
    "ImageSet",
    "InMemory",
    "Part",
    "Shapes",
    "center_view",
    "crop_and_resize",
    "datasets",
    "digest",
    "distort",
    "draw_boxes",
    "evaluation_crops",
    "in_memory",
    "load",
    "normalize",
    "photograph",
]
