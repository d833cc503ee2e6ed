"""The archive for a room without a network: made from a small course and a folder of wheels, unpacked, installed."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import bundle
import pytest
from wheels import write_wheel

from inception_lab.common.checks import RunError

ROOT = Path(__file__).resolve().parents[2]
# A build backend without packages: what an editable installation asks of it.
BACKEND = """
import zipfile
from pathlib import Path

def build_editable(folder, *_):
    parts = {
        "small.pth": str(Path.cwd()),
        "small-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: small\\nVersion: 1.0\\nRequires-Dist: tiny\\n",
        "small-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "small-1.0.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(Path(folder) / "small-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in parts.items():
            wheel.writestr(name, text)
    return "small-1.0-py3-none-any.whl"
"""
PROJECT = """
[build-system]
requires = ["builder"]
build-backend = "backend"
backend-path = ["."]

[project]
name = "small"
version = "1.0"
dependencies = ["tiny>=1"]
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A course of two files and a solution of the exam, in a folder with a space in its name."""
    place = tmp_path / "a course"
    (place / "teaching").mkdir(parents=True)
    (place / "pyproject.toml").write_text(PROJECT)
    (place / "backend.py").write_text(BACKEND)
    (place / "constraints.txt").write_text("tiny==1.5\n")
    (place / "small.py").write_text("import tiny\n")
    (place / "teaching" / "exam_solutions.md").write_text("42")
    (place / "not_of_git.txt").write_text("")
    subprocess.run(["git", "init", "-q", place], check=True)
    names = ["pyproject.toml", "backend.py", "constraints.txt", "small.py", "teaching"]
    subprocess.run(["git", "add", *names], cwd=place, check=True)
    for name, version in [("tiny", "1.5"), ("tiny", "2.0"), ("builder", "1.0"), ("editables", "1.0"), ("other", "1.0")]:
        write_wheel(tmp_path / "wheels", name, version)
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", "off")
    return place


def held(archive):
    with zipfile.ZipFile(archive) as file:
        return set(file.namelist())


@pytest.mark.slow
def test_what_is_in_the_archive_installs_elsewhere_without_an_index(root, tmp_path):
    made, out = tmp_path / "made", tmp_path / "out.zip"
    made.mkdir()
    bundle.collect_wheels(made, tmp_path / "wheels", "", root)
    bundle.write(out, bundle.contents(made, root))
    names = {"README-FIRST.txt", "pyproject.toml", "backend.py", "constraints.txt", "small.py"}
    wheels = {f"wheels/{name}-py3-none-any.whl" for name in ("tiny-1.5", "builder-1.0", "editables-1.0")}
    assert held(out) == {f"inception-lab/{name}" for name in names | wheels}
    with zipfile.ZipFile(out) as archive:
        archive.extractall(tmp_path / "another room")
    place = tmp_path / "another room" / "inception-lab"
    steps = (place / "README-FIRST.txt").read_text()
    (install,) = [line.split() for line in steps.splitlines() if "pip install" in line]
    subprocess.run([sys.executable, "-m", "venv", place / ".venv"], check=True)
    python = place / ".venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    assert install[0] == "python" and "--no-index" in install
    subprocess.run([python, *install[1:]], cwd=place, check=True, capture_output=True)
    found = subprocess.check_output([python, "-c", "import small; print(small.__file__)"], cwd=tmp_path, text=True)
    assert Path(found.strip()) == place / "small.py"


def test_weights_and_site_go_along_where_they_are(root, tmp_path, monkeypatch):
    (tmp_path / "w").mkdir()
    weights = tmp_path / "w" / "bvlc-googlenet.safetensors"
    weights.write_bytes(b"0")
    monkeypatch.setattr(bundle.hub, "where", lambda: weights)
    site = root / "build" / "site" / "html" / "notebooks"
    site.mkdir(parents=True)
    (site / "00.html").write_text("")
    found = bundle.contents(tmp_path / "none", root)
    assert (
        found["weights/bvlc-googlenet.safetensors"] == weights and found["site/notebooks/00.html"] == site / "00.html"
    )
    told = bundle.first(found)
    assert "site/index.html" in told and "found by themselves" in told
    assert "not included" not in told


def test_the_solutions_of_the_exam_stay_with_the_teacher():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git repository")
    names = bundle.course_files(ROOT)
    assert "notebooks/00_welcome.ipynb" in names and not [name for name in names if "solutions" in name]


def test_the_wheels_are_those_that_an_installation_asks_for():
    asked = bundle.requirements(ROOT)
    assert {"hatchling", "editables", "torch>=2.11", "jupyterlab>=4"} <= set(asked)


def test_what_cannot_be_had_is_told(root, tmp_path, monkeypatch):
    (tmp_path / "made").mkdir()
    shutil.rmtree(tmp_path / "wheels")
    (tmp_path / "wheels").mkdir()
    with pytest.raises(RunError, match="pip could not get all packages"):
        bundle.collect_wheels(tmp_path / "made", tmp_path / "wheels", "", root)
    with pytest.raises(RunError, match="made from a clone"):
        bundle.course_files(tmp_path)
    with pytest.raises(ValueError, match="--wheels must be a folder"):
        bundle.main(["--wheels", str(tmp_path / "no-such")])
