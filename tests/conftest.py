import os
import random
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
from materials import CHROMIUM, NEED_BROWSER, NEED_REAL_IMAGES, REAL_IMAGES, SEED, WEIGHTS
from quick import QUICK

# Figures are drawn in memory, whatever display the machine has. MPLBACKEND would do that too, but the kernels
# that tests start would inherit it, and show no figures.
matplotlib.use("Agg")

# The processes of pytest-xdist inherit it.
os.environ.setdefault(SEED, str(random.randrange(10**6)))


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in QUICK.get(item.path.parent.name, ()) and not item.get_closest_marker("slow"):
            item.add_marker("quick")


@pytest.fixture(autouse=True)
def matplotlib_settings():
    """What a test sets in Matplotlib, such as the course's style, ends with it."""
    with matplotlib.rc_context():
        yield


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


@pytest.fixture(scope="session")
def published_weights():
    """The folder with the published GoogLeNet's weights."""
    set_folder = os.environ.get(WEIGHTS)
    folder = Path(set_folder or Path(__file__).parents[2] / "shared" / "weights")
    if not (folder / "bvlc-googlenet.safetensors").is_file():
        if os.environ.get(NEED_REAL_IMAGES) and set_folder != "off":
            pytest.fail(f"{NEED_REAL_IMAGES} is set, and {folder} has no weights: {WEIGHTS} may name another folder")
        pytest.skip(f"no weights: {WEIGHTS} names no folder with them")
    return folder


@pytest.fixture(scope="module")
def one_thread():
    """For all tests of a module that asks for it: small networks take longer with more threads."""
    import torch  # here, because not every test needs it

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
