"""The published GoogLeNet says what it must: by a forward pass of the tests' own, and on 1,000 photographs."""

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from materials import is_thorough
from PIL import Image
from safetensors.torch import load_file

from inception_lab import hub, pretrained
from inception_lab.models import fast

# The first of every 10 photographs of the sample: top-1 and top-5 accuracy in per cent, measured here.
TENTH = (76.0, 94.0)
MEAN = (104, 117, 123)  # of blue, green and red, from 0 to 255


@pytest.fixture(scope="module")
def tensors(published_weights):
    """The 116 tensors under Caffe's names."""
    return load_file(published_weights / "bvlc-googlenet.safetensors")


@pytest.fixture(scope="module")
def google(published_weights):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INCEPTION_LAB_WEIGHTS", str(published_weights))
        return pretrained("googlenet")


# --- BVLC's deploy.prototxt, layer by layer, on blue-green-red images from 0 to 255 minus MEAN ----------------


def conv(w, layer, x, stride=1, pad=0):
    return F.conv2d(x, w[f"{layer}.weight"], w[f"{layer}.bias"], stride, pad).relu()


def pool(x):
    return F.max_pool2d(x, 3, stride=2, ceil_mode=True)  # Caffe rounds sizes up


def lrn(x):
    """local_size 5, alpha 0.0001, beta 0.75, k 1: alpha is divided by the size."""
    squares = F.pad(x * x, (0, 0, 0, 0, 2, 2))
    total = sum(squares[:, i : i + x.shape[1]] for i in range(5))
    return x / (1 + 0.0001 / 5 * total) ** 0.75


def inception(w, name, x):
    one = conv(w, f"{name}/1x1", x)
    three = conv(w, f"{name}/3x3", conv(w, f"{name}/3x3_reduce", x), pad=1)
    five = conv(w, f"{name}/5x5", conv(w, f"{name}/5x5_reduce", x), pad=2)
    pooled = conv(w, f"{name}/pool_proj", F.max_pool2d(x, 3, stride=1, padding=1))
    return torch.cat([one, three, five, pooled], 1)


def caffe_logits(w, x):
    x = lrn(pool(conv(w, "conv1/7x7_s2", x, stride=2, pad=3)))
    x = conv(w, "conv2/3x3", conv(w, "conv2/3x3_reduce", x), pad=1)
    x = pool(lrn(x))
    x = pool(inception(w, "inception_3b", inception(w, "inception_3a", x)))
    for letter in "abcde":
        x = inception(w, f"inception_4{letter}", x)
    x = pool(x)
    x = inception(w, "inception_5b", inception(w, "inception_5a", x))
    x = F.avg_pool2d(x, 7).flatten(1)
    return F.linear(x, w["loss3/classifier.weight"], w["loss3/classifier.bias"])


@torch.no_grad()
def test_the_logits_are_those_of_the_prototxt(google, tensors):
    for picture in (skimage.data.chelsea(), skimage.data.coffee(), skimage.data.astronaut()):
        pixels = np.ascontiguousarray(picture[20:244, 30:254])  # 224×224: nothing is scaled, nothing cut
        # `preprocess` scales to 256 pixels, so the pixels are normalized here by what the object states.
        rgb = torch.tensor(pixels).permute(2, 0, 1)[None] / 255
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (google.mean, google.std))
        ours = google.network((rgb - mean) / std)
        bgr = torch.tensor(pixels[:, :, ::-1].astype(np.float32)).permute(2, 0, 1)[None]
        theirs = caffe_logits(tensors, bgr - torch.tensor(MEAN).view(3, 1, 1))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


# --- photographs ----------------------------------------------------------------------------------------------

GUESSES = {  # in per cent, measured on one CPU thread
    "chelsea": [("Egyptian cat", 47.3), ("tiger cat", 28.3), ("tabby", 12.2), ("lynx", 11.7)],
    "coffee": [("espresso", 89.7)],
    "camera": [("tripod", 99.4)],
    "rocket": [("missile", 34.0)],
    "coins": [("golf ball", 80.4)],
    "hubble_deep_field": [("bubble", 83.9)],
    "astronaut": [("puck", 11.1), ("neck brace", 9.7)],
}


@pytest.mark.parametrize("name", GUESSES)
def test_photographs_are_guessed_as_measured(google, name):
    guessed = google.guess(getattr(skimage.data, name)(), top=len(GUESSES[name]))
    assert [category for category, _ in guessed] == [category for category, _ in GUESSES[name]]
    assert [p * 100 for _, p in guessed] == pytest.approx([p for _, p in GUESSES[name]], abs=0.3)


def test_a_photograph_may_be_a_file_a_picture_or_an_array(google, tmp_path):
    pixels = skimage.data.coffee()
    Image.fromarray(pixels).save(tmp_path / "coffee.png")
    floats = torch.tensor(pixels).permute(2, 0, 1) / 255
    wanted = google.preprocess(pixels)
    assert wanted.shape == (1, 3, 224, 224) and wanted.dtype == torch.float32
    for same in (tmp_path / "coffee.png", str(tmp_path / "coffee.png"), Image.fromarray(pixels), floats):
        assert torch.equal(google.preprocess(same), wanted)
    red = google.preprocess(np.full((300, 400, 3), (255, 0, 0), np.uint8))[0, :, 0, 0]
    assert red.tolist() == pytest.approx([255 - 123, -117, -104], abs=1e-3)  # red comes first
    with pytest.raises(ValueError, match="top must be a whole number from 1 to 1000, got 0"):
        google.guess(pixels, top=0)
    with pytest.raises(ValueError, match="source must be an image file"):
        google.guess(tmp_path / "nothing.jpg")


def test_what_belongs_to_the_network_is_stated(google):
    assert not google.network.training and sum(p.numel() for p in google.network.parameters()) == 6_998_552
    assert google.network.state_dict().keys() == hub.published.GoogLeNet(aux=False).state_dict().keys()
    assert len(google.categories) == 1000 and google.categories[285] == "Egyptian cat"
    assert (google.accuracy.top1, google.accuracy.top5) == (68.7, 88.9) and "BVLC" in google.source


def test_loading_draws_no_random_numbers(published_weights, monkeypatch):
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", str(published_weights))
    before = torch.get_rng_state()
    pretrained()
    assert torch.equal(torch.get_rng_state(), before)


@torch.no_grad()
def classify(google, paths, networks):
    """Numbers of the classes that each network finds most probable, (N, 5): {name: ...}, for photographs in files."""
    found = {name: [] for name in networks}
    for start in range(0, len(paths), 20):
        images = torch.cat([google.preprocess(path) for path in paths[start : start + 20]])
        for name, network in networks.items():
            found[name].append(network(images).float().topk(5).indices)
    return {name: torch.cat(parts) for name, parts in found.items()}


def accuracies(found, labels):
    right = found == labels[:, None]
    return 100 * right[:, 0].float().mean().item(), 100 * right.any(1).float().mean().item()


@pytest.fixture(scope="module")
def sample(real_images):
    """The files of the sample's 1,000 photographs: one of each class, in the order of the classes."""
    paths = sorted((real_images("ilsvrc-sample", "val", 1) / "val").rglob("*.jpg"))
    assert len(paths) == 1000
    return paths


@pytest.mark.slow
def test_the_sample_is_classified_as_measured_and_by_its_twins_too(google, sample):
    """All of it where tests are thorough; else the first of every 10, and by bfloat16 of every 40: it is slow here."""

    def bfloat16(images):
        with torch.autocast("cpu", torch.bfloat16):
            return google.network(images)

    step = 1 if is_thorough() else 10
    # Another measurement of these photographs gave 75.0 and 93.1. How the small ones are enlarged and where the center
    # is rounded to changes at most one or two photographs of a thousand, so most of the difference is unexplained.
    expected, within = ((74.6, 92.6), 0.3) if step == 1 else (TENTH, 1.01)  # 1: one photograph of a hundred
    found = classify(google, sample[::step], {"plain": google.network, "fast": fast(google.network)})
    plain = found["plain"]
    assert accuracies(plain, torch.arange(1000)[::step]) == pytest.approx(expected, abs=within)
    assert (found["fast"][:, 0] == plain[:, 0]).sum() >= 0.99 * len(plain)
    part = 1 if step == 1 else 4
    half = classify(google, sample[:: step * part], {"bfloat16": bfloat16})["bfloat16"]
    # Of 1,000 photographs bfloat16 changes 7; among a hundred alone, two fell together.
    assert (half[:, 0] != plain[::part, 0]).sum() <= (10 if step == 1 else 2)
