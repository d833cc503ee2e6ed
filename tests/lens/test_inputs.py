"""Whatever images, precision and modes an instrument meets: the right values, or a sentence that says what is wrong."""

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from inception_lab import count, lens
from inception_lab.common import files
from inception_lab.data.shapes import Shapes
from inception_lab.lens import circuits
from inception_lab.lens.connections import expanded_kernel, strongest
from inception_lab.lens.network import Network
from inception_lab.models import zoo
from inception_lab.training.weights import load_model

RUN = files.recorded("runs") / "shapes-laptop"
IMAGES, LABELS = Shapes("test", length=2).batch(range(2))
QUIET = dict(progress=False)
TERMS = [lens.channel("inception_4a.five:1"), lens.logit("ring")]

OF_IMAGES = {
    "network": lambda network, images: network(images).detach(),
    "activations": lambda network, images: lens.activations(network, images, "inception_3a")["inception_3a"],
    "top patches": lambda network, images: lens.top_patches(network, images, "conv2", k=2, **QUIET)["conv2"].values,
    "crop": lambda network, images: lens.crop(network, images[0], (-4, 8, 40, 30)),
    "excitation": lambda network, images: lens.excitation(network, images, TERMS),
    "CAM": lambda network, images: lens.cam(network, images, "ring"),
    "Grad-CAM": lambda network, images: lens.grad_cam(network, images, "ring"),
    "gradient": lambda network, images: lens.gradient(network, images, "ring"),
    "edges": lambda network, images: lens.edges(network, images),
    "occlusion": lambda network, images: lens.occlusion(network, images, "ring", window=32, stride=32),
    "integrated gradients": lambda network, images: lens.integrated_gradients(network, images, "ring", steps=4),
}
INSTRUMENTS = OF_IMAGES | {
    "dream": lambda network, images: lens.deep_dream(network, images[:1], octaves=2, steps=1, **QUIET),
    "visualize": lambda network, images: lens.visualize(network, TERMS, size=32, steps=2, **QUIET).images,
    "tuning": lambda network, images: lens.tuning(network, "conv2", images=4, scales=(0.5, 1), **QUIET).responses[
        "conv2"
    ],
}


@pytest.fixture(scope="module")
def network():
    return lens.open_run(RUN)


@pytest.fixture(scope="module")
def expected(network):
    return {name: of(network, IMAGES) for name, of in INSTRUMENTS.items()}


NAMED = {
    "activations": lambda network, name: lens.activations(network, IMAGES, name),
    "top patches": lambda network, name: lens.top_patches(network, IMAGES, name, **QUIET),
    "tuning": lambda network, name: lens.tuning(network, name, images=2, **QUIET),
    "Grad-CAM": lambda network, name: lens.grad_cam(network, IMAGES, layer=name),
    "receptive field": lambda network, name: lens.receptive_field(network, name, 0, 0),
    "unit": lens.find_unit,
    "objective": lambda network, name: lens.visualize(network, name),
    "inputs": lambda network, name: circuits.inputs(network, IMAGES, name),
    "without": lambda network, name: circuits.without(network, [name]),
    "dictionary": lambda network, name: circuits.dictionary(network, IMAGES[:1], name),
}


@pytest.mark.parametrize("name", [5, 1.5, True, (5, 5), b"conv1"])
@pytest.mark.parametrize("of", NAMED)
def test_what_is_no_name_is_told_by_every_instrument(network, of, name):
    told(NAMED[of], network, name, says=r"(names?|layer|path|unit|objectives)\b.* must be|is not in this network")


def test_what_is_no_network_is_told(network):
    for wrong in ("googlenet", network.model, None):
        told(lens.grad_cam, wrong, IMAGES, says="network must be one that lens.open gives, got")
        told(lens.paths, wrong, says="network must be one that lens.open gives, got")


def told(call, *arguments, says=""):
    with pytest.raises(ValueError, match=says):
        call(*arguments)


WRONG = {
    "int64": (IMAGES.long(), "images must be uint8, or floats from 0 to 1, got torch.int64"),
    "floats to 255": (IMAGES.float(), "got torch.float32 from .* to 2"),
    "normalized": (IMAGES / 128 - 1, "floats from 0 to 1, got torch.float32 from -"),
    "bool": (IMAGES > 128, "got torch.bool"),
    "complex": (IMAGES.cfloat() / 255, "got torch.complex64"),
    "NaN": (torch.where(IMAGES > 200, torch.nan, IMAGES / 255), "got torch.float32 from nan to nan"),
    "infinite": (torch.where(IMAGES > 200, torch.inf, IMAGES / 255), "from .* to inf"),
    "one channel": (IMAGES[:, :1], "images must be a batch"),
    "four channels": (IMAGES[:, [0, 1, 2, 0]], "images must be a batch"),
    "channels last": (IMAGES.permute(0, 2, 3, 1), "images must be a batch"),
    "one image": (IMAGES[0], "images must be a batch"),
    "videos": (IMAGES[None], "images must be a batch"),
    "array": (IMAGES.numpy(), "images must be a batch"),
}


@pytest.mark.parametrize("name", OF_IMAGES)
@pytest.mark.parametrize("kind", WRONG)
def test_other_images_are_told_by_every_instrument(network, name, kind):
    told(
        OF_IMAGES[name],
        network,
        WRONG[kind][0],
        says="images must be" if name in ("crop", "top patches") else WRONG[kind][1],
    )


@pytest.mark.parametrize("kind", ["int64", "floats to 255", "NaN", "four channels", "videos"])
def test_other_photographs_cannot_be_dreamt_on(network, kind):
    told(lens.deep_dream, network, WRONG[kind][0], says="source must be")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_of_every_precision_are_taken(network, expected, dtype):
    images = (IMAGES / 255).to(dtype)
    for name in ("activations", "Grad-CAM", "top patches"):
        assert torch.allclose(OF_IMAGES[name](network, images), expected[name], rtol=0.05, atol=0.05), name


@pytest.mark.parametrize("dtype, within", [(torch.float16, 0.02), (torch.bfloat16, 0.08), (torch.float64, 1e-5)])
def test_a_network_of_another_precision_gives_the_same_maps(network, expected, dtype, within):
    model, about = load_model(RUN)
    made = Network(model.to(dtype), about["mean"], about["std"], about["classes"], 64)
    for other in (copy.deepcopy(network).to(dtype), made):
        for name in ("activations", "Grad-CAM", "occlusion", "integrated gradients"):
            found = OF_IMAGES[name](other, IMAGES).float()
            wide = (
                5 if name == "integrated gradients" else 1
            )  # where two values round to one, a max pool passes another
            assert (found - expected[name]).norm() < wide * within * expected[name].norm(), name
        assert INSTRUMENTS["visualize"](other, None).isfinite().all()


@pytest.mark.parametrize(
    "targets", [True, np.True_, [True, False], torch.tensor([True, False]), 1.0, [1.0, 2.0], [[1], [2]]]
)
def test_what_is_no_class_is_told(network, targets):
    told(lens.grad_cam, network, IMAGES, targets, says="class must be from 0 to 9 or a name, got")
    if targets is True:
        told(lens.visualize, network, [lens.logit(True)], says="class must be from 0 to 9 or a name, got True")


def test_classes_may_be_numpys(network):
    expected = lens.grad_cam(network, IMAGES, [3, 4])
    for targets in (np.array([3, 4]), torch.tensor([3, 4]), [np.int64(3), np.uint8(4)], np.array(["ring", "plus"])):
        assert torch.equal(lens.grad_cam(network, IMAGES, targets), expected)


MODES = {
    "inference": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default device": lambda: torch.device("meta"),
    "default type": nullcontext,
}


@pytest.mark.parametrize("mode", MODES)
def test_instruments_give_the_same_wherever_they_are_called(network, expected, mode):
    try:
        if mode == "default type":
            torch.set_default_dtype(torch.float64)
        with MODES[mode]():
            images = IMAGES.clone()
            found = {name: of(network, images) for name, of in INSTRUMENTS.items() if name not in ("network", "crop")}
    finally:
        torch.set_default_dtype(torch.float32)
    for name, values in found.items():
        torch.testing.assert_close(values, expected[name], rtol=1e-4, atol=1e-4)
        assert not values.requires_grad and not values.is_inference()


def test_a_network_that_was_opened_under_inference_mode_has_gradients(expected):
    with torch.inference_mode():
        network = lens.open_run(RUN)
        assert torch.equal(lens.grad_cam(network, IMAGES, "ring"), expected["Grad-CAM"])
    assert torch.equal(lens.grad_cam(network, IMAGES, "ring"), expected["Grad-CAM"])
    with torch.inference_mode():
        network.double()
    for name, of in INSTRUMENTS.items():
        if name not in ("network", "crop"):
            told(of, network, IMAGES, says="moved or converted under torch.inference_mode")


def test_a_network_of_another_default_type_is_whole(expected):
    torch.set_default_dtype(torch.float64)
    try:
        found = lens.grad_cam(lens.open_run(RUN), IMAGES, "ring")
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, expected["Grad-CAM"], rtol=1e-3, atol=1e-3)


def test_a_copy_of_a_network_that_was_used_is_the_network(network, expected):
    INSTRUMENTS["visualize"](network, None)
    again = copy.deepcopy(network)
    assert torch.equal(lens.grad_cam(again, IMAGES, "ring"), expected["Grad-CAM"])
    assert not any(layer.training for layer in again.model.modules())


def test_a_network_to_look_inside_can_be_counted(network):
    assert count(network, 64).macs == count(network.model, 64).macs


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_expanded_kernels_have_the_precision_of_the_weights(dtype):
    chain = zoo.build("googlenet-laptop", 10, aux=False).eval().to(dtype).inception_3a.five
    kernel = expanded_kernel(chain, 48)
    assert kernel.dtype == dtype and kernel.isfinite().all()
    assert strongest(kernel, torch.ones(48), 4).channels.shape == (8, 4)
