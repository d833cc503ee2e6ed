"""What is recorded of the published GoogLeNet is what its modules say, and a record that was stopped goes on."""

import numpy as np
import pytest
import record_published as script
import torch
from PIL import Image
from skimage import data

from inception_lab import lens

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two photographs in folders of their classes."""
    place = tmp_path_factory.mktemp("photographs")
    for name, pixels in {"n02124075": data.chelsea(), "n07920052": data.coffee()}.items():
        (place / name).mkdir()
        Image.fromarray(pixels).save(place / name / "1.png")
    return sorted(place.rglob("*.png"))


@pytest.fixture
def lab(published_weights, monkeypatch, photographs):
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", str(published_weights))
    monkeypatch.setattr(script, "CLASSES", {"n02124075": 285, "n07920052": 967})
    with torch.inference_mode():
        yield script.Lab(lens.open("googlenet"))


def test_a_path_that_is_switched_off_is_that_path(lab, photographs, tmp_path):
    means = script.mean_activations(lab, photographs, tmp_path / "means.pt")
    found, views = dict(script.paths(lab, photographs, means)), script.views(photographs)
    assert len(found) == 2 * 36 + 1
    torch.testing.assert_close(found["whole"], lab.network(views).softmax(1), atol=1e-5, rtol=1e-3)
    for name in ("inception_3a.three", "inception_4b.one", "inception_5b.pool"):
        module, path = name.split(".")
        for how in ("zero", "mean"):
            mean = means[module][lab.paths[module][path], None, None]

            def replace(layer, inputs, output, mean=mean, how=how):
                return torch.zeros_like(output) if how == "zero" else mean.expand_as(output)

            hook = lab.network.model.get_submodule(name).register_forward_hook(replace)
            torch.testing.assert_close(found[f"{name} {how}"], lab.network(views).softmax(1), atol=1e-5, rtol=1e-3)
            hook.remove()


def test_a_record_that_was_stopped_goes_on(lab, photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "SIZES", (64, 96))
    monkeypatch.setattr(script, "BLOCK", 1)
    for place, parts in {"at_once": [2], "stopped": [1, 2]}.items():
        for n in parts:
            script.answer("sizes", lab, photographs[:n], {}, tmp_path / place)
    one, other = (np.load(tmp_path / place / "sizes.npz") for place in ("at_once", "stopped"))
    assert set(one) == {"images", "settings", "rank", "guess", "loss"} and one["rank"].shape == (2, 2)
    assert all((one[key] == other[key]).all() for key in one)
    p = lab.network(script.center_view(photographs[0], 96)).softmax(1)[0]
    assert one["guess"][0, 1] == p.argmax() and one["rank"][0, 1] == (p > p[285]).sum() + 1
