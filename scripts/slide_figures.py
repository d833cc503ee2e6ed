"""Draw the figures of the slides anew, for a page of 1280×720 with large letters: docs/slides/figures.

python scripts/slide_figures.py                     all that are missing or older than their cell
python scripts/slide_figures.py 03_bottleneck_costs     those of one deck

An outline asks for one by `@draw 2`, where `@figure 2` would take the notebook's picture. The cell that draws it is
run, with those above it that it needs and no others. The picture keeps a hash of that cell and of the notebook's own
picture: one that is older than either is not used. Minutes, and the published weights for some.
"""

import argparse
import ast
import contextlib
import io
import re
import sys
import textwrap
import warnings
from itertools import pairwise
from pathlib import Path
from unittest import mock

import nbformat
import numpy as np
from PIL import Image

from inception_lab.common import console, files

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import build_slides  # noqa: E402

SIZE, DPI = (11.5, 4.6), 160  # inches: a hundred pixels of the slide each
LETTERS, LABELS = 15, 13  # points, at least; labels are names of points, which stand close to one another
NUMBERS = 10  # and numbers that are written into a picture would hide it
THICKER = 1.6  # lines and points, for the last row of the room
LARGEST = 60_000  # bytes of a figure whose every pixel is kept
BETWEEN = 0.12  # inches on each side of a panel, so that what is written below two does not touch

# What a slide calls things that a notebook's figure names as the library does: a pattern of the whole text → words.
UNIT, KERNEL = r"(?:inception_)?(\d[a-e])\.(one|three|five|pool)", {"one": "1×1", "three": "3×3", "five": "5×5"}
WORDS = {
    rf"unit (\d+) of {UNIT}": lambda found: f"{found[2]}, {KERNEL.get(found[3], found[3])}\nunit {found[1]}",
    rf"{UNIT}:(\d+)": lambda found: f"{found[1]}, {KERNEL.get(found[2], found[2])}\nunit {found[3]}",
    r"inception_(\d[a-e]) of shapes-laptop": r"Module \1 of one small network",
    r"googlenet, (\d+ to \d+)": r"published GoogLeNet, filters \1",
    r"tiny-imagenet-96, (\d+ to \d+)": r"this run, filters \1",
    r"tiny-imagenet-96, training": "training",
    r"alexnet": "AlexNet (others' weights)",
    r"alexnet-2012": "AlexNet, ten crops",
    r"shapes-laptop": "a small network, trained on drawn shapes",
    r"from Tiny ImageNet": "fine-tuned, from this run",
    r"pixels\n\+ transforms": "pixels,\nmoved\nin each step",
    r"pixels only": "pixels\nonly",
    r"\+ Fourier\n\(no colors\)": "waves",
    r"\+ colors\n\(default\)": "waves,\ncolors of\nphotographs",
    r"recorded": "as recorded",
    r"diverse (\d)": r"pushed apart, \1",
}
# And what the figure of one slide alone calls otherwise.
OF_ONE = {"07-how-many-photographs-does-it-take-1": {r"linear": "new classifier alone"}}
# What is drawn in place of a cell's figure, after the cell, where a slide has to show more: the photographs themselves.
INSTEAD = {
    "10-deepdream-1": "plots.image_grid([picture[0].permute(1, 2, 0) for picture in [*before.values(), "
    "*dreams.values()]], ['cat', 'cup', 'rocket'] * 2, columns=3)"
}


def cell_of_figure(notebook, heading: str, number: int) -> tuple[int, int]:
    """The place of the cell that draws the figure of that number below a heading, and which of its figures it is."""
    below, seen = False, 0
    for place, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#{1,3} (.+)$", cell.source, re.MULTILINE)
            below = heading in headings[-1:] if headings else below
        elif below:
            drawn = sum(bool(build_slides.picture_of(output)) for output in cell.outputs)
            if seen + drawn >= number:
                return place, number - seen
            seen += drawn
    raise ValueError(f"no figure number {number} below {heading!r}")


def names(source: str, kind: type) -> set[str]:
    """The names that a piece of code reads (ast.Load) or sets (ast.Store), imports and definitions among them."""
    tree = ast.parse(source)
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, kind)}
    if kind is ast.Store:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
    return found


def code(cell) -> str:
    """The Python of a cell, without lines that are for IPython."""
    return "\n".join(line for line in cell.source.splitlines() if not line.lstrip().startswith(("%", "!")))


def needed(notebook, last: int) -> list[str]:
    """The code of a cell and of those above it that set what it reads, in their order."""
    sources = [code(notebook.cells[last])]
    wanted = names(sources[0], ast.Load)
    for cell in reversed(notebook.cells[:last]):
        if cell.cell_type == "code" and names(code(cell), ast.Store) & wanted:
            sources.append(code(cell))
            wanted |= names(sources[-1], ast.Load)
    return sources[::-1]


def enlarge(figure) -> None:
    """Give a figure the size of a slide, large letters, thick lines and points, and legends that hide nothing."""
    from matplotlib.text import Annotation, Text

    width, height = figure.get_size_inches()
    # A single panel that is nearly square compares its two axes, and stays so.
    square = len(figure.axes) == 1 and width < 1.3 * height
    figure.set_size_inches(SIZE[1] * width / height if square else SIZE[0], SIZE[1])
    panels = [axes for axes in figure.axes if axes.get_subplotspec()]
    pictures = any(axes.images for axes in panels) and all(axes.images or not axes.axison for axes in panels)
    if pictures:
        leave_out_repeated_titles(figure)
    elif figure.get_layout_engine():
        figure.get_layout_engine().set(w_pad=BETWEEN)
    sizes = {text: text.get_fontsize() for text in figure.findobj(Text)}
    for text in figure.findobj(Text):
        least = LABELS if isinstance(text, Annotation) else NUMBERS if text.get_bbox_patch() else LETTERS
        text.set_fontsize(max(text.get_fontsize(), least))
    thicken(figure)
    if pictures:
        close_gaps(figure)
    # A text that takes no part in the layout has room beside it.
    texts = [(axes, text) for axes in figure.axes for text in axes.texts if text.get_in_layout()]
    written = {text: (text.get_text(), sizes[text]) for _, text in texts}
    for _, text in texts:
        text.set_in_layout(False)  # else axes become narrow where their texts are long
    figure.draw_without_rendering()
    for axes, text in texts:
        wrap(text, room(text, axes))
        text.set_in_layout(True)
    for axes in figure.axes if len(figure.axes) > 1 else ():
        wrap(axes.xaxis.label, axes.bbox.width)
        thin_out(axes.xaxis)
    if pictures:
        close_gaps(figure)
    figure.draw_without_rendering()
    for axes in figure.axes:
        arrange(axes, written, square)
    loose = {text: axes for axes, text in texts if not axes.images and not isinstance(text, Annotation)}
    if len(set(loose.values())) > 1:  # panels beside each other have letters of one size
        for text in loose:
            text.set_fontsize(min(other.get_fontsize() for other in loose))


def arrange(axes, written: dict, square: bool) -> None:
    """Put the texts, the names of points and the legend of some axes where they hide nothing."""
    from matplotlib.text import Annotation

    if not axes.images:
        loosen([text for text in axes.texts if text in written and not isinstance(text, Annotation)], written, axes)
    name_points([text for text in axes.texts if isinstance(text, Annotation)], axes)
    if legend := axes.get_legend():
        frame(legend, axes)
        if square:
            legend.set_loc("center left")
            legend.set_bbox_to_anchor((1.02, 0.5), axes.transAxes)
        elif hidden(legend, axes):
            move(legend, axes.figure)


def thicken(figure) -> None:
    """Give a figure thick lines and points."""
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.lines import Line2D

    for line in figure.findobj(Line2D):
        line.set(linewidth=THICKER * line.get_linewidth(), markersize=THICKER**0.5 * line.get_markersize())
    for bars in figure.findobj(LineCollection):
        bars.set_linewidth([THICKER * width for width in bars.get_linewidth()])
    for points in figure.findobj(PathCollection):
        points.set_sizes(THICKER * points.get_sizes())


def say(figure, own: dict) -> None:
    """Call things by words that an audience knows, where the notebook's figure has the library's names.

    own: as WORDS, for this figure alone.
    """
    from matplotlib.text import Text

    def said(text: str) -> str:
        for pattern, words in (WORDS | own).items():
            if found := re.fullmatch(pattern, text):
                return words(found) if callable(words) else found.expand(words)
        return build_slides.called(text)

    figure.draw_without_rendering()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label.get_text() for label in axis.get_ticklabels()]
            if (renamed := [said(label) for label in labels]) != labels:
                axis.set_ticks(axis.get_ticklocs(), renamed)
    for text in figure.findobj(Text):
        text.set_text(said(text.get_text()))


def leave_out_repeated_titles(figure) -> None:
    """Take the titles off a row of pictures that has the same as the row above it."""
    rows: dict[int, list] = {}
    for axes in figure.axes:
        if place := axes.get_subplotspec():
            rows.setdefault(place.rowspan.start, []).append(axes)
    titles = [[axes.get_title() for axes in rows[row]] for row in sorted(rows)]
    for row, above, own in zip(sorted(rows)[1:], titles, titles[1:], strict=False):
        if any(own) and own == above:
            for axes in rows[row]:
                axes.set_title("", loc="center")


def close_gaps(figure) -> None:
    """Give the columns of a figure the shapes of the pictures in them, and the figure no more room than they fill."""
    places = {axes: axes.get_subplotspec() for axes in figure.axes if axes.get_subplotspec()}
    shown = {axes: place for axes, place in places.items() if axes.images}
    grid = next(iter(places.values())).get_gridspec()
    shapes: list[list[float]] = [[] for _ in range(grid.ncols)]
    for axes, place in shown.items():
        high, wide = axes.images[0].get_array().shape[:2]
        shapes[place.colspan.start].append(wide / high)
    grid.set_width_ratios([max(shape, default=1) for shape in shapes])
    if len({place.rowspan.start for place in shown.values()}) < grid.nrows:  # below pictures are names, two lines each
        grid.set_height_ratios([1] * grid.nrows)
    for _ in range(3):
        figure.draw_without_rendering()
        size, free = figure.get_size_inches(), []
        for axes in shown:
            cell, picture = axes.get_position(original=True), axes.get_position()
            free.append([(cell.width - picture.width) / cell.width, (cell.height - picture.height) / cell.height])
        free = np.median(free, axis=0).clip(0, 0.9)
        cells = [axes.get_position(original=True) for axes in shown]
        filled = np.array([grid.ncols * np.median([cell.width for cell in cells]),
                           grid.nrows * np.median([cell.height for cell in cells])])  # fmt: skip
        figure.set_size_inches(size * (1 - free * filled.clip(0, 1)))


def room(text, axes) -> float:
    """How wide a text may be: up to the end of its axes, or as wide as they are if it stands beside them."""
    x = text.get_transform().transform((text.get_position()[0], 0))[0] if text.get_transform() else axes.bbox.x0
    left, right = x - axes.bbox.x0, axes.bbox.x1 - x
    if left < 0 or right < 0:
        return axes.bbox.width
    return {"left": right, "right": left, "center": 2 * min(left, right)}[text.get_ha()]


def thin_out(axis) -> None:
    """Fewer ticks on a horizontal axis whose numbers stand close together."""
    from matplotlib.ticker import MaxNLocator

    locator = axis.get_major_locator()
    for most in (6, 5, 4, 3) if isinstance(locator, MaxNLocator) else ():
        axis.axes.figure.draw_without_rendering()
        boxes = sorted((label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()),
                       key=lambda box: box.x0)  # fmt: skip
        letter = axis.axes.figure.dpi * LETTERS / 72
        if all(box.x1 + letter <= other.x0 for box, other in pairwise(boxes)):
            return
        locator.set_params(nbins=most)


def loosen(texts: list, written: dict, axes) -> None:
    """Make texts smaller, in one line as they were written, where large ones would lie on one another."""

    def crowded():
        boxes = [text.get_window_extent() for text in texts]
        return any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])

    if not crowded():
        return
    for text in texts:
        text.set_text(build_slides.called(written[text][0]))
    for size in range(LETTERS, 7, -1):
        for text in texts:
            text.set_fontsize(max(size, written[text][1]))
        if not crowded() and all(text.get_window_extent().width <= axes.bbox.width for text in texts):
            return


def frame(legend, axes) -> None:
    """Give a legend a frame where its points could be taken for data, and the order in which bars are stacked."""
    from matplotlib.collections import PathCollection
    from matplotlib.container import BarContainer

    if any(isinstance(drawn, PathCollection) for drawn in axes.collections):
        legend.set_frame_on(True)
    bars = [drawn for drawn in axes.containers if isinstance(drawn, BarContainer)]
    if len(bars) > 1 and all(bar[0].get_y() > 0 for bar in bars[1:]):
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1, 0.5), fontsize=LETTERS)


def wrap(text, width: float) -> None:
    """Break a text at its spaces so that it is not wider than so many pixels; one without spaces stays."""
    broken = build_slides.UNIT.sub("\u00a0", text.get_text())
    for letters in range(len(broken), 5, -1):
        if text.get_window_extent().width <= width:
            return
        text.set_text(textwrap.fill(broken, letters, break_long_words=False))


def name_points(labels: list, axes) -> None:
    """Put the name of each point where it lies on no other and crosses no edge; leave out one without such a place."""
    from matplotlib.collections import PathCollection
    from matplotlib.text import Text

    places = [
        (8, 0, "left"),
        (-8, 0, "right"),
        (0, 15, "center"),
        (0, -15, "center"),
        (8, -12, "left"),
        (8, 12, "left"),
    ]
    kept = [point for drawn in axes.collections if isinstance(drawn, PathCollection) for point in boxes_of(drawn)]
    points = len(kept)
    for label in labels:
        beside = label.anncoords == "offset points" and label.arrow_patch is None
        start = (*label.get_position(), label.get_ha(), label.get_va())
        others = [*([] if points else mirrored(*start)), *((*place, start[3]) for place in places)]
        for x, y, side, height in [start, *(others if beside else [])]:
            label.set(position=(x, y), ha=side, va=height, visible=True)  # an invisible one has no size
            # Without its arrow; a word needs room beside it, a line little above.
            box = Text.get_window_extent(label).padded(2, -1 if beside and not points else -3)
            inside = box.x0 > axes.bbox.x0 if points else box.x1 <= axes.bbox.x1 and box.y0 >= axes.bbox.y0
            label.set_visible((inside or not beside) and not any(box.overlaps(other) for other in kept))
            if label.get_visible():
                kept.append(box)
                break


def mirrored(x: float, y: float, side: str, height: str) -> list[tuple[float, float, str, str]]:
    """The places of a name on the other sides of its point: offsets, and how it is aligned to them."""
    across = {"left": "right", "right": "left"}.get(side, side)
    up = {"baseline": "top", "bottom": "top", "top": "bottom"}.get(height, height)
    return [(-x, -y, across, up), (x, -y, side, up), (-x, y, across, height)]


def boxes_of(points) -> list:
    """What each point of a scatter plot covers."""
    from matplotlib.transforms import Bbox

    side = max([4, *points.get_sizes() ** 0.5]) * points.figure.dpi / 72 * 0.8
    centers = points.get_offset_transform().transform(points.get_offsets())
    return [Bbox.from_bounds(x - side / 2, y - side / 2, side, side) for x, y in centers]


def hidden(legend, axes) -> int:
    """How many lines, bars, points and texts of some axes a legend covers."""
    from matplotlib.text import Text

    axes.figure.draw_without_rendering()
    box, covered = legend.get_window_extent().padded(-LETTERS / 2), 0  # without its margin
    for line in axes.lines:
        if line.get_visible():
            path = line.get_transform().transform_path(line.get_path())
            covered += path.intersects_bbox(box, filled=False)
            covered += any(box.contains(*point) for point in path.vertices)
    covered += sum(text.get_visible() and box.overlaps(Text.get_window_extent(text)) for text in axes.texts)
    for collection in axes.collections:
        if offsets := [*collection.get_offset_transform().transform(collection.get_offsets())]:
            covered += sum(box.contains(*point) for point in offsets)
        if hasattr(collection, "get_segments"):
            paths = map(collection.get_transform().transform_path, collection.get_paths())
            covered += sum(path.intersects_bbox(box, filled=False) for path in paths)
    return covered


def move(legend, figure) -> None:
    """Put a legend where it hides nothing: into a corner of its axes, or of others that have none, or below them."""
    legend.set_in_layout(False)  # else the layout makes room for it beside the axes that it has left
    legend.axes.set_zorder(1 + max(axes.get_zorder() for axes in figure.axes))  # else others are painted over it
    for axes in [legend.axes, *(axes for axes in figure.axes if not axes.get_legend())]:
        legend.set_bbox_to_anchor((0, 0, 1, 1), axes.transAxes)
        for corner in ("upper right", "upper left", "lower left", "lower right"):
            legend.set_loc(corner)
            if not hidden(legend, axes):
                return
    legend.set(loc="upper left", in_layout=True)
    legend.set_bbox_to_anchor((0, -0.2), legend.axes.transAxes)


def draw(notebook, heading: str, number: int, target: Path) -> None:
    """Run what a figure needs, and save it with large letters."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    place, which = cell_of_figure(notebook, heading, number)
    space = {"__name__": "__main__", "display": lambda *_, **__: None}
    *before, last = needed(notebook, place)
    with contextlib.redirect_stdout(io.StringIO()):
        for source in before:
            exec(compile(source, heading, "exec"), space)
        plt.close("all")
        with mock.patch.object(plt, "close"):  # by cells that show their figure in another way
            exec(compile(last, heading, "exec"), space)
        if target.stem in INSTEAD:
            which = 1 + len(plt.get_fignums())
            exec(compile(INSTEAD[target.stem], heading, "exec"), space)
    figure, picture = plt.figure(plt.get_fignums()[which - 1]), io.BytesIO()
    with warnings.catch_warnings():  # large letters that leave no room for panels: such a figure has to stay as it is
        warnings.filterwarnings("error", message="constrained_layout not applied")
        say(figure, OF_ONE.get(target.stem, {}))
        enlarge(figure)
        figure.savefig(picture, dpi=DPI, bbox_inches="tight")
    plt.close("all")
    page, note = Image.open(picture).convert("RGB"), build_slides.fingerprint(notebook.cells[place]).encode()
    drawing = page.quantize(128).convert("RGB")
    is_drawing = np.abs(np.subtract(drawing, page, dtype=np.int16)).mean() < 0.5  # photographs have more colors
    content = webp(drawing, lossless=True, method=6, xmp=note) if is_drawing else b""
    if not 0 < len(content) < LARGEST:
        page.thumbnail((1280, 720))  # no more pixels than a projector shows
        content = webp(page, quality=75 if is_drawing else 45, method=6, xmp=note)
    files.write(target, content)


def webp(image: Image.Image, **how) -> bytes:
    """The image as a WebP file. how: for Pillow's `save`."""
    content = io.BytesIO()
    image.save(content, "webp", **how)
    return content.getvalue()


def wanted(outline: Path):
    """Each figure that an outline asks for: the notebook's name, heading, number, file."""
    stem = heading = ""
    for line in outline.read_text(encoding="utf-8").splitlines():
        if found := build_slides.HEADING.match(line):
            stem, heading = outline.stem, found[1]
        elif line.startswith("@from "):
            heading = line.removeprefix("@from ")
        elif line.startswith("@notebook "):
            stem = line.removeprefix("@notebook ")
        elif line.startswith("@draw"):
            number = int(line.removeprefix("@draw").strip() or 1)
            yield stem, heading, number, build_slides.drawn(stem, heading, number)


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("decks", nargs="*", help="names of notebooks, such as 03_bottleneck_costs; without any, all")
    chosen = parser.parse_args(arguments).decks
    for outline in build_slides.outlines():
        if chosen and outline.stem not in chosen:
            continue
        for stem, heading, number, target in wanted(outline):
            notebook = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4)
            place, _ = cell_of_figure(notebook, heading, number)
            if not build_slides.is_of(target, notebook.cells[place]):
                draw(notebook, heading, number, target)
                print(target)
    return 0


if __name__ == "__main__":
    sys.exit(console.run("slide_figures.py", main))
