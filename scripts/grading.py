"""Run the answers of a student with their tests, in a process of its own, and say what went wrong."""

import importlib
import io
import multiprocessing
import os
import re
import signal
from contextlib import redirect_stdout

from inception_lab.exercises import TEST, explain, told

LIMIT = 60  # seconds for an exercise. The longest takes two, most of them for what it imports.
ANSWER = "your answer"  # in tracebacks it stands where a file has its name


def grade_all(attempts, limit: float = LIMIT):
    """Yield the feedback to each attempt, or None if it is right. attempts: tuples of what `grade` takes.

    They run one after the other in one child process, since importing PyTorch takes longer than most answers. One that
    does not end within `limit` seconds is stopped with its process, and the next gets a new one.
    """
    process, pipe = _start()
    try:
        for attempt in attempts:
            pipe.send(attempt)
            ended = pipe.poll(limit)
            try:
                feedback = pipe.recv() if ended else f"does not end within {limit} seconds"
            except EOFError:
                feedback, ended = "ends Python itself: no test could run", False
            yield feedback
            if not ended:
                process.kill()
                process, pipe = _start()
    finally:
        process.kill()


def _start():
    context = multiprocessing.get_context("spawn")  # the same on every system; a fork of PyTorch's threads may hang
    pipe, end = context.Pipe()
    process = context.Process(target=_serve, args=(end,), daemon=True)
    process.start()
    end.close()  # so that the end of the child is the end of the pipe
    pipe.recv()  # the time starts when it is ready
    return process, pipe


def _serve(pipe) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, and this process ends with it
    os.environ["MPLBACKEND"] = "agg"  # no window that waits for a click
    importlib.import_module("inception_lab")
    pipe.send("ready")
    while True:
        pipe.send(grade(*pipe.recv()))


def grade(before: list[str], answer: str, test: str) -> str | None:
    """Run the cells before an answer, the answer and all its tests. Returns the feedback, or None if it is right.

    As in a notebook, a cell before the answer may fail. It is named if the answer then stops with an error.
    """
    namespace, labels, failed = {"__name__": "exercise"}, {ANSWER: ANSWER}, ""
    with redirect_stdout(io.StringIO()):
        for code in filter(str.strip, before):
            label = f"the cell {code.strip().splitlines()[0]!r}"
            labels[label] = label
            try:
                _run(code, label, namespace)
            except (Exception, SystemExit) as error:
                failed = f"; before it, {told(error, labels.get)}"
        try:
            _run(answer, ANSWER, namespace)
            _run(test, TEST, namespace.copy())  # a name of the test takes none away from the answer's functions
        except (Exception, SystemExit) as error:
            return explain(error, test, labels.get, failed)
    return None


def _run(code: str, label: str, namespace: dict) -> None:
    code = re.sub(r"^[%!]", "#", code, flags=re.MULTILINE)  # commands for Jupyter are left out
    exec(compile(code, label, "exec"), namespace)
