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
THICKER = 1.6  # lines and points, for the last row of the room


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
    from matplotlib.collections import LineCollection, PathCollection
    from matplotlib.lines import Line2D
    from matplotlib.text import Annotation, Text

    width, height = figure.get_size_inches()
    # A single panel that is nearly square compares its two axes, and stays so.
    square = len(figure.axes) == 1 and width < 1.3 * height
    figure.set_size_inches(SIZE[1] * width / height if square else SIZE[0], SIZE[1])
    put_into_words(figure)
    sizes = {text: text.get_fontsize() for text in figure.findobj(Text)}
    for text in figure.findobj(Text):
        text.set_fontsize(max(text.get_fontsize(), LABELS if isinstance(text, Annotation) else LETTERS))
    for line in figure.findobj(Line2D):
        line.set(linewidth=THICKER * line.get_linewidth(), markersize=THICKER**0.5 * line.get_markersize())
    for bars in figure.findobj(LineCollection):
        bars.set_linewidth([THICKER * width for width in bars.get_linewidth()])
    for points in figure.findobj(PathCollection):
        points.set_sizes(THICKER * points.get_sizes())
    texts = [(axes, text) for axes in figure.axes for text in axes.texts]
    written = {text: (text.get_text(), sizes[text]) for _, text in texts}
    for _, text in texts:
        text.set_in_layout(False)  # else axes become narrow where their texts are long
    figure.draw_without_rendering()
    for axes, text in texts:
        wrap(text, axes.bbox.width)
        text.set_in_layout(True)
    figure.draw_without_rendering()
    for axes in figure.axes:
        loosen([text for text in axes.texts if not isinstance(text, Annotation)], written, axes)
        name_points([text for text in axes.texts if isinstance(text, Annotation)], axes)
        if legend := axes.get_legend():
            frame(legend, axes)
            if square:
                legend.set_loc("center left")
                legend.set_bbox_to_anchor((1.02, 0.5), axes.transAxes)
            elif hidden(legend, axes):
                move(legend, figure)


def put_into_words(figure) -> None:
    """Call by its name for an audience what a figure calls by its name in code."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label.get_text() for label in axis.get_ticklabels()]
            if (renamed := [build_slides.called(label) for label in labels]) != labels:
                axis.set_ticks(axis.get_ticklocs(), renamed)
    for text in figure.findobj(Text):
        text.set_text(build_slides.called(text.get_text()))


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
    broken = text.get_text().replace(" %", "\u00a0%")
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
        (0, 13, "center"),
        (0, -13, "center"),
        (8, -12, "left"),
        (8, 12, "left"),
    ]
    kept = [point for drawn in axes.collections if isinstance(drawn, PathCollection) for point in boxes_of(drawn)]
    points = len(kept)
    for label in labels:
        beside = label.anncoords == "offset points" and label.arrow_patch is None
        start = (*label.get_position(), label.get_ha())
        for x, y, side in [start, *(places if beside and points else [])]:
            label.set_position((x, y))
            label.set_ha(side)
            box = Text.get_window_extent(label).padded(
                2, -3
            )  # without its arrow; a word needs room beside it, a line little above
            inside = not beside or not points or box.x0 > axes.bbox.x0
            label.set_visible(inside and not any(box.overlaps(other) for other in kept))
            if label.get_visible():
                kept.append(box)
                break


def boxes_of(points) -> list:
    """What each point of a scatter plot covers."""
    from matplotlib.transforms import Bbox

    side = max([4, *points.get_sizes() ** 0.5]) * points.figure.dpi / 72 * 0.8
    centers = points.get_offset_transform().transform(points.get_offsets())
    return [Bbox.from_bounds(x - side / 2, y - side / 2, side, side) for x, y in centers]


def hidden(legend, axes) -> int:
    """How many lines, bars and points of some axes a legend covers."""
    axes.figure.draw_without_rendering()
    box, covered = legend.get_window_extent().padded(-LETTERS / 2), 0  # without its margin
    for line in axes.lines:
        if line.get_visible():
            path = line.get_transform().transform_path(line.get_path())
            covered += path.intersects_bbox(box, filled=False)
            covered += any(box.contains(*point) for point in path.vertices)
    for collection in axes.collections:
        if offsets := [*collection.get_offset_transform().transform(collection.get_offsets())]:
            covered += sum(box.contains(*point) for point in offsets)
        if hasattr(collection, "get_segments"):
            paths = map(collection.get_transform().transform_path, collection.get_paths())
            covered += sum(path.intersects_bbox(box, filled=False) for path in paths)
    return covered


def move(legend, figure) -> None:
    """Put a legend into a corner where it hides nothing: of its own axes, or of others that have none.

    Raises ValueError where there is none: such a figure has to stay the notebook's.
    """
    legend.set_in_layout(False)  # else the layout makes room for it beside the axes that it has left
    legend.axes.set_zorder(1 + max(axes.get_zorder() for axes in figure.axes))  # else others are painted over it
    for axes in [legend.axes, *(axes for axes in figure.axes if not axes.get_legend())]:
        legend.set_bbox_to_anchor((0, 0, 1, 1), axes.transAxes)
        for corner in ("upper right", "upper left", "lower left", "lower right"):
            legend.set_loc(corner)
            if not hidden(legend, axes):
                return
    raise ValueError("no corner in which the legend hides nothing")


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
    figure, picture = plt.figure(plt.get_fignums()[which - 1]), io.BytesIO()
    enlarge(figure)
    figure.savefig(picture, dpi=DPI, bbox_inches="tight")
    plt.close("all")
    page, note = Image.open(picture).convert("RGB"), build_slides.fingerprint(notebook.cells[place]).encode()
    drawing = page.quantize(128).convert("RGB")
    if np.abs(np.subtract(drawing, page, dtype=np.int16)).mean() < 0.5:
        files.write(target, webp(drawing, lossless=True, method=6, xmp=note))
    else:  # photographs have more colors
        files.write(target, webp(page, quality=80, method=6, xmp=note))


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
