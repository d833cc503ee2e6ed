"""Kernels from one server are as those that are started one by one: each in its folder, with nothing of another's."""

import os
import signal
import sys

import pytest
from jupyter_client.manager import start_new_kernel
from kernels import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PyTorch's libraries do not outlive a fork")
ASKS = "import os, sys; print(os.getcwd(), os.environ.get('MINE'), 'mine' in globals(), 'fractions' in sys.modules)"


@pytest.fixture
def start(monkeypatch):
    """A function that starts a kernel: its manager, and a function that gives what a cell prints."""
    server, managers = Server(["ipykernel.kernelapp", "fractions"]), []
    monkeypatch.setattr("jupyter_client.provisioning.local_provisioner.launch_kernel", server.launch)

    def start(place):
        manager, client = start_new_kernel(cwd=str(place))
        managers.append(manager)

        def run(source):
            printed = []
            hook = lambda message: printed.append(message["content"].get("text", ""))  # noqa: E731
            client.execute_interactive(source, timeout=60, output_hook=hook)
            return "".join(printed).strip()

        return manager, run

    yield start
    for manager in managers:
        manager.shutdown_kernel(now=True)
    server.close()
    assert server.process.returncode == 0


def test_each_has_its_folder_and_variables_and_no_names_of_another(start, tmp_path, monkeypatch):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv("MINE", name)
        _, run = start(tmp_path / name)
        assert run(ASKS) == f"{tmp_path / name} {name} False True"
        run("mine = 1")
    assert run("import subprocess, sys; print(subprocess.run([sys.executable, '-c', 'exit(3)']).returncode)") == "3"


def test_one_that_dies_is_seen_to_be_dead_and_the_next_starts(start, tmp_path):
    manager, _ = start(tmp_path)
    assert manager.is_alive()
    os.kill(manager.provisioner.pid, signal.SIGKILL)
    manager.provisioner.process.wait()
    assert not manager.is_alive()
    assert start(tmp_path)[1]("print(6 * 7)") == "42"


def test_one_that_is_to_find_modules_elsewhere_finds_them(start, tmp_path, monkeypatch):
    start(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "found_there.py").write_text("answer = 42")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    assert start(tmp_path)[1]("import found_there; print(found_there.answer)") == "42"
