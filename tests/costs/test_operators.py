"""The rules of operators: products have their MACs, layers without products none, and users add rules of their own."""

import pytest
import torch
from materials import some
from torch import nn
from torch.nn import functional as F

from inception_lab import count
from inception_lab.costs import operators, rule

aten = torch.ops.aten


class Call(nn.Module):
    """A function of the image, of 3×8×8 numbers, as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


PRODUCTS = {
    "mv": (lambda x: x.flatten(1) @ torch.ones(192), 192),
    "dot": (lambda x: x.flatten() @ torch.ones(192), 192),
    "vdot": (lambda x: torch.vdot(x.flatten(), torch.ones(192)), 192),
    "addmv": (lambda x: torch.addmv(torch.ones(3), x.flatten(2)[0], torch.ones(64)), 192),
    "addmv_": (lambda x: torch.ones(3).addmv_(x.flatten(2)[0], torch.ones(64)), 192),
    "addmm_": (lambda x: torch.ones(3, 5).addmm_(x.flatten(2)[0], torch.ones(64, 5)), 960),
    "addr": (lambda x: torch.addr(torch.ones(192, 5), x.flatten(), torch.ones(5)), 960),
    "addbmm": (lambda x: torch.addbmm(torch.ones(8, 5), x[0], torch.ones(3, 8, 5)), 960),
    "bilinear": (lambda x: F.bilinear(x[:, 0, 0], x[:, 0, 1], torch.ones(5, 8, 8)), 320),
    "cdist": (lambda x: torch.cdist(x[0, 0], torch.ones(5, 8)), 320),
    "einsum": (lambda x: torch.einsum("nchw,cd->ndhw", x, torch.ones(3, 5)), 960),
    "affine_grid": (lambda x: F.affine_grid(x[:, 0, :2, :3], [1, 3, 4, 4]), 96),
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_product_has_its_macs(product):
    function, macs = PRODUCTS[product]
    assert count(Call(function), 8).macs == macs


def volume(layer):
    return Call(lambda x: layer(x[:, :, None].expand(-1, -1, 8, -1, -1)))


def line(layer):
    return Call(lambda x: layer(x.flatten(2)))


NONE = [
    *(nn.InstanceNorm2d(3), nn.InstanceNorm2d(3, affine=True, track_running_stats=True), nn.LocalResponseNorm(3)),
    *(nn.ReflectionPad2d(1), nn.ReplicationPad2d(1), nn.CircularPad2d(1), nn.ZeroPad2d(1), nn.ConstantPad2d(1, 2.0)),
    *(line(nn.ReflectionPad1d(1)), volume(nn.ReplicationPad3d(1)), volume(nn.ReflectionPad3d(1))),
    *(nn.LogSigmoid(), nn.RReLU(), nn.GELU(), nn.SELU(), nn.CELU(), nn.Softplus(), nn.Hardshrink(), nn.Tanhshrink()),
    *(nn.Mish(inplace=True), nn.Threshold(0.1, 0), nn.Softmin(1), nn.Softmax2d(), nn.LogSoftmax(1), nn.PReLU(3)),
    *(nn.FractionalMaxPool2d(2, output_size=3), nn.LPPool2d(2, 2), nn.AdaptiveMaxPool2d(2), nn.MaxPool2d(2)),
    *(volume(nn.MaxPool3d(2)), volume(nn.AvgPool3d(2)), volume(nn.AdaptiveAvgPool3d(2)), line(nn.AvgPool1d(2))),
    *(line(nn.MaxPool1d(2)), line(nn.AdaptiveMaxPool1d(2)), volume(nn.FractionalMaxPool3d(2, output_size=3))),
    *(nn.Sequential(nn.Unfold(3), nn.Fold(8, 3)), nn.PixelUnshuffle(2), nn.ChannelShuffle(3)),
    *(nn.Upsample(scale_factor=2, mode=mode) for mode in ("nearest-exact", "bicubic")),
    *(line(nn.Upsample(scale_factor=2, mode=mode)) for mode in ("nearest", "linear", "nearest-exact")),
    *(volume(nn.Upsample(scale_factor=2, mode=mode)) for mode in ("nearest", "trilinear", "nearest-exact")),
    *(nn.Dropout(), nn.Dropout2d(), nn.AlphaDropout(), nn.FeatureAlphaDropout(), nn.GroupNorm(3, 3), nn.RMSNorm(8)),
]
FUNCTIONS = {
    "antialias": lambda x: F.interpolate(x, 5, mode="bilinear", antialias=True),
    "grid_sample": lambda x: F.grid_sample(x, torch.zeros(1, 4, 4, 2)),
    "statistics": lambda x: x.std() + x.var(1).min() + x.amin() + x.prod() + x.logsumexp(1).sum() + x.median(),
    "order": lambda x: x.argmin(1) + x.sort(1).indices[:, 0] + x.cummax(1).indices[:, 0] + x.kthvalue(1, 1).indices,
    "scans": lambda x: x.cumprod(1) + x.cumsum(2) + x.logcumsumexp(1),
    "repeats": lambda x: x.repeat(1, 2, 1, 1).repeat_interleave(2, 1),
    "triangles": lambda x: x.tril() + x.triu() + torch.diag_embed(x[..., 0]),
    "causal mask": lambda x: x.masked_fill(torch.ones(8, 8).tril() == 0, float("-inf")).softmax(-1),
    "scatter": lambda x: x.scatter_add(1, torch.zeros(1, 3, 8, 8).long(), x).scatter(
        1, torch.zeros(1, 3, 8, 8).long(), 1.0
    ),
    "scatter_reduce": lambda x: x.scatter_reduce(1, torch.zeros(1, 3, 8, 8).long(), x, "amax"),
    "index_add": lambda x: x.index_add(1, torch.tensor([0, 1, 2]), x).index_fill(1, torch.tensor([0]), 0.0),
    "new tensors": lambda x: x + torch.linspace(0, 1, 8) + torch.eye(8) + torch.rand_like(x) + torch.rand(8),
    "random on meta": lambda x: x + x.new_empty(8).normal_() + torch.randn_like(x) + torch.randint_like(x, 3),
    "floor_divide": lambda x: x // 2 + x.floor_divide(3) + x % 2,
    "mse": lambda x: F.mse_loss(x, x) + F.huber_loss(x, x) + F.smooth_l1_loss(x, x) + F.l1_loss(x, x),
    "classes": lambda x: F.cross_entropy(x, torch.zeros(1, 8, 8).long()) + F.kl_div(x, x),
    "binary": lambda x: F.binary_cross_entropy_with_logits(x, x) + F.soft_margin_loss(x, x),
    "spectral size": lambda x: torch.complex(x, x).abs() + torch.polar(x, x).abs(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [False, True])
def test_no_layer_without_products_is_refused(training):
    for layer in [*NONE, *map(Call, FUNCTIONS.values())]:
        assert count(layer, 8, training=training).macs == 0, layer


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_a_convolution_with_another_padding_costs_the_same(mode):
    layer = nn.Conv2d(3, 4, 3, padding=1, padding_mode=mode)
    assert count(layer, 8).macs == 27 * 4 * 64


def test_no_product_is_taken_for_something_else():
    """Names and marks that stand for no MACs match none of the operators that multiply matrices."""
    products = [*operators.MACS, *torch.utils.flop_counter.flop_registry]
    for packet in products:
        if hasattr(packet, "overloads") and packet is not aten.affine_grid_generator:
            operator = getattr(packet, packet.overloads()[0])
            assert not operators._has_no_macs(operator, packet), packet


def test_a_user_adds_a_rule(monkeypatch):
    monkeypatch.setattr(operators, "MACS", dict(operators.MACS))
    model = Call(lambda x: torch.fft.rfft2(x).abs())
    with pytest.raises(ValueError, match=r"no rule .*aten\._fft_r2c.*inceptio.*rule"):
        count(model, 8)

    @rule(aten._fft_r2c, aten._fft_c2c.default)
    def one_for_each_input(output, x, *_, **__):
        return x.numel()

    assert count(model, 8).macs == 192
    with pytest.raises(ValueError, match=r"operator must be one of torch\.ops, such as .*got <built-in"):
        rule(torch.mm)


SMALL = ("test", "atto", "femto", "pico", "nano", "tiny", "small", "mini", "_s", "_xs", "_t", "18", "12")


def is_large(name):
    """By its name, for the smallest of a family is counted in the least time."""
    return not any(word in name for word in SMALL), len(name)


@pytest.mark.slow
def test_no_family_of_timm_is_refused():
    import timm

    families = timm.list_modules()
    assert len(families) >= 90
    refused = {}
    for family in some(families, 15):
        name = min(timm.list_models(module=family), key=is_large)
        with torch.device("meta"):
            try:
                model = timm.create_model(name)
            except NotImplementedError:
                model = None
        model = timm.create_model(name) if model is None else model
        try:
            assert count(model, model.pretrained_cfg["input_size"]).macs > 0
        except Exception as error:
            refused[name] = str(error)[:200]
    assert refused == {}
