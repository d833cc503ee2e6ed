"""One name, `lens.open`, for every network that one can look into."""

import pytest
import torch
from skimage import data

from inception_lab import build, lens
from inception_lab.common.checks import RunError
from inception_lab.lens import circuits, opening
from inception_lab.lens.network import Network
from inception_lab.lens.scores import METHODS


@pytest.fixture
def no_weights(monkeypatch):
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", "off")


def test_a_recorded_run_stands_in_and_says_so_in_one_line(no_weights, capsys):
    network = lens.open("googlenet")
    said = capsys.readouterr().out
    assert said == opening.LINE + "\n" and "inception-lab pretrained googlenet" in said and len(said.splitlines()) == 1
    assert (network.name, network.published, len(network.classes), network.size) == (opening.STAND_IN, False, 200, 96)
    assert network.guess(data.coffee())[0][0] == "espresso"


def test_recorded_runs_folders_and_modules_are_opened(capsys, tmp_path):
    drawn = lens.open("shapes-laptop")
    assert drawn.name == "shapes-laptop" and lens.open(lens.best_run()).name == lens.best_run().name
    model = build("googlenet", num_classes=3, aux=False)
    network = lens.open(model)
    assert network.classes == ["0", "1", "2"] and network.size == 224 and not network.published
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="what must be one of 'googlenet', .*'shapes-laptop'.*, got 'googlnet'"):
        lens.open("googlnet")
    with pytest.raises(RunError, match="model.safetensors"):
        lens.open(tmp_path)
    with pytest.raises(ValueError, match="must be a GoogLeNet"):
        lens.open(torch.nn.Linear(2, 2))


def test_guesses_are_the_most_probable_classes_in_order():
    network = lens.open("shapes-laptop")
    found = network.guess(data.coffee(), top=10)
    assert {name for name, _ in found} == set(network.classes)
    probabilities = [p for _, p in found]
    assert probabilities == sorted(probabilities, reverse=True) and sum(probabilities) == pytest.approx(1)
    logits = network(network.view(data.coffee()))[0]
    assert network.guess(data.coffee(), top=1)[0][0] == network.classes[logits.argmax()]


@pytest.mark.parametrize("top", [0, 11, 2.5])
def test_a_wrong_number_of_guesses_is_refused(top):
    with pytest.raises(ValueError, match=r"top must be"):
        lens.open("shapes-laptop").guess(data.coffee(), top=top)


@pytest.mark.parametrize("photograph", [data.coffee(), data.camera(), torch.rand(3, 40, 90)])
def test_a_photograph_of_any_kind_is_viewed_from_0_to_1(photograph):
    view = lens.open("shapes-laptop").view(photograph)
    assert view.shape == (1, 3, 64, 64) and view.min() >= 0 and view.max() <= 1


def test_every_kind_of_network_answers_to_every_instrument(no_weights):
    model = build("googlenet-torchvision", num_classes=5).eval()
    opened = lens.open(model)
    assert lens.open(opened) is opened and opened.path_labels["five"] == "3×3 (for 5×5)"
    assert lens.open("shapes-laptop").path_labels["five"] == "5×5"
    for network in (opened, lens.open("shapes-laptop")):
        images = torch.rand(1, 3, 64, 64)
        for attribute in METHODS.values():
            assert attribute(network, images, [1]).shape == (1, 64, 64)
        name = "inception_4b.five:1"
        assert lens.visualize(network, lens.channel(name), size=64, steps=1, progress=False).images.isfinite().all()
        assert len(circuits.inputs(network, images, name, k=3)) == 3


def test_the_device_is_this_machines_best_and_a_wrong_one_is_told(monkeypatch):
    assert lens.open("shapes-laptop", device="cpu").mean.device.type == "cpu"
    for wrong in ("cuda:99", "zzz", 5.5):
        with pytest.raises(ValueError, match="device must be one that is on this machine, such as 'cpu', got"):
            lens.open("shapes-laptop", device=wrong)
    lacking = torch.device("meta")  # a device on which nothing can be computed stands for one that lacks operators
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: lacking)
    monkeypatch.setattr(Network, "to", lambda self, device: self if device == "cpu" else fail())
    assert lens.open("shapes-laptop").mean.device.type == "cpu"


def fail():
    raise NotImplementedError("no such operator on this device")


@pytest.mark.parametrize("wrong", [5, None, torch.rand(2), ["googlenet"]])
def test_what_is_no_network_is_refused(wrong):
    with pytest.raises(ValueError, match="what must be one of 'googlenet'"):
        lens.open(wrong)
