"""From a finished run to the probabilities that its network gives to images: whole, or averaged over many crops.

What has been computed is stored in the run folder, in RUN/predictions/, a part at a time: an evaluation that was killed
is resumed where it stood, and one that was finished is read. For a published network the folder is in data/cache/zoo.
"""

import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm.auto import tqdm

from inception_lab import hub
from inception_lab.common import files
from inception_lab.common.checks import RunError, check_one_of, check_whole
from inception_lab.data import Folder, datasets
from inception_lab.data.crops import CROPS, SCALES, evaluation_crops
from inception_lab.data.images import printable
from inception_lab.data.pictures import Source, fit, normalize, photograph
from inception_lab.evaluation.predictions import Predictions
from inception_lab.hub.published import most_probable
from inception_lab.training import tensors
from inception_lab.training.batches import Data
from inception_lab.training.devices import has_cuda, make_fabric
from inception_lab.training.recipes import Recipe
from inception_lab.training.runs import find_run
from inception_lab.training.weights import load_model, load_published

FORMAT = "inception-lab predictions 1"
SAVE_EVERY = 60.0  # seconds between two writings of what has been computed
Part = tuple[torch.Tensor, torch.Tensor]  # of some images: probabilities (n, C) and labels (n,)


def predict(
    run: str | Path,
    data: str | Path | Dataset | None = None,
    *,
    split: str = "val",
    crops: int | None = None,
    length: int | None = None,
    batch: int = 128,
    zoo: bool = False,
    skip_broken: bool = False,
    store: bool = True,
    progress: bool = True,
    accelerator: str = "auto",
) -> Predictions:
    """The probabilities that the network of a run folder gives to images: softmax, averaged over the crops.

    data: a tier or a folder, by default what the run was trained on; or a set of uint8 images with `classes`, which
    stands for `split`. crops: 1, 10 or 144, cut as `evaluation_crops` says from images of their own size (shapes are
    drawn at the recipe's `image_size`); None for the image at that size, as validation in training sees it.
    zoo: `run` names a network with published weights, and `data` is a tree of ImageNet, or of some classes of it.
    length, skip_broken: as `datasets.load` has them. batch: crops that the network sees at once. store: write what has
    been computed to the run folder, and use what lies there for the same weights and images. accelerator: Fabric's.

    Raises ValueError for a wrong argument, and for classes that are not the run's; RunError for a folder without
    finished weights, or one that cannot be written to.
    """
    if crops is not None:
        check_one_of("crops", crops, CROPS)
    batch = check_whole("batch", batch)
    model, about = load_published(str(run)) if zoo else load_model(run)
    recipe = about["recipe"]
    data = training_data(run, recipe) if data is None else data
    images, digest = open_images(data, split, length, recipe, skip_broken)
    if zoo:
        numbers = wordnet_numbers(images)
        folder, weights = files.cache() / "zoo" / str(run), hub.digest(model.state_dict())
    else:
        check_classes(run, list(images.classes), about["classes"])
        folder, weights = Path(run), digest_of_weights(run)
    file = PredictionFile(folder, f"{split}-{crops or 'whole'}-{digest}", weights, store)
    parts = [file.read(len(about["classes"]))]
    done = len(parts[0][1])
    if done < len(images):
        file.write(parts)  # now, so that a folder that cannot be written to is told before any work
        fabric = fabric_for(recipe, accelerator)
        rest = Subset(images, range(done, len(images)))
        to_do = Data(rest, rest, about["classes"], about["mean"], about["std"])
        name = f"{Path(run).name}, {'whole images' if crops is None else f'{crops} crops'}"
        with tqdm(desc=name, total=len(images), initial=done, unit=" images", disable=not progress) as bar:
            for part in predict_parts(model, to_do, recipe, fabric, crops, batch):
                parts.append(part)
                file.write(parts, every=SAVE_EVERY)
                bar.update(len(part[1]))
        file.write(parts)
    probabilities, labels = joined(parts)
    return Predictions(probabilities, numbers[labels] if zoo else labels, about["classes"], crops, (str(run),), digest)


@torch.no_grad()
def guess(run: str | Path, photographs: Source | Iterable[Source], top: int = 5) -> pd.DataFrame:
    """What photographs of any size most probably show: rows of photograph, class and probability, best guess first.

    run: "googlenet", the published network (see `hub.Pretrained.guess`); the name of a recorded run; or a run folder,
    whose network sees of a photograph what `predict` shows it, the whole image. photographs: files, PIL images or
    arrays, see `data.photograph`; what is no file has its number in the table. top: classes of each, at most.

    Raises ValueError for a photograph that cannot be read, and for an unknown run; RunError for a folder without
    finished weights, DataError where the published ones are not here.
    """
    top = check_whole("top", top)
    photographs = [photographs] if isinstance(photographs, Source) else list(photographs)
    if run == "googlenet":
        google = hub.pretrained()
        classes, logits = google.categories, lambda source: google.network(google.preprocess(source))
    else:
        model, about = load_model(find_run(run, "run", "googlenet"))
        classes, logits = about["classes"], partial(logits_of, model, about, fabric_for(about["recipe"]))
    rows = []
    for number, source in enumerate(photographs):
        name = printable(source) if isinstance(source, str | Path) else number
        rows += [(name, *one) for one in most_probable(logits(source), classes, min(top, len(classes)))]
    return pd.DataFrame(rows, columns=["photograph", "class", "probability"])


def fabric_for(recipe: Recipe, accelerator: str = "auto") -> Fabric:
    """Fabric for one device in the recipe's precision; in single precision where "16-mixed" has no CUDA GPU."""
    if recipe.precision == "16-mixed" and not has_cuda(accelerator):
        recipe = replace(recipe, precision="32-true")
    return make_fabric(recipe, accelerator, devices=1)


def logits_of(model: nn.Module, about: dict, fabric: Fabric, source: Source) -> torch.Tensor:
    """The logits of a photograph, float32 (1, C), by a run's network, which sees it as the images of `predict`."""
    recipe, pixels = about["recipe"], (photograph(source) * 255).round().byte()
    images = normalize(views(pixels, None, recipe)[0], about["mean"], about["std"], channels_last=recipe.channels_last)
    with fabric.autocast():
        return model.to(fabric.device)(images.to(fabric.device)).float().cpu()


# --- the images ---------------------------------------------------------------------------------------------


def training_data(run: str | Path, recipe: Recipe) -> str:
    """The tier or folder that a run was trained on. Raises ValueError for a folder that is not here."""
    if recipe.data in datasets.NAMES or (recipe.data and Path(recipe.data).is_dir()):
        return recipe.data
    name = recipe.data.rstrip("/")
    raise ValueError(f"data must say where the images are: {run} was trained on a folder named {name!r}")


def open_images(
    data: str | Path | Dataset, split: str, length: int | None, recipe: Recipe, skip_broken: bool = False
) -> tuple[Any, str]:
    """The images at their own size, shapes at the recipe's, and a digest that does not depend on the recipe.

    They are a Dataset that also has a length and `classes`, as those of `data.load` have.
    """
    if isinstance(data, Dataset):
        if length is not None:
            raise ValueError("length must not be given with a set of images: choose them with datasets.Part")
        images: Any = data
        return images, datasets.digest(images.classes, images)
    images = datasets.load(data, split, length=length, skip_broken=skip_broken)
    digest = datasets.digest(images.classes, images)
    if data == "shapes":  # the same scenes
        images = datasets.load(data, split, size=recipe.image_size, length=length)
    return images, digest


def check_classes(run: str | Path, given: list[str], trained: list[str]) -> None:
    """Raise ValueError unless the images have the classes that the network was trained on, in the same order."""
    if len(given) != len(trained):
        raise ValueError(f"data must have the {len(trained)} classes of {run}, got {len(given)}")
    for number, (one, other) in enumerate(zip(given, trained, strict=True)):
        if one != other:
            raise ValueError(f"data must have the classes of {run}: class {number} is {one!r}, not {other!r}")


def wordnet_numbers(images: Any) -> torch.Tensor:
    """The number, from 0 to 999, of each class of a tree of ImageNet: of all of it, or of some classes.

    Raises ValueError for images that are in no such tree.
    """
    from timm.data import ImageNetInfo

    while isinstance(images, datasets.Part):
        images = images.data
    ids = {wordnet_id: number for number, wordnet_id in enumerate(ImageNetInfo().label_names())}
    names = images.folders if isinstance(images, Folder) else images.classes
    for name in names:
        if name not in ids:
            raise ValueError(
                "data must have folders named by WordNet ids of ILSVRC-2012, such as n01440764, for a published "
                f"network, got {name!r}"
            )
    return torch.tensor([ids[name] for name in names])


def views(images: torch.Tensor, crops: int | None, recipe: Recipe) -> torch.Tensor:
    """What the network sees of images (N, 3, H, W): (N, M, 3, size, size), M crops of each, or 1 for the whole image.

    Of a square image the three squares of the 144 crops are one. Its 48 crops that differ have the same mean.
    """
    if crops is None:
        held = fit(images, recipe.memory_size) if recipe.memory_size else images
        return fit(held, recipe.image_size)[:, None]
    made = evaluation_crops(images, crops, recipe.image_size)
    if crops == 144 and images.shape[2] == images.shape[3]:
        made = made.unflatten(1, (len(SCALES), 3, 12))[:, :, 0].flatten(1, 2)
    return made


# --- the probabilities --------------------------------------------------------------------------------------


@torch.no_grad()
def predict_parts(
    model: nn.Module, data: Data, recipe: Recipe, fabric: Fabric, crops: int | None, batch: int
) -> Iterator[Part]:
    """Probabilities and labels of the images of `data.val`, in order, some at a time."""
    model.to(fabric.device)
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)
    size = max(1, batch // (crops or 1))
    for groups, labels in DataLoader(data.val, size, num_workers=recipe.workers, collate_fn=grouped_by_size):
        seen = [views(group.to(fabric.device), crops, recipe) for group in groups]
        counts = [of_image.shape[0] for group in seen for of_image in group]
        probabilities = []
        for some in torch.cat([group.flatten(0, 1) for group in seen]).split(batch):
            with fabric.autocast():
                logits = model(normalize(some, data.mean, data.std, channels_last=recipe.channels_last))
            probabilities.append(logits.float().softmax(1))
        yield torch.stack([of_image.mean(0) for of_image in torch.cat(probabilities).split(counts)]).cpu(), labels


def grouped_by_size(samples: list) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Some images in order, those of one size that follow each other as one batch (N, 3, H, W), and their labels."""
    images, labels = zip(*samples, strict=True)
    groups = [torch.stack(list(group)) for _, group in groupby(images, key=lambda image: image.shape)]
    return groups, torch.tensor([int(label) for label in labels])


def joined(parts: list[Part]) -> Part:
    """Several parts as one."""
    probabilities, labels = zip(*parts, strict=True)
    return torch.cat(probabilities), torch.cat(labels)


def digest_of_weights(run: str | Path) -> str:
    """The SHA-256 of a run's weights."""
    return hashlib.sha256((Path(run) / "model.safetensors").read_bytes()).hexdigest()


class PredictionFile:
    """The file in a folder with the probabilities computed so far, by some weights for one set of images.

    weights: their digest. store: False neither reads nor writes it.
    """

    def __init__(self, folder: Path, name: str, weights: str, store: bool):
        self.path, self.store = folder / "predictions" / f"{name}.safetensors", store
        self.about = {"format": FORMAT, "weights": weights}
        self.written = time.monotonic()

    def read(self, classes: int) -> Part:
        """Probabilities and labels of the first images; of none without a whole file made by the same weights."""
        nothing = torch.empty(0, classes), torch.empty(0, dtype=torch.int64)
        if not self.store or not self.path.is_file():
            return nothing
        try:
            found, about = tensors.read(self.path)
            return (found["probabilities"], found["labels"].long()) if about == self.about else nothing
        except (RunError, KeyError):  # damaged: it is made anew
            return nothing

    def write(self, parts: list[Part], every: float = 0.0) -> None:
        """Replace the file, unless it is younger than `every` seconds. Raises RunError where that cannot be done."""
        if not self.store or time.monotonic() - self.written < every:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            probabilities, labels = joined(parts)
            content = tensors.to_bytes({"probabilities": probabilities, "labels": labels.short()}, self.about)
            files.write(self.path, content)
        except (OSError, RunError) as error:
            raise RunError(f"{error}; store=False (--no-store) evaluates without storing anything") from error
        self.written = time.monotonic()
