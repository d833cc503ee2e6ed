"""The files of the page. A page on a disk may not read files, but it may load scripts: so the data are scripts.

index.html, page.css, page.js     the page, the same for every run
data/run.js                       what the map shows: stages, paths, dead units, how far the optimizing has come
data/STAGE.js                     patches, inputs and tuning curves of its units, loaded with the first click
images/STAGE-small.webp           a sprite of all its units, loaded when the row comes into view
images/STAGE-optimized-N.webp     CHUNK units each, at full size; STAGE-patches-N.webp, STAGE-least-N.webp alike
"""

import io
import json
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.utils import make_grid

from inception_lab.common import files
from inception_lab.common.checks import RunError
from inception_lab.models.designs import Design
from inception_lab.plots.style import PATHS, path_labels

CHUNK = 32  # units whose pictures are in one file
ACROSS, SMALL_ACROSS = 8, 32  # pictures in a row of a sheet of CHUNK units, and of a whole stage
SMALL = 48  # pixels along a side of a picture of the map
FILES = ("page.css", "page.js")
QUALITY = 85  # of lossy WebP, from 0 to 100


def write_page(out: Path, title: str) -> None:
    """Write the page itself, and make the folders of its data. Raises RunError where that cannot be done."""
    try:
        for folder in ("data", "images"):
            (out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out} cannot be made a folder for a page ({error.strerror})") from error
    source = resources.files("inception_lab.explorer")
    for name in FILES:
        files.write(out / name, (source / name).read_bytes())
    html = Template((source / "page.html").read_text(encoding="utf-8")).substitute(title=escape(title))
    files.write(out / "index.html", html.encode())


def foreign_files(out: Path) -> list[str]:
    """What a folder holds that belongs to no page. Raises RunError for a file."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file: a page needs a folder")
    own = {"data", "images", "index.html", *FILES}
    return sorted(p.name for p in out.glob("*") if p.name.removesuffix(".tmp") not in own)


def path_styles(design: Design) -> dict[str, dict[str, str]]:
    """The color of every path, as in all figures of the course, and its label, as the network has it."""
    labels = path_labels(design)
    return {path: {"label": labels[path], "color": PATHS[path]} for path in PATHS}


def write_script(path: Path, call: str, *arguments: Any) -> None:
    """Write a script that hands data, dataclasses among them, to the page, as a whole or not at all."""
    encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=vars).encode
    files.write(path, f"explorer.{call}({', '.join(map(encode, arguments))});\n".encode())


def read_script(path: Path) -> Any:
    """The last argument of a script that `write_script` wrote; None where there is no such file.

    Raises RunError for a file that is something else.
    """
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    try:
        return json.loads(f"[{text[text.index('(') + 1 : text.rindex(')')]}]")[-1]
    except ValueError as error:
        raise RunError(f"{path} cannot be read: delete it, and the stages are measured again") from error


# --- sprites: many small pictures in one file, so that a page with thousands of them loads few files, when needed


def write_sheet(path: Path, pictures: torch.Tensor, columns: int, quality: int = QUALITY) -> None:
    """Write pictures, uint8 (N, 3, S, S), in rows of `columns` as one WebP file, as a whole or not at all."""
    blank = pictures.new_zeros(-len(pictures) % columns, *pictures.shape[1:])
    sheet = make_grid(torch.cat([pictures, blank]), nrow=columns, padding=0)
    content = io.BytesIO()
    Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(content, "webp", quality=quality)
    files.write(path, content.getvalue())


def read_sheet(path: Path, side: int, count: int) -> torch.Tensor:
    """The first `count` pictures of a sheet again, uint8 (count, 3, side, side), as far as WebP kept them."""
    with Image.open(path) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB")))
    height, width, _ = pixels.shape
    cells = pixels.view(height // side, side, width // side, side, 3).permute(0, 2, 4, 1, 3)
    return cells.flatten(0, 1)[:count].contiguous()


def shortened(value: float) -> float:
    """A number with five digits, for files that hold thousands of them."""
    return float(f"{value:.5g}")
