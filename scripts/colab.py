"""The cell for Colab, the second one of every notebook: it installs the course there, and elsewhere does nothing.

python scripts/colab.py                                          write it into all notebooks
python scripts/colab.py https://github.com/somebody/a-course     the same, with the address of a copy's repository

Without an address the cell says in Colab that it wants one. No cell asks for input: that would stop "Run all". Then
`make exercises` gives the cell to the students' notebooks too.
"""

import argparse
import json
import sys
from pathlib import Path

import notebooks
from inception_lab.common import files

CELL = """\
# Only in Colab: install the course there. Elsewhere this cell does nothing.
import sys

REPOSITORY = {address}  # the web address of the course's git repository
if "google.colab" in sys.modules:
    assert REPOSITORY, "In the line above, put the web address of the course's git repository between the quotes."
    !git clone -q --depth 1 {{REPOSITORY}} /content/course && python /content/course/scripts/colab_install.py
    sys.path.append("/content/course")
    %cd -q /content/course/{folder}"""


def cell(folder: str, address: str = "") -> str:
    """The code of the cell, for a notebook in that folder of the repository."""
    return CELL.format(address=json.dumps(address), folder=folder)


def write(path: Path, code: str) -> None:
    """Give a notebook the cell, and change nothing else in it. Raises ValueError where it has none."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    if "colab" not in notebook["cells"][1]["metadata"].get("tags", []):
        raise ValueError(f"{path} must have the tag 'colab' at its second cell")
    notebook["cells"][1]["source"] = code.splitlines(keepends=True)
    files.write(path, (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode())


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", nargs="?", default="", help="of the repository that Colab clones")
    address = parser.parse_args(arguments).address
    for path in notebooks.course():
        write(path, cell(path.parent.relative_to(notebooks.NOTEBOOKS.parent).as_posix(), address))
    return 0


if __name__ == "__main__":
    sys.exit(main())
