"""The runner behind `make course` and `make save`, on notebooks of a few cells."""

import base64
import io
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

import notebooks

RUNNER = Path(__file__).parents[2] / "scripts" / "notebooks.py"


def write(path, *sources):
    cells = [new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


def run(*arguments):
    command = [sys.executable, str(RUNNER), "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A failing and a passing notebook run with --save: their folder, the failing file before, the result."""
    folder = tmp_path_factory.mktemp("notebooks")
    write(
        folder / "a_fails.ipynb",
        "1 + 1",
        "raise ValueError('no such path\\nmore about it')",
        "print('never')",
    )
    write(
        folder / "b_passes.ipynb",
        "import sys, os\nprint(sys.executable)\nprint(os.getcwd())",
        "for n in range(3):\n    print(n, flush=True)\nprint('a warning', file=sys.stderr)",
        "from ipywidgets import IntSlider\nIntSlider(3)",
    )
    before = (folder / "a_fails.ipynb").read_bytes()
    return folder, before, run("--save", folder / "a_fails.ipynb", folder / "b_passes.ipynb")


def test_runner_keeps_going_and_reports_each_notebook(saved):
    _, _, result = saved
    header, failing, passing, last = result.stdout.splitlines()
    assert header.split() == ["notebook", "cells", "seconds", "GB", "result"]
    assert failing.split()[:2] == ["a_fails.ipynb", "2"]
    assert failing.endswith("failed in [2]: ValueError: no such path")
    assert passing.split()[:2] == ["b_passes.ipynb", "3"]
    assert passing.endswith("ok")
    assert last == "notebooks: 2, failed: 1"
    assert result.returncode == 1
    assert result.stderr == ""


def test_what_a_kernel_says_while_it_is_shut_down_is_not_told(tmp_path):
    path = write(tmp_path / "late.ipynb", "import atexit, os; atexit.register(os.write, 2, b'Assertion failed')")
    result = run(path)
    assert result.returncode == 0
    assert result.stderr == ""


def test_photographs_are_stored_as_jpeg_and_drawings_of_lines_as_png(tmp_path):
    photograph = "plt.imshow(np.random.default_rng(0).normal(128, 60, (200, 200, 3)).astype(np.uint8)); plt.show()"
    path = write(
        tmp_path / "figures.ipynb",
        "import matplotlib.pyplot as plt\nimport numpy as np",
        photograph,
        "plt.plot([1, 3, 2]); plt.show()",
    )
    assert run("--save", path).returncode == 0
    _, noisy, plain = nbformat.read(path, as_version=4).cells
    assert set(noisy.outputs[-1].data) == {"image/jpeg", "text/plain"}
    assert len(base64.b64decode(noisy.outputs[-1].data["image/jpeg"])) <= 60_000
    assert set(plain.outputs[-1].data) == {"image/png", "text/plain"}
    drawing = Image.open(io.BytesIO(base64.b64decode(plain.outputs[-1].data["image/png"])))
    assert drawing.mode == "P"  # a palette: a third of the bytes


def test_a_drawing_in_256_colors_looks_as_it_did():
    fig, ax = plt.subplots()
    for name in ("tab:blue", "tab:orange", "tab:green", "tab:red"):
        ax.plot(np.random.default_rng(0).normal(size=50).cumsum(), color=name, alpha=0.6)
    ax.set_title("Four walks")
    before = io.BytesIO()
    fig.savefig(before, format="png")
    plt.close(fig)
    after = base64.b64decode(notebooks.smaller({"image/png": base64.b64encode(before.getvalue())})["image/png"])
    assert len(after) < len(before.getvalue()) / 2
    one, other = (np.asarray(Image.open(file).convert("RGB"), int) for file in (before, io.BytesIO(after)))
    assert np.abs(one - other).max() <= notebooks.COLOR_STEPS


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell the peak of another process")
def test_runner_prints_the_peak_of_memory_and_fails_above_the_limit(saved, tmp_path, monkeypatch):
    assert 0.03 < float(saved[2].stdout.splitlines()[2].split()[3]) < 1
    path = write(tmp_path / "hungry.ipynb", "wanted = b'1' * 300_000_000\ndel wanted", "print('done')")
    monkeypatch.setattr(notebooks, "MEMORY", 0.3)
    row, succeeded = notebooks.run(path, timeout=60, keep=True)
    assert not succeeded and row.endswith("failed: more than 0.3 GB of memory")
    assert nbformat.read(path, as_version=4).cells[1].outputs[0].text == "done\n"  # what it printed is stored


def test_save_leaves_a_failing_notebook_as_it_was(saved):
    folder, before, _ = saved
    assert (folder / "a_fails.ipynb").read_bytes() == before


def test_save_stores_outputs_of_this_python_in_the_folder_of_the_notebook(saved):
    folder, _, _ = saved
    first = nbformat.read(folder / "b_passes.ipynb", as_version=4).cells[0]
    executable, directory = first.outputs[0].text.splitlines()
    assert Path(executable).parent == Path(sys.executable).parent
    assert Path(directory) == folder.resolve()


def test_save_keeps_only_what_a_second_run_would_repeat(saved):
    folder, _, _ = saved
    notebook = nbformat.read(folder / "b_passes.ipynb", as_version=4)
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3]
    assert [cell.id for cell in notebook.cells] == ["cell-0", "cell-1", "cell-2"]
    assert sorted((o.name, o.text) for o in notebook.cells[1].outputs) == [
        ("stderr", "a warning\n"),
        ("stdout", "0\n1\n2\n"),
    ]
    assert notebook.metadata.kernelspec.name == "python3"
    assert "version" not in notebook.metadata.language_info
    assert all("execution" not in cell.metadata for cell in notebook.cells)

    once = (folder / "b_passes.ipynb").read_bytes()
    assert run("--save", folder / "b_passes.ipynb").returncode == 0
    assert (folder / "b_passes.ipynb").read_bytes() == once


def test_save_keeps_the_state_of_widgets(saved):
    folder, _, _ = saved
    notebook = nbformat.read(folder / "b_passes.ipynb", as_version=4)
    state = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    shown = notebook.cells[2].outputs[0].data["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert state[shown]["state"]["value"] == 3


def test_run_without_save_writes_nothing(tmp_path):
    path = write(tmp_path / "one.ipynb", "print('hello')")
    before = path.read_bytes()
    assert run(path).returncode == 0
    assert path.read_bytes() == before


def test_a_broken_file_and_a_slow_cell_are_failures(tmp_path):
    broken = tmp_path / "broken.ipynb"
    broken.write_text("not a notebook")
    slow = write(tmp_path / "slow.ipynb", "import time", "time.sleep(60)")
    result = run("--timeout", "1", broken, slow)
    _, first, second, _ = result.stdout.splitlines()
    assert "failed before the first cell: NotJSONError" in first
    assert "failed in [2]: CellTimeoutError" in second
    assert result.returncode == 1


def test_the_course_has_folders_of_notebooks_and_no_hidden_ones(tmp_path):
    names = ["00_first.ipynb", "deeper/what.ipynb", ".ipynb_checkpoints/00_first.ipynb"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert notebooks.course(tmp_path) == [tmp_path / name for name in names[:2]]


def test_without_the_published_weights_their_outputs_are_not_overwritten(tmp_path, monkeypatch):
    """The network that stands in would otherwise be stored under a text about another one."""
    path = write(tmp_path / "speaks.ipynb", "1 + 1")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].metadata["tags"] = ["published"]
    nbformat.write(notebook, path)
    before = path.read_bytes()
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", "off")
    result = run("--save", path)
    assert (result.returncode, path.read_bytes()) == (1, before)
    assert "inception-lab pretrained googlenet" in result.stdout
    assert run(path).returncode == 0  # nothing is stored without --save
