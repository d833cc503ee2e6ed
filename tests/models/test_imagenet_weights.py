"""`build(name, weights="imagenet")` hands out what its publisher hands out; here from a cache that the tests fill."""

from pathlib import Path
from urllib.error import URLError

import pytest
import timm
import torch
import torchvision
from torch import nn

from inception_lab import build
from inception_lab.common.checks import DataError
from inception_lab.models.zoo import PUBLISHERS


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """The folder in which torchvision looks for weights before it downloads them, and no network."""

    def no_network(*arguments, **options):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


@torch.no_grad()
def test_torchvisions_googlenet_comes_with_its_transform_and_its_logits(checkpoints):
    torch.manual_seed(0)
    theirs = torchvision.models.googlenet(init_weights=False, transform_input=True, aux_logits=True)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    url = torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1.url
    torch.save(theirs.state_dict(), checkpoints / Path(url).name)
    ours, x = build("googlenet-torchvision", weights="imagenet"), torch.randn(2, 3, 128, 128)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-5, atol=1e-5)
    assert ours.design.transform_input and ours.design.five_by_five == "3x3"


@pytest.mark.parametrize("name", PUBLISHERS)
def test_the_publisher_is_asked_by_a_name_that_it_has_weights_for(monkeypatch, name):
    publisher, model = PUBLISHERS[name]
    asked = []
    if publisher == "timm":
        monkeypatch.setattr(timm, "create_model", lambda *names, **options: asked.append((names, options)) or "theirs")
        assert build(name, weights="imagenet") == "theirs" and asked == [((model,), {"pretrained": True})]
        published = timm.get_pretrained_cfg(model)
        assert published.num_classes == 1000 and (published.url or published.hf_hub_id)
    else:
        weights = torchvision.models.get_model_weights(model)["IMAGENET1K_V1"]
        assert len(weights.meta["categories"]) == 1000
        if name == "googlenet-torchvision":
            return  # its weights go into our modules: see above
        monkeypatch.setattr(
            torchvision.models, "get_model", lambda *names, **options: asked.append((names, options)) or "theirs"
        )
        assert build(name, weights="imagenet") == "theirs" and asked == [((model,), {"weights": "IMAGENET1K_V1"})]


def test_without_a_network_one_error_says_so(checkpoints):
    with pytest.raises(DataError, match="weights of alexnet could not be got from torchvision: .*no network"):
        build("alexnet", weights="imagenet")
    assert list(checkpoints.iterdir()) == []


def test_what_has_no_published_weights_is_refused():
    with pytest.raises(ValueError, match="weights must be one of 'imagenet', got 'cifar'"):
        build("vgg16", weights="cifar")
    with pytest.raises(ValueError, match="must be one of 'alexnet', .*got 'zfnet'"):
        build("zfnet", weights="imagenet")
    with pytest.raises(ValueError, match="inception_lab.pretrained"):
        build("googlenet", weights="imagenet")
    for options in ({"num_classes": 10}, {"dropout": 0.1}):
        with pytest.raises(ValueError, match="must be the only argument"):
            build("vgg16", weights="imagenet", **options)
