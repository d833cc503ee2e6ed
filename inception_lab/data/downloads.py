"""Public image sets brought into a folder, whole or not at all.

A set is downloaded, checked and unpacked in a hidden folder beside its place, which it takes by one rename.
Whatever goes wrong, a half-written set is never found where a whole one is expected.
"""

import shutil
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.error import URLError

from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import calculate_md5, download_and_extract_archive

from inception_lab.common.checks import DataError
from inception_lab.data.images import printable

PARTIAL = ".partial-"
DAY, TIMEOUT = 24 * 3600, 60  # seconds: after which a partial folder is abandoned, a silent server given up


class Archive(NamedTuple):
    """A public archive: its address, its MD5, the folder that it unpacks to, and what is done with that."""

    url: str
    md5: str
    folder: str
    prepare: Callable[[Path], None] = lambda folder: None


def read_annotations(folder: Path) -> dict[str, str]:
    """The class of each image, from Tiny ImageNet's own `val_annotations.txt`; {} if the folder has none.

    Raises DataError for a line that is not an image and its class, and for one that leads out of the folder.
    """
    path, found = folder / "val_annotations.txt", {}
    for line in filter(str.strip, read_lines(path)):
        name, _, rest = line.partition("\t")
        label = rest.partition("\t")[0]
        if any(part in ("", "..") or part != Path(part).name for part in (name, label)):
            raise DataError(f"{printable(path)} has a line that is not an image and its class: {line[:80]!r}")
        found[name] = label
    return found


def read_lines(path: Path) -> list[str]:
    """The lines of a text file; none where there is no such file. Raises DataError for what is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else []
    except (OSError, ValueError) as error:
        raise DataError(f"{printable(path)} cannot be read as UTF-8 text: {error}") from error


def sort_validation(folder: Path) -> None:
    """Move Tiny ImageNet's validation images, which come in one folder, into a folder for each class."""
    for name, label in read_annotations(folder / "val").items():
        (folder / "val" / label).mkdir(exist_ok=True)
        (folder / "val" / "images" / name).rename(folder / "val" / label / name)
    (folder / "val" / "images").rmdir()
    (folder / "val" / "val_annotations.txt").unlink()


ARCHIVES = {
    "cifar10": Archive(CIFAR10.url, CIFAR10.tgz_md5, CIFAR10.base_folder),
    "tiny-imagenet": Archive(
        "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        "90528d7ca1a48142e341f4ef8d21d0de",
        "tiny-imagenet-200",
        sort_validation,
    ),
}


def fetch(name: str, root: Path, download: bool = True) -> Path:
    """The folder of a set of `ARCHIVES` in `root`, downloaded, checked and unpacked if it is not there.

    An archive that already lies in `root` is used in place of a download. Raises DataError where there is no
    network or no set and download=False, or where the archive is not the one that its checksum says.
    """
    archive, root = ARCHIVES[name], Path(root)
    target, by_hand = root / archive.folder, root / Path(archive.url).name
    advice = (
        f"To do without a download, get {archive.url} (MD5 {archive.md5}) in another way and put it into {root}, "
        f"or pass the path of a folder that holds the images of each class in a folder of their own"
    )
    if target.is_dir():
        return target
    if by_hand.is_file() and (found := calculate_md5(by_hand)) != archive.md5:
        raise DataError(
            f"{by_hand} is not the archive of {name}: its MD5 is {found} and should be {archive.md5}, so that the "
            "file is incomplete or another one. Delete it to download it again"
        )
    if not by_hand.is_file() and not download:
        raise DataError(f"{name} is not in {root}, and download is False. {advice}")
    try:
        _bring(archive, root, by_hand, target)
    except Exception as error:  # whatever the network, the disk or a decompressor raises
        if not target.is_dir():  # else another process was faster, and its copy is as good
            reason = _reason(error)
            raise DataError(
                f"{name} could not be brought to {root}: {reason}. Nothing is left there. {advice}"
            ) from error
    return target


def _bring(archive: Archive, root: Path, by_hand: Path, target: Path) -> None:
    """Fill a new folder in `root`, which is removed in the end; those that killed processes left are removed too."""
    root.mkdir(parents=True, exist_ok=True)
    for left in root.glob(f"{PARTIAL}*"):
        if time.time() - left.stat().st_mtime > DAY:
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=PARTIAL, dir=root, ignore_cleanup_errors=True) as partial, ExitStack() as after:
        after.callback(socket.setdefaulttimeout, socket.getdefaulttimeout())
        socket.setdefaulttimeout(TIMEOUT)
        if by_hand.is_file():
            shutil.copy(by_hand, partial)
        download_and_extract_archive(archive.url, partial, md5=archive.md5)
        made = Path(partial, archive.folder)
        archive.prepare(made)
        made.rename(target)


def _reason(error: Exception) -> str:
    if isinstance(error, RuntimeError) and "corrupted" in str(error):
        return "what came was incomplete or has another checksum"
    if isinstance(error, URLError):
        return f"the download failed ({error})"
    return f"{type(error).__name__}: {error}"
