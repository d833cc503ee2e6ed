"""What the exercises use: a student's own numbers, comparisons that say what went wrong, and `check` in a notebook.

`%load_ext inception_lab.exercises` gives a notebook `%%answer`: what such a cell prints or returns stays folded when it
is run.
"""

import ast
import hashlib
import html
import io
import math
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

Choice = TypeVar("Choice")
SOURCES = Path(__file__).resolve().parent.parent / "exercises"  # of a clone of the course: a wheel has none
NOBODY = 'STUDENT = "your name"'
TEST = "the test"  # in tracebacks it stands where a file has its name


def draw(student: str, exercise: str, choices: Iterable[Choice]) -> Choice:
    """One of `choices`, always the same for one student and one exercise.

    student: any name. choices: a sequence that is not empty. Spaces around the name and capitals do not matter.
    """
    listed = list(choices)
    if not listed:
        raise ValueError("choices must not be empty")
    digest = hashlib.sha256(f"{exercise}\n{student.strip().lower()}".encode()).digest()
    return listed[int.from_bytes(digest[:8]) % len(listed)]


def expect(
    got: object,
    right: object,
    slips: Mapping[object, str] | None = None,
    *,
    what: str = "The answer",
    within: float = 1e-9,
) -> None:
    """Raise AssertionError, with the reason if it is known, unless `got` is `right`.

    got, right: a number, a text, or tuples of them. slips: a wrong value → the mistake that leads to it. what: how the
    message calls the answer. within: the relative difference that numbers may have.
    """
    if got is None or got is Ellipsis:
        raise AssertionError(f"{what} is not there yet.")
    if same(got, right, within):
        return
    for value, reason in (slips or {}).items():
        if same(got, value, within):
            raise AssertionError(f"{what} is {got}. {reason}")
    raise AssertionError(f"{what} is {got}, which is not right.")


def same(one: object, other: object, within: float = 1e-9) -> bool:
    """Whether two numbers, texts or sequences of them are equal, numbers up to a relative difference."""
    if isinstance(other, tuple | list):
        if not isinstance(one, tuple | list) or len(one) != len(other):
            return False
        return all(same(a, b, within) for a, b in zip(one, other, strict=True))
    if isinstance(other, str | bool) or other is None:
        return type(one) is type(other) and one == other
    try:
        return math.isclose(one, other, rel_tol=within, abs_tol=within)  # type: ignore[arg-type]  # that is the question
    except (TypeError, ValueError, OverflowError, RuntimeError):  # no number, several, or one too large for a float
        return False


def check(exercise: str) -> None:
    """Run all tests of an exercise on what this notebook has defined, and print "right" or what went wrong.

    exercise: its notebook and name, such as "02_inception_module/2_four_paths". Nothing of the notebook is changed.
    Raises ValueError for an exercise that there is not.
    """
    source = SOURCES / f"{exercise}.md"
    text = source.read_text(encoding="utf-8") if source.is_file() else ""
    test = re.search(r"^```python test\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    if not test:
        raise ValueError(f"exercise must be one of a clone of the course, got {exercise!r}: {source} is none")
    namespace = vars(sys.modules["__main__"])
    if namespace.get("STUDENT") == "your name":
        print(f"{NOBODY[:7]} is still {NOBODY[10:]}: the numbers of some exercises depend on it")
    problem = None
    with redirect_stdout(io.StringIO()):
        try:
            exec(compile(test[1], TEST, "exec"), dict(namespace))
        except (Exception, SystemExit) as error:
            problem = explain(error, test[1], _cell_of)
            if isinstance(error, NameError) and where(error, _cell_of)[0] is None:
                problem = f"{error.name} is not defined: run the cell with your answer first"
    print(f"{text.splitlines()[0].removeprefix('# ')}: {problem or 'right'}")


def _cell_of(file: str) -> str | None:
    return "your answer" if "ipykernel" in file or "ipython-input" in file else None


def explain(error: BaseException, test: str, label_of: Callable[[str], str | None], before: str = "") -> str:
    """What went wrong in an answer or its test, in a line.

    label_of: a file of the traceback → what a reader calls it, None for one that is not the reader's. before: what to
    add where the answer itself stops with an error.
    """
    label, line = where(error, lambda file: TEST if file == TEST else label_of(file))
    if isinstance(error, NotImplementedError) and not error.args:
        return "not answered yet"
    if isinstance(error, AssertionError) and label == TEST:
        return str(error) or f"a test that you see fails: {_assertion(test, line)}"
    return told(error, label_of) + before


def told(error: BaseException, label_of: Callable[[str], str | None]) -> str:
    """The kind of an error, its text, and the line where it came up."""
    label, line = where(error, label_of)
    text = error.msg if isinstance(error, SyntaxError) and label else str(error)
    return ": ".join(filter(None, (type(error).__name__, text))) + (f" (line {line} of {label})" if label else "")


def where(error: BaseException, label_of: Callable[[str], str | None]) -> tuple[str | None, Any]:
    """The last place of an error that has a label: (label, line)."""
    if isinstance(error, SyntaxError) and error.filename and label_of(error.filename):
        return label_of(error.filename), error.lineno
    places = [(label_of(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    return next((place for place in reversed(places) if place[0]), (None, None))


def _assertion(test: str, line: int) -> str:
    """The source of the assertion in a line of the test."""
    asserts = [node for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Assert)]
    failed = next(node for node in asserts if node.lineno <= line <= (node.end_lineno or node.lineno))
    return " ".join(str(ast.get_source_segment(test, failed)).split())


def load_ipython_extension(shell: Any) -> None:
    """Give a notebook the cell magic `%%answer`; IPython calls this for `%load_ext`."""
    from IPython.display import HTML, display
    from IPython.utils.capture import capture_output

    def answer(line: str, cell: str) -> None:
        with capture_output() as captured:
            result = shell.run_cell(cell)
        shown = [{"text/plain": captured.stdout}] * bool(captured.stdout) + [output.data for output in captured.outputs]
        parts = [data.get("text/html") or f"<pre>{html.escape(data['text/plain'])}</pre>" for data in shown]
        if parts:
            display(HTML(f"<details><summary>What the answer's code shows</summary>{''.join(parts)}</details>"))
        result.raise_error()

    shell.register_magic_function(answer, "cell")
