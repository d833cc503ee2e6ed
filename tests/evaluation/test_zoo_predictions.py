"""Networks with published weights are tested on a tree of ImageNet, alone and as an ensemble: on three photographs."""

import json
import shutil

import pytest
import torch

from inception_lab import hub
from inception_lab.cli import main
from inception_lab.common import files
from inception_lab.data import Folder, evaluation_crops, normalize
from inception_lab.data.folders import IMAGENET_MEAN
from inception_lab.evaluation import average, predict
from inception_lab.evaluation.inference import wordnet_numbers
from inception_lab.models import zoo
from inception_lab.training.weights import load_published

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


@pytest.fixture(scope="module")
def tree(real_images, tmp_path_factory):
    """Three photographs in a tree of ImageNet that has three of its classes."""
    sample, place = real_images("ilsvrc-sample", "val", 1), tmp_path_factory.mktemp("imagenet")
    for folder in sorted((sample / "val").iterdir())[::340]:
        shutil.copytree(folder, place / "val" / folder.name)
    return place


@pytest.fixture(autouse=True)
def weights(published_weights, monkeypatch, tmp_path):
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", str(published_weights))
    monkeypatch.setattr(files, "cache", lambda: tmp_path / "cache")


def test_the_published_network_gives_its_probabilities_to_the_right_classes(tree):
    found, network = predict("googlenet", tree, crops=10, zoo=True, progress=False), hub.pretrained()
    assert found.labels.tolist() == list(range(0, 1000, 340)) and found.classes == network.categories
    for i, (image, _) in enumerate(Folder(tree, "val")):
        crops = normalize(evaluation_crops(image[None], 10)[0], network.mean, network.std)
        with torch.no_grad():
            p = network.network(crops).softmax(1).mean(0)
        torch.testing.assert_close(found.probabilities[i], p, atol=1e-5, rtol=1e-3)
    assert found.error(5) <= 50


def test_several_are_an_ensemble_and_what_was_computed_is_kept(tree, tmp_path, monkeypatch, capsys):
    theirs = zoo.build("googlenet-torchvision", aux=False).eval()
    monkeypatch.setattr(zoo, "_published", lambda name: theirs)
    command = ["evaluate", "--zoo", "googlenet", "googlenet-torchvision", "--data", str(tree), "--crops", "1", "--json"]
    assert main([*command, "--quiet"]) == 0
    one, _, both = json.loads(capsys.readouterr().out)
    assert one["models"] == ["googlenet"] and both["passes"] == 2 and one["images"] == 3
    kept = sorted(path.parts[-3] for path in (tmp_path / "cache" / "zoo").rglob("*.safetensors"))
    assert kept == ["googlenet", "googlenet-torchvision"]
    parts = [predict(name, tree, crops=1, zoo=True, progress=False) for name in ("googlenet", "googlenet-torchvision")]
    assert average(parts).loss == pytest.approx(both["loss"])


def test_images_are_normalized_as_the_publisher_does(monkeypatch):
    theirs = {"xception": torch.nn.Identity(), "vgg16": torch.nn.Identity()}
    theirs["xception"].pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    monkeypatch.setattr(zoo, "_published", theirs.get)
    _, about = load_published("xception")
    assert about["mean"] == (0.5, 0.5, 0.5) and about["recipe"].image_size == 299
    assert load_published("vgg16")[1]["mean"] == IMAGENET_MEAN


def test_other_trees_are_refused(tree, tmp_path, capsys):
    for name in ("cat", "n01440764"):
        shutil.copytree(tree / "val" / "n01440764", tmp_path / "mine" / "val" / name)
    with pytest.raises(ValueError, match="data must have folders named by WordNet ids of ILSVRC-2012.*got 'cat'"):
        predict("googlenet", tmp_path / "mine", zoo=True)
    with pytest.raises(ValueError, match="data must say where the images are"):
        predict("googlenet", zoo=True)
    assert main(["evaluate"]) == 2
    assert "runs must be one run folder or more, or --zoo must name a network" in capsys.readouterr().err
    assert main(["evaluate", "--zoo", "googlenett", "--data", str(tree)]) == 2
    assert "googlenet" in capsys.readouterr().err


def test_a_tree_with_names_for_its_classes_has_the_same_numbers(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "named")
    (tmp_path / "named" / "words.txt").write_text("n01440764\ttench, Tinca tinca\n")
    images = Folder(tmp_path / "named", "val")
    assert images.classes[0] == "tench" and wordnet_numbers(images).tolist() == list(range(0, 1000, 340))
