"""The zoo: every name builds what it says, in the stated number of classes, and an unknown name gets help."""

import pytest
import torch

from inception_lab import build, count
from inception_lab.models import zoo

# Parameters and MACs at the published image size, measured with three independent counters for this project.
FACTS = {
    "alexnet-2012": (60_965_224, 724_406_816),
    "alexnet": (61_100_840, 714_188_480),
    "zfnet": (62_357_608, 1_168_032_896),
    "nin": (7_595_176, 1_100_188_800),
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg13": (133_047_848, 11_308_466_176),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "googlenet": (6_998_552, 1_582_671_872),
    "googlenet-released": (7_051_484, 1_500_878_720),
    "googlenet-torchvision": (6_624_904, 1_498_376_192),
    "inception-v3": (23_834_568, 5_713_216_096),
    "inception-v4": (42_679_816, 12_253_974_624),
    "inception-resnet-v2": (55_843_464, 13_155_794_016),
    "xception": (22_855_952, 8_357_403_496),
    "nasnet-a": (88_753_150, 23_783_414_658),
}


@pytest.mark.parametrize("name", FACTS)
def test_a_network_costs_what_independent_counters_found(name):
    cost = count(name)
    assert (cost.params, cost.macs) == FACTS[name]


@pytest.mark.parametrize("name", zoo.names())
def test_every_name_builds_a_classifier_of_the_asked_size(name):
    size = zoo.entry(name).input_size
    with torch.device("meta"):
        model = build(name, num_classes=7).eval()
        assert model(torch.empty(2, 3, size, size)).shape == (2, 7)


def test_the_source_of_every_network_is_stated():
    assert all(zoo.entry(name).source for name in zoo.names())


def test_inception_v2_is_as_wide_as_its_printed_paths():
    model = build("inception-v2", num_classes=5)
    widths = {name: m.out_channels for name, m in model.named_children() if name.startswith("inception")}
    assert widths["inception_3c"] == 576 and widths["inception_4b"] == 576
    assert widths["inception_4c"] == widths["inception_4d"] == 608  # printed as 576, which its widths contradict
    assert widths["inception_5b"] == 1024
    assert model.eval()(torch.randn(1, 3, 64, 64)).shape == (1, 5)


def test_an_older_network_really_classifies():
    for name in ("alexnet-2012", "zfnet", "nin"):
        size = zoo.entry(name).input_size
        logits = build(name, num_classes=3).eval()(torch.randn(1, 3, size, size))
        assert logits.shape == (1, 3) and logits.isfinite().all()


@pytest.mark.parametrize(
    "name, hint",
    [("vgg61", "vgg16"), ("googlnet", "googlenet"), ("Inception_V3", "inception-v3"), ("zzz", "All names: alexnet")],
)
def test_an_unknown_name_gets_the_closest_ones(name, hint):
    with pytest.raises(ValueError, match=rf"name '{name}' is not in the zoo.*{hint}"):
        build(name)


@pytest.mark.parametrize("classes", [0, -1, 2.5, "ten"])
def test_a_wrong_number_of_classes_is_named(classes):
    with pytest.raises(ValueError, match="num_classes must be a whole number of at least 1"):
        build("vgg11", num_classes=classes)
