"""Files in class folders: which are images of which class, and what is broken is named before training."""

import io
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from inception_lab.common.checks import DataError
from inception_lab.data import in_memory, load
from inception_lab.data.folders import Folder, find_broken, find_samples
from inception_lab.data.pictures import read_rgb

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


def test_a_file_that_breaks_after_the_scan_is_named(tree):
    data = Folder(tree, size=8)
    path = data.samples[2][0]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=rf"{path.name} cannot be read as an image \(.*"):
        data[2]
    with pytest.raises(DataError, match=rf"^{path} cannot be read as an image \(.*\)$"):  # from a worker process, too
        in_memory(data, workers=1)


def test_a_broken_file_of_an_unpacked_tier_is_named(tree, tmp_path):
    for split in ("train", "val"):
        (tmp_path / "cache" / "tiny-imagenet-200").mkdir(parents=True, exist_ok=True)
        shutil.copytree(tree, tmp_path / "cache" / "tiny-imagenet-200" / split)
    (tmp_path / "cache" / "tiny-imagenet-200" / "val" / "bee" / "3.png").write_text("<html>404</html>")
    with pytest.raises(DataError, match=r"val/bee/3.png cannot be read as an image \(cannot identify image file"):
        in_memory(load("tiny-imagenet", "val", root=tmp_path / "cache"))


def test_a_scan_follows_links(tree, tmp_path):
    link, target = tree / "ant" / "link.png", tmp_path / "target.png"
    link.symlink_to(target)
    scans = tmp_path / "scans"
    assert "No such file" in find_broken([link], scans)[link]
    save(target)
    assert find_broken([link], scans) == {}
    target.write_bytes(target.read_bytes()[:-40])
    assert set(find_broken([link], scans)) == {link}


@pytest.mark.parametrize("damage", ["", "{", "[]", "7", '{"/no/such/file": "x"}', '{"FILE": 1}', b"\xff\xfe\x00", None])
def test_a_damaged_record_is_made_anew(tree, tmp_path, damage):
    broken = tree / "ant" / "broken.png"
    broken.touch()
    assert find_broken([broken], tmp_path / "scans") == {broken: "empty"}
    (record,) = (tmp_path / "scans").iterdir()
    if damage is None:
        record.unlink()
        record.mkdir()
    else:
        record.write_bytes(damage.replace("FILE", str(broken)).encode() if isinstance(damage, str) else damage)
    assert find_broken([broken], tmp_path / "scans") == {broken: "empty"}
    if damage is not None:
        assert json.loads(record.read_text()) == {str(broken): "empty"}


# --- links --------------------------------------------------------------------------------------------------


def both(root, **options):
    """The classes, and the images of train and of val."""
    train, val = (find_samples(root, split, **options) for split in ("train", "val"))
    assert train[0] == val[0]
    return train[0], train[1], val[1]


@pytest.mark.parametrize(
    "link, target",
    [
        ("ant/up", ""),
        ("ant/up", ".."),
        ("ant/itself", "ant"),
        ("ant/bee", "bee"),
        ("bee/ant", "ant"),
        ("ant/file.png", "ant/0.png"),
        ("ant/file.png", "bee/0.png"),
        ("bee/file.png", "ant/0.png"),
        ("self", ""),
        ("above", ".."),
    ],
)
def test_no_link_multiplies_images(tree, link, target):
    before = both(tree)
    for name in (link, link.replace(".png", "2.png") if "." in link else link + "2"):
        (tree / name).symlink_to(tree / target)
    assert both(tree) == before


def test_links_in_a_split_folder_lead_to_no_other_split(tree):
    for split in ("train", "val"):
        shutil.copytree(tree, tree.parent / "splits" / split)
    (tree.parent / "splits" / "train" / "ant" / "up").symlink_to(tree.parent / "splits")
    (tree.parent / "splits" / "train" / "ant" / "train").symlink_to(tree.parent / "splits" / "train")
    classes, train, val = both(tree.parent / "splits")
    assert (classes, len(train), len(val)) == (["ant", "bee"], 20, 20)
    assert all(path.parent.name == classes[label] and path.parents[1].name == "train" for path, label in train)


def test_links_to_images_elsewhere_are_followed(tree, tmp_path):
    (tmp_path / "linked" / "ant").mkdir(parents=True)
    (tmp_path / "linked" / "bee").symlink_to(tree / "bee")
    for i in range(3):
        (tmp_path / "linked" / "ant" / f"{i}.png").symlink_to(tree / "ant" / f"{i}.png")
    classes, train, val = both(tmp_path / "linked")
    assert (classes, len(train) + len(val)) == (["ant", "bee"], 13)


def test_a_class_that_is_a_link_to_another_is_refused(tree):
    (tree / "cat").symlink_to(tree / "bee")
    with pytest.raises(DataError, match="tree: cat has only links to images of other classes"):
        Folder(tree)


# --- what is a class ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["__MACOSX", ".hidden", "ant/.ipynb_checkpoints", "ant/deep/.git", "bee/__MACOSX", "bee/@eaDir"]
)
def test_what_a_system_puts_there_is_no_class(tree, place):
    before = both(tree)
    (tree / place / "below").mkdir(parents=True)
    for name in ("image.png", "below/image.png"):
        save(tree / place / name)
    assert both(tree) == before


@pytest.mark.parametrize(
    "files",
    [
        ["run/recipe.json"],
        ["run/metrics.json", "run/mistakes.webp"],
        ["runs/one/recipe.json", "runs/one/predictions/0.json", "runs/studies/heads/none-0/recipe.json"],
        ["page/data/run.js", "page/images/conv1.webp"],
    ],
)
def test_what_the_course_made_is_no_class(tree, files):
    before = both(tree)
    for name in files:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes((tree / "ant" / "0.png").read_bytes())
    assert both(tree) == before


@pytest.mark.parametrize("name", ["recipe.json", "metrics.json"])
@pytest.mark.parametrize("place", ["", "below/"])
def test_a_note_beside_photographs_makes_no_run_folder(tree, name, place):
    (tree / "pie" / place).mkdir(parents=True)
    for i in range(4):
        save(tree / "pie" / f"{place}{i}.png")
    (tree / "pie" / name).write_text('{"name": "apple pie", "minutes": 40}')
    classes, train, val = both(tree)
    assert classes == ["ant", "bee", "pie"] and sum(path.name.endswith("png") for path, _ in train + val) == 24


def test_a_figure_that_somebody_puts_into_a_run_folder_makes_no_class_of_it(tree):
    before = both(tree)
    (tree / "runs" / "one").mkdir(parents=True)
    for name in ("recipe.json", "environment.json"):
        (tree / "runs" / "one" / name).write_text("{}")
    save(tree / "runs" / "one" / "curve.png")
    assert both(tree) == before


def test_the_folder_of_the_courses_data_is_no_class(tree, monkeypatch):
    before = both(tree)
    monkeypatch.setattr("inception_lab.common.files.data_folder", lambda: tree / "data")
    (tree / "data" / "cache" / "scans").mkdir(parents=True)
    (tree / "data" / "cache" / "scans" / "0.json").write_text("{}")
    assert both(tree) == before


@pytest.mark.parametrize("split", ["", "train"])
@pytest.mark.parametrize("name", ["wasp/", "wasp/deep/", "wasp/notes.txt", "wasp/photograph.heic"])
def test_a_class_without_images_is_named_and_refused(tree, split, name):
    if split:
        tree = tree.rename(tree.parent / split).parent
        shutil.copytree(tree / split, tree / "val")
    path = tree / split / name
    (path if name.endswith("/") else path.parent).mkdir(parents=True)
    if not name.endswith("/"):
        path.write_text("no image")
    for wanted in ("train", "val"):
        with pytest.raises(DataError, match="has no readable image in wasp"):
            Folder(tree, wanted)


# --- the names of splits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", ["train", "Train", "TRAIN", "training"])
@pytest.mark.parametrize("val", ["val", "Val", "valid", "Validation"])
def test_splits_have_their_usual_names_in_any_case(tree, train, val):
    root = tree.parent / "splits"
    for name in (train, val, "Testing"):
        shutil.copytree(tree, root / name)
    for split, name in (("train", train), ("val", val), ("test", "Testing")):
        data = Folder(root, split)
        assert data.classes == ["ant", "bee"] and len(data) == 20
        assert {path.parents[1].name for path, _ in data.samples} == {name}


def test_a_link_to_run_folders_is_no_class(tree, tmp_path):
    before = both(tree)
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "runs" / "one" / "recipe.json").write_text("{}")
    (tree / "runs").symlink_to(tmp_path / "runs")
    assert both(tree) == before


def test_two_folders_for_one_split_are_refused(tree):
    for name in ("train", "valid", "validation"):
        shutil.copytree(tree, tree.parent / "splits" / name)
    with pytest.raises(DataError, match="several folders for the split 'val': valid, validation"):
        Folder(tree.parent / "splits")


def test_a_class_may_be_called_valid(tree):
    for name in ("valid", "invalid"):
        shutil.copytree(tree, tree.parent / "documents" / name)
    assert Folder(tree.parent / "documents").classes == ["invalid", "valid"]


# --- which files are images ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".gif", ".jfif", ".jpe", ".avif", ".tga", ".jp2", ".pcx", ".GIF", ".Jfif"])
def test_every_suffix_that_pillow_reads_is_an_image(tree, suffix):
    save(tree / "ant" / f"new{suffix}")
    _, train, val = both(tree)
    assert sum(path.suffix == suffix for path, _ in train + val) == 1 and len(train + val) == 21
    assert read_rgb(tree / "ant" / f"new{suffix}").size == (8, 6)


@pytest.mark.parametrize("name", ["photograph", "photograph.jpg?width=300", "photograph.png_large", "1.0"])
def test_an_image_is_known_by_its_content_where_its_suffix_is_none(tree, name):
    (tree / "ant" / name).write_bytes((tree / "ant" / "0.png").read_bytes())
    _, train, val = both(tree)
    assert name in {path.name for path, _ in train + val}


def test_files_that_pillow_does_not_read_are_listed(tree):
    for i in range(12):
        (tree / "ant" / f"{i}.heic").write_text("no image")
    os.mkfifo(tree / "bee" / "pipe")
    (tree / "bee" / "annotations.xml").write_text("<annotation/>")
    (tree / "bee" / "film.mpg").write_bytes(b"\0\0\1\xb3" + bytes(20))
    with pytest.warns(UserWarning, match="tree: Pillow reads no image in ant/0.heic, .* and 4 more; passed over"):
        assert len(Folder(tree)) == 18


# --- names --------------------------------------------------------------------------------------------------


def test_a_name_that_is_not_utf8_is_read_and_printed_with_escapes(tree, capsys):
    folder = os.fsencode(tree) + b"/caf\xe9"
    os.mkdir(folder)
    for name in (b"gr\xfcn.png", b"new\nline.png", b"\x1b[31mred.png"):
        with open(folder + b"/" + name, "wb") as file:
            file.write((tree / "ant" / "0.png").read_bytes())
    data = Folder(tree)
    assert data.classes == ["ant", "bee", r"caf\udce9"] and len(list(data)) == 20
    print(data.classes[2])
    for name in os.listdir(folder):
        open(folder + b"/" + name, "wb").close()
    message = ""
    for split in ("train", "val"):
        with pytest.raises(DataError) as refusal:
            Folder(tree, split)
        message += str(refusal.value)
    assert message.isprintable()
    assert all(
        rf"caf\udce9/{name} (empty)" in message for name in (r"gr\udcfcn.png", r"new\nline.png", r"\x1b[31mred.png")
    )


@pytest.mark.parametrize("content", [b"ant\tFormica\nbee\tabeille dor\xe9e\n", "ant\tx\n".encode("utf-16")])
def test_words_that_are_not_utf8_are_told_with_the_file(tree, content):
    (tree / "words.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"tree/words.txt cannot be read as UTF-8 text: 'utf-8' codec"):
        Folder(tree)
    (tree / "words.txt").write_text("ant\tFörmica, ant\n", encoding="utf-8-sig")
    assert Folder(tree).classes == ["Förmica", "bee"]
