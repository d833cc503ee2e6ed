"""Looking inside: names, activations, top patches, receptive fields, tuning curves, photographs."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from inception_lab import lens
from inception_lab.common import files
from inception_lab.data.datasets import Part
from inception_lab.data.pictures import fit
from inception_lab.data.shapes import Shapes, draw
from inception_lab.lens.images import batches
from inception_lab.lens.scales import Tuning, rescaled
from inception_lab.models import zoo
from inception_lab.training.weights import load_model

RUN = files.recorded("runs") / "shapes-laptop"
FIVE = "inception_4a.five"


@pytest.fixture(scope="module")
def network():
    return lens.open_run(RUN)


@pytest.fixture(scope="module")
def images():
    return Shapes("test", length=40).batch(range(40))[0]


def silenced(path="inception_3a.one", channel=3):
    """The network with one unit whose bias is so low that nothing excites it."""
    network = lens.open_run(RUN)
    network.model.get_submodule(path).conv.bias[channel] = -1e4
    return network


def test_the_network_takes_images_as_one_sees_them(network, images):
    model, about = load_model(RUN)
    mean, std = (torch.tensor(about[key]).view(-1, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        assert torch.allclose(network(images), model((images / 255 - mean) / std), atol=1e-4)
        assert torch.equal(network(images / 255), network(images))
    assert network.classes == about["classes"] and network.size == 64


def test_the_model_stays_as_it_is():
    model = zoo.build("googlenet-laptop", 10, aux=False)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    lens.Network(model, size=64)
    assert model.training and model.conv1.relu.inplace and isinstance(model.conv1.bn, nn.BatchNorm2d)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", ["googlenet", "googlenet-uva", "inception-v2", "googlenet-torchvision"])
def test_other_designs_keep_their_logits(name):
    model = zoo.build(name, 10).eval()
    size = 64 if name == "googlenet-uva" else 128
    with torch.no_grad():
        x = torch.rand(2, 3, size, size)
        assert torch.allclose(lens.Network(model)(x), model(x), atol=1e-4)


def test_paths_are_the_modules_paths_in_order(network, images):
    paths = lens.paths(network)
    assert list(paths)[:4] == ["conv1", "conv2", "inception_3a.one", "inception_3a.three"]
    assert list(paths)[-1] == "inception_5b.pool" and len(paths) == 2 + 9 * 4
    found = lens.activations(network, images, ["inception_4a", *[p for p in paths if p.startswith("inception_4a.")]])
    module = found.pop("inception_4a")
    assert torch.equal(torch.cat(list(found.values()), dim=1), module)
    assert {name: values.shape[1] for name, values in found.items()} == {name: paths[name] for name in found}


def test_paths_of_a_module_whose_pool_passes_through():
    paths = lens.paths(lens.Network(zoo.build("inception-v2", 10)))
    assert paths["inception_3c.pool"] == 320 and "inception_3c.one" not in paths


def test_activations_are_what_a_hook_sees(network, images):
    seen = {}
    hook = network.model.inception_4a.five.register_forward_hook(lambda m, i, o: seen.update(five=o))
    with torch.no_grad():
        network(images)
    hook.remove()
    found = lens.activations(network, images, FIVE, batch=7)
    assert torch.allclose(found[FIVE], seen["five"], atol=1e-5) and found[FIVE].min() == 0
    assert lens.activations(network, images, "linear")["linear"].shape == (40, 10)


def test_features_are_means_over_the_map_as_scikit_learn_takes_them(network, images):
    values = lens.activations(network, images, ["inception_5b", FIVE, "linear"])
    found = lens.features(network, images)
    assert isinstance(found, np.ndarray) and found.dtype == np.float32 and found.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(found, values["inception_5b"].mean((2, 3)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        lens.features(network, images / 255, FIVE, batch=7), values[FIVE].mean((2, 3)), atol=1e-5
    )
    np.testing.assert_allclose(lens.features(network, images, "linear"), values["linear"], rtol=1e-4, atol=1e-4)
    logits = network.model.linear(torch.from_numpy(found))  # what the classifier reads is the average over 5b
    torch.testing.assert_close(logits, values["linear"], rtol=1e-4, atol=1e-4)
    data = Shapes("test", length=40, size=80)  # a set is scaled to the network's size
    assert lens.features(network, data, batch=16).shape == found.shape
    with pytest.raises(ValueError, match="stage: 'inception_5' is not in this network; did you mean"):
        lens.features(network, images, "inception_5")
    with pytest.raises(ValueError, match="at least one image"):
        lens.features(network, images[:0])


def test_a_unit_of_a_module_is_one_of_a_path(network, images):
    found = lens.find_unit(network, "inception_4a:100")
    assert found == (FIVE, 100 - 96) and str(found) == "inception_4a.five:4"
    values = lens.activations(network, images, ["inception_4a", FIVE])
    assert torch.equal(values["inception_4a"][:, 100], values[FIVE][:, 4])
    assert lens.find_unit(network, (FIVE, 4)) == found


@pytest.mark.parametrize(
    "text, message",
    [
        ("inception_4a.fiv:3", r"unit: 'inception_4a.fiv' is not in this network; did you mean 'inception_4a.five'"),
        (
            "inception_4a.five:16",
            "unit must be inception_4a.five:0 to inception_4a.five:15, got 'inception_4a.five:16'",
        ),
        ("inception_4a.five", "unit must be inception_4a.five:0 to"),
        ("inception_4a.five:-1", "unit must be inception_4a.five:0 to"),
        ("zzz:1", "'zzz' is not in this network. Paths: conv1, conv2"),
    ],
)
def test_an_unknown_unit_is_told_with_the_nearest(network, text, message):
    with pytest.raises(ValueError, match=message):
        lens.find_unit(network, text)


def test_wrong_arguments_are_told(network, images):
    for names, message in [("conv3", "names: 'conv3' is not in this network"), ([], "names must name at least one")]:
        with pytest.raises(ValueError, match=message):
            lens.activations(network, images, names)
    for wrong in (images[0], images[:0], "x"):
        with pytest.raises(ValueError, match=r"images must be a batch \(N, 3, H, W\)"):
            lens.activations(network, wrong, "conv1")
    with pytest.raises(ValueError, match="must be a GoogLeNet"):
        lens.Network(nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match="classes must be 10 names"):
        lens.Network(zoo.build("googlenet-laptop", 10, aux=False), classes=["a"])


def test_the_best_run_is_one_on_photographs(tmp_path):
    with pytest.raises(ValueError, match="holds none"):
        lens.best_run(tmp_path)
    assert lens.best_run().name == "cifar10-laptop"
    (tmp_path / "a").symlink_to(files.recorded("runs") / "shapes-crops-0")
    (tmp_path / "b").symlink_to(RUN)
    assert lens.best_run(tmp_path).name == "b"  # of two on shapes, the better one


# --- top patches --------------------------------------------------------------------------------------------


def test_top_patches_are_those_of_a_search_by_hand(network):
    data = Shapes("val", length=90)
    found = lens.top_patches(network, data, ["conv2", FIVE], k=5, batch=17, progress=False)
    values = lens.activations(network, data.batch(range(90))[0], ["conv2", FIVE])
    for name, top in found.items():
        for channel in (0, 3, 7):
            peaks = values[name][:, channel].flatten(1).amax(1)
            best = peaks.sort(descending=True).values[:5]
            assert torch.allclose(top.values[channel], best, atol=1e-5)
            for i, row, column, value in zip(
                *(t[channel] for t in (top.images, top.rows, top.columns, top.values)), strict=True
            ):
                assert torch.isclose(values[name][i, channel, row, column], value, atol=1e-5) or value == 0


def test_sets_of_every_kind_give_the_same_images(network, images):
    data = Shapes("test", length=40)
    expected = torch.cat(list(batches(images, network, 16)))
    for other in (data, Part(data)):
        assert torch.equal(torch.cat(list(batches(other, network, 16))), expected)
    assert [len(b) for b in batches(images, network, 16)] == [16, 16, 8]
    small = fit(images, 32)
    assert next(batches(small, network, 4)).shape == (4, 3, 64, 64)
    with pytest.raises(ValueError, match="at least one image"):
        next(batches(images[:0], network, 4))


def test_a_set_of_few_images_leaves_places_empty(network, images):
    top = lens.top_patches(network, images[:2], FIVE, k=4, progress=False)[FIVE]
    assert top.values.shape == (16, 4) and (top.images[:, 2:] == -1).all() and (top.values[:, 2:] == 0).all()
    assert lens.crops(network, images[:2], top, 0).shape[0] <= 2
    with pytest.raises(ValueError, match="k must be a whole number of at least 1, got 0"):
        lens.top_patches(network, images, FIVE, k=0)
    with pytest.raises(ValueError, match="channel must be a whole number from 0 to 15, got 16"):
        lens.crops(network, images, top, 16)


def test_a_dead_unit_is_told(images):
    network = silenced()
    top = lens.top_patches(network, images, "inception_3a.one", k=3, progress=False)["inception_3a.one"]
    assert top.dead.tolist() == [c == 3 for c in range(16)]
    assert len(lens.crops(network, images, top, 3)) == 0 and len(lens.crops(network, images, top, 2)) == 3


@pytest.mark.parametrize("path, row, column", [("conv1", 0, 0), ("conv1", 9, 20), ("conv2", 5, 7), (FIVE, 0, 3)])
def test_a_receptive_field_is_what_a_unit_depends_on(path, row, column):
    """With weights of 1 and no bias every pixel of the field counts, so that the gradient draws it."""
    network = lens.Network(zoo.build("googlenet-laptop", 10, aux=False), size=64)
    for layer in network.model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 0.01)
            nn.init.zeros_(layer.bias)
        for name, child in layer.named_children():  # a max pool passes only one gradient back
            if isinstance(child, nn.MaxPool2d):
                pool = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                setattr(layer, name, pool)
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    network.extract(x, [path])[path][0, 0, row, column].backward()
    rows, columns = (x.grad[0].abs().sum((0, axis)).nonzero().flatten() for axis in (2, 1))
    left, top, right, bottom = lens.receptive_field(network, path, row, column)
    assert (rows.min(), rows.max() + 1) == (max(top, 0), min(bottom, 64))
    assert (columns.min(), columns.max() + 1) == (max(left, 0), min(right, 64))


def test_a_crop_shows_padding_in_the_mean_color(network):
    pixels = torch.rand(3, 64, 64)
    inside = lens.crop(network, pixels, (10, 20, 17, 27))
    assert torch.equal(inside, pixels[:, 20:27, 10:17])
    corner = lens.crop(network, pixels, (-3, -2, 4, 5))
    assert corner.shape == (3, 7, 7) and torch.equal(corner[:, 2:, 3:], pixels[:, :5, :4])
    assert torch.equal(corner[:, :2], network.mean[0].expand(3, 2, 7))
    assert torch.equal(lens.crop(network, pixels, (-100, -3, 100, 60)), lens.crop(network, pixels, (0, -3, 64, 60)))


# --- tuning -------------------------------------------------------------------------------------------------


def test_only_the_scale_changes():
    scenes = Shapes("test", length=30).scenes(range(30))
    for scale in (1 / 8, 0.5, 1.0):
        other = rescaled(scenes, scale)
        assert (other.scale == scale).all() and (other.left >= 0).all() and (other.left + scale <= 1).all()
        assert np.array_equal(other.label, scenes.label) and np.array_equal(other.color, scenes.color)
    small = rescaled(scenes, 1 / 8)
    assert np.allclose(small.left + 1 / 16, np.clip(scenes.left + scenes.scale / 2, 1 / 16, 15 / 16))


def test_tuning_is_the_mean_of_the_peaks(network):
    curves = lens.tuning(network, [FIVE], images=10, scales=(0.25, 1.0), batch=4, progress=False)
    drawn = draw(rescaled(Shapes("test", length=10).scenes(range(10)), 0.25), 64)
    values = lens.activations(network, torch.from_numpy(drawn), FIVE)[FIVE]
    assert curves.responses[FIVE].shape == (16, 2)
    assert torch.allclose(curves.responses[FIVE][:, 0], values.flatten(2).amax(2).mean(0), atol=1e-5)


def test_the_preferred_scale_is_the_center_of_the_curve():
    scales = torch.tensor([0.125, 0.25, 0.5, 1.0])
    curves = torch.tensor([[0, 1.0, 0, 0], [5, 5, 5, 7.0], [0, 1, 1, 0], [2.0, 2, 2, 2]])
    preferred = Tuning(scales, {"a": curves}).preferred("a")
    assert torch.allclose(preferred[:3], torch.tensor([0.25, 1.0, 8**-0.5])) and preferred[3].isnan()


def test_wrong_scales_are_told(network):
    with pytest.raises(ValueError, match="scales must be above 0 and at most 1"):
        lens.tuning(network, scales=(0.5, 2))
    with pytest.raises(ValueError, match="names: 'conv9'"):
        lens.tuning(network, "conv9")


# --- photographs --------------------------------------------------------------------------------------------

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.mark.parametrize(
    "source, channels",
    [
        (RGB, RGB),
        (RGB[..., 0], RGB[..., :1]),
        (RGB[..., :1], RGB[..., :1]),
        (RGB / 255, RGB),
        (np.dstack([RGB, np.full((20, 30), 255, np.uint8)]), RGB),
        (torch.from_numpy(RGB).permute(2, 0, 1), RGB),
        (torch.from_numpy(RGB).permute(2, 0, 1)[None] / 255, RGB),
        (Image.fromarray(RGB), RGB),
        (RGB[..., 0].astype(np.uint16) * 257, RGB[..., :1]),
    ],
)
def test_photographs_of_every_mode(source, channels):
    seen = lens.photograph(source)
    assert seen.shape == (1, 3, 20, 30) and seen.dtype == torch.float32
    expected = np.broadcast_to(channels, RGB.shape).transpose(2, 0, 1) / 255
    assert np.allclose(seen[0], expected, atol=0.6 / 255)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA", "I;16"])
def test_photographs_from_files(tmp_path, mode):
    Image.fromarray(RGB).convert("L" if mode == "I;16" else mode).convert(mode).save(tmp_path / "a.tif")
    assert lens.photograph(tmp_path / "a.tif", size=16).shape == (1, 3, 16, 16)
    assert lens.photograph(str(tmp_path / "a.tif"), longest=15).shape == (1, 3, 10, 15)


def test_what_is_transparent_is_white():
    clear = np.dstack([RGB, np.zeros((20, 30), np.uint8)])
    assert (lens.photograph(clear) == 1).all()


@pytest.mark.parametrize(
    "source, message",
    [
        (np.zeros((4, 4, 2), np.uint8), "source must be an image file"),
        (np.full((4, 4), 300.0), "floats from 0 to 1, got float64"),
        (np.zeros((0, 4), np.uint8), "source must be"),
        ("nowhere.jpg", "nowhere.jpg cannot be read"),
    ],
)
def test_what_is_no_photograph_is_told(source, message):
    with pytest.raises(ValueError, match=message):
        lens.photograph(source)


def test_a_folder_or_a_broken_file_is_told(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        lens.photograph(tmp_path)
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(ValueError, match="cannot be read as one"):
        lens.photograph(tmp_path / "a.jpg")


def test_a_network_that_is_looked_into_already_can_be_again(network, images):
    again = lens.Network(network.model, mean=network.mean.flatten().tolist(), std=network.std.flatten().tolist())
    torch.testing.assert_close(again(images[:4]), network(images[:4]))
