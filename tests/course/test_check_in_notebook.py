"""`check(...)` below an exercise says in the notebook what `make check` says, and `%%answer` keeps an answer folded."""

import sys
import types
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import v4

import exercises as script
from inception_lab.exercises import check

ROOT = Path(__file__).resolve().parents[2]
ALL = {f"{name}/{e.name}": e for name, some in script.assignments().items() for e in some}


@pytest.fixture
def notebook(monkeypatch):
    """A function that runs cells as a notebook's, and returns its names."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)

    def run(*cells):
        for code in cells:
            exec(compile(code, "ipykernel_1/1.py", "exec"), vars(module))
        return vars(module)

    return run


@pytest.mark.parametrize("name", ALL)
def test_the_right_answer_is_right_and_wrong_ones_are_told_their_misconception(name, notebook, capsys):
    exercise, named = ALL[name], script.FIRST.replace("your name", "Ada")
    names = notebook(named, exercise.given, exercise.answer)
    before = dict(names)
    check(name)
    assert capsys.readouterr().out.endswith(f"{exercise.title}: right\n")
    assert names == before  # the test leaves nothing behind
    for misconception, answer in exercise.wrong.items():
        notebook(script.FIRST, exercise.given, answer)
        check(name)
        told = capsys.readouterr().out
        assert misconception in told and "STUDENT is still" in told and ": right" not in told


FOUR = "02_inception_module/2_four_paths"


@pytest.mark.parametrize(
    "answer, told",
    [
        ("", "four_paths is not defined: run the cell with your answer first"),
        ("def four_paths(x, conv):\n    raise NotImplementedError()", "not answered yet"),
        (
            "def four_paths(x, conv):\n    y = 1\n    return x @ z",
            "NameError: name 'z' is not defined (line 3 of your ",
        ),
        ("def four_paths(x, conv):\n    raise SystemExit", "SystemExit (line 2 of your answer)"),
    ],
)
def test_what_is_no_answer_is_told(answer, told, notebook, capsys):
    notebook(script.FIRST, ALL[FOUR].given, answer)
    check(FOUR)
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("name", ["02_inception_module", "02_inception_module/6_none", "../README", ""])
def test_an_unknown_exercise_is_named(name):
    with pytest.raises(ValueError, match="exercise must be one of a clone of the course, got "):
        check(name)


@pytest.mark.slow
def test_in_a_kernel_they_do_it_too(tmp_path):
    cells = [
        "%load_ext inception_lab.exercises\nfrom inception_lab.exercises import check",
        ALL[FOUR].given.join(["import torch\nfrom torch import nn\n", ""]),
        "def four_paths(x, conv):\n    return x",
        f'check("{FOUR}")',
        "%%answer\nanswer = 6 * 7\nprint('so', answer)\nanswer",
        "%%answer\nimport pandas as pd\npd.DataFrame({'a': [answer]})",
        "%%answer\nraise KeyError('here')",
    ]
    book = v4.new_notebook(cells=[v4.new_code_cell(code) for code in cells])
    NotebookClient(book, timeout=300, allow_errors=True, kernel_name="python3").execute()
    *_, checked, printed, frame, failed = [cell.outputs for cell in book.cells]
    assert "Write the four paths" in checked[0].text and ": right" not in checked[0].text
    for outputs, shown in (
        (printed, ["so 42", "<pre>42</pre>"]),
        (frame, ["<td>42</td>"]),
    ):
        (output,) = outputs
        html = output.data["text/html"]
        assert html.startswith("<details><summary>") and html.endswith("</details>") and all(s in html for s in shown)
    assert failed[-1].output_type == "error" and failed[-1].ename == "KeyError"


@pytest.mark.parametrize("name", script.assignments())
def test_below_each_exercise_stands_its_check(name):
    notebook = nbformat.read(ROOT / "exercises" / f"{name}.ipynb", as_version=4)
    checks = [cell.source for cell in notebook.cells if cell.source.startswith("check(")]
    assert checks == [f'check("{name}/{e.name}")' for e in script.assignments()[name]]
