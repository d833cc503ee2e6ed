"""Files that are written as a whole or not at all, and where the course's data lie."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from inception_lab.common.checks import RunError

PACKAGE = Path(__file__).resolve().parents[1]
IN_CHECKOUT = (PACKAGE.parent / "pyproject.toml").is_file()
LONGEST = 255  # bytes of a name, on all usual file systems


def check_out(path: str | Path, name: str = "out", *, folder: bool = False) -> Path:
    """The path, where a file (or a folder) can be written; else ValueError, naming the argument, before any work.

    Nothing is made there: a file without a name is tried in the nearest folder that exists.
    """
    path, kind = Path(path), "folder" if folder else "file"
    try:
        if os.path.lexists(path) and path.is_dir() != folder:  # a link to nothing is no folder either
            raise ValueError(f"{name} must be a {kind}, got {str(path)!r}")
        if any(len(os.fsencode(part)) > LONGEST for part in path.parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        place = path if folder else path.parent
        while not place.exists():
            place = place.parent
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise ValueError(
            f"{name} must be a {kind} that can be written, got {str(path)!r} ({error.strerror})"
        ) from error
    return path


def write(path: Path, content: bytes, previous: Path | None = None) -> None:
    """Put a file in place as a whole, so that a reader finds the old content or the new one, whenever we are killed.

    Its folder is made. previous: where the old file is kept. Raises RunError where it cannot be written, such as on a
    full disk.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # before the name: else a power cut could leave the name with no content
        if previous and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise RunError(
            f"{path} could not be written ({error.strerror}); what was there before is still there"
        ) from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which is put in place at the end, so that it is there as a whole or not at all.

    It is built in a folder `.partial` beside it. What a killed process left there is cleared away, and an older folder
    at `path` gives way in the last moment. Raises RunError where something cannot be written.
    """
    partial, old = path.parent / ".partial" / path.name, path.parent / ".partial" / f"{path.name}.old"
    try:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if path.exists():
            os.replace(path, old)
        os.replace(partial, path)
        _sync(path.parent)
    except OSError as error:
        raise RunError(f"{path} could not be written ({error.strerror})") from error
    finally:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)
        with suppress(OSError):  # another process builds there
            partial.parent.rmdir()


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that (Windows and some drives cannot)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


# --- where data lie -----------------------------------------------------------------------------------------


def data_folder() -> Path:
    """The folder `data` that is written to: the checkout's, or the working folder's for an installed wheel."""
    return (PACKAGE.parent if IN_CHECKOUT else Path.cwd()) / "data"


def cache() -> Path:
    """Where downloads live: data/cache."""
    return data_folder() / "cache"


def recorded(*parts: str) -> Path:
    """A file or folder of recorded data, such as ("runs", "shapes-laptop"), whether it is there or not.

    What lies in `data_folder()` goes before the copy of the course's `data` that an installed wheel holds.
    """
    own = data_folder().joinpath(*parts)
    return own if own.exists() or IN_CHECKOUT else (PACKAGE / "recorded").joinpath(*parts)


def all_recorded(folder: str, pattern: str) -> list[Path]:
    """Every file of that pattern in a folder of recorded data, such as ("runs", "*/metrics.json"), sorted by name.

    First come those in `data_folder()`, then the copies in an installed wheel that none of them goes before.
    """
    found: dict[Path, Path] = {}
    for place in (data_folder() / folder, PACKAGE / "recorded" / folder):  # a checkout has the first alone
        for path in sorted(place.glob(pattern)):
            found.setdefault(path.relative_to(place), path)
    return list(found.values())


def between(path: Path, begin: str, end: str, text: str) -> str:
    """What a text file holds, with another text between two marks. Raises ValueError where a mark is missing."""
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"{path} must hold the marks {begin!r} and {end!r}")
    return f"{before}{begin}\n\n{text}\n{end}{after}"
