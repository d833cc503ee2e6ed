"""Run the answers of a student with their tests, in a process of its own, and say what went wrong."""

import ast
import importlib
import io
import multiprocessing
import os
import re
import signal
import traceback
from contextlib import redirect_stdout

LIMIT = 60  # seconds for an exercise. The longest takes two, most of them for what it imports.
ANSWER, TEST = "your answer", "the test"  # In tracebacks they stand where files have their names.


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
    namespace, labels, failed = {"__name__": "exercise"}, [ANSWER], ""
    with redirect_stdout(io.StringIO()):
        for code in filter(str.strip, before):
            labels.append(f"the cell {code.strip().splitlines()[0]!r}")
            try:
                _run(code, labels[-1], namespace)
            except (Exception, SystemExit) as error:
                failed = f"; before it, {_told(error, labels)}"
        try:
            _run(answer, ANSWER, namespace)
            _run(test, TEST, namespace.copy())  # a name of the test takes none away from the answer's functions
        except (Exception, SystemExit) as error:
            label, line = _where(error, [*labels, TEST])
            if isinstance(error, NotImplementedError) and not error.args:
                return "not answered yet"
            if isinstance(error, AssertionError) and label == TEST:
                return str(error) or f"a test that you see fails: {_assertion(test, line)}"
            return _told(error, labels) + failed
    return None


def _run(code: str, label: str, namespace: dict) -> None:
    code = re.sub(r"^[%!]", "#", code, flags=re.MULTILINE)  # commands for Jupyter are left out
    exec(compile(code, label, "exec"), namespace)


def _told(error: BaseException, labels: list[str]) -> str:
    """What went wrong, and in which line of the student's code."""
    label, line = _where(error, labels)
    text = error.msg if isinstance(error, SyntaxError) and label else str(error)
    return ": ".join(filter(None, (type(error).__name__, text))) + (f" (line {line} of {label})" if label else "")


def _where(error: BaseException, labels: list[str]) -> tuple[str | None, int | None]:
    """The last place of the error that has one of the labels: (label, line)."""
    if isinstance(error, SyntaxError) and error.filename in labels:
        return error.filename, error.lineno
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    return next((place for place in reversed(places) if place[0] in labels), (None, None))


def _assertion(test: str, line: int) -> str:
    """The source of the assertion in a line of the test."""
    asserts = [node for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Assert)]
    failed = next(node for node in asserts if node.lineno <= line <= node.end_lineno)
    return " ".join(ast.get_source_segment(test, failed).split())
