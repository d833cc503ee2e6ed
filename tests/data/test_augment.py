"""Two augmentation engines: one distribution, and pixels that agree."""

from itertools import permutations

import numpy as np
import pytest
import skimage.data
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from inception_lab.data import augment
from inception_lab.data.augment import Augmentation, crop_and_resize, distort, draw_boxes

PLAIN = dict(scale=(1, 1), ratio=(1, 1), flip=0, photometric=0, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture(scope="module")
def photographs():
    """Sixteen pieces of a photograph, uint8 (16, 3, 64, 64)."""
    photograph = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1)
    pieces = photograph.unfold(1, 128, 128).unfold(2, 128, 128).permute(1, 2, 0, 3, 4).flatten(0, 1)
    return F.resize(pieces, [64, 64], antialias=True)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def assert_same_distribution(one, other):
    """Kolmogorov and Smirnov's test of two samples, passed by 99.9 % of pairs from one distribution."""
    one, other = np.sort(np.asarray(one)), np.sort(np.asarray(other))
    values = np.concatenate([one, other])
    shares = [np.searchsorted(sample, values, side="right") / len(sample) for sample in (one, other)]
    assert np.abs(shares[0] - shares[1]).max() < 1.95 * (1 / len(one) + 1 / len(other)) ** 0.5


# --- one distribution ---------------------------------------------------------------------------------------

USUAL = (3 / 4, 4 / 3)
SHAPES = {
    "square": (64, 64, (0.08, 1), USUAL),
    "landscape": (40, 100, (0.08, 1), USUAL),
    "portrait": (90, 50, (0.3, 1), USUAL),
    "tiny": (3, 4, (0.08, 1), USUAL),
    "often too long": (10, 100, (0.08, 1), USUAL),
    "upright patches": (64, 64, (0.2, 0.4), (0.4, 0.8)),
}


@pytest.mark.parametrize("height, width, scale, ratio", SHAPES.values(), ids=SHAPES)
def test_patches_are_drawn_as_by_torchvision(height, width, scale, ratio):
    count = 4000
    torch.manual_seed(1)
    crop, image = v2.RandomResizedCrop(224, scale, ratio), torch.empty(3, height, width)
    theirs = np.array([list(crop.make_params([image]).values()) for _ in range(count)])
    ours = draw_boxes(count, height, width, scale, ratio, seeded(0)).numpy()
    for statistic in (
        lambda top, left, h, w: h * w,
        lambda top, left, h, w: w / h,
        lambda top, left, h, w: top,
        lambda top, left, h, w: left,
        lambda top, left, h, w: top / (height - h + 1),
        lambda top, left, h, w: left / (width - w + 1),
        lambda top, left, h, w: top + h + left + w,
    ):
        assert_same_distribution(statistic(*theirs.T), statistic(*ours.T))


@pytest.mark.parametrize("height, width", [(10, 100), (100, 10), (9, 14), (14, 9), (20, 21)])
def test_a_patch_that_never_fits_becomes_the_largest_in_the_middle(height, width):
    scale = (1.5, 1.6)  # no such patch fits, so that the rule for that case is all that is left
    expected = list(v2.RandomResizedCrop(8, scale).make_params([torch.empty(3, height, width)]).values())
    boxes = draw_boxes(50, height, width, scale, (3 / 4, 4 / 3), seeded(0))
    assert boxes.tolist() == [expected] * 50


def test_patches_reach_every_place_and_stay_inside():
    top, left, h, w = draw_boxes(20_000, 8, 8, (0.08, 1), (3 / 4, 4 / 3), seeded(3)).T
    assert top.min() == left.min() == 0 and (top + h).max() == (left + w).max() == 8
    assert {(t, s) for t, s in zip(top.tolist(), h.tolist(), strict=True)} == {
        (t, s) for s in range(2, 9) for t in range(9 - s)
    }


@pytest.mark.parametrize("flip", [0, 0.3, 0.5, 1])
def test_images_are_mirrored_as_often_as_by_torchvision(flip):
    image = torch.arange(48, dtype=torch.uint8).view(1, 3, 4, 4)
    made = Augmentation(4, **PLAIN | {"flip": flip})(image.expand(3000, -1, -1, -1), seeded(0))
    plain, mirrored = ((made - x / 255).abs().amax((1, 2, 3)) < 1e-5 for x in (image, image.flip(-1)))
    assert (plain | mirrored).all() and abs(mirrored.float().mean() - flip) < 3.3 * (
        flip * (1 - flip) / 3000
    ) ** 0.5 + 1e-9


@pytest.mark.parametrize("scale", [(1, 1), (0.08, 1)], ids=["whole image", "patches"])
def test_both_engines_give_images_of_the_same_statistics(photographs, scale):
    augmentation = Augmentation(24, scale, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    image = F.resize(photographs[5], [24, 24])
    transform, count = augmentation.transform(), 1000
    torch.manual_seed(0)
    theirs = torch.stack([transform(image) for _ in range(count)])
    ours = augmentation(image.expand(count, -1, -1, -1), seeded(0))
    for statistic in (
        lambda x: x.mean((2, 3))[:, 0],
        lambda x: x.mean((2, 3))[:, 2],
        lambda x: x.std((2, 3))[:, 1],
        lambda x: (x[:, 0] * 0.2 + 0.4 - x[:, 2] * 0.4 - 0.6).abs().mean((1, 2)),  # how colorful
        lambda x: x[:, 1].mean(1)[:, :8].mean(1) - x[:, 1].mean(1)[:, -8:].mean(1),  # left against right
        lambda x: x[:, 0].mean(2)[:, :8].mean(1) - x[:, 0].mean(2)[:, -8:].mean(1),  # top against bottom
        lambda x: (x[:, 1, 1:] - x[:, 1, :-1]).abs().mean((1, 2)),  # how sharp
    ):
        assert_same_distribution(statistic(theirs), statistic(ours))


def test_factors_and_orders_are_uniform():
    factors, order = augment.draw_distortions(12_000, 0.4, seeded(0))
    assert_same_distribution(factors.flatten(), np.linspace(0.6, 1.4, 36_000))
    counts = [int((order == torch.tensor(p)).all(1).sum()) for p in permutations(range(3))]
    assert sum((c - 2000) ** 2 / 2000 for c in counts) < 20.5  # chi squared, 5 degrees of freedom: passed by 99.9 %


# --- the same pixels ----------------------------------------------------------------------------------------


def test_an_enlarged_patch_is_torchvisions(photographs):
    boxes = draw_boxes(16, 64, 64, (0.08, 1), (3 / 4, 4 / 3), seeded(0))
    boxes[0], boxes[1] = torch.tensor([0, 0, 64, 64]), torch.tensor([63, 0, 1, 1])
    flips = torch.arange(16) % 2 == 1
    pixels = photographs / 255
    for size in (64, 96, 224):
        made = crop_and_resize(pixels, boxes, size, flips)
        for image, box, flip, ours in zip(pixels, boxes.tolist(), flips, made, strict=True):
            theirs = F.resized_crop(image, *box, [size, size], antialias=True)
            assert (ours - (theirs.flip(-1) if flip else theirs)).abs().max() < 1e-4


@pytest.mark.parametrize("height, width, size", [(64, 64, 32), (64, 64, 24), (60, 90, 32)])
def test_a_shrunk_patch_is_close_to_torchvisions(photographs, height, width, size):
    pixels = F.resize(photographs, [height, width]) / 255
    boxes = draw_boxes(16, height, width, (0.08, 1), (3 / 4, 4 / 3), seeded(0))
    boxes[0] = torch.tensor([0, 0, height, width])
    made = crop_and_resize(pixels, boxes, size, torch.zeros(16, dtype=torch.bool))
    theirs = torch.stack([F.resized_crop(x, *b, [size, size]) for x, b in zip(pixels, boxes.tolist(), strict=True)])
    aliased = crop_and_resize(pixels, boxes, height, torch.zeros(16, dtype=torch.bool))[..., ::2, ::2]
    assert (made - theirs).abs().mean() < 0.006  # 1.5 of 255 levels
    assert (made - theirs).abs().flatten().quantile(0.99) < 0.05
    if height == width == 2 * size:  # without averaging it would be much further away
        assert (aliased - theirs).abs().mean() > 3 * (made - theirs).abs().mean()


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_distortions_are_torchvisions_on_the_patch(photographs, order):
    pixels = photographs / 255
    boxes = draw_boxes(16, 64, 64, (0.08, 1), (3 / 4, 4 / 3), seeded(1))
    factors = 0.5 + torch.rand(16, 3, generator=seeded(2))
    made = distort(pixels, factors, torch.tensor(order).expand(16, 3), boxes)
    functions = F.adjust_brightness, F.adjust_contrast, F.adjust_saturation
    for image, (top, left, h, w), factor, ours in zip(pixels, boxes.tolist(), factors.tolist(), made, strict=True):
        theirs = image[:, top : top + h, left : left + w]
        for kind in order:
            theirs = functions[kind](theirs, factor[kind])
        assert (ours[:, top : top + h, left : left + w] - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("as_floats, mean_levels, worst", [(True, 0.3, 1.5), (False, 1.6, 2.5)])
def test_whole_patches_agree_with_torchvision(photographs, as_floats, mean_levels, worst):
    # What is left is clipping before or after interpolation, and that torchvision cuts uint8 off instead of rounding.
    augmentation = Augmentation(96, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    boxes, flips = draw_boxes(16, 64, 64, (0.08, 1), (3 / 4, 4 / 3), seeded(4)), torch.arange(16) < 8
    factors, order = augment.draw_distortions(16, 0.5, seeded(5))
    nothing = torch.zeros(16, 2, dtype=torch.int64)
    ours = augmentation.apply(photographs, augment.Draws(nothing, boxes, flips, factors, order, nothing))
    functions = F.adjust_brightness, F.adjust_contrast, F.adjust_saturation
    levels = []
    for i, image in enumerate(photographs):
        theirs = F.resized_crop(image / 255 if as_floats else image, *boxes[i].tolist(), [96, 96])
        theirs = theirs.flip(-1) if flips[i] else theirs
        for kind in order[i].tolist():
            theirs = functions[kind](theirs, float(factors[i, kind]))
        theirs = F.normalize(F.to_dtype(theirs, torch.float32, scale=True), augmentation.mean, augmentation.std)
        levels.append(((ours[i] - theirs).abs() * torch.tensor(augmentation.std).view(3, 1, 1) * 255).mean())
    assert torch.stack(levels).mean() < mean_levels and max(levels) < worst


# --- shifts and blanked squares -------------------------------------------------------------------------------


def test_a_shifted_image_is_torchvisions_crop_of_the_padded_one(photographs):
    moves = torch.cartesian_prod(*[torch.tensor([-5, 0, 2, 5])] * 2)
    padded = F.pad(photographs, [5], padding_mode="reflect")
    ours = augment.shift(photographs, moves)
    for image, (down, across), made in zip(padded, moves.tolist(), ours, strict=True):
        assert torch.equal(made, image[:, 5 + down : 69 + down, 5 + across : 69 + across])


def test_shifts_are_drawn_as_by_torchvision_and_all_as_often():
    image = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).expand(1, 3, 8, 8)
    augmentation, count = Augmentation(8, **PLAIN | {"shift": 2}), 2000
    corners = {0: (augmentation(image.expand(count, -1, -1, -1), seeded(0))[:, 0, 4, 4] * 255).round()}
    torch.manual_seed(0)
    corners[1] = torch.stack([augmentation.transform()(image[0])[0, 4, 4] * 255 for _ in range(count)]).round()
    expected = image[0, 0, 2:7, 2:7].flatten()
    for drawn in corners.values():
        values, counts = drawn.unique(return_counts=True)
        assert torch.equal(values, expected) and abs(counts - count / 25).max() < 4 * (count / 25) ** 0.5


def test_a_square_of_the_side_is_blanked_anywhere_by_both_engines():
    augmentation, count = Augmentation(12, **PLAIN | {"cutout": 5}), 1500
    image = torch.full((1, 3, 12, 12), 200, dtype=torch.uint8)
    torch.manual_seed(0)
    one = torch.stack([augmentation.transform()(image[0]) for _ in range(count)])
    for made in (augmentation(image.expand(count, -1, -1, -1), seeded(0)), one):
        blank = made == 0
        assert (blank.sum((2, 3)) == 25).all() and torch.equal(blank[:, 0], blank[:, 2])
        rows, columns = blank[:, 0].any(2), blank[:, 0].any(1)
        assert (rows.sum(1) == 5).all() and (columns.sum(1) == 5).all()  # a square, not 25 places
        starts = torch.stack([rows.int().argmax(1), columns.int().argmax(1)])
        assert starts.min() == 0 and starts.max() == 7
        assert (starts.float().mean(1) - 3.5).abs().max() < 0.25


# --- reproducible -------------------------------------------------------------------------------------------


def test_a_generator_decides_everything(photographs, monkeypatch):
    augmentation = Augmentation(32)
    state = torch.get_rng_state()
    first, again, other = (augmentation(photographs, seeded(s)) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again) and not torch.allclose(first, other)
    monkeypatch.setattr(augment, "PART", 5)
    assert torch.equal(augmentation(photographs, seeded(0)), first)
    assert not torch.allclose(augmentation(photographs), augmentation(photographs))


def test_what_is_not_wanted_is_left_out(photographs):
    assert (Augmentation(64, **PLAIN)(photographs) - photographs / 255).abs().max() < 1e-5
    normalized = Augmentation(64, **PLAIN | {"mean": (0.1, 0.2, 0.3), "std": (0.5, 1, 2)})(photographs)
    expected = F.normalize(photographs / 255, [0.1, 0.2, 0.3], [0.5, 1, 2])
    assert (normalized - expected).abs().max() < 1e-5
    assert (Augmentation(64, **PLAIN).transform()(photographs[0]) - photographs[0] / 255).abs().max() < 1e-6


@pytest.mark.parametrize(
    "change, message",
    [
        ({"size": 0}, "size must be a whole number of at least 1, got 0"),
        ({"scale": (0, 1)}, r"scale must be two shares, 0 < low ≤ high ≤ 1, got \(0, 1\)"),
        ({"ratio": (2, 1)}, r"ratio must be two ratios, 0 < low ≤ high, got \(2, 1\)"),
        ({"flip": 1.5}, "flip must be a probability from 0 to 1, got 1.5"),
        ({"photometric": 2}, "photometric must be a number from 0 to 1, got 2"),
        ({"shift": -1}, "shift must be a whole number of at least 0, got -1"),
        ({"cutout": 32}, "cutout must be a whole number from 0 to 31, got 32"),
        ({"std": (1, 0, 1)}, r"std must be numbers above 0, got \(1, 0, 1\)"),
    ],
)
def test_a_wrong_argument_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**{"size": 32} | change)


def test_images_of_another_kind_are_refused():
    with pytest.raises(ValueError, match=r"images must be a batch \(N, 3, H, W\), got \(3, 8, 8\)"):
        Augmentation(8)(torch.zeros(3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="images must be torch.uint8, got torch.float32"):
        Augmentation(8)(torch.zeros(1, 3, 8, 8))


def test_numpys_whole_numbers_are_numbers_in_both_engines():
    numbers = {"size": np.int64(8), "shift": np.int64(2), "cutout": np.int64(3)}
    images = torch.randint(0, 256, (2, 3, 12, 12), dtype=torch.uint8)
    for augmentation in (Augmentation(**numbers), Augmentation(**{name: int(n) for name, n in numbers.items()})):
        torch.manual_seed(0)
        assert augmentation.transform()(images[0]).shape == (3, 8, 8)
        assert augmentation(images).shape == (2, 3, 8, 8)
