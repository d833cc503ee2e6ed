"""Files that are written as a whole or not at all, and where the course's data lie."""

import os
from contextlib import suppress
from pathlib import Path

from inception_lab.common.checks import RunError

PACKAGE = Path(__file__).resolve().parents[1]
IN_CHECKOUT = (PACKAGE.parent / "pyproject.toml").is_file()


def write(path: Path, content: bytes, previous: Path | None = None) -> None:
    """Put a file in place as a whole, so that a reader finds the old content or the new one, whenever we are killed.

    previous: where the old file is kept. Raises RunError where it cannot be written, such as on a full disk.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
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


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that (Windows cannot)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
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
