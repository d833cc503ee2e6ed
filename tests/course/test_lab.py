"""Widgets in a real browser: JupyterLab runs a cell of notebook 03, a slider moves, and the page shows the new MACs."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from inception_lab import count
from inception_lab.models.blocks import Inception, Widths

ROOT = Path(__file__).resolve().parents[2]
ANSWER = {"tags": ["answer"], "jupyter": {"source_hidden": True, "outputs_hidden": True}}  # as in the notebooks
WIDTHS = Widths(64, 96, 128, 16, 32, 32)  # of 3a, which the sliders show at first


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab that serves two notebooks.

    sliders.ipynb is the cell of notebook 03 that has the sliders; answers.ipynb the answers of notebook 02.
    """
    notebook = nbformat.read(ROOT / "notebooks" / "03_bottleneck_costs.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if "module_cost(" in cell.source and cell.cell_type == "code"]
    cell.outputs, cell.execution_count = [], None
    cell.source = cell.source.replace("module_cost(", "panel = module_cost(") + "\npanel"
    asks = "print(panel.values['three_reduce'], '→ 96')\npanel.values = panel.values | {'three_reduce': 96}"
    notebook.cells = [cell, nbformat.v4.new_code_cell(asks)]
    notebook.metadata.pop("widgets", None)
    nbformat.write(notebook, tmp_path / "sliders.ipynb")
    notebook.cells = [
        nbformat.v4.new_code_cell("%load_ext inception_lab.exercises\nprint('ready')"),
        nbformat.v4.new_markdown_cell("What is six times seven?"),
        nbformat.v4.new_code_cell("%%answer\nprint('forty-' + 'two')", metadata=ANSWER),
    ]
    nbformat.write(notebook, tmp_path / "answers.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    environment = os.environ | own | {"JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": str(ROOT)}
    options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    options += ["--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path}", "--LabApp.news_url="]
    log, command = tmp_path / "log.txt", [sys.executable, "-m", "jupyterlab", *options]
    with log.open("w") as file:
        server = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=file, stderr=file)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).close()
                break
            except OSError:  # not there yet
                assert server.poll() is None, log.read_text()
                time.sleep(0.5)
        yield f"{address}/lab/tree"
    finally:
        server.terminate()
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:  # its kernel ends by itself when the server is gone
            server.kill()
            server.wait()


@pytest.mark.slow
def test_a_slider_of_notebook_03_changes_the_macs_on_the_page(browser, lab):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(300_000)  # a busy machine may take minutes to open JupyterLab
    expect.set_options(timeout=60_000)
    page.goto(f"{lab}/sliders.ipynb")
    says = page.locator(".living output")
    for _ in range(12):  # a kernel that has not started yet runs nothing
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Control+Enter")
        with suppress(PlaywrightTimeout):
            says.wait_for(timeout=20_000)
            break
    says.wait_for()

    def macs(**changes):
        return f"Reduced: {count(Inception(192, WIDTHS._replace(**changes)), (192, 28, 28)).macs:,} MACs"

    expect(says).to_contain_text(macs())
    slider = page.get_by_label("#3×3 reduce", exact=True)
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(says).to_contain_text(macs(three_reduce=104))
    if find_spec("anywidget"):  # then Python knows it too, and can move the slider
        page.locator(".jp-CodeCell .cm-content").nth(1).click()
        page.keyboard.press("Control+Enter")
        page.locator("pre", has_text="104 → 96").wait_for()
        expect(says).to_contain_text(macs())
        expect(slider).to_have_value("96")
    page.close()


@pytest.mark.slow
def test_answers_stay_folded_when_all_cells_are_run(browser, lab):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(300_000)
    page.goto(f"{lab}/answers.ipynb")
    page.locator("p", has_text="six times seven").wait_for()
    summary = page.locator("details summary")
    for _ in range(12):  # a kernel that has not started yet runs nothing
        page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
        page.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()
        with suppress(PlaywrightTimeout):
            summary.wait_for(timeout=20_000)
            break
    summary.wait_for()
    answer = page.locator("details pre")
    assert not answer.is_visible()
    summary.click()
    answer.wait_for(state="visible")
    page.close()


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").rglob("[!.]*.ipynb")), ids=lambda path: path.stem)
def test_every_answer_in_the_notebooks_is_such_a_cell(path):
    cells = nbformat.read(path, as_version=4).cells
    answers = [cell for cell in cells if "answer" in cell.metadata.get("tags", [])]
    assert all(cell.source.startswith("%%answer\n") for cell in answers)
    loads = [cell.source for cell in cells if "%load_ext inception_lab.exercises" in cell.source]
    assert len(loads) == bool(answers)
    shown = [output for cell in answers for output in cell.outputs]
    assert all(output.get("data", {}).get("text/html", "").startswith("<details>") for output in shown)
