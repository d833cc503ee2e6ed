"""Installed as a wheel, in another folder: recorded data are found, what is written goes to ./data and is found too."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from inception_lab.costs import published

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The Python of an empty environment that has the wheel, and what this environment has but the checkout."""
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place, ROOT]
    built = subprocess.run(build, capture_output=True, text=True)
    if built.returncode and "hatchling" in built.stderr:  # neither installed nor to be had
        pytest.skip("a wheel cannot be built: hatchling is missing")
    assert not built.returncode, built.stderr
    (wheel,) = place.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "venv"], check=True)
    python = place / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    packages = subprocess.check_output(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", packages.strip(), wheel]
    subprocess.run(install, check=True, capture_output=True)
    # Only the folder: the .pth file of an editable installation of the checkout is not read from there.
    (Path(packages.strip()) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(installed, folder, code):
    done = subprocess.run([installed, "-E", "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


FOUND = """
import inception_lab
from inception_lab import costs, lens
from inception_lab.evaluation import predict, read_study, recorded_run, recorded_runs
from inception_lab.lens.recorded import read

assert inception_lab.__file__.startswith(__import__("sys").prefix), inception_lab.__file__
print(len(read_study("kernels")), *(folder.name for folder in recorded_runs()))
print(lens.open_run().name, len(costs.published.table("table1")), len(read("scales")))
print(round(predict(recorded_run("shapes-laptop"), length=20, store=False, progress=False).error(5)))
"""


def test_what_the_course_recorded_is_found(installed, tmp_path):
    rows, *rest = run(installed, tmp_path, FOUND)
    runs = sorted(path.parent.name for path in (ROOT / "data" / "runs").glob("*/metrics.json"))
    assert int(rows) >= 15 and rest[: len(runs)] == runs
    best, table1, scales, error = rest[len(runs) :]
    assert best in runs and int(table1) == len(published.table("table1")) and int(scales) > 0 and int(error) <= 10
    assert not list(tmp_path.iterdir())


WRITTEN = """
import dataclasses
from pathlib import Path
from inception_lab.evaluation import STUDIES, read_study, recorded_run, recorded_runs, run_study, studies, study_run
from inception_lab.evaluation.records import record

print(record(recorded_run("shapes-laptop"), "mine"))
study, trained = STUDIES["kernels"], []
study_run.train = lambda recipe, *_, **__: trained.append(recipe.name)
study_run.add_row = lambda *_: None
study_run.open_data = lambda *_: None
rows = len(read_study("kernels"))
assert len(run_study(study, seeds=study.seeds, progress=False)) == rows  # all are recorded
seeds = read_study("kernels")["seed"].max() + 2
run_study(study, seeds, ["inception"], progress=False)
print(",".join(trained))
Path("data/studies/kernels.csv").write_text("".join(Path("data/studies/kernels.csv").open().readlines()[:3]))
print(len(read_study("kernels")), recorded_runs()[0].name, len(recorded_runs()))
"""


def test_what_is_written_goes_to_the_working_folder_and_is_found(installed, tmp_path):
    recorded, trained, rows, first, runs = run(installed, tmp_path, WRITTEN)
    assert Path(recorded).resolve() == (tmp_path / "data" / "runs" / "mine").resolve()
    assert trained.startswith("inception-") and (rows, first) == ("2", "mine")
    assert int(runs) == 1 + len(list((ROOT / "data" / "runs").glob("*/metrics.json")))
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["runs", "studies"]


def test_the_command_line_works(installed, tmp_path):
    code = "from inception_lab.cli import main; print(main(['study']), main(['count', 'alexnet'])); main(['--version'])"
    out = run(installed, tmp_path, code)
    assert "schedules" in out and "alexnet" in out and out[-4:-1] == ["0", "0", "inception-lab"]
