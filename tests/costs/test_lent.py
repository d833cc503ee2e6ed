"""Models as people have them: whatever they hold or replace, they are counted, and come back as they were."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from inception_lab import build, count
from inception_lab.costs.counters import compare_counters


class Odd(nn.Module):
    """A convolution of 12 weights, beside something that stands in the way of a copy or of the meta device."""

    def __init__(self, **kept):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, bias=False)
        vars(self).update(kept)

    def forward(self, x):
        return self.conv(x)


class MakesTensors(Odd):
    def forward(self, x):
        table = torch.linspace(0, 1, 4, device="cpu") + torch.randn(4) + torch.zeros(4)
        sides = torch.tensor([2, 4]).tolist()
        return self.conv(x) * table[:, None, None] + torch.ones(sides[1], 1, 1).cpu()


class Writes(Odd):
    def forward(self, x):
        self.tables["seen"] += 1
        self.history.append(self.conv(x))
        self.last = self.history[-1]
        out = torch.zeros(1, 4, 8, 8)
        out[:, :] = self.last
        return out.cpu() + self.tables["seen"]


class Remembers:
    def __call__(self, *inputs):
        self.held = inputs


def hooked():
    model = Odd()
    model.conv.register_forward_hook(Remembers())
    model(torch.randn(1, 3, 8, 8))
    return model


def replaced():
    model = Odd()
    forward = model.forward
    model.forward = lambda x: forward(x).relu()
    return model


def captured():
    model = Odd()
    model.forward = lambda x, weight=model.conv.weight: F.conv2d(x, weight)
    return model


ODD = {
    "hooks that hold activations": hooked,
    "a list and a dictionary of tensors": lambda: Writes(tables={"seen": torch.zeros(())}, history=[]),
    "an activation in a list": lambda: Odd(
        kept=[nn.Conv2d(3, 4, 1)(torch.ones(1, 3, 2, 2)), {"lock": threading.Lock()}]
    ),
    "a lock": lambda: Odd(lock=threading.Lock()),
    "a file": lambda: Odd(log=open(__file__)),  # noqa: SIM115
    "tensors made in forward": MakesTensors,
    "a replaced forward": replaced,
    "a forward that captured the weights": captured,
    "compiled": lambda: torch.compile(Odd()),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.filterwarnings("ignore:unclosed file")
def test_what_a_model_holds_does_not_stand_in_the_way(kind):
    counted = count(ODD[kind](), 8)
    assert (counted.macs, counted.params, counted.idle) == (12 * 64, 12, {})


def test_what_the_pass_writes_is_undone():
    model = ODD["a list and a dictionary of tensors"]()
    held = vars(model)
    count(model, 8)
    assert vars(model) is held and model.history == [] and model.tables == {"seen": 0} and not hasattr(model, "last")


def test_random_numbers_of_the_pass_are_not_missed_afterwards():
    model, state = MakesTensors(), torch.get_rng_state()
    count(model, 8)
    assert torch.equal(torch.get_rng_state(), state)


def test_statistics_of_batch_norm_stay_where_they_are():
    model = nn.Sequential(nn.BatchNorm2d(3))
    count(model, 8, training=True)
    assert model[0].num_batches_tracked == 0 and model[0].running_mean.equal(torch.zeros(3))


def test_a_decision_by_values_of_the_image_is_refused_also_on_a_real_tensor():
    class Decides(nn.Module):
        def forward(self, x):
            out = torch.zeros(1, 3, 8, 8)
            out[:, :1] = x[:, :1]
            return x if out.sum() > 0 else -x

    with pytest.raises(ValueError, match="Decides cannot be counted: .*where tensors have shapes and no values"):
        count(Decides(), 8)


# --- how it is called


@torch.inference_mode()
def made_in_inference_mode():
    return Odd()


class Infers(Odd):
    @torch.inference_mode()
    def forward(self, x):
        return self.conv(x)


@pytest.mark.parametrize("model", [Odd(), made_in_inference_mode(), Infers(), build("googlenet-bn-32")])
@pytest.mark.parametrize(
    "context",
    [
        torch.inference_mode,
        torch.no_grad,
        torch.enable_grad,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        lambda: torch.device("meta"),
    ],
)
def test_it_counts_in_every_context(model, context):
    expected = count(model, 32)
    with context():
        found = count(model, 32)
    assert found == expected and found.macs > 0


def test_it_counts_under_another_default_dtype():
    model, expected = MakesTensors(), count(Odd(), 8).macs
    torch.set_default_dtype(torch.float64)
    try:
        assert count(model, 8).macs == count(Odd(), 8).macs == expected
        assert compare_counters(Odd(), 8)["unexplained"].tolist() == [0, 0, 0, 0]
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("context", [torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16)])
def test_counters_are_compared_in_every_context(context):
    with context():
        table = compare_counters(ODD["a lock"](), 8)
    assert table["unexplained"].tolist() == [0, 0, 0, 0]


# --- lazy layers


def lazy():
    return nn.Sequential(
        nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(5)
    )


@pytest.mark.parametrize("training", [False, True])
def test_lazy_layers_are_counted_and_stay_lazy(training):
    model = lazy()
    counted = count(model, (3, 10, 10), training=training)
    assert (counted.macs, counted.params) == (27 * 8 * 64 + 40, 27 * 8 + 8 + 16 + 45)
    assert counted.layers[0].operation == "Conv2d"
    assert isinstance(model[0], nn.LazyConv2d) and all(map(nn.parameter.is_lazy, model[5].parameters()))
    assert nn.parameter.is_lazy(model[1].running_mean)
    model(torch.ones(2, 4, 12, 12))  # another number of channels than was counted
    assert model[0].weight.shape == (8, 4, 3, 3)
