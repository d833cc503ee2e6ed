"""Processes that train, and are killed if wanted, from a server that has imported PyTorch once: each starts at once."""

import multiprocessing
import os
import signal
import socket
import sys
from pathlib import Path

HERE = Path(__file__).parent
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tiny", "inception_lab.training.trainer", "pytest"])


def start(function, *arguments):
    """A process that calls a function of this module, or another that the server can import."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{HERE}{os.pathsep}{HERE.parent}"  # for the server, which starts with the first process
    process = context.Process(target=function, args=arguments)
    process.start()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
    return process


def run(function, *arguments, kill_after: float | None = None) -> bool:
    """Whether the process was killed by SIGKILL: by us, after so many seconds, or by itself. It must not fail."""
    process = start(function, *arguments)
    process.join(60 if kill_after is None else kill_after)
    if process.is_alive():
        process.kill()
        process.join()
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def run_two(function, *arguments) -> None:
    """Run a function in two processes that find each other by the variables that torchrun sets. Neither may fail."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(one_of_two, rank, port, function, arguments) for rank in (0, 1)]
    for process in processes:
        process.join(60)
        process.kill()  # one that waits for the other
    assert [process.exitcode for process in processes] == [0, 0]


def one_of_two(rank: int, port: int, function, arguments: tuple) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ |= {"TORCHELASTIC_RUN_ID": "tests", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}
    function(*arguments)


def training(out: Path, recipe) -> None:
    """Begin the run of a folder, or go on with it."""
    import tiny
    import torch

    from inception_lab.training.trainer import train

    torch.set_num_threads(1)
    train(recipe, out, data=tiny.data(), resume=True, progress=False, accelerator="cpu")


def training_that_dies_while_it_writes(out: Path, recipe, fatal: int) -> None:
    """The same, killed at the `fatal`-th step of writing."""
    die_while_writing(fatal)
    training(out, recipe)


def evaluating_that_dies_while_it_writes(run: Path, images, options: dict, fatal: int) -> None:
    """Evaluate a run, writing after every batch, killed at the `fatal`-th step of writing."""
    import torch

    from inception_lab.evaluation import inference

    torch.set_num_threads(1)
    inference.SAVE_EVERY = 0
    die_while_writing(fatal)
    inference.predict(run, images, progress=False, accelerator="cpu", **options)


def exploring_that_dies_while_it_writes(out: Path, run: Path, options: dict, fatal: int) -> None:
    """Make the page of a run's units, killed at the `fatal`-th step of writing."""
    import torch

    from inception_lab.explorer import explore

    torch.set_num_threads(1)
    die_while_writing(fatal)
    explore(run, out, "shapes", **options)


def recording_that_dies_while_it_writes(run: Path, into: Path, fatal: int) -> None:
    """Record a run, killed at the `fatal`-th step of writing; folders that are made and deleted count too."""
    from inception_lab.evaluation import records

    deadly = die_while_writing(fatal)
    os.mkdir, os.rmdir = deadly(os.mkdir), deadly(os.rmdir)
    records.record(run, "copy", into=into)


def write_modules(path: Path) -> None:
    """The names of all modules that are imported in a process that trains, one per line."""
    path.write_text("\n".join(sys.modules))


def die_while_writing(fatal: int):
    """Have this process killed at the `fatal`-th step: before it, or half through it where it can be halved."""
    from inception_lab.common import files

    calls = 0

    def deadly(function):
        def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return call

    class File:
        def __init__(self, path, mode):
            self.file = open(path, mode, buffering=0)  # noqa: SIM115, closed by __exit__

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, content):
            self.file.write(content[: len(content) // 2])
            deadly(self.file.write)(content[len(content) // 2 :])

        def __getattr__(self, name):
            return getattr(self.file, name)

    files.open = deadly(File)
    os.fsync, os.replace, os.unlink = deadly(os.fsync), deadly(os.replace), deadly(os.unlink)
    return deadly
