"""Optimized images do what was asked: objectives, parametrizations, transforms, robustness, DeepDream."""

import copy
import random

import numpy as np
import pytest
import torch
from materials import some
from PIL import Image

from inception_lab import lens
from inception_lab.common import files
from inception_lab.data.shapes import Shapes
from inception_lab.lens.deepdream import octave_sizes
from inception_lab.lens.objectives import BatchObjective
from inception_lab.lens.parametrizations import COLORS

RUN = files.recorded("runs") / "shapes-laptop"
FIVE = "inception_4a.five"
QUIET = dict(progress=False)


@pytest.fixture(scope="module")
def network():
    return lens.open_run(RUN)


@pytest.fixture(scope="module")
def values(network):
    images = Shapes("test", length=4).batch(range(4))[0]
    nodes = [FIVE, f"{FIVE}.conv.bn", "conv2", "linear"]
    with torch.no_grad():
        return network.extract(images, nodes)


# --- objectives ---------------------------------------------------------------------------------------------


def of(network, values, *objectives):
    batch = BatchObjective(network, list(objectives))
    assert set(batch.nodes) <= set(values)
    return batch.of(values)


def test_objectives_are_what_they_say(network, values):
    before = values[f"{FIVE}.conv.bn"]
    assert (before < 0).any(), "the value before the ReLU"
    found = of(network, values, lens.unit(f"{FIVE}:3"), lens.channel(FIVE, 3), lens.path("conv2"), lens.logit("ring"))
    expected = (before[0, 3, 4, 4], before[1, 3].mean(), values["conv2"][2].square().mean(), values["linear"][3, 3])
    assert torch.allclose(found, torch.stack(expected), atol=1e-5)
    of_module = of(network, values, *[lens.channel("inception_4a:99")] * 4)
    assert torch.allclose(of_module, before[:, 3].mean((1, 2)), atol=1e-5)


def test_objectives_add_and_subtract(network, values):
    a, b = lens.channel(f"{FIVE}:3"), lens.path("conv2")
    one, other = of(network, values, *[a] * 4), of(network, values, *[b] * 4)
    for objective, expected in [
        (a - 0.5 * b, one - 0.5 * other),
        (2 * a + b, 2 * one + other),
        (-a * 3, -3 * one),
        (a + a, 2 * one),
    ]:
        assert torch.allclose(of(network, values, *[objective] * 4), expected, atol=1e-5)
    assert str(a - 0.5 * b) == "channel(inception_4a.five:3) + -0.5 · path(conv2)"
    with pytest.raises(TypeError):
        a * b


def test_diversity_compares_the_images_of_one_objective(network, values):
    diverse, other = lens.diversity("conv2"), lens.diversity("conv2") + lens.logit(0)
    gram = torch.einsum("nahw,nbhw->nab", values["conv2"], values["conv2"]).flatten(1)
    similar = torch.nn.functional.cosine_similarity(gram[:, None], gram[None], dim=2)
    found = of(network, values, diverse, diverse, diverse, other)
    assert found[0] == pytest.approx(-(similar[0, 1] + similar[0, 2]).item() / 2, abs=1e-5)
    assert found[3] == pytest.approx(values["linear"][3, 0].item(), abs=1e-5), "nothing to differ from"


@pytest.mark.parametrize(
    "objective, message",
    [
        (lambda: lens.channel("inception_4a.fiv:3"), "did you mean 'inception_4a.five'"),
        (lambda: lens.unit(FIVE, 16), "unit must be inception_4a.five:0 to inception_4a.five:15"),
        (lambda: lens.channel(FIVE), "a unit must be a name and a channel.* got 'inception_4a.five'$"),
        (lambda: lens.channel(f"{FIVE}:x"), "got 'inception_4a.five:x'$"),
        (lambda: lens.unit(FIVE, -1), "got 'inception_4a.five:-1'$"),
        (lambda: lens.path("inception_9a"), "path: 'inception_9a' is not in this network"),
        (lambda: lens.logit("rink"), "did you mean 'ring'"),
        (lambda: "conv1:3", "objectives must be made of unit, channel, path"),
    ],
)
def test_wrong_objectives_are_told_before_any_step(network, objective, message):
    with pytest.raises(ValueError, match=message):
        lens.visualize(network, [objective()], **QUIET)


def test_wrong_arguments_are_told(network):
    good = lens.channel(f"{FIVE}:3")
    for how, message in [
        (dict(size=14), "size must be a whole number of at least 15"),
        (dict(steps=0), "steps must be a whole number of at least 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            lens.visualize(network, good, **how)
    with pytest.raises(ValueError, match="objectives must be at least one"):
        lens.visualize(network, [])


# --- parametrizations and transforms ------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lens.Pixels, lens.Fourier])
@pytest.mark.parametrize("size", [32, 33])
def test_images_have_their_size_and_start_gray(make, size):
    images = make().images(make().start([0, 0, 1], size), size)
    assert images.shape == (3, 3, size, size)
    assert torch.equal(images[0], images[1]) and not torch.equal(images[0], images[2])
    assert (images - 0.5).abs().max() < 0.1


def test_a_spectrum_gives_each_frequency_its_share():
    size, found = 32, []
    for row, column in ((0, 2), (0, 8)):
        values = torch.zeros(1, 3, size, size // 2 + 1, 2)
        values[:, :, row, column] = 1
        image = lens.Fourier(decorrelate=False).images(values, size).logit()
        spectrum = torch.fft.rfft2(image)[0, 0].abs()
        assert spectrum.argmax() == row * (size // 2 + 1) + column
        found.append(image.std())
    assert found[0] / found[1] == pytest.approx(4, rel=0.01), "amplitude falls with frequency"


def test_decorrelated_colors_vary_as_those_of_photographs():
    values = torch.randn(1, 3, 200, 200, generator=torch.Generator().manual_seed(0))
    colors = lens.Pixels().images(values, 200).logit()[0].flatten(1)
    wanted = COLORS @ COLORS.T
    wanted = wanted / (wanted.diagonal()[:, None] * wanted.diagonal()).sqrt()
    assert torch.allclose(torch.corrcoef(colors), wanted, atol=0.02)
    assert wanted.min() > 0.75, "in photographs the three are bright together"


def test_jitter_shifts_and_affine_turns():
    image = torch.arange(64.0).view(1, 1, 8, 8)
    shifts = {tuple(lens.jitter(2)(image, random.Random(i))[0, 0, 3:5, 3:5].flatten().tolist()) for i in range(200)}
    rows = {
        (corner, corner + 1, corner + 8, corner + 9)
        for corner in (27 + 8 * y + x for y in range(-2, 3) for x in range(-2, 3))
    }
    assert shifts == rows
    assert torch.allclose(lens.affine()(image, random.Random(0)), image, atol=1e-4)
    disc = (torch.linspace(-1, 1, 65).square()[:, None] + torch.linspace(-1, 1, 65).square() < 0.25).float()[None, None]
    larger = lens.affine(scales=(1.5, 1.5))(disc, random.Random(0)).sum() / disc.sum()
    assert larger == pytest.approx(1.5**2, rel=0.03)
    bar = torch.zeros(1, 1, 65, 65)
    bar[:, :, 30:35] = 1
    turned = lens.affine(degrees=20)(bar, random.Random(1))[0, 0]
    assert turned[:, 2].argmax() != turned[:, 62].argmax() and turned.shape == (65, 65)


# --- optimizing ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_optimized_image_excites_its_unit_more_than_any_image_and_in_half_precision_too(network):
    data = Shapes("test", length=1000)
    paths = some(["conv2", "inception_3a.three", FIVE, "inception_4c.pool", "inception_5a.one"], 2)
    best = lens.top_patches(network, data, paths, k=1, **QUIET)
    places = [(path, c) for path in paths for c in (1, 4)]
    strict = dict(steps=512, transforms=[lens.jitter(2)])  # as notebook 10 makes this comparison
    seen = lens.visualize(network, [lens.unit(*place) for place in places], **strict, **QUIET)
    most = torch.stack([best[path].values[c, 0] for path, c in places])
    assert (seen.excitation > most).all() and not seen.dead.any()
    for half in (torch.float16, torch.bfloat16):
        small = copy.deepcopy(network).to(half)
        again = lens.excitation(small, seen.images, [lens.unit(*place) for place in places])
        assert (again > most).all() and torch.allclose(again, seen.excitation, rtol=0.05)


def test_an_image_does_not_depend_on_its_company(network):
    a, b = lens.channel(f"{FIVE}:3"), lens.unit("inception_3b.one:2")
    both = lens.visualize(network, [a, b], steps=6, size=32, **QUIET)
    for i, alone in enumerate((a, b)):
        one = lens.visualize(network, alone, steps=6, size=32, **QUIET)
        assert torch.allclose(one.images[0], both.images[i], atol=2e-3)
    assert both.history.shape == (6, 2) and both.images.shape == (2, 3, 32, 32)
    again = lens.visualize(network, [a, b], steps=6, size=32, **QUIET)
    assert torch.equal(again.images, both.images)
    assert not torch.equal(lens.visualize(network, [a, b], steps=6, size=32, seed=1, **QUIET).images, both.images)


def test_the_objective_grows_and_images_stay_images(network):
    for how in (dict(parametrization=lens.Pixels(decorrelate=False), transforms=[]), {}):
        seen = lens.visualize(network, lens.logit("dots") - 0.1 * lens.logit("disc"), steps=24, **how, **QUIET)
        assert seen.history[-4:].mean() > seen.history[:4].mean() + 1
        assert seen.images.min() >= 0 and seen.images.max() <= 1 and seen.excitation.isinf().all()


def test_diverse_images_are_less_alike(network):
    plain = lens.channel(f"{FIVE}:3")
    alike = {}
    for name, objective in {"plain": plain, "diverse": plain + 20 * lens.diversity("inception_3b")}.items():
        images = lens.visualize(network, [objective] * 3, steps=40, size=32, **QUIET).images
        values = lens.activations(network, images, "inception_3b")
        alike[name] = -BatchObjective(network, [lens.diversity("inception_3b")] * 3).of(values).mean()
    assert alike["diverse"] < alike["plain"] - 0.05


def test_a_dead_unit_is_told():
    network = lens.open_run(RUN)
    network.model.inception_3a.one.conv.bias[3] = -1e4
    with pytest.warns(UserWarning, match=r"dead: unit\(inception_3a.one:3\)\. No step of 2"):
        seen = lens.visualize(network, [lens.unit("inception_3a.one:3"), lens.unit("conv1:1")], steps=2, **QUIET)
    assert seen.dead.tolist() == [True, False] and seen.excitation[0] == 0


# --- DeepDream ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "RGB"])
def test_any_photograph_can_be_dreamt_on(network, tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (45, 70, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "a.png")
    dream = lens.deep_dream(network, tmp_path / "a.png", octaves=2, steps=2, **QUIET)
    assert dream.shape == (1, 3, 45, 70) and dream.min() >= 0 and dream.max() <= 1


def test_photographs_of_any_size_can_be_dreamt_on(network):
    how = dict(octaves=3, steps=1, **QUIET)
    assert lens.deep_dream(network, np.zeros((1, 1), np.uint8), **how).shape == (1, 3, 15, 15)
    assert lens.deep_dream(network, np.zeros((5, 50), np.uint8), **how).shape == (1, 3, 15, 150)
    assert lens.deep_dream(network, np.zeros((300, 400), np.uint8), longest=100, **how).shape == (1, 3, 75, 100)
    assert octave_sizes((100, 60), 3, 2.0, 20) == [(50, 30), (100, 60)]


def test_a_dream_excites_what_it_was_asked_for(network):
    picture = Shapes("test", length=1).batch([0])[0] / 255
    for name in ("inception_4c", "inception_3b.five"):
        dream = lens.deep_dream(network, picture, lens.path(name), octaves=2, steps=4, **QUIET)
        before, after = (lens.activations(network, x, name)[name].square().mean() for x in (picture, dream))
        assert after > 2 * before
    with pytest.raises(ValueError, match="ratio must be above 1"):
        lens.deep_dream(network, picture, ratio=1)
    with pytest.raises(ValueError, match="octaves must be"):
        lens.deep_dream(network, picture, octaves=0)
