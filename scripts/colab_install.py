"""Install the course where PyTorch is there already: the first cell of a notebook calls this in Colab.

python scripts/colab_install.py

PyTorch stays as it is: another one would take minutes and a restart. JupyterLab is left out, since Colab stands in for
it. Then the published weights are fetched. Only Python's own modules are used, for nothing else need be there yet.
"""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT, LEFT_OUT = ("torch", "torchvision"), ("jupyterlab",)


def packages(root: Path = ROOT) -> list[str]:
    """What pip is asked for: the versions of PyTorch that are here, and the course's other requirements."""
    wanted = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    asked = []
    for requirement in wanted:
        name = re.match(r"[\w.-]+", requirement)[0]
        if name in KEPT:
            asked.append(f"{name}=={metadata.version(name)}" if is_here(name) else requirement)
        elif name not in LEFT_OUT:
            asked.append(requirement)
    return asked


def is_here(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def main() -> int:
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    for command in ([*pip, *packages()], [*pip, "--no-deps", "-e", ROOT]):
        status = subprocess.run(command).returncode
        if status:
            print("The course could not be installed; what pip said is above.", file=sys.stderr)
            return status
    subprocess.run([sys.executable, "-m", "inception_lab.cli", "pretrained", "googlenet"], cwd=ROOT)
    return 0  # also without the weights, which it has said


if __name__ == "__main__":
    sys.exit(main())
