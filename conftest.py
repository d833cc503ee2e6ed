"""What pytest does with tests and notebooks alike, also with plain `pytest --nbval notebooks`.

The longest files go first. Stored pictures are compared, which nbval leaves out. And cells tagged PUBLISHED, in which
the published GoogLeNet speaks, run but are not compared where its weights are not at hand. No kernel may take more
memory than the README promises.
"""

import base64
import io
import sys

import numpy as np
import pytest
from PIL import Image

from notebooks import MEMORY, on_white, peak_memory

# Files that take half a minute or more, here or in `.ci/run`. They start first, so that at the end no process is left
# alone with one of them.
LONGEST = [
    *("10_feature_visualization", "07_full_run", "09_seeing_inside", "test_site", "test_docs", "test_exercises"),
    *("test_published_weights", "06_training", "inside_the_training_library", "test_runs", "test_live", "test_studies"),
    *("gradients_by_depth", "crops_statistics", "test_shipped_models", "test_visualization"),
    *("05_auxiliary_classifiers", "08_crops_and_ensembles", "test_operators", "test_counting", "limits_tested"),
    *("test_lab", "test_trainer"),
    *("test_fast_twin", "test_watching", "test_explorer_page", "11_after_googlenet", "does_the_mix_win", "test_slides"),
    *("test_wheel", "01_why_go_deeper", "test_attribution", "test_inference", "test_real_images"),
]

PUBLISHED, PEAK = "published", "peak memory"

# Fonts and compression differ a little between machines, so pictures are compared as a reader sees them from some
# distance: in GRID × GRID cells, each the mean of its pixels, from 0 to 1 for each color. With these limits each stored
# picture may be stored as a JPEG of low quality, and none may have a red square of a twelfth of its width drawn into it
# (tests/course/test_notebook_comparison.py).
GRID = 64
LARGEST = 0.35  # difference of one cell
MEAN = 0.03  # of all cells
SIZE = 0.03  # of width or height, relative


def pytest_configure(config):
    """Let nbval's comparison of a cell's outputs take in the pictures, and the kernels of a process start at once."""
    if not config.pluginmanager.hasplugin("nbval"):
        return
    from nbval.plugin import IPyNbCell

    if hasattr(config, "workerinput") and sys.platform == "linux":  # a process of pytest-xdist, for many notebooks
        from jupyter_client.provisioning import local_provisioner
        from kernels import Server

        server = Server()
        local_provisioner.launch_kernel = server.launch
        config.add_cleanup(server.close)

    compare_texts = IPyNbCell.compare_outputs

    def compare_outputs(cell, made, stored, skip_compare=None):
        if not compare_texts(cell, made, stored, skip_compare):
            return False
        cell.comparison_traceback = compare_pictures(pictures(made), pictures(stored))
        return not cell.comparison_traceback

    IPyNbCell.compare_outputs = compare_outputs


def pytest_collection_modifyitems(items):
    """Put the longest files first; `--dist loadfile --no-loadscope-reorder` hands files out in this order."""
    first = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path.stem, len(first)))
    tagged = [item for item in items if hasattr(item, "cell") and PUBLISHED in item.cell.metadata.get("tags", [])]
    if tagged and not weights_at_hand():
        for item in tagged:
            item.options["check"] = False
            item.user_properties.append((PUBLISHED, "not compared"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """After each cell, note the most memory that its kernel has had; more than MEMORY is a failure."""
    result = yield
    kernel = getattr(item.parent, "kernel", None) if hasattr(item, "cell") else None
    if kernel is not None:
        memory = peak_memory(kernel.km.provisioner.pid)
        item.user_properties.append((PEAK, (memory, item.path.stem)))
        assert memory <= MEMORY, f"the kernel has taken {memory:.2f} GB of memory, and {MEMORY:g} are allowed"
    return result


def pytest_terminal_summary(terminalreporter):
    """Say which notebook took most memory, and how many cells were not compared for want of weights."""
    reports = [report for key in ("passed", "failed") for report in terminalreporter.stats.get(key, [])]
    peaks = [tuple(value) for report in reports for name, value in report.user_properties if name == PEAK]
    if peaks:
        memory, name = max(peaks)
        terminalreporter.write_line(f"most memory of a notebook: {memory:.2f} GB in {name}, of {MEMORY:g} GB allowed")
    cells = sum((PUBLISHED, "not compared") in report.user_properties for report in reports)
    if cells:
        terminalreporter.write_line(
            f"{cells} cells ran and were not compared: the published GoogLeNet is not on this machine "
            "(to fetch it: inception-lab pretrained googlenet)"
        )


def weights_at_hand():
    """Whether notebooks find the published weights. A broken folder of weights is for the notebooks to report."""
    from inception_lab import hub  # here, because few runs of pytest need it

    try:
        return hub.where() is not None
    except ValueError:
        return True


def pictures(outputs):
    """The pictures among a cell's outputs, in their order, as RGB images."""
    data = [output["data"] for output in outputs if "data" in output]
    encoded = [d[kind] for d in data for kind in ("image/png", "image/jpeg") if kind in d]
    return [on_white(Image.open(io.BytesIO(base64.b64decode(text)))) for text in encoded]


def compare_pictures(made, stored):
    """What differs, one line per picture: an empty list where the pictures look the same."""
    if len(made) != len(stored):
        return [f"{len(made)} pictures were drawn, {len(stored)} are stored"]
    differences = []
    for number, (new, old) in enumerate(zip(made, stored, strict=True), 1):
        if any(abs(a - b) > SIZE * b for a, b in zip(new.size, old.size, strict=True)):
            differences.append(f"picture {number} is {new.size} pixels large, the stored one {old.size}")
            continue
        cells = [np.asarray(image.resize((GRID, GRID), Image.Resampling.BOX)) / 255 for image in (new, old)]
        apart = np.abs(cells[0] - cells[1])
        if apart.max() > LARGEST or apart.mean() > MEAN:
            differences.append(
                f"picture {number} looks different from the stored one: by {apart.max():.2f} where most, of {LARGEST} "
                f"allowed, and {apart.mean():.3f} on average, of {MEAN}"
            )
    return differences
