"""One interface to every tier, and which images are whose."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from inception_lab.common.checks import DataError
from inception_lab.common.files import cache
from inception_lab.data.datasets import Part, in_memory, load
from inception_lab.data.folders import IMAGENET_MEAN, Folder, find_samples


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def make_tree(root, classes=("ant", "bee"), count=10, splits=("",)):
    rng = np.random.default_rng(0)
    for split in splits:
        for name in classes:
            for i in range(count):
                save(root / split / name / f"{i}.png", rng.integers(0, 255, (8, 8, 3), np.uint8))
    return root


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path / "tree")


# --- the interface ------------------------------------------------------------------------------------------


def test_shapes_are_a_tier():
    data, val = load("shapes", size=16, length=30, seed=2), load("shapes", "val")
    assert data[3][0].shape == (3, 16, 16) and len(data) == 30 and data.seed == 2
    assert (len(val), val.size, val.split) == (2000, 64, "val")


def test_a_folder_gives_images_classes_and_what_to_normalize_with(tree, tmp_path):
    data = load(tree, root=tmp_path)
    image, label = data[0]
    assert image.dtype == torch.uint8 and image.shape == (3, 8, 8) and label == 0
    assert torch.equal(image, torch.from_numpy(np.array(Image.open(data.samples[0][0]))).permute(2, 0, 1))
    assert data.classes == ["ant", "bee"] and data.mean == IMAGENET_MEAN
    assert data.labels.bincount().tolist() == [9, 9]


def test_size_scales_and_crops_the_center(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    save(tmp_path / "a" / "wide.png", wide)
    save(tmp_path / "a" / "tall.png", wide.transpose(1, 0, 2))
    for image, _ in Folder(tmp_path, size=10):
        assert image.shape == (3, 10, 10) and image.min() == 200
    assert Folder(tmp_path, size=20)[0][0].shape == (3, 20, 20)


def test_length_chooses_the_same_images_again(tree, tmp_path):
    chosen = load(tree, length=7, seed=5, root=tmp_path)
    again = load(tree, length=7, seed=5, root=tmp_path)
    assert len(chosen) == 7 and chosen.indices == again.indices == sorted(set(chosen.indices))
    assert torch.equal(chosen[4][0], load(tree, seed=5, root=tmp_path)[chosen.indices[4]][0])
    with pytest.raises(ValueError, match="length must be at most 18, which is what .* has for train, got 19"):
        load(tree, length=19, root=tmp_path)


def test_a_set_held_in_memory_is_the_same_set(tree, tmp_path):
    data = load(tree, root=tmp_path)
    held = in_memory(data)
    assert held.images.dtype == torch.uint8 and held.classes == data.classes
    for i, (image, label) in enumerate(data):
        assert torch.equal(held[i][0], image) and held[i][1] == label
    shapes = load("shapes", size=16, length=10)
    assert torch.equal(in_memory(shapes).images[9], shapes[9][0])
    assert in_memory(held) is held


def test_images_of_two_sizes_are_not_held_in_memory_without_a_size(tmp_path):
    make_tree(tmp_path, classes=["a"], count=3)
    save(tmp_path / "a" / "3.png", np.zeros((6, 8, 3), np.uint8))
    save(tmp_path / "a" / "4.png", np.zeros((4, 8, 3), np.uint8))
    with pytest.raises(DataError, match="differ in size .8×8 and [46]×8 pixels.: pass size= to load"):
        in_memory(Folder(tmp_path))
    assert in_memory(Folder(tmp_path, size=4)).images.shape == (4, 3, 4, 4)


def test_a_part_transforms_images_and_keeps_the_rest(tree, tmp_path):
    data = load(tree, root=tmp_path)
    part = Part(data, [3, 1], transform=lambda image: 255 - image)
    assert len(part) == 2 and part.classes == data.classes and part[1][1] == data[1][1]
    assert torch.equal(part[1][0], 255 - data[1][0])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"name_or_path": "cifar-10"},
            "name_or_path must be one of 'shapes', .*folder, got 'cifar-10'; did you mean 'cifar10'",
        ),
        ({"name_or_path": "no/such/folder"}, "or an existing folder, got 'no/such/folder'$"),
        ({"split": "training"}, "split must be one of 'train', 'val', 'test', got 'training'"),
        ({"size": 0}, "size must be a whole number of at least 1, got 0"),
        ({"length": 1.5}, "length must be a whole number of at least 1, got 1.5"),
        ({"name_or_path": "tiny-imagenet", "split": "test"}, "no labels for its test images"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(**{"name_or_path": "shapes"} | arguments)


def test_downloads_live_where_git_does_not_look():
    assert cache().parts[-2:] == ("data", "cache")
    assert "/data/cache/" in (cache().parents[1] / ".gitignore").read_text().splitlines()


# --- splits -------------------------------------------------------------------------------------------------


def test_one_tree_is_split_by_class_and_name_alone(tree, tmp_path):
    everything = {(path, int(path.parent.name == "bee")) for path in tree.rglob("*.png")}
    parts = {split: load(tree, split, val_share=0.3, seed=1, root=tmp_path).samples for split in ("train", "val")}
    assert [label for _, label in parts["val"]] == [0] * 3 + [1] * 3
    assert set(parts["train"]) | set(parts["val"]) == everything
    assert not set(parts["train"]) & set(parts["val"])
    elsewhere = load(tree.rename(tmp_path / "moved"), "val", val_share=0.3, seed=1, root=tmp_path).samples
    assert [p.name for p, _ in elsewhere] == [p.name for p, _ in parts["val"]]
    assert [p.name for p, _ in elsewhere] == ["1.png", "3.png", "8.png", "1.png", "2.png", "5.png"]


def test_another_seed_gives_another_split(tree):
    assert find_samples(tree, "val", 0.3, seed=0)[1] != find_samples(tree, "val", 0.3, seed=1)[1]


def test_split_folders_are_taken_as_they_are(tmp_path):
    make_tree(tmp_path, count=4, splits=("train", "val", "test"))
    (tmp_path / "val" / "ant" / "0.png").unlink()
    assert [len(Folder(tmp_path, split)) for split in ("train", "val", "test")] == [8, 7, 8]
    (tmp_path / "val" / "ant").rename(tmp_path / "val" / "wasp")
    with pytest.raises(DataError, match="val has folders for classes that train does not have: wasp"):
        Folder(tmp_path, "val")


def test_labels_come_from_train_where_a_split_lacks_a_class(tmp_path):
    make_tree(tmp_path, count=2, splits=("train",))
    make_tree(tmp_path, classes=["bee"], count=2, splits=("val",))
    assert Folder(tmp_path, "val").labels.tolist() == [1, 1]
    assert Folder(tmp_path, "val").classes == ["ant", "bee"]


def test_a_tree_without_val_gives_part_of_train(tmp_path):
    make_tree(tmp_path, splits=("train", "test"))
    train, val, test = ({p for p, _ in Folder(tmp_path, s).samples} for s in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (18, 2, 20) and not train & val


def test_a_class_called_train_is_a_class(tmp_path):
    make_tree(tmp_path, classes=("plane", "train"))
    assert Folder(tmp_path).classes == ["plane", "train"]


def test_a_tree_that_is_not_one_is_refused(tmp_path, tree):
    with pytest.raises(DataError, match="tree has no folder for the split 'test', only class folders"):
        Folder(tree, "test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty has no class folders: expected .*<class>/<image>"):
        Folder(tmp_path / "empty")
    (tmp_path / "none" / "ant").mkdir(parents=True)
    with pytest.raises(DataError, match="none has no readable image"):
        Folder(tmp_path / "none")
    with pytest.raises(ValueError, match="val_share must be above 0 and below 1, got 1"):
        Folder(tree, val_share=1)


# --- real images --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, split, per_class, classes, side", [("tiny-imagenet-200", "val", 1, 200, 64), ("cifar10", "test", 5, 10, 32)]
)
def test_real_images_load(real_images, tmp_path, name, split, per_class, classes, side):
    data = load(real_images(name, split, per_class), split, root=tmp_path)
    assert len(data) == classes * per_class and len(data.classes) == classes
    held = in_memory(data)
    assert held.images.shape == (classes * per_class, 3, side, side)
    assert held.labels.bincount().tolist() == [per_class] * classes
    assert 90 < held.images.float().mean() < 140 and held.images.float().std() > 50
    batches = DataLoader(data, batch_size=40, num_workers=2)
    assert torch.equal(torch.cat([images for images, _ in batches]), held.images)


@pytest.mark.parametrize("option", ["size", "length"])
def test_zero_is_no_missing_value(option):
    with pytest.raises(ValueError, match=option):
        load("shapes", "val", **{option: 0})
