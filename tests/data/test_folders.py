"""Files in class folders: which are images of which class, and what is broken is named before training."""

import io

import numpy as np
import pytest
from PIL import Image

from inception_lab.common.checks import DataError
from inception_lab.data.folders import Folder, find_broken

CROSS = np.zeros((6, 8, 3), np.uint8)  # different in every corner
CROSS[:3, :4], CROSS[:3, 4:], CROSS[3:, :4] = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(path, pixels=CROSS, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def tree(tmp_path):
    """Ten images each of two classes."""
    for name in ("ant", "bee"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        for i in range(10):
            save(tmp_path / "tree" / name / f"{i}.png")
    return tmp_path / "tree"


# --- broken files -------------------------------------------------------------------------------------------


@pytest.fixture
def broken_tree(tree):
    rng = np.random.default_rng(1)
    whole = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(whole, "JPEG")
    (tree / "ant" / "cut.jpg").write_bytes(whole.getvalue()[:-300])
    (tree / "ant" / "whole.jpg").write_bytes(whole.getvalue())
    (tree / "bee" / "empty.jpg").touch()
    (tree / "bee" / "page.jpg").write_text("<html>404</html>")
    (tree / "bee" / "cut.png").write_bytes((tree / "bee" / "0.png").read_bytes()[:-40])
    (tree / "bee" / "gone.jpg").symlink_to(tree / "nowhere.jpg")
    Image.fromarray(np.ones((4, 4), np.float32)).save(tree / "bee" / "float.tif")
    (tree / "bee" / "notes.txt").write_text("no image, and not taken for one")
    (tree / "bee" / "._0.png").write_text("a file system's own, and not taken for one")
    return tree


BROKEN = {"cut.jpg", "empty.jpg", "page.jpg", "cut.png", "gone.jpg", "float.tif"}


def test_broken_files_are_listed_with_reasons_before_training(broken_tree):
    with pytest.raises(DataError) as refusal:
        Folder(broken_tree, val_share=0.01)
    message = str(refusal.value)
    assert "6 of 25 files" in message and "skip_broken=True" in message
    for words in ("ant/cut.jpg (image file is truncated", "bee/empty.jpg (empty)", "bee/page.jpg (cannot identify"):
        assert words in message
    assert all(name in message for name in BROKEN) and "whole.jpg" not in message


def test_broken_files_are_left_out_when_asked(broken_tree):
    data = Folder(broken_tree, val_share=0.01, skip_broken=True)
    assert {path.name for path in data.broken} == BROKEN
    assert len(list(data)) == len(data) == 19


def test_a_long_list_is_cut_and_still_counted(tree):
    for i in range(15):
        (tree / "ant" / f"empty{i:02}.jpg").touch()
    with pytest.raises(DataError, match=r"1\d of \d+ files .* and \d more\. Replace"):
        Folder(tree)


def test_leaving_out_moves_no_file_to_the_other_split(broken_tree):
    val = {p for p, _ in Folder(broken_tree, "val", skip_broken=True).samples}
    for name in BROKEN:
        for path in broken_tree.rglob(name):
            path.unlink()
            path.write_bytes((broken_tree / "ant" / "0.png").read_bytes())
    assert val <= {p for p, _ in Folder(broken_tree, "val").samples}


def test_a_scan_is_remembered_until_a_file_changes(broken_tree, tmp_path, monkeypatch):
    paths = sorted(p for p in broken_tree.rglob("*.*") if p.suffix in (".jpg", ".png", ".tif"))
    first = find_broken(paths, tmp_path / "scans")
    monkeypatch.setattr("inception_lab.data.folders._why_broken", lambda path: "looked at again")
    assert find_broken(paths, tmp_path / "scans") == first and len(first) == 7  # with the ._ file
    (broken_tree / "ant" / "whole.jpg").write_bytes(b"short")
    assert set(find_broken(paths, tmp_path / "scans").values()) == {"looked at again"}
