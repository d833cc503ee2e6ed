import os
import shutil
import subprocess
import sys
from pathlib import Path

# Tests run side by side (pytest -n 2) compute with one thread each, and so do the processes that they start. PyTorch
# reads these when it is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import matplotlib
import pytest

# Figures are drawn in memory, whatever display the machine has. MPLBACKEND would do that too, but the kernels
# that tests start would inherit it, and show no figures.
matplotlib.use("Agg")

# Real images for tests: packed sets with a script that unpacks them, beside the repository or where this variable
# says. They are not part of the project. Tests that want them are skipped without them, unless NEED is set.
REAL_IMAGES, NEED_REAL_IMAGES = "INCEPTION_LAB_REAL_IMAGES", "INCEPTION_LAB_NEED_REAL_IMAGES"

# Pages are tested in an installed Chromium. Without one these tests are skipped, unless this variable is set.
NEED_BROWSER = "INCEPTION_LAB_NEED_BROWSER"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


# `make quick` runs what is not slow in these files: some of every package, together about a minute on one core.
QUICK = {
    "tests": ["test_cli"],
    "costs": ["test_counting", "test_published"],
    "course": ["test_claims", "test_notebook_prose", "test_project", "test_slides"],
    "data": ["test_crops", "test_datasets", "test_folders", "test_pictures"],
    "evaluation": ["test_records"],
    "explorer": ["test_explorer_page"],
    "lens": ["test_connections", "test_lens"],
    "models": ["test_blocks"],
    "plots": ["test_palette", "test_plots", "test_widgets"],
    "training": ["test_gradient_norms", "test_progress", "test_recipes"],
}
# Files that take minutes. They start first, so that at the end no process is left alone with one of them.
LONGEST = ["test_fast_twin", "test_shipped_models", "test_exercises", "test_studies", "test_counting", "test_runs"]


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in QUICK.get(item.path.parent.name, ()) and not item.get_closest_marker("slow"):
            item.add_marker("quick")
    first = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path.stem, len(first)))


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        if os.environ.get(NEED_BROWSER):
            pytest.fail(f"{NEED_BROWSER} is set, and none of {', '.join(CHROMIUM)} is installed")
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def real_images(tmp_path_factory):
    """A function that unpacks some real images: (name, split, images per class) → a class-per-folder tree."""
    packed = Path(os.environ.get(REAL_IMAGES, Path(__file__).parents[2] / "shared" / "data"))
    script = packed / "unpack.py"
    if not script.is_file():
        if os.environ.get(NEED_REAL_IMAGES):
            pytest.fail(f"{NEED_REAL_IMAGES} is set, and there is no {script}: set {REAL_IMAGES} to the packed sets")
        pytest.skip(f"no real images: {REAL_IMAGES} names no folder with them")

    def unpack(name, split, per_class):
        place = tmp_path_factory.mktemp(name)
        options = ["--only", split, "--per-class", str(per_class)]
        subprocess.run([sys.executable, script, name, place, *options], check=True, capture_output=True)
        return place

    return unpack


@pytest.fixture(scope="module")
def one_thread():
    """For all tests of a module that asks for it: small networks take longer with more threads."""
    import torch  # here, because not every test needs it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
