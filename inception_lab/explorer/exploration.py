"""From a finished run to a page of all its units, which opens from a disk.

    explore("data/runs/shapes-laptop", "units")                  # then open units/index.html
    explore("runs/mine", "units", "/my/photographs", stages=["inception_4a"], steps=64)

It goes in two parts: the images pass the network, then an image is optimized for every unit, CHUNK units at a time.
The page can be opened after the first. What is done is never done again: killed and called again, it goes on.
"""

import random
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from inception_lab import lens
from inception_lab.common import files
from inception_lab.common.checks import DataError, RunError, check_one_of, check_whole
from inception_lab.data import datasets
from inception_lab.data.datasets import digest
from inception_lab.evaluation.inference import digest_of_weights, training_data
from inception_lab.explorer import measure, page
from inception_lab.explorer.measure import Patch, Wire
from inception_lab.explorer.page import ACROSS, CHUNK, SMALL, SMALL_ACROSS, shortened
from inception_lab.explorer.stages import CLASSES, Stage, find_stages
from inception_lab.lens import Network, TopPatches
from inception_lab.lens.network import DRAWN
from inception_lab.lens.opening import checked_device
from inception_lab.training.recipes import Recipe
from inception_lab.training.weights import load_model

LENGTH = 2000  # images, unless more or fewer are asked for
MEMORY = 2e9  # bytes that the images may take
LARGEST = 1024  # pixels: CHUNK images of this side are optimized as one batch
LEARNING_RATE = 0.1  # twice lens's: after half the steps the images are as sharp
STRENGTH = (
    "Strength: the weights from an input to the unit, with batch normalization folded in and without the ReLU between, "
    "times the standard deviation of the input over the images; absolute values, added up over the kernel."
)


def explore(
    run: str | Path,
    out: str | Path,
    data: str | Path | None = None,
    *,
    split: str = "val",
    length: int | None = None,
    stages: list[str] | None = None,
    steps: int = 128,
    size: int = 64,
    device: str = "cpu",
    progress: bool = True,
) -> Path:
    """Make the page of a run's units in a folder, or go on with it. Returns the file to open.

    data: a tier or a folder, by default what the run was trained on; its classes may be others. length: how many
    images are looked at, by default all of the split up to LENGTH. stages: by default all, and the classes ("linear").
    steps: of the optimization of each image; 0 leaves it out, and shows the strongest patch. size: side of the
    optimized images in pixels. device: as PyTorch names it, such as "cuda".

    Raises ValueError for a wrong argument and for images that are not there; RunError for a folder without finished
    weights, and for an `out` that holds another exploration.
    """
    steps = check_whole("steps", steps, 0)
    if not Path(out).exists():
        files.check_out(out, folder=True)
    model, about = load_model(run)
    recipe = about["recipe"]
    network = Network(model, about["mean"], about["std"], about["classes"], recipe.image_size, Path(run).resolve().name)
    size = check_whole("size", size, network.smallest)
    if size > LARGEST:
        raise ValueError(f"size must be at most {LARGEST:,} pixels, got {size:,}")
    found = find_stages(network)
    for name in stages or []:
        check_one_of("stages", name, [stage.name for stage in found])
    chosen = [stage for stage in found if not stages or stage.name in stages]
    images, name = open_images(run, recipe, data, split, length)
    made_from = {
        "weights": digest_of_weights(run)[:16],
        "images": digest(images.classes, images),
        "steps": steps,
        "size": size,
    }
    network.to(checked_device(device))
    work = Exploration(Path(out), network, images, recipe, name, made_from)
    work.measure(chosen, progress)
    if steps:
        work.optimize(chosen, progress)
    return work.out / "index.html"


def open_images(
    run: str | Path, recipe: Recipe, data: str | Path | None, split: str, length: int | None
) -> tuple[datasets.InMemory, str]:
    """The images to look at, in memory, at the size that the network was trained on, and what they are called.

    Where those of the run are not at hand, they are drawn shapes, and a line says so.
    """
    name = recipe.data if data is None else datasets.stored_name(data)
    try:
        place = training_data(run, recipe) if data is None else data
        images: Any = datasets.load(place, split, size=recipe.image_size, length=length)  # a sized Dataset
        if length is None and len(images) > LENGTH:
            images = datasets.load(place, split, size=recipe.image_size, length=LENGTH)
    except ValueError as error:
        if data is not None or not (isinstance(error, DataError) or recipe.data not in datasets.NAMES):
            raise
        print(f"{recipe.data} is not at hand, so the units look at drawn shapes; --data takes a folder of photographs")
        name = DRAWN
        images = datasets.load(DRAWN, split, size=recipe.image_size, length=length)
    if len(images) * 3 * recipe.image_size**2 > MEMORY:
        most = int(MEMORY / (3 * recipe.image_size**2))
        raise ValueError(f"length must be at most {most:,} for images of this size, got {len(images):,}")
    return datasets.in_memory(images), name


@dataclass
class Entry:
    """What the map of the page says of a stage."""

    name: str
    kind: str  # "stage" or "classes"
    units: int
    paths: list[tuple[str, int, int]]  # name, channels, side of the receptive field
    previous: str
    map: int
    dead: list[int]
    classes: list[int]  # of each unit, the most frequent class among its patches
    reached: list[float | None] = field(
        default_factory=list
    )  # of the units so far, that of their image; None: no image


@dataclass(kw_only=True)
class State:
    """What data/run.js holds: where the page comes from, how its sheets are laid out, and what of it is done."""

    made_from: dict[str, Any]  # digests of weights and images, steps and size: one page is made from one of each
    network: str
    trained: str  # the data of the run
    data: str  # and of the page
    images: int
    size: int  # of an image, in pixels
    steps: int
    chunk: int
    across: int = ACROSS
    columns: int = SMALL_ACROSS
    small: bool = True  # whether there is a sprite of small pictures for the map
    says: str = "mostly"  # what a unit's class is to it
    patches: int = measure.PATCHES
    classes: list[str]  # of the images
    outputs: list[str]  # the classes of the network
    paths: dict[str, dict[str, str]]
    strength: str = STRENGTH
    stages: list[Entry]  # those that have been measured, in the order of the network
    unbuilt: list[str] = field(default_factory=list)  # the others


@dataclass
class Details:
    """What data/STAGE.js holds of the units of a stage, in their order."""

    patches: list[list[Patch]]
    least: list[list[Patch]]  # whole images
    tuning: dict[str, Any] | None  # scales (S,) and curves (units, S); None for the classes
    inputs: list[list[Wire]]
    outputs: list[list[Wire]]


class Exploration:
    """The folder of a page. data/run.js says what of it is done, and is written after each part.

    Raises RunError for a folder that holds something else, or a page made from something else.
    """

    def __init__(
        self,
        out: Path,
        network: Network,
        images: datasets.InMemory,
        recipe: Recipe,
        data: str,
        made_from: dict[str, Any],
    ):
        self.out, self.network, self.images = out, network, images
        kept = page.read_script(out / "data" / "run.js")
        foreign = page.foreign_files(out)
        if kept is None and foreign:
            raise RunError(f"{out} is not empty, and holds no exploration: it holds {', '.join(foreign[:3])}")
        if kept and kept["made_from"] != made_from:
            pairs = [(key, kept["made_from"].get(key), value) for key, value in made_from.items()]
            differences = "; ".join(f"{key} was {old}, and is now {new}" for key, old, new in pairs if old != new)
            raise RunError(f"{out} holds another exploration ({differences}): choose another folder, or delete it")
        self.state = State(
            made_from=made_from,
            network=recipe.network,
            trained=recipe.data,
            data=data,
            images=len(images),
            size=network.size,
            steps=made_from["steps"],
            chunk=CHUNK,
            classes=list(images.classes),
            outputs=network.classes,
            paths=page.path_styles(network.model.design),
            stages=[Entry(**entry) for entry in kept["stages"]] if kept else [],
        )
        page.write_page(out, f"The units of {network.name}")
        self._save()

    def _save(self) -> None:
        self.state.unbuilt = [s.name for s in find_stages(self.network) if s.name not in self._entries]
        page.write_script(self.out / "data" / "run.js", "run", self.state)

    @property
    def _entries(self) -> dict[str, Entry]:
        """The stages that have been measured."""
        return {entry.name: entry for entry in self.state.stages}

    # --- first part: the images pass the network ------------------------------------------------------------

    def measure(self, stages: list[Stage], progress: bool) -> None:
        """Write what can be said about the units of stages that have not been measured yet."""
        stages = [stage for stage in stages if stage.name not in self._entries]
        if not stages:
            return
        names = [path for stage in stages for path in stage.paths if path != CLASSES]
        found: dict[str, TopPatches] = {}
        curves = None
        if names:
            found = lens.top_patches(self.network, self.images, names, measure.PATCHES, progress=progress)
            curves = lens.tuning(self.network, names, progress=progress)
        if any(stage.name == CLASSES for stage in stages):
            found[CLASSES] = measure.top_images(self.network, self.images)
        least = measure.least_images(self.network, self.images, list(found))
        readers = [after for stage in stages if (after := self._reader(stage))]
        sources = list(dict.fromkeys(stage.source for stage in [*stages, *readers]))
        deviations = measure.deviations(self.network, self.images, sources)
        units = sum(stage.units for stage in stages)
        with tqdm(total=units, desc="patches", unit=" units", disable=not progress) as bar:
            for stage in stages:
                most, lowest = ([kind[path] for path in stage.paths] for kind in (found, least))
                self._write_stage(stage, most, lowest, curves, deviations, bar)

    def _reader(self, stage: Stage) -> Stage | None:
        """The stage that reads another; none reads the classes."""
        return next((after for after in find_stages(self.network) if after.previous == stage.name), None)

    def _write_stage(
        self,
        stage: Stage,
        found: list[TopPatches],
        least: list[TopPatches],
        curves: lens.Tuning | None,
        deviations: dict[str, torch.Tensor],
        bar: tqdm,
    ) -> None:
        patches, lowest = (
            [row for part in kind for row in measure.describe_patches(self.network, self.images, part)]
            for kind in (found, least)
        )
        first = []
        for start in range(0, stage.units, CHUNK):
            for kind, shown, count in (("patches", patches, measure.PATCHES), ("least", lowest, measure.LEAST)):
                rows = shown[start : start + CHUNK]
                some = [measure.cut_patches(self.network, self.images, row, SMALL, count) for row in rows]
                sheet = self.out / "images" / f"{stage.name}-{kind}-{start // CHUNK}.webp"
                page.write_sheet(sheet, torch.cat(some), count)
                first += [unit[0] for unit in some if kind == "patches"]
            bar.update(len(rows))
        if not self.state.steps:
            page.write_sheet(self.out / "images" / f"{stage.name}-small.webp", torch.stack(first), SMALL_ACROSS)
        tuning = None
        if curves and stage.name != CLASSES:
            responses = torch.cat([curves.responses[path] for path in stage.paths])
            tuning = {
                "scales": [shortened(scale) for scale in curves.scales.tolist()],
                "curves": [[shortened(value) for value in row] for row in responses.tolist()],
            }
        inputs = measure.describe_inputs(self.network, stage, deviations[stage.source])
        outputs: list[list[Wire]] = []
        if after := self._reader(stage):
            outputs = measure.describe_outputs(self.network, after, deviations[after.source])
        details = Details(patches, lowest, tuning, inputs, outputs)
        page.write_script(self.out / "data" / f"{stage.name}.js", "stage", stage.name, details)
        names = [path.partition(".")[2] for path in stage.paths]
        entry = Entry(
            stage.name,
            kind="classes" if stage.name == CLASSES else "stage",
            units=stage.units,
            paths=list(zip(names, stage.paths.values(), stage.fields, strict=True)),
            previous=stage.previous,
            map=stage.map,
            dead=[unit for unit, row in enumerate(patches) if not row],
            classes=[most_common([patch["class"] for patch in row]) for row in patches],
        )
        order = [stage.name for stage in find_stages(self.network)]
        self.state.stages = sorted([*self.state.stages, entry], key=lambda entry: order.index(entry.name))
        self._save()

    # --- second part: an image is optimized for every unit --------------------------------------------------

    def optimize(self, stages: list[Stage], progress: bool) -> None:
        """Optimize what images are missing, CHUNK units of a stage at a time, as one batch."""
        done = sum(len(self._entries[stage.name].reached) for stage in stages)
        total = sum(stage.units for stage in stages)
        shape = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} units [{elapsed}<{remaining}]"
        with tqdm(total=total, initial=done, desc="optimizing", bar_format=shape, disable=not progress) as bar:
            for stage in stages:
                while len(self._entries[stage.name].reached) < stage.units:
                    self._optimize_chunk(stage, bar)

    def _optimize_chunk(self, stage: Stage, bar: tqdm) -> None:
        entry = self._entries[stage.name]
        first, size = len(entry.reached), self.state.made_from["size"]
        units = [(path, channel) for path, width in stage.paths.items() for channel in range(width)]
        units = units[first : first + CHUNK]
        alive = [i for i in range(len(units)) if first + i not in entry.dead]
        pictures = torch.zeros(len(units), 3, size, size, dtype=torch.uint8)
        reached = torch.zeros(len(units))
        if alive:
            images, reached[alive] = self._optimized([units[i] for i in alive], bar, len(units))
            pictures[alive] = (images * 255 + 0.5).to(torch.uint8)
        else:
            bar.update(len(units))
        page.write_sheet(self.out / "images" / f"{stage.name}-optimized-{first // CHUNK}.webp", pictures, ACROSS)
        self._write_small(stage, pictures, first)
        entry.reached += [shortened(value) for value in reached.tolist()]
        self._save()

    def _optimized(self, units: list[tuple[str, int]], bar: tqdm, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """An image for each unit, and the activation that it reaches."""
        steps, size = self.state.steps, self.state.made_from["size"]

        def tick(images: torch.Tensor, rng: random.Random) -> torch.Tensor:
            bar.update(count / steps)  # a transform that changes nothing, and is called once a step
            return images

        objectives = [lens.logit(c) if path == CLASSES else lens.channel(path, c) for path, c in units]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the page says which units stay silent
            seen = lens.visualize(
                self.network,
                objectives,
                size=size,
                steps=steps,
                learning_rate=LEARNING_RATE,
                transforms=[*lens.standard(size), tick],
                progress=False,
            )
        if units[0][0] == CLASSES:
            logits = lens.activations(self.network, seen.images, CLASSES)[CLASSES].cpu()
            return seen.images.cpu(), logits[range(len(units)), [c for _, c in units]]
        return seen.images.cpu(), seen.excitation

    def _write_small(self, stage: Stage, pictures: torch.Tensor, first: int) -> None:
        """Write the sprite of the map, with the pictures of all chunks so far."""
        images = self.out / "images"
        sheets = [images / f"{stage.name}-optimized-{chunk}.webp" for chunk in range(first // CHUNK)]
        before = [page.read_sheet(sheet, self.state.made_from["size"], CHUNK) for sheet in sheets]
        small = measure.to_size(torch.cat([*before, pictures]).float() / 255, SMALL)
        page.write_sheet(images / f"{stage.name}-small.webp", small, SMALL_ACROSS)


def most_common(numbers: list[int]) -> int:
    """The number that occurs most, −1 where there is none."""
    return max(set(numbers), key=numbers.count) if numbers else -1
