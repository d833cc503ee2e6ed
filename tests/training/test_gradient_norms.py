"""What reaches a stage: gradients against finite differences, and maps that are alike or not."""

import copy

import pytest
import torch
from torch import nn

from inception_lab import build
from inception_lab.training.gradient_norms import differences, gradients
from inception_lab.training.trainer import loss

MODULES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
STAGES = ["conv1", "conv2", *(f"inception_{name}" for name in MODULES), "linear"]


@pytest.fixture
def case():
    """A small network with heads, in double precision, and a batch for it."""
    torch.manual_seed(0)
    options = dict(norm="lrn", bias=True, initial_bias=0.0, dropout=0.0, aux_dropout=0.0)
    model = build("googlenet-laptop", 10, aux=True, **options).double().train()
    return model, torch.randn(4, 3, 64, 64, dtype=torch.float64), torch.tensor([0, 3, 3, 9])


def test_every_stage_with_weights_has_a_row_in_the_networks_order(case):
    assert list(gradients(*case).index) == list(differences(case[0], case[1]).index) == STAGES


@pytest.mark.parametrize("aux_weight", [0.0, 0.3])
@pytest.mark.parametrize("stage", ["conv1", "inception_4a", "inception_4e", "linear"])
def test_weights_gradient_is_the_slope_of_the_loss(case, stage, aux_weight):
    model, images, labels = case
    weights = [p for p in getattr(model, stage).parameters() if p.ndim > 1]
    loss(model(images), labels, aux_weight).backward()
    direction = [p.grad / sum(q.grad.square().sum() for q in weights).sqrt() for p in weights]
    ends = []
    for step in (1e-7, -1e-7):
        moved = copy.deepcopy(model)
        for p, d in zip((p for p in getattr(moved, stage).parameters() if p.ndim > 1), direction, strict=True):
            p.data += step * d
        ends.append(loss(moved(images), labels, aux_weight).item())
    slope = (ends[0] - ends[1]) / 2e-7  # along the steepest direction: the norm
    assert gradients(model, images, labels, aux_weight)["weights"][stage] == pytest.approx(slope, rel=1e-3)


def test_the_gradient_of_the_logits_is_what_cross_entropy_says(case):
    model, images, labels = case
    wrong = model(images).logits.softmax(1) - nn.functional.one_hot(labels, 10)
    expected = wrong.square().sum(1).mean().sqrt().item()  # for one image it is the probabilities minus the class
    assert gradients(model, images, labels)["map"]["linear"] == pytest.approx(expected)


def test_a_maps_gradient_does_not_depend_on_the_batch_where_images_do_not_meet(case):
    model, images, labels = case
    twice = gradients(model, images.repeat(2, 1, 1, 1), labels.repeat(2))["map"]
    assert twice.tolist() == pytest.approx(gradients(model, images, labels)["map"].tolist())
    assert len(set(twice.round(12))) == len(twice)


def test_a_head_adds_gradient_below_it_and_none_above(case):
    without, with_heads = (gradients(*case, aux_weight) for aux_weight in (0, 0.3))
    more = (with_heads / without - 1).abs() > 1e-9
    assert more.loc[:"inception_4d"].all().all() and not more.loc["inception_4e":].any().any()


def test_nothing_of_the_model_changes():
    model = build("googlenet-laptop", 10, aux=True).train()
    before = copy.deepcopy(model.state_dict())
    images = torch.randn(4, 3, 64, 64)
    gradients(model, images, torch.arange(4))
    differences(model, images)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters()) and not model.conv1._forward_hooks and model.training


def test_images_that_are_equal_make_no_difference(case):
    model, images, _ = case
    assert differences(model, images[:1].repeat(3, 1, 1, 1)).abs().max() < 1e-12
    shares = differences(model, images)
    assert (shares > 0).all() and (shares < 1).all()


def test_a_constant_makes_the_share_smaller(case):
    model, images, _ = case
    before = differences(model, images)["conv1"]
    nn.init.constant_(model.conv1.conv.bias, 100.0)
    assert differences(model, images)["conv1"] < 1e-3 < before


def test_the_share_is_variance_over_mean_square():
    model = build("googlenet-laptop", 10, aux=False, norm="none", bias=True, initial_bias=0.0).eval()
    images = torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        x = model.conv1(images)
        expected = 1 - x.mean(0).square().sum() / x.square().mean(0).sum()
    assert differences(model, images)["conv1"] == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda m, x: gradients(m, x, torch.zeros(3, dtype=int)), r"labels must be as many as images \(2\), got 3"),
        (lambda m, x: gradients(nn.Linear(2, 2), x, torch.zeros(2, dtype=int)), "named stages.*got Linear"),
        (lambda m, x: differences(m, x[:1]), "images must be at least 2, got 1"),
    ],
)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(build("googlenet-laptop", 10, aux=False), torch.randn(2, 3, 64, 64))
