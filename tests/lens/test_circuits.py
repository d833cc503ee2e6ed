"""What a unit reads, what it does without, and what answers where."""

import pytest
import torch
from torch import nn

from inception_lab import lens
from inception_lab.common import files
from inception_lab.data.shapes import Shapes
from inception_lab.lens import circuits
from inception_lab.lens.units import before_relu
from inception_lab.models import zoo

IMAGES = Shapes("test", length=16).batch(range(16))[0]


@pytest.fixture(scope="module")
def network():
    return lens.open_run(files.recorded("runs") / "shapes-laptop")


def test_the_strongest_inputs_are_those_of_the_weights_and_taking_them_away_takes_their_share(network):
    found = circuits.inputs(network, IMAGES, "inception_4b.one:3", k=4)
    values = lens.activations(network, IMAGES, "inception_4a")["inception_4a"]
    weights = network.model.inception_4b.one.conv.weight[3, :, 0, 0]
    strengths = weights.abs() * values.transpose(0, 1).flatten(1).std(1)
    assert (found["excites"] + found["inhibits"]).tolist() == pytest.approx(strengths.topk(4).values.tolist(), rel=1e-4)
    numbers = strengths.topk(4).indices
    assert found["unit"].tolist() == [str(lens.find_unit(network, ("inception_4a", int(i)))) for i in numbers]
    node = before_relu(network, "inception_4b.one")
    quiet = circuits.without(network, found["unit"])
    before, after = (n.extract(IMAGES, [node])[node][:, 3] for n in (network, quiet))
    share = (values[:, numbers] * weights[numbers, None, None]).sum(1)
    torch.testing.assert_close(before - after, share, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["conv1:2", "inception_3a:5", "inception_4a.pool:1"])
def test_silent_units_are_zero_and_all_others_of_their_stage_stay(network, name):
    unit = lens.find_unit(network, name)
    quiet = circuits.without(network, name)
    before, after = (lens.activations(n, IMAGES, unit.path)[unit.path] for n in (network, quiet))
    assert before[:, unit.channel].any() and not after[:, unit.channel].any()
    others = [c for c in range(before.shape[1]) if c != unit.channel]
    assert torch.equal(before[:, others], after[:, others])
    assert network.model.get_submodule(unit.path) is not quiet.model.get_submodule(unit.path)


def test_a_stage_behind_a_pool_reads_the_units_before_the_pool():
    network = lens.Network(zoo.build("googlenet", 10, aux=False), size=64)
    assert circuits.reads(network, "inception_4a") == ("pool3", "inception_3b")
    assert circuits.reads(network, "conv2") == ("norm1", "conv1")
    assert (
        circuits.inputs(network, torch.rand(2, 3, 64, 64), "inception_3a.five:5", k=2)["unit"].str.match("conv2").all()
    )


def test_the_dictionary_names_what_answers_at_each_position(network):
    names, values = circuits.dictionary(network, IMAGES[:1], "inception_4a", k=2)
    found = lens.activations(network, IMAGES[:1], "inception_4a")["inception_4a"][0]
    assert values.shape == (*found.shape[1:], 2) and len(names) == found.shape[1] and len(names[0]) == found.shape[2]
    path, channel = lens.find_unit(network, names[1][2][0])
    own = lens.activations(network, IMAGES[:1], path)[path][0, channel, 1, 2]
    assert own == values[1, 2, 0] == found[:, 1, 2].max()


def test_wrong_arguments_are_told(network):
    with pytest.raises(ValueError, match="those of conv1 read pixels"):
        circuits.inputs(network, IMAGES, "conv1:1")
    with pytest.raises(ValueError, match="image must be one"):
        circuits.dictionary(network, IMAGES, "inception_4a")
    with pytest.raises(ValueError, match="passes on what it reads"):
        circuits.without(lens.Network(zoo.build("inception-v2", 4), size=64), "inception_3c.pool:1")
    assert isinstance(network.model.inception_4a.one.conv, nn.Conv2d)
