"""Downloads: whole or not at all, from a server on this machine and archives made here. The network is not used."""

import errno
import hashlib
import http.server
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from inception_lab.common.checks import DataError
from inception_lab.data import downloads
from inception_lab.data.datasets import load
from inception_lab.data.downloads import ARCHIVES, fetch

NAME = "tiny-imagenet-200"
NOBODY_LISTENS = f"http://127.0.0.1:9/{NAME}.zip"


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def archive(tmp_path):
    """An archive laid out as Tiny ImageNet's, with two classes of three training and two validation images."""
    folder = tmp_path / "source" / NAME
    rng = np.random.default_rng(0)
    annotations = []
    for number, name in enumerate(["n01", "n02"]):
        (folder / "train" / name / "images").mkdir(parents=True)
        (folder / "val" / "images").mkdir(parents=True, exist_ok=True)
        (folder / "train" / name / f"{name}_boxes.txt").write_text("0 0 9 9")
        for i in range(3):
            pixels = rng.integers(0, 255, (64, 64, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "train" / name / "images" / f"{name}_{i}.JPEG")
        for i in range(2):
            Image.fromarray(pixels).save(folder / "val" / "images" / f"val_{2 * i + number}.JPEG")
            annotations.append(f"val_{2 * i + number}.JPEG\t{name}\t0\t0\t9\t9\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(annotations))
    (folder / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\tbullfrog\nn03\tnewt\n")
    path = tmp_path / "source" / f"{NAME}.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for file in sorted(folder.rglob("*")):
            packed.write(file, file.relative_to(folder.parent))
    return path


@pytest.fixture
def server(tmp_path):
    """Serves tmp_path/source/FILE: /whole/FILE, /cut/FILE half, /stalled/FILE half and then nothing, else 404."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            kind, name = self.path.split("/")[1:]
            content = (tmp_path / "source" / name).read_bytes()
            found = kind in ("whole", "cut", "stalled")
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET" and found:
                self.wfile.write(content if kind == "whole" else content[: len(content) // 2])
                self.wfile.flush()
                if kind == "stalled":
                    time.sleep(20)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving.daemon_threads = True
    threading.Thread(target=serving.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()


@pytest.fixture
def published(monkeypatch, archive, server):
    """A function that publishes the made archive as Tiny ImageNet, to be served in one of the server's ways."""

    def publish(kind="whole", **change):
        change = {"url": f"{server}/{kind}/{NAME}.zip", "md5": md5(archive)} | change
        monkeypatch.setitem(ARCHIVES, "tiny-imagenet", ARCHIVES["tiny-imagenet"]._replace(**change))

    return publish


def test_the_checksums_are_the_published_ones():
    assert ARCHIVES["tiny-imagenet"].url == "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    assert ARCHIVES["tiny-imagenet"].md5 == "90528d7ca1a48142e341f4ef8d21d0de"
    assert ARCHIVES["cifar10"].md5 == "c58f30108f718f92721af3b95e74349a"


def test_tiny_imagenet_is_downloaded_once_and_its_validation_images_sorted(published, tmp_path):
    published()
    root = tmp_path / "made" / "cache"
    train, val = (load("tiny-imagenet", split, root=root) for split in ("train", "val"))
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1] and val.labels.tolist() == [0, 0, 1, 1]
    assert [path.name for path, _ in val.samples] == ["val_0.JPEG", "val_2.JPEG", "val_1.JPEG", "val_3.JPEG"]
    assert train.folders == ["n01", "n02"] and train.classes == ["goldfish", "bullfrog"]
    assert train[0][0].shape == (3, 64, 64)
    assert [path.name for path in root.iterdir()] == [NAME]
    assert [path.name for path in (root / NAME / "val").iterdir() if not path.is_dir()] == []
    published(url=NOBODY_LISTENS)
    assert len(load("tiny-imagenet", "val", root=root)) == 4


def test_the_archive_as_it_comes_is_understood_without_sorting(archive, tmp_path):
    val = load(archive.parent / NAME, "val", root=tmp_path)
    assert val.labels.tolist() == [0, 1, 0, 1] and val.classes == ["goldfish", "bullfrog"]


@pytest.mark.parametrize(
    "line",
    [
        "val_0.JPEG\t../../escaped",
        "val_0.JPEG\t/escaped",
        "val_0.JPEG\t..",
        "../../val_0.JPEG\tn01",
        "val_0.JPEG",
        "\tn01\t0",
        "val_0.JPEG\tn01/n02",
    ],
)
def test_a_label_that_leads_out_of_the_folder_is_refused(archive, tmp_path, line):
    folder = archive.parent / NAME
    before = sorted(tmp_path.rglob("*"))
    (folder / "val" / "val_annotations.txt").write_text(f"\n{line}\n")
    for work in (lambda: downloads.sort_validation(folder), lambda: load(folder, "val", root=tmp_path)):
        with pytest.raises(DataError, match="val_annotations.txt has a line that is not an image and its class: "):
            work()
    assert sorted(tmp_path.rglob("*")) == before


def test_annotations_that_are_not_utf8_are_told_with_the_file(archive, tmp_path):
    (archive.parent / NAME / "val" / "val_annotations.txt").write_bytes(b"val_\xe9.JPEG\tn01\n")
    with pytest.raises(DataError, match="val_annotations.txt cannot be read as UTF-8 text"):
        load(archive.parent / NAME, "val", root=tmp_path)


@pytest.mark.parametrize(
    "kind, reason",
    [("cut", "incomplete or has another checksum"), ("missing", "the download failed .*404")],
)
def test_a_broken_download_leaves_nothing_and_says_what_to_do(published, tmp_path, kind, reason):
    published(kind)
    with pytest.raises(DataError, match=f"{reason}.*Nothing is left there.*put it into .*cache") as refusal:
        load("tiny-imagenet", root=tmp_path / "cache")
    assert ARCHIVES["tiny-imagenet"].md5 in str(refusal.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_wrong_checksum_is_refused(published, tmp_path):
    published(md5="0" * 32)
    with pytest.raises(DataError, match="another checksum"):
        fetch("tiny-imagenet", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_network_the_error_says_so(published, tmp_path):
    published(url=NOBODY_LISTENS)
    with pytest.raises(DataError, match="the download failed .*To do without a download, get http://127.0.0.1:9"):
        fetch("tiny-imagenet", tmp_path)
    with pytest.raises(DataError, match="download is False"):
        fetch("tiny-imagenet", tmp_path, download=False)
    assert not list(tmp_path.glob(f"{NAME}*")) and not list(tmp_path.glob(".*"))


def test_a_silent_server_is_given_up(published, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.5)
    published("stalled")
    start = time.monotonic()
    with pytest.raises(DataError, match="timed out"):
        fetch("tiny-imagenet", tmp_path / "cache")
    assert time.monotonic() - start < 10 and list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    "stop, error",
    [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.ENOSPC, "No space left on device"), DataError)],
)
def test_a_stop_while_unpacking_leaves_nothing(published, tmp_path, stop, error):
    def prepare(folder):
        assert (folder / "train").is_dir()
        raise stop

    published(prepare=prepare)
    with pytest.raises(error, match="No space left" if error is DataError else None):
        fetch("tiny-imagenet", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_killed_download_is_not_taken_for_the_set_and_swept_later(server, published, archive, tmp_path):
    cache = tmp_path / "cache"
    program = f"""
from inception_lab.data import downloads
one = downloads.ARCHIVES["tiny-imagenet"]._replace(url="{server}/stalled/{NAME}.zip")
downloads.ARCHIVES["tiny-imagenet"] = one
downloads.fetch("tiny-imagenet", {str(cache)!r})
"""
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    while not list(cache.glob(f".*/{NAME}.zip")):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (left,) = cache.iterdir()
    published()
    assert len(load("tiny-imagenet", "val", root=cache)) == 4
    assert left.is_dir()  # it might be another process at work
    os.utime(left, (time.time() - 2 * downloads.DAY,) * 2)
    (cache / NAME).rename(tmp_path / "aside")
    fetch("tiny-imagenet", cache)
    assert [path.name for path in cache.iterdir()] == [NAME]


def test_an_archive_put_there_by_hand_is_used_if_it_is_the_right_one(archive, published, tmp_path):
    published(url=NOBODY_LISTENS)
    by_hand = tmp_path / archive.name
    by_hand.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"200.zip is not the archive of tiny-imagenet: its MD5 is .*Delete it"):
        fetch("tiny-imagenet", tmp_path)
    assert by_hand.is_file() and not (tmp_path / NAME).exists()
    by_hand.write_bytes(archive.read_bytes())
    assert len(load("tiny-imagenet", "val", root=tmp_path, download=False)) == 4
    assert by_hand.is_file()


# --- CIFAR-10 -----------------------------------------------------------------------------------------------


@pytest.fixture
def cifar(tmp_path, monkeypatch, server):
    """A set as torchvision downloads it, of 3 images a file, published in place of CIFAR-10. Returns its images."""
    folder = tmp_path / "source" / CIFAR10.base_folder
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 3072), np.uint8)
    files = [name for name, _ in CIFAR10.train_list + CIFAR10.test_list]
    for number, name in enumerate(files):
        (folder / name).write_bytes(pickle.dumps({"data": pixels[number], "labels": [0, 1, number]}))
    names = [f"class {i}" for i in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    path = tmp_path / "source" / CIFAR10.filename
    with tarfile.open(path, "w:gz") as packed:
        packed.add(folder, CIFAR10.base_folder)
    sums = [[name, md5(folder / name)] for name in files]
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": md5(folder / "batches.meta")})
    change = {"url": f"{server}/whole/{CIFAR10.filename}", "md5": md5(path)}
    monkeypatch.setitem(ARCHIVES, "cifar10", ARCHIVES["cifar10"]._replace(**change))
    return torch.from_numpy(pixels.reshape(6, 3, 3, 32, 32))


def test_cifar10_is_downloaded_by_name_and_read_from_a_folder(cifar, tmp_path):
    train = load("cifar10", root=tmp_path / "cache")
    assert torch.equal(train.images, cifar[:5].flatten(0, 1))
    assert train.labels.tolist() == [0, 1, 0, 0, 1, 1, 0, 1, 2, 0, 1, 3, 0, 1, 4]
    assert train.classes[9] == "class 9" and train.mean == (0.4914, 0.4822, 0.4465)
    for split in ("val", "test"):
        assert torch.equal(load(tmp_path / "cache", split).images, cifar[5])
    assert load("cifar10", size=8, length=4, root=tmp_path / "cache")[3][0].shape == (3, 8, 8)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [CIFAR10.base_folder]


def test_a_damaged_cifar10_is_named(cifar, tmp_path):
    fetch("cifar10", tmp_path / "cache")
    damaged = Path(tmp_path / "cache" / CIFAR10.base_folder / "data_batch_3")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(DataError, match="cifar-10-batches-py is not the CIFAR-10 that torchvision expects: delete it"):
        load("cifar10", root=tmp_path / "cache")
