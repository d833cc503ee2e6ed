"""The drawn images: the same everywhere, as promised in place, scale and color, and no task for a linear model."""

import hashlib
import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from inception_lab.data.shapes import CLASSES, SPLITS, Shapes, coverage, make_scenes

NUMBERS = np.arange(20_000, dtype=np.uint64)


@pytest.fixture(scope="module")
def scenes():
    return make_scenes(0, NUMBERS)


def ridge_accuracy(features, labels, penalty=1.0):
    """Share of the last fifth that a linear model gets right, fitted to the rest by least squares."""
    x = torch.as_tensor(np.asarray(features), dtype=torch.float32).flatten(1)
    x = torch.cat([x - x.mean(0), torch.ones(len(x), 1)], 1)
    y = torch.as_tensor(labels)
    split = len(x) * 4 // 5
    gram = x[:split].T @ x[:split] + penalty * torch.eye(x.shape[1])
    weights = torch.linalg.solve(gram, x[:split].T @ torch.eye(10)[y[:split]])
    return ((x[split:] @ weights).argmax(1) == y[split:]).float().mean().item()


# --- the same sample everywhere -----------------------------------------------------------------------------


def test_the_images_are_the_same_on_every_machine():
    digest = hashlib.sha256()
    for size in (8, 32, 45):
        images, labels = Shapes("train", size=size, seed=3).batch(range(64))
        digest.update(images.numpy().tobytes() + labels.numpy().astype("<i8").tobytes())
    assert digest.hexdigest()[:16] == "461e3b5c1d6a66ea"


def test_a_sample_is_the_same_alone_in_a_batch_in_a_worker_and_in_a_longer_set():
    data = Shapes("val", size=24, length=40, seed=7)
    images, labels = data.batch(range(40))
    loader = DataLoader(data, batch_size=7, num_workers=2, multiprocessing_context="spawn")
    for loaded, expected in zip(zip(*loader, strict=True), (images, labels), strict=True):
        assert torch.equal(torch.cat(loaded), expected)
    last, label = Shapes("val", size=24, length=1000, seed=7)[39]
    assert torch.equal(last, images[39]) and label == labels[39]
    assert torch.equal(data[-1][0], images[39])
    assert images.dtype == torch.uint8 and images.shape == (40, 3, 24, 24)


def test_seed_and_split_give_other_images():
    samples = [Shapes(split, size=16, seed=seed)[0][0] for split in SPLITS for seed in (0, 1)]
    assert len({s.numpy().tobytes() for s in samples}) == 6


def test_no_two_splits_share_a_random_number():
    keys = [Shapes(split, length=30_000).scenes(range(30_000)).key for split in SPLITS]
    assert len(np.unique(np.concatenate(keys))) == 90_000


def test_another_size_shows_the_same_scene():
    small, large = Shapes(size=32, length=20), Shapes(size=128, length=20)
    for i in range(20):
        assert small.scale(i) == large.scale(i)
        assert np.allclose(np.array(small.box(i)) * 4, large.box(i))
        shrunk = torch.nn.functional.avg_pool2d(large.mask(i)[None], 4)[0]
        assert (shrunk - small.mask(i)).abs().mean() < 0.01


# --- what is in the images ----------------------------------------------------------------------------------


def test_the_object_fills_its_box_and_stays_in_it(scenes):
    size = 64
    first = [int(i) for label in range(10) for i in np.flatnonzero(scenes.label == label)[:20]]
    covered = coverage(type(scenes)(*(a[first] for a in scenes)), size)
    for mask, i in zip(covered, first, strict=True):
        left, top, side = (float(a[i]) * size for a in (scenes.left, scenes.top, scenes.scale))
        assert min(left, top) >= 0 and max(left, top) + side <= size + 1e-6
        rows, columns = np.flatnonzero(mask.max(1) > 0.01), np.flatnonzero(mask.max(0) > 0.01)
        seen = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        expected = left, top, left + side, top + side
        assert np.abs(np.subtract(seen, expected)).max() < 1.6, (scenes.label[i], seen, expected)


def test_the_object_has_its_color_and_stands_out_from_its_background():
    data = Shapes(size=48, length=200)
    scenes = data.scenes(range(200))
    for i in np.flatnonzero(scenes.scale < 0.8):
        image, mask = data[i][0] / 255, data.mask(i)
        inside, outside = image[:, mask == 1], image[:, mask == 0]
        error = 0.01 + 5 * scenes.noise[i] / inside.shape[1] ** 0.5 + scenes.noise[i] / 2  # noise is cut at 0 and 1
        assert (inside.mean(1) - torch.from_numpy(scenes.color[i]).float()).abs().max() < error
        assert (inside.mean(1) - outside.mean(1)).abs().min() > 0.1


def test_the_box_in_the_image_is_the_box_that_is_told():
    data = Shapes(size=64, length=50)
    for i in range(50):
        left, top, right, bottom = data.box(i)
        assert right - left == pytest.approx(data.scale(i) * 64)
        rows, columns = data.mask(i).gt(0.5).nonzero(as_tuple=True)
        assert left - 1 < columns.min() and columns.max() < right and top - 1 < rows.min() and rows.max() < bottom


def test_scales_are_uniform_in_log_and_places_uniform(scenes):
    octaves = -np.log2(scenes.scale) / 3
    free = [scenes.left[scenes.scale < 0.9] / (1 - scenes.scale[scenes.scale < 0.9])]
    free.append(scenes.top[scenes.scale < 0.9] / (1 - scenes.scale[scenes.scale < 0.9]))
    for values in (octaves, *free):
        distance = np.abs(np.sort(values) - np.linspace(0, 1, len(values))).max()  # Kolmogorov and Smirnov's
        assert distance < 1.63 / len(values) ** 0.5  # passed by 99 % of uniform samples


def test_classes_are_equally_frequent(scenes):
    counts = np.bincount(scenes.label, minlength=10)
    assert ((counts - 2000) ** 2 / 2000).sum() < 21.7  # chi squared, 9 degrees of freedom: passed by 99 %


@pytest.mark.parametrize("channel", range(3))
def test_noise_has_its_deviation_and_no_correlation(channel):
    data = Shapes(size=64, length=10_000)
    scenes = data.scenes(range(10_000))
    flat = np.flatnonzero((scenes.scale < 0.2) & (np.abs(scenes.background - 0.5).max(1) < 0.15))[:40]
    ratios = []
    for i in flat:
        clean = data.mask(i) == 0
        step = (data[i][0][channel] / 255).diff(dim=1)[clean[:, 1:] & clean[:, :-1]]  # neighbors: 2 × the variance
        ratios.append(step.var().item() / (2 * scenes.noise[i] ** 2 + 1e-5))
    assert len(ratios) == 40 and abs(np.median(ratios) - 1) < 0.1


def test_a_mirrored_image_shows_the_same_class(scenes):
    chosen = type(scenes)(*(a[:300] for a in scenes))
    mirrored = coverage(chosen._replace(left=1 - chosen.left - chosen.scale), 32)[:, :, ::-1]
    boards = chosen.label == list(CLASSES).index("checkerboard")
    assert np.abs(coverage(chosen, 32) - mirrored)[~boards].max() < 1e-3
    squares = coverage(chosen._replace(label=np.full(300, list(CLASSES).index("square"))), 32)
    both = coverage(chosen, 32) + mirrored  # a mirrored board has its other fields filled
    assert np.abs(both - squares)[boards].mean() < 0.01


# --- how hard it is -----------------------------------------------------------------------------------------


def test_a_linear_model_fails_on_the_pixels():
    images, labels = Shapes(size=32).batch(range(5000))
    assert ridge_accuracy(images / 255 - 0.5, labels, penalty=100) < 0.25


def test_a_linear_model_knows_the_class_once_the_object_is_cut_out(scenes):
    large = type(scenes)(*(a[scenes.scale > 0.25][:3000] for a in scenes))
    size = 32
    covered = torch.from_numpy(
        coverage(large._replace(left=0 * large.left, top=0 * large.top, scale=0 * large.scale + 1), size)
    )
    assert ridge_accuracy(covered - 0.5, large.label, penalty=10) > 0.95


def test_color_and_place_say_nothing_about_the_class(scenes):
    told = [a.reshape(len(NUMBERS), -1) for a in scenes._replace(label=scenes.noise, key=scenes.noise)]
    told = np.concatenate(told, axis=1) - 0.5
    products = (told[:, :12, None] * told[:, None, :12]).reshape(len(told), -1)
    guess = 0.1 + 3 * (0.1 * 0.9 / 4000) ** 0.5
    assert ridge_accuracy(np.concatenate([told, products], 1), scenes.label) < guess
    images, labels = Shapes(size=16).batch(range(8000))
    colors = images.float().div(255).sub(0.5).flatten(2).mean(2)
    assert ridge_accuracy(torch.cat([colors, colors**2, colors**3], 1), labels) < 0.14


def test_ten_thousand_images_take_seconds():
    start = time.process_time()
    Shapes(size=32, length=2000).batch(range(2000))
    assert time.process_time() - start < 6  # 10,000 in half a minute, where they should take about 2 seconds


def test_images_are_normalized_by_their_own_mean_and_deviation():
    images = Shapes(size=32).batch(range(2000))[0] / 255
    assert torch.allclose(images.mean((0, 2, 3)), torch.tensor(Shapes.mean), atol=0.02)
    assert torch.allclose(images.std((0, 2, 3)), torch.tensor(Shapes.std), atol=0.02)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"split": "training"}, "split must be one of 'train', 'val', 'test', got 'training'"),
        ({"size": 7}, "size must be a whole number from 8 to 4096, got 7"),
        ({"size": 32.0}, "size must be a whole number from 8 to 4096, got 32.0"),
        ({"length": 0}, "length must be a whole number from 1 to 4294967296, got 0"),
        ({"seed": -1}, "seed must be a whole number from 0 to 9223372036854775807, got -1"),
    ],
)
def test_a_wrong_argument_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        Shapes(**change)


@pytest.mark.parametrize("i", [100, -101])
def test_a_sample_out_of_range_is_refused(i):
    with pytest.raises(IndexError, match=f"sample {i} of a set of 100"):
        Shapes(length=100)[i]
