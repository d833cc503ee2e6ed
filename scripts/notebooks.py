"""Execute the notebooks of the course, each from top to bottom in a fresh kernel, and print a table.

Some run side by side, and those that measure time last and alone. Each kernel computes with one thread, as under
`make test`, so that both add in the same order and get the same numbers.

python scripts/notebooks.py run                                       all of them
python scripts/notebooks.py run --save notebooks/00_welcome.ipynb     one, and store its outputs in the file
"""

import argparse
import base64
import io
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image, ImageChops

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
ROW = "{:<40} {:>5} {:>8} {:>7}  {}"
MEMORY = 4.0  # GB that the kernel of a notebook may take at most, the README says so
JPEG_BYTES = 60_000  # of a photograph in an output, at most; it gets the best quality that keeps to it
JPEG_QUALITIES = (85, 75, 65, 55, 45)
COLOR_STEPS = 8  # of 255, by which 256 colors may change a color of a drawing: nobody sees it
NO_WEIGHTS = "not run: the published GoogLeNet's outputs are stored (to fetch it: inception-lab pretrained googlenet)"


def course(folder=NOTEBOOKS):
    """The notebooks of the course, in order: those of the folder, then those of the folders in it, as deeper/."""
    return sorted([*folder.glob("*.ipynb"), *folder.glob("[!.]*/*.ipynb")])


def answers_to_predictions(cells):
    """Yield the code cells that follow a *Predict* directly: their outputs are the answer."""
    follows = False
    for cell in cells:
        if cell.cell_type == "code" and follows:
            yield cell
        elif cell.cell_type != "code":
            follows = bool(re.search(r"^\*Predict", cell.source, re.MULTILINE))


def fold_resolutions(cells):
    """Fold the sentences that resolve a *Predict*, which follow its answer, so that nobody reads them too early."""
    for cell in cells:
        resolved, blank, rest = cell.source.partition("\n\n")
        if resolved.startswith("*Resolved:*"):
            fold = f"<details><summary>I have predicted: resolve it</summary>\n\n{resolved}\n\n</details>"
            cell.source = fold + blank + rest


def peak_memory(pid):
    """The most memory that a process has had at once, in GB; 0 where the system does not tell (it is told on Linux)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 / 1e9 if found else 0.0


def execute(path, timeout):
    """Return the executed notebook, its cells that ran, GB of memory, and what went wrong (None if nothing did)."""
    notebook, started, memory = None, [], 0.0

    def note_memory(cell, cell_index, execute_reply):
        nonlocal memory
        memory = max(memory, peak_memory(client.km.provisioner.pid))

    try:
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata.pop("widgets", None)  # nbclient would add to what an earlier run left
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=timeout,
            record_timing=False,
            extra_arguments=["--log-level=CRITICAL"],  # else each kernel warns about its sockets
            resources={"metadata": {"path": str(path.parent)}},  # relative paths start at the notebook
            on_cell_execute=lambda cell, cell_index: started.append(cell_index),
            on_cell_executed=note_memory,
        )
        # What a cell writes to stderr is in the notebook. What a kernel says after the last one, while it is shut down,
        # is nobody's concern: ZeroMQ's "Assertion failed", if its sockets close in an unlucky order.
        client.execute(stderr=subprocess.DEVNULL)
    except Exception as error:  # a cell that fails or never ends, a dead kernel, a broken file
        name, text = type(error).__name__, str(error)
        if isinstance(error, CellExecutionError):
            name, text = error.ename, error.evalue
        where = f"in [{len(started)}]" if started else "before the first cell"
        return notebook, len(started), memory, f"failed {where}: {name}: {text}".strip().splitlines()[0]
    return notebook, len(started), memory, None


def join_streams(outputs):
    """Join neighboring pieces of one stream, because where a kernel cuts its output is chance."""
    joined = []
    for output in outputs:
        if joined and output["output_type"] == "stream" and output["name"] == joined[-1].get("name"):
            joined[-1]["text"] += output["text"]
        else:
            joined.append(output)
    return joined


def on_white(image):
    """An image in RGB, with what is transparent on white, as a notebook shows it."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def smaller(data):
    """The data of an output with its picture in fewer bytes: a photograph as JPEG, a drawing of lines in 256 colors."""
    if "image/png" not in data:
        return data
    png = base64.b64decode(data["image/png"])
    picture = on_white(Image.open(io.BytesIO(png)))
    for quality in JPEG_QUALITIES:
        jpeg = encoded(picture, "jpeg", quality=quality)
        if len(jpeg) <= JPEG_BYTES:
            break
    if len(jpeg) <= len(png) / 2:
        rest = {kind: value for kind, value in data.items() if kind != "image/png"}
        return rest | {"image/jpeg": base64.b64encode(jpeg).decode()}
    palette = picture.quantize(256, Image.Quantize.MAXCOVERAGE)
    moved = max(high for _, high in ImageChops.difference(picture, palette.convert("RGB")).getextrema())
    if picture.getcolors(256) is not None or moved > COLOR_STEPS:  # it has few colors, or needs more
        return data
    return data | {"image/png": base64.b64encode(encoded(palette, "png")).decode()}


def encoded(picture, kind, **how):
    """The bytes of a file with a picture."""
    file = io.BytesIO()
    picture.save(file, kind, optimize=True, **how)
    return file.getvalue()


def save(notebook, path):
    """Write `notebook`, without anything that differs from one run of the same cells to the next."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # timings
        if cell.cell_type == "code":
            cell.outputs = join_streams(cell.outputs)
            for output in cell.outputs:
                if "data" in output:
                    output.data = nbformat.from_dict(smaller(output.data))
    for cell in answers_to_predictions(notebook.cells):
        # Folded in JupyterLab and in Colab until the cell is run, or a reader opens it.
        cell.metadata["jupyter"] = cell.metadata.get("jupyter", {}) | {"outputs_hidden": True}
        cell.metadata["collapsed"] = True
    kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook.metadata["kernelspec"] = kernelspec
    notebook.metadata.get("language_info", {}).pop("version", None)
    text = nbformat.writes(notebook)
    # The state of widgets stays, for viewers without a kernel. Their names are random: number them.
    widgets = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    for number, name in enumerate(widgets.get("state", {})):
        text = text.replace(name, f"{number:032x}")
    temporary = path.with_name(path.name + ".tmp")
    nbformat.write(nbformat.reads(text, as_version=4), temporary)
    os.replace(temporary, path)  # killed before it, the old notebook is still there


def measures_time(path):
    """Whether a notebook measures time: nothing may run beside it."""
    try:
        return "perf_counter" in path.read_text(encoding="utf-8")
    except (OSError, ValueError):  # `execute` will say what is wrong with the file
        return False


def needs_weights(path):
    """Whether a notebook has cells in which the published GoogLeNet speaks, and its weights are not at hand."""
    try:
        cells = nbformat.read(path, as_version=4).cells
    except Exception:  # `execute` will say what is wrong with the file
        return False
    if not any("published" in cell.metadata.get("tags", []) for cell in cells):
        return False
    from inception_lab import hub  # here: it takes seconds, and most runs do not need it

    return hub.where() is None


def run(path, timeout, keep):
    """Execute a notebook, and store its outputs if `keep` and it succeeds. Returns its row, and whether it did."""
    start = time.perf_counter()
    if keep and needs_weights(path):
        return ROW.format(path.name, 0, "0.0", "", NO_WEIGHTS), False
    notebook, cells, memory, failure = execute(path.resolve(), timeout)
    if keep and not failure:
        save(notebook, path)
    if not failure and memory > MEMORY:
        failure = f"failed: more than {MEMORY:g} GB of memory"
    seconds = time.perf_counter() - start
    return ROW.format(path.name, cells, f"{seconds:.1f}", f"{memory:.2f}", failure or "ok"), failure is None


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run"])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: every notebook of the course")
    parser.add_argument("--save", action="store_true", help="store the outputs of notebooks that succeed")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for one cell (default: 600)")
    parser.add_argument("--workers", type=int, default=2, help="notebooks that run side by side (default: 2)")
    options = parser.parse_intermixed_args(arguments)  # notebooks may follow --save
    if options.workers < 1:
        parser.error(f"--workers must be at least 1, got {options.workers}")

    # The kernel is the Python that runs this script, and finds the commands installed beside it.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

    paths = options.notebooks or course()
    timed = [path for path in paths if measures_time(path)]
    untimed = [path for path in paths if path not in timed]
    failures = 0
    print(ROW.format("notebook", "cells", "seconds", "GB", "result"), flush=True)
    for group, workers in ((untimed, options.workers), (timed, 1)):
        with ProcessPoolExecutor(workers) as pool:
            for row, succeeded in pool.map(partial(run, timeout=options.timeout, keep=options.save), group):
                failures += not succeeded
                print(row, flush=True)
    print(f"notebooks: {len(paths)}, failed: {failures}")
    return 1 if failures or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
