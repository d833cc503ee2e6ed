"""JupyterLab in a real browser: what `inception-lab lab` shows first, sliders that move, answers that stay folded."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import lab as script
import nbformat
import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from inception_lab import cli, count, hub
from inception_lab.common.checks import DataError
from inception_lab.models.blocks import Inception, Widths

ROOT = Path(__file__).resolve().parents[2]
ANSWER = {"tags": ["answer"], "jupyter": {"source_hidden": True, "outputs_hidden": True}}  # as in the notebooks
WIDTHS = Widths(64, 96, 128, 16, 32, 32)  # of 3a, which the sliders show at first


# --- the first run -------------------------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path):
    """A copy of the course as git would clone it, in a folder with a space in its name."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git repository")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            target = tmp_path / "a course" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    return tmp_path / "a course"


def jupyters_folders(place):
    return {name: str(place / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}


@pytest.fixture
def first_run(course, tmp_path):
    """What `inception-lab lab` prints, in a list that grows, for somebody who has never used Jupyter."""
    environment = os.environ | jupyters_folders(tmp_path) | {"PYTHONPATH": str(course), "INCEPTION_LAB_WEIGHTS": "off"}
    log, command = tmp_path / "log.txt", [sys.executable, "-m", "inception_lab.cli", "lab", "--no-browser"]
    with log.open("w") as file:
        server = subprocess.Popen(command, env=environment, cwd=course, stdout=file, stderr=file)
    try:
        for _ in range(600):
            if "http" in log.read_text():
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.5)
        yield log
    finally:
        server.terminate()
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.mark.slow
def test_the_first_run_shows_an_address_and_in_the_browser_the_course_alone(browser, first_run, course):
    (address,) = re.findall(r"http://localhost\S+", first_run.read_text())
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(300_000)
    elsewhere = []
    page.on("request", lambda request: elsewhere.append(request.url))
    page.goto(address)
    page.locator("h1", has_text="What is GoogLeNet").wait_for()
    page.locator("[title*='code cells trusted']").wait_for()
    listed = page.locator(".jp-DirListing-itemText").all_text_contents()
    assert {"deeper", "02_inception_module.ipynb", "02_inception_module_exercises.ipynb"} <= set(listed)
    page.goto(address.replace("00_welcome", "03_bottleneck_costs"))
    page.locator(".living input[type=range]").first.wait_for(state="attached")  # trusted: shown at once
    page.wait_for_timeout(5000)  # a toast would come now
    assert page.locator(".Toastify__toast").count() == 0
    host = address.partition("/lab")[0]
    assert not [url for url in elsewhere if not url.startswith((host, "data:", "blob:"))]
    # One banner with the address last, also when kernels have started.
    lines = first_run.read_text().strip().split("\n\n")
    assert lines[-1].strip() == address, first_run.read_text()
    assert str(course / "work") in lines[-2] and "Ctrl-C" in lines[-2]
    page.close()


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "PACKED", tmp_path / "weights")
    return tmp_path / "work"


def test_the_published_weights_are_asked_for_once_and_the_course_opens_without_them(work, monkeypatch, capsys):
    def fetch(source):
        raise DataError(f"no network, from {source}")

    monkeypatch.setattr(hub, "fetch", fetch)
    for _ in range(2):
        script.ask_for_weights()
    assert capsys.readouterr().err == "no network, from None\n"


def test_weights_that_came_with_the_course_are_taken(work, monkeypatch):
    (work.parent / "weights").mkdir()
    sources = []
    monkeypatch.setattr(hub, "fetch", sources.append)
    script.ask_for_weights()
    assert sources == [work.parent / "weights"]


@pytest.mark.parametrize("offline", [True, False])
def test_offline_does_not_ask_and_the_next_time_may(offline, monkeypatch):
    called = []
    monkeypatch.setattr(script.workspace, "update", lambda: called.append("update") or [])
    monkeypatch.setattr(script, "ask_for_weights", lambda: called.append("ask"))
    monkeypatch.setattr(script, "serve", lambda browser, port: called.append(("serve", browser, port)))
    monkeypatch.setattr(script, "has_display", lambda: True)
    options = ["--offline"] * offline + ["--port", "9000", "--no-browser"]
    assert cli.main(["lab", *options]) == 0
    assert called == ["update", *["ask"] * (not offline), ("serve", False, 9000)]


@pytest.mark.parametrize(
    "system, variables, opens",
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {"BROWSER": "lynx"}, True),
        ("darwin", {}, True),
        ("win32", {}, True),
    ],
)
def test_a_browser_opens_where_it_can(system, variables, opens, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", system)
    assert script.has_display() == opens


@pytest.mark.parametrize("port", ["0", "-1", "65536"])
def test_a_port_that_cannot_be_is_told_before_any_work(port, monkeypatch, capsys):
    monkeypatch.setattr(script.workspace, "update", pytest.fail)
    assert cli.main(["lab", "--port", port]) == 2
    assert f"port must be a whole number from 1 to 65535, got {port}" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["lab", "check"])
def test_a_library_without_the_courses_folder_says_what_is_missing(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli.files, "PACKAGE", tmp_path / "site-packages" / "inception_lab")
    assert cli.main([command]) == 1
    assert "this command needs the folder of the course" in capsys.readouterr().err


def test_check_grades_as_the_script_does(capsys):
    assert cli.main(["check"]) == 2
    assert "make check NOTEBOOK=" in capsys.readouterr().err
    assert cli.main(["check", "no-such.ipynb"]) == 2
    assert "There is no notebook no-such.ipynb" in capsys.readouterr().err


# --- widgets and answers -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab that serves two notebooks.

    sliders.ipynb is the cell of notebook 03 that has the sliders; answers.ipynb the answers of notebook 02.
    """
    tmp_path = tmp_path_factory.mktemp("lab")
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
    environment = os.environ | jupyters_folders(tmp_path) | {"JUPYTER_PREFER_ENV_PATH": "1", "PYTHONPATH": str(ROOT)}
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
    # Python knows it too, and can move the slider.
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
