"""The page on troubles shows the messages that one really sees."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from inception_lab import cli, hub
from inception_lab.common import files
from inception_lab.common.checks import DataError, RunError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = [" ".join(block.split()) for block in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)]


def is_shown(message):
    """Whether a message stands on the page, where "…" is for anything."""
    patterns = [".*".join(re.escape(part) for part in shown.split("…")) for shown in MESSAGES]
    return any(re.fullmatch(pattern, " ".join(message.split())) for pattern in patterns)


def make(*arguments):
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True).stderr.splitlines()[0]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no make")
def test_what_make_says_of_python_and_of_a_name_with_spaces(tmp_path):
    assert is_shown(make(f"VENV={tmp_path}/venv", "PYTHON=no-such-python", "TORCH_INDEX=", "lab"))
    assert is_shown(make("VENV=/some folder/venv", "lab").partition("*** ")[2].removesuffix(".  Stop."))


def test_what_is_said_where_the_index_does_not_answer():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    index = re.search(r"^TORCH_INDEX := (\S+)", makefile, re.MULTILINE)[1]
    assert "$(TORCH_INDEX) does not answer" in makefile and 'echo "torch and torchvision come from $$from"' in makefile
    assert is_shown(f"torch and torchvision come from pip's index: {index} does not answer")


def test_what_is_said_without_the_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("INCEPTION_LAB_WEIGHTS", raising=False)
    monkeypatch.delenv("INCEPTION_LAB_WEIGHTS_URL", raising=False)
    addresses = ["https://raw.githubusercontent.com/a/b", "http://dl.example.org/c"]

    def refuse(*_, **__):
        raise OSError("<urlopen error [Errno -2] Name or service not known>")

    monkeypatch.setattr(hub.sources, "ADDRESSES", addresses)
    monkeypatch.setattr(hub.sources, "urlopen", refuse)
    with pytest.raises(DataError) as error:
        hub.fetch(say=lambda _: None)
    assert is_shown(str(error.value)), str(error.value)


def test_what_is_said_without_the_courses_folder_and_on_a_full_disk(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(files, "PACKAGE", tmp_path)
    cli.main(["lab"])
    assert is_shown(capsys.readouterr().err)
    monkeypatch.setattr(files, "open", full, raising=False)
    with pytest.raises(RunError) as error:
        files.write(Path("runs/mine/history.csv"), b"1")
    assert is_shown(f"inception-lab: {error.value}")


def full(*_):
    raise OSError(28, "No space left on device")


def test_the_page_is_linked_where_people_start():
    assert "(troubleshooting.md)" in (ROOT / "docs" / "setup.md").read_text(encoding="utf-8")
