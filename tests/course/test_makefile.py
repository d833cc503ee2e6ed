"""What the commands of the Makefile install, and from where. Python and the indexes are stand-ins on this machine."""

import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from wheels import write_wheel

ROOT = Path(__file__).resolve().parents[2]
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="the Makefile asks PyTorch's index on Linux only")
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
# Python in a made-up environment: what is no look at an index is written down instead.
STAND_IN = f"""#!/bin/sh
case "$1" in
-c) exec {sys.executable} "$@" ;;
*) echo "$PATH|$@" >> "$(dirname "$0")/../calls" ;;
esac
"""


@pytest.fixture
def venv(tmp_path):
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    for name in ("python", "lint-imports"):
        path = tmp_path / "venv" / "bin" / name
        path.write_text(STAND_IN)
        path.chmod(0o755)
    return tmp_path / "venv"


def make(*arguments, succeeds=True):
    """What make prints, without this machine's proxies, and what a make that runs the tests has set."""
    environment = {k: v for k, v in os.environ.items() if not re.match(r"(?i)(https?|all)_proxy$|MAKE|MFLAGS", k)}
    done = subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
    return done.stdout + done.stderr


def calls(venv):
    """What the stand-in was called with, without the looks whether pip is there."""
    lines = [line.partition("|")[2] for line in (venv / "calls").read_text().splitlines()]
    return [line for line in lines if line != "-m pip --version"]


def installed(venv):
    """The extras that were installed, "" for the course, in order."""
    found = [re.fullmatch(r"-m pip install -c constraints.txt -e \.(?:\[(\w+)\])?", line) for line in calls(venv)]
    return [match[1] or "" for match in found if match]


# --- what each command installs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target, extras",
    [
        ("lab", [""]),
        ("check", [""]),
        ("course", [""]),
        ("save", [""]),
        ("bench", [""]),
        ("bundle", [""]),
        ("site", ["", "docs"]),
        ("slides", ["", "docs"]),
        ("exercises", ["", "grade"]),
        ("gradebook", ["", "grade"]),
        ("lint", ["", "test"]),
        ("format", ["", "test"]),
        ("quick", ["", "test", "grade", "docs"]),
        ("test", ["", "test", "grade", "docs"]),
    ],
)
def test_a_command_installs_what_it_needs_and_no_more_and_only_once(venv, target, extras):
    make(f"VENV={venv}", "TORCH_INDEX=", target)
    assert installed(venv) == extras
    make(f"VENV={venv}", "TORCH_INDEX=", target)
    assert installed(venv) == extras


def test_the_environment_may_lie_anywhere(venv):
    make(f"VENV={venv}", "TORCH_INDEX=", "lab")
    path, last = (venv / "calls").read_text().splitlines()[-1].split("|")
    assert path.startswith(f"{venv}/bin:") and last == "-m inception_lab.cli lab"
    assert f'PATH="{venv}/bin:' in make(f"VENV={venv}", "-n", "course")
    assert f'PATH="{ROOT}/.another/bin:' in make("VENV=.another", "-n", "course")


def test_a_name_with_spaces_is_refused_for_the_environment_and_taken_for_the_course(tmp_path):
    assert "VENV must be one folder without spaces" in make("VENV=/some folder/venv", "lab", succeeds=False)
    place = tmp_path / "a course"
    (place / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, place)
    python = place / ".venv" / "bin" / "python"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    make("-C", place, "TORCH_INDEX=", "lab")
    path, last = (place / ".venv" / "calls").read_text().splitlines()[-1].split("|")
    assert path.startswith(f"{place}/.venv/bin:") and last == "-m inception_lab.cli lab"


def test_make_lab_and_make_check_are_the_commands_that_need_no_make(venv):
    """What they do is tested in test_lab.py and test_exercises.py."""
    make(f"VENV={venv}", "TORCH_INDEX=", "OFFLINE=1", "lab")
    make(f"VENV={venv}", "TORCH_INDEX=", "NOTEBOOK=work/some.ipynb", "check")
    assert calls(venv)[-2:] == ["-m inception_lab.cli lab --offline", "-m inception_lab.cli check work/some.ipynb"]


def test_make_without_constraints_installs_the_newest_versions(venv):
    make(f"VENV={venv}", "TORCH_INDEX=", "CONSTRAINTS=", "lab")
    assert "-m pip install -e ." in calls(venv)


def test_make_test_runs_all_tests_and_notebooks_side_by_side(venv):
    make(f"VENV={venv}", "TORCH_INDEX=", "WORKERS=3", "test")
    tests = [line for line in calls(venv) if line.startswith("-m pytest")]
    assert tests == ["-m pytest -n 3 --dist loadfile --no-loadscope-reorder --nbval tests notebooks"]


def test_make_test_fails_where_pytest_does(venv):
    """With status 5, by which pytest says that it found no test."""
    python = venv / "bin" / "python"
    python.write_text(STAND_IN + 'echo "$@" | grep -q -e "--nbval" && exit 5\nexit 0\n')
    make(f"VENV={venv}", "TORCH_INDEX=", "test", succeeds=False)


# --- where PyTorch comes from --------------------------------------------------------------------------------


class Index(http.server.ThreadingHTTPServer):
    """Serves a folder as pip's simple index does, and remembers what it was asked for."""

    def __init__(self, folder):
        self.asked, asked = [], self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=folder)

            def do_GET(self):
                asked.asked.append(self.path)
                super().do_GET()

            def log_message(self, *arguments):
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


def wanted(name):
    return re.search(rf"^{name}==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)[1]


@pytest.fixture
def index(tmp_path):
    for name in ("torch", "torchvision"):
        for version in (wanted(name), "99.0"):
            write_wheel(tmp_path / "index" / name, name, f"{version}+cpu", requires="no-such")
    with Index(tmp_path / "index") as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def told(printed):
    """The one line that says where PyTorch comes from."""
    (line,) = re.findall(r"^torch and torchvision come from (.+)$", printed, re.MULTILINE)
    return line


@LINUX_ONLY
def test_without_a_driver_pytorch_comes_from_its_own_index(venv, index):
    assert told(make(f"VENV={venv}", f"TORCH_INDEX={index.address}", "DRIVER=", "lab")) == index.address
    assert index.asked == ["/torch/"]
    first, second = [line for line in calls(venv) if "pip install" in line]
    assert first.endswith(f"-c constraints.txt --no-deps --index-url {index.address} torch torchvision")
    assert second.endswith("-c constraints.txt -e .")


@LINUX_ONLY
@pytest.mark.slow
def test_pip_takes_the_versions_of_the_constraints_from_that_index(tmp_path, index):
    """A real pip, in an environment of its own. What follows, the course itself, is left to the stand-in."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "real"], check=True)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    python = tmp_path / "venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\ncase "$*" in\n*"-e ."*) ;;\n*) exec {tmp_path}/real/bin/python "$@" ;;\nesac\n')
    python.chmod(0o755)
    make(f"VENV={python.parents[1]}", f"TORCH_INDEX={index.address}", "DRIVER=", f"{python.parents[1]}/.installed")
    frozen = subprocess.check_output([python, "-m", "pip", "freeze"], text=True).split()
    assert frozen == [f"{name}=={wanted(name)}+cpu" for name in ("torch", "torchvision")]


@LINUX_ONLY
@pytest.mark.parametrize("setting", ["TORCH_INDEX=", "DRIVER=/proc/driver/nvidia/version"])
def test_with_a_driver_or_without_an_address_pytorch_comes_from_pips_index(venv, index, setting):
    printed = make(f"VENV={venv}", f"TORCH_INDEX={index.address}", "DRIVER=", setting, "lab")
    assert told(printed).startswith("pip's index: ")
    assert index.asked == [] and len([line for line in calls(venv) if "pip install" in line]) == 1


@LINUX_ONLY
@pytest.mark.parametrize("kind", ["closed", "silent", "no such host"])
def test_an_index_that_does_not_answer_costs_five_seconds_at_most(venv, kind):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if kind == "silent":
            listening.listen()
        host = "no-such-host.invalid" if kind == "no such host" else "127.0.0.1"
        address = f"http://{host}:{listening.getsockname()[1]}"
        start = time.perf_counter()
        printed = make(f"VENV={venv}", f"TORCH_INDEX={address}", "DRIVER=", "lab")
        seconds = time.perf_counter() - start
    assert told(printed) == f"pip's index: {address} does not answer"
    assert installed(venv) == [""] and "--index-url" not in "".join(calls(venv))
    assert seconds < 9  # a busy machine
    assert kind != "silent" or seconds > 4


@LINUX_ONLY
def test_an_index_that_has_not_the_versions_is_left_for_pips(venv, index):
    python = venv / "bin" / "python"
    python.write_text(STAND_IN + 'case "$*" in *--index-url*) exit 1 ;; esac\n')
    printed = make(f"VENV={venv}", f"TORCH_INDEX={index.address}", "DRIVER=", "lab")
    assert told(printed) == f"pip's index: the installation from {index.address} failed"
    assert installed(venv) == [""]
