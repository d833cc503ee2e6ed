"""What conftest.py beside the Makefile adds to nbval: pictures are compared, and cells that lack weights are not."""

import base64
import importlib.util
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from PIL import Image, ImageDraw

import notebooks

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


def nbval(place, cells, **environment):
    """What pytest --nbval says about a notebook of these cells, with our conftest.py beside it."""
    nbformat.write(nbformat.v4.new_notebook(cells=cells), place / "cells.ipynb")
    (place / "conftest.py").write_text((ROOT / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-v", "--color=no", "cells.ipynb"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "scripts")])
    environment = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(command, cwd=place, capture_output=True, text=True, env=environment).stdout


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Of a notebook with one cell for each way in which its picture could be stored."""
    cells = [
        nbformat.v4.new_code_cell(DRAW, outputs=outputs, execution_count=number)
        for number, (outputs, _) in enumerate(STORED.values(), 1)
    ]
    return nbval(tmp_path_factory.mktemp("pictures"), cells)


@pytest.mark.parametrize("name", STORED)
def test_a_stored_picture_that_looks_different_fails(results, name):
    number, expected = [*STORED].index(name), STORED[name][1]
    assert f"Cell {number} {'PASSED' if expected else 'FAILED'}" in results


@pytest.mark.parametrize("at_hand", [False, True])
def test_cells_of_the_published_network_are_compared_where_its_weights_are(tmp_path, at_hand):
    outputs = [nbformat.v4.new_output("stream", name="stdout", text="2\n")]
    cells = [
        nbformat.v4.new_code_cell(source, outputs=outputs, execution_count=number, metadata={"tags": tags})
        for number, (source, tags) in enumerate([("print(1)", ["published"]), ("print(2)", [])], 1)
    ]
    (tmp_path / "bvlc-googlenet.safetensors").touch()
    said = nbval(tmp_path, cells, INCEPTION_LAB_WEIGHTS=str(tmp_path) if at_hand else "off")
    assert f"Cell 0 {'FAILED' if at_hand else 'PASSED'}" in said and "Cell 1 PASSED" in said
    assert ("1 cells ran and were not compared" in said) != at_hand


HUNGRY = "wanted = bytearray({size:.0f})\nfor place in range(0, len(wanted), 4096):\n    wanted[place] = 1"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell the peak of another process")
def test_a_kernel_that_takes_more_memory_than_is_promised_fails_its_cell(tmp_path):
    """The limit is made a small one here, so that no machine runs out of memory."""
    (tmp_path / "notebooks.py").write_text((ROOT / "scripts" / "notebooks.py").read_text("utf-8") + "\nMEMORY = 0.3\n")
    cells = [
        nbformat.v4.new_code_cell(source, execution_count=number)
        for number, source in enumerate(["x = 1", HUNGRY.format(size=3e8)], 1)
    ]
    said = nbval(tmp_path, cells, PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))
    assert "Cell 0 PASSED" in said and "Cell 1 FAILED" in said, said
    assert re.search(r"the kernel has taken 0\.\d\d GB of memory, and 0\.3 are allowed", said), said
    assert re.search(r"most memory of a notebook: 0\.[3-9]\d GB in cells, of 0\.3 GB allowed", said), said


@pytest.fixture(scope="module")
def of_the_root():
    """conftest.py beside the Makefile, as a module."""
    specification = importlib.util.spec_from_file_location("of_the_root", ROOT / "conftest.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", notebooks.course(), ids=lambda path: path.stem)
def test_each_stored_picture_bears_compression_and_no_red_square(of_the_root, path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    for picture in of_the_root.pictures([output for cell in cells for output in cell.outputs]):
        buffer = io.BytesIO()
        picture.save(buffer, "jpeg", quality=60)
        assert of_the_root.compare_pictures([Image.open(buffer).convert("RGB")], [picture]) == []
        spoiled, (width, height) = picture.copy(), picture.size
        corner = width // 2, height // 2
        square = (*corner, *(side + width // 12 for side in corner))
        ImageDraw.Draw(spoiled).rectangle(square, fill="red")
        assert len(of_the_root.compare_pictures([spoiled], [picture])) == 1


def test_the_longest_files_are_there(of_the_root):
    files = {path.stem for pattern in ("tests/*/test_*.py", "notebooks/**/*.ipynb") for path in ROOT.glob(pattern)}
    assert set(of_the_root.LONGEST) <= files
