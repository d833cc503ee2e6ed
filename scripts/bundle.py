"""Write one archive with which a room without a network can install and use the course: `make bundle`.

python scripts/bundle.py                           build/inception-lab-bundle.zip
python scripts/bundle.py --wheels some/folder      wheels from a folder alone, without an index

In it are the course as git has it, without what is for teachers alone; in wheels/ every package that it needs, for the
system and the Python that run this; the published weights and the site, where they are here; and README-FIRST.txt.
"""

import argparse
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

from inception_lab import hub
from inception_lab.common import console, files
from inception_lab.common.checks import RunError

ROOT = Path(__file__).resolve().parent.parent
NAME = "inception-lab"  # of the folder that the archive unpacks to
FOR_TEACHERS = "teaching/"  # solutions of the exam
FIRST = """\
Inception Lab, for a computer without a network
===============================================

This was made for {system} and Python {python}. You need a Python {python} of your own, and {disk:.1f} GB of disk.

1. Unpack the archive, and in a terminal go to its folder {name}.
2. Install the course, once:

       python -m venv .venv
       {activate}
       python -m pip install --no-index --find-links wheels -c constraints.txt -e .

3. Open it. The last line is the address, where no browser opens by itself:

       inception-lab lab

{weights}
{site}
"""


def requirements(root: Path = ROOT) -> list[str]:
    """What an installation of the course asks for, and what builds it."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return [*project["project"]["dependencies"], *project["build-system"]["requires"], "editables"]


def collect_wheels(place: Path, source: Path | None, torch_index: str, root: Path = ROOT) -> None:
    """Put a wheel of every package into a folder. source: a folder to take them from; None: pip's index.

    Raises RunError where pip cannot get them.
    """
    # As this environment has it: PyTorch's build for processors is not in pip's index.
    if source is None and torch_index and metadata.version("torch").endswith("+cpu"):
        pip_wheel(place, root, ["--no-deps", "--index-url", torch_index, "torch", "torchvision"])
    index = ["--find-links", str(place)] if source is None else ["--no-index", "--find-links", str(source)]
    pip_wheel(place, root, [*index, *requirements(root)])


def pip_wheel(place: Path, root: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--wheel-dir", place, "-c", root / "constraints.txt", *arguments]
    if subprocess.run(command, cwd=root).returncode:
        raise RunError("pip could not get all packages; what it said is above")


def course_files(root: Path = ROOT) -> list[str]:
    """The files of the course, as git knows them. Raises RunError where the folder is no clone."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise RunError(f"a bundle is made from a clone of the course, and git does not know {root}")
    return [name for name in done.stdout.split("\0") if name and not name.startswith(FOR_TEACHERS)]


def contents(wheels: Path, root: Path = ROOT) -> dict[str, Path]:
    """What the archive holds: its name there → the file."""
    held = {name: root / name for name in course_files(root) if (root / name).is_file()}
    held |= {f"wheels/{path.name}": path for path in sorted(wheels.glob("*.whl"))}
    weights = hub.where()
    if weights is not None and weights.is_dir():
        weights = next(weights.glob("*.safetensors"), None)
    if weights is not None:
        held[f"weights/{weights.name}"] = weights
    site = root / "build" / "site" / "html"
    return held | {f"site/{path.relative_to(site).as_posix()}": path for path in site.rglob("*") if path.is_file()}


def first(held: dict[str, Path]) -> str:
    """The text of README-FIRST.txt."""
    return FIRST.format(
        name=NAME,
        system=f"{platform.system()} on {platform.machine()}",
        python=".".join(platform.python_version_tuple()[:2]),
        activate=r".venv\Scripts\activate" if sys.platform == "win32" else ". .venv/bin/activate",
        disk=4 * sum(path.stat().st_size for path in held.values()) / 1e9,  # wheels unpack to twice or three times
        weights="The published GoogLeNet's weights are in weights/ and are found by themselves."
        if any(name.startswith("weights/") for name in held)
        else "The published GoogLeNet's weights are not included: a recorded network of the course stands in.",
        site="To read without installing anything, open site/index.html."
        if any(name.startswith("site/") for name in held)
        else "The course as pages is not included (make site, before make bundle).",
    )


def write(out: Path, held: dict[str, Path]) -> None:
    """Write the archive, whole or not at all. Wheels, weights and pictures are packed already, so nothing is twice."""
    files.check_out(out)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        made = Path(folder) / out.name
        with zipfile.ZipFile(made, "w") as archive:
            archive.writestr(f"{NAME}/README-FIRST.txt", first(held))
            for name, path in held.items():
                packed = re.search(r"\.(whl|safetensors|jpg|png|npz|zip)$", name)
                archive.write(path, f"{NAME}/{name}", zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED)
        made.replace(out)


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="a folder of wheels, which goes before every index")
    parser.add_argument("--torch-index", default="", metavar="URL", help="where PyTorch's builds for processors are")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "inception-lab-bundle.zip", metavar="ZIP")
    options = parser.parse_args(arguments)
    if options.wheels is not None and not options.wheels.is_dir():
        raise ValueError(f"--wheels must be a folder, got {str(options.wheels)!r}")
    files.check_out(options.out, "--out")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out.parent) as folder:
        collect_wheels(Path(folder), options.wheels and options.wheels.resolve(), options.torch_index)
        held = contents(Path(folder))
        write(options.out, held)
    print(f"{options.out}: {len(held)} files, {options.out.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    sys.exit(console.run("bundle.py", main))
