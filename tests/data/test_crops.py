"""The crops that a network is tested on, one by one."""

from itertools import combinations

import numpy as np
import pytest
import torch

from inception_lab.data.crops import evaluation_crops


def coordinates(height, width):
    """An image whose first channel is x and whose second is y, so that a crop says where it was cut."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y, torch.zeros_like(x)])[None]


def span(crop):
    """Left, top, right and bottom of a crop in pixels of the image, told from two inner columns and rows."""
    n = crop.shape[-1]
    (x1, x2), (y1, y2) = crop[0, n // 2, [n // 4, n // 2]].tolist(), crop[1, [n // 4, n // 2], n // 2].tolist()
    step_x, step_y = (x2 - x1) / (n // 2 - n // 4), (y2 - y1) / (n // 2 - n // 4)
    left, top = x1 - (n // 4 + 0.5) * step_x, y1 - (n // 4 + 0.5) * step_y
    return left, top, left + n * step_x, top + n * step_y


def paper_spans(height, width, scales, squares, whole):
    """Where the crops should lie, from the paper's words, at 224: a span for each crop before mirroring."""
    for scale in scales:
        unit = min(height, width) / scale  # pixels of the image for a pixel of the resized one
        for place in squares:  # 0, 1/2, 1 along the longer side
            x, y = place * (width / unit - scale), place * (height / unit - scale)
            rest = scale - 224
            starts = [(0, 0), (rest, 0), (0, rest), (rest, rest), (rest / 2, rest / 2)]
            views = [(x + a, y + b, x + a + 224, y + b + 224) for a, b in starts]
            for view in views + ([(x, y, x + scale, y + scale)] if whole else []):
                yield [v * unit for v in view]


CROPS = {
    1: ([256], [0.5], False),
    10: ([256], [0.5], False),
    144: ([256, 288, 320, 352], [0, 0.5, 1], True),
}


@pytest.mark.parametrize("crops", CROPS)
@pytest.mark.parametrize("height, width", [(300, 480), (500, 375), (256, 256)])
def test_every_crop_lies_where_the_paper_says(height, width, crops):
    made = evaluation_crops(coordinates(height, width), crops)
    assert made.shape == (1, crops, 3, 224, 224)
    spans = list(paper_spans(height, width, *CROPS[crops]))
    expected = spans[4:] if crops == 1 else [s for span in spans for s in (span, [span[2], span[1], span[0], span[3]])]
    assert len(expected) == crops
    for number, (crop, should) in enumerate(zip(made[0], expected, strict=True)):
        assert np.abs(np.subtract(span(crop), should)).max() < 0.004 * max(height, width), (number, span(crop), should)


def test_no_two_crops_of_an_oblong_image_are_the_same():
    image = torch.rand(1, 3, 300, 400, generator=torch.Generator().manual_seed(0))
    assert not [i for i, j in combinations(evaluation_crops(image)[0].flatten(1), 2) if torch.equal(i, j)]


def test_crops_of_a_batch_are_the_crops_of_its_images_and_keep_their_type():
    images = torch.randint(256, (2, 3, 40, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = evaluation_crops(images, 144, size=28)
    assert made.dtype == torch.uint8 and made.shape == (2, 144, 3, 28, 28)
    assert torch.equal(made[1:], evaluation_crops(images[1:], 144, size=28))
    mirrored = made[:, 1::2]
    assert torch.equal(made[:, ::2].flip(-1), mirrored)


def test_ten_crops_of_a_wide_image_leave_its_ends_out_and_one_crop_is_among_them():
    image = coordinates(100, 300)
    ten, one = evaluation_crops(image, 10), evaluation_crops(image, 1)
    assert ten[:, :, 0].min() > 99 and ten[:, :, 0].max() < 201
    assert torch.equal(ten[:, 8], one[:, 0])


@pytest.mark.parametrize(
    "shape, options, message",
    [
        ((1, 3, 8, 8), {"crops": 12}, "crops must be one of 1, 10, 144, got 12"),
        ((1, 3, 8, 8), {"size": 0}, "size must be a whole number of at least 1, got 0"),
        ((3, 8, 8), {}, r"images must be a batch \(N, 3, H, W\), got \(3, 8, 8\)"),
    ],
)
def test_a_wrong_argument_is_named(shape, options, message):
    with pytest.raises(ValueError, match=message):
        evaluation_crops(torch.zeros(shape), **options)
