"""The released InceptionV1 in Lucent's layout: names, shapes, and a forward pass of the test's own."""

import re

import pytest
import torch
import torch.nn.functional as F

from inception_lab.common.checks import DataError
from inception_lab.hub import from_lucent

# Input channels, then 1×1, 3×3 bottleneck, 3×3, 5×5 bottleneck, 5×5, pool reduce: of Lucent's InceptionV1.
MODULES = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 204, 16, 48, 64),
    "4b": (508, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 48, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


def lucent_weights():
    shapes = {"conv2d0": (64, 3, 7, 7), "conv2d1": (64, 64, 1, 1), "conv2d2": (192, 64, 3, 3)}
    for name, (channels, one, three_reduce, three, five_reduce, five, pool) in MODULES.items():
        shapes |= {
            f"mixed{name}_1x1": (one, channels, 1, 1),
            f"mixed{name}_3x3_bottleneck": (three_reduce, channels, 1, 1),
            f"mixed{name}_3x3": (three, three_reduce, 3, 3),
            f"mixed{name}_5x5_bottleneck": (five_reduce, channels, 1, 1),
            f"mixed{name}_5x5": (five, five_reduce, 5, 5),
            f"mixed{name}_pool_reduce": (pool, channels, 1, 1),
        }
    named = {f"{name}_pre_relu_conv": shape for name, shape in shapes.items()}
    named["softmax2_pre_activation_matmul"] = (1008, 1024)
    generator, weights = torch.Generator().manual_seed(0), {}
    for name, shape in named.items():
        scale = (2 / torch.Size(shape[1:]).numel()) ** 0.5
        weights[f"{name}.weight"] = torch.randn(shape, generator=generator) * scale
        weights[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    return weights


def same_pad(x, kernel, stride, value=0.0):
    """TensorFlow's padding: the output has ⌈side / stride⌉ pixels, and what is odd comes after."""
    missing = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in (x.shape[3], x.shape[2])]
    return F.pad(x, [pad for m in missing for pad in (m // 2, m - m // 2)], value=value)


def own_logits(w, x):
    def conv(name, x, stride=1):
        weight = w[f"{name}_pre_relu_conv.weight"]
        padded = same_pad(x, weight.shape[2], stride)
        return F.conv2d(padded, weight, w[f"{name}_pre_relu_conv.bias"], stride).relu()

    def pool(x, stride=2):
        return F.max_pool2d(same_pad(x, 3, stride, float("-inf")), 3, stride)

    def lrn(x):
        return F.local_response_norm(x, size=9, alpha=9.99999974738e-05, beta=0.5, k=1)

    x = lrn(pool(conv("conv2d0", x, stride=2)))
    x = pool(lrn(conv("conv2d2", conv("conv2d1", x))))
    for name in MODULES:
        if name in ("4a", "5a"):
            x = pool(x)
        m = f"mixed{name}"
        three = conv(f"{m}_3x3", conv(f"{m}_3x3_bottleneck", x))
        five = conv(f"{m}_5x5", conv(f"{m}_5x5_bottleneck", x))
        x = torch.cat([conv(f"{m}_1x1", x), three, five, conv(f"{m}_pool_reduce", pool(x, stride=1))], 1)
    name = "softmax2_pre_activation_matmul"
    return F.linear(F.avg_pool2d(x, 7).flatten(1), w[f"{name}.weight"], w[f"{name}.bias"])


@torch.no_grad()
def test_lucents_weights_give_the_released_networks_logits():
    weights = lucent_weights()
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1)) * 255 - 117
    model = from_lucent(weights)
    assert not model.training and model.inception_4a.out_channels == 508
    assert model(x).shape == (2, 1008)
    theirs = own_logits(weights, x)
    torch.testing.assert_close(model(x), theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())


def test_other_weights_are_refused_by_name():
    weights = lucent_weights()
    missing = {name: t for name, t in weights.items() if not name.startswith("mixed4c_5x5_pre")}
    with pytest.raises(DataError, match="2 tensors .*such as mixed4c_5x5_pre_relu_conv.weight"):
        from_lucent(missing)
    with pytest.raises(DataError, match="1 tensors .*such as head0_bottleneck.weight"):
        from_lucent(weights | {"head0_bottleneck.weight": torch.zeros(1)})
    with pytest.raises(DataError, match=re.escape("softmax2_pre_activation_matmul.bias")):
        from_lucent(weights | {"softmax2_pre_activation_matmul.bias": torch.zeros(1000)})
