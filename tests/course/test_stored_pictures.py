"""The pictures that notebooks store are compared with those that they draw (conftest.py beside the Makefile)."""

import base64
import io
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[2]

DRAW = """
from IPython.display import Image, display
from PIL import Image as Pillow
import io
picture = Pillow.linear_gradient("L").convert("RGB")
buffer = io.BytesIO()
picture.save(buffer, "png")
display(Image(buffer.getvalue()))
"""


def gradient():
    return Image.linear_gradient("L").convert("RGB")


def with_red_square(side=20):
    image = gradient()
    ImageDraw.Draw(image).rectangle((100, 100, 100 + side, 100 + side), fill="red")
    return image


def encoded(image, kind="png", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return base64.b64encode(buffer.getvalue()).decode()


def output(image, kind="png", **options):
    data = {f"image/{kind}": encoded(image, kind, **options), "text/plain": "<IPython.core.display.Image object>"}
    return nbformat.v4.new_output("display_data", data)


STORED = {
    "the same": ([output(gradient())], True),
    "as a JPEG": ([output(gradient(), "jpeg", quality=60)], True),
    "with a red square": ([output(with_red_square())], False),
    "smaller": ([output(gradient().resize((128, 128)))], False),
    "beside another": (
        [output(gradient()), nbformat.v4.new_output("display_data", {"image/png": encoded(gradient())})],
        False,
    ),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What pytest --nbval says about a notebook with one cell for each way in which its picture could be stored."""
    place = tmp_path_factory.mktemp("pictures")
    cells = [
        nbformat.v4.new_code_cell(DRAW, outputs=outputs, execution_count=number)
        for number, (outputs, _) in enumerate(STORED.values(), 1)
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), place / "pictures.ipynb")
    (place / "conftest.py").write_text((ROOT / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-v", "--color=no", "pictures.ipynb"]
    return subprocess.run(command, cwd=place, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", STORED)
def test_a_stored_picture_that_looks_different_fails(results, name):
    number, expected = [*STORED].index(name), STORED[name][1]
    assert f"Cell {number} {'PASSED' if expected else 'FAILED'}" in results
