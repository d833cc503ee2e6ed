"""One name, `lens.open`, for every network that one can look into."""

import pytest
import torch
from skimage import data

from inception_lab import build, lens
from inception_lab.common.checks import RunError
from inception_lab.lens import opening


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
