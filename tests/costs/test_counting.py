"""The counter: exact on layers derived by hand, in agreement with PyTorch's, and never silent about a gap."""

import copy
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import torchvision
from fvcore.nn import ActivationCountAnalysis
from materials import some
from torch import nn
from torch.nn import functional as F
from torchvision.models import regnet

from inception_lab import build, count
from inception_lab.models.blocks import Inception, Widths
from inception_lab.models.designs import Design
from inception_lab.models.googlenet import GoogLeNet


def test_a_convolution_costs_its_weights_times_its_positions():
    cost = count(nn.Conv2d(3, 64, 7, stride=2, padding=3), (3, 224, 224))
    assert cost.params == 7 * 7 * 3 * 64 + 64
    assert cost.macs == 7 * 7 * 3 * 64 * 112 * 112
    assert cost.flops == 2 * cost.macs
    assert cost.activations == 64 * 112 * 112


def test_a_grouped_convolution_reads_its_group_alone():
    assert count(nn.Conv2d(8, 16, 3, groups=4), (8, 10, 10)).macs == 9 * (8 // 4) * 16 * 8 * 8


def test_a_transposed_convolution_uses_each_weight_at_each_input_pixel():
    assert count(nn.ConvTranspose2d(4, 6, 3, stride=2), (4, 5, 5)).macs == 9 * 4 * 6 * 5 * 5


def test_a_linear_layer_on_a_flattened_map():
    cost = count(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10)), (3, 8, 8))
    assert (cost.params, cost.macs) == (1930, 1920)


def test_a_module_costs_the_sum_of_its_paths():
    widths, positions = Widths(64, 96, 128, 16, 32, 32), 28 * 28
    weights = 192 * 64 + 192 * 96 + 9 * 96 * 128 + 192 * 16 + 25 * 16 * 32 + 192 * 32
    cost = count(Inception(192, widths), (192, 28, 28))
    assert cost.macs == weights * positions == 128_049_152
    assert cost.params == weights + 64 + 96 + 128 + 16 + 32 + 32


def test_attention_counts_both_products():
    class Attend(nn.Module):
        def forward(self, x):
            tokens = x.flatten(2).transpose(1, 2)[:, None]
            return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)

    assert count(Attend(), (16, 4, 4)).macs == 2 * 16 * 16 * 16


def test_in_place_layers_write_no_new_activations():
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.ReLU())
    rows = count(layers, (3, 5, 5)).rows
    assert rows["activations"].tolist() == [100, 0, 100]


def test_shared_weights_count_once_but_work_each_time():
    shared = nn.Conv2d(4, 4, 1, bias=False)
    cost = count(nn.Sequential(shared, nn.ReLU(), shared), (4, 5, 5))
    assert (cost.params, cost.macs) == (16, 2 * 16 * 25)
    assert [row.operation for row in cost.layers] == ["Conv2d", "ReLU", "Conv2d"]


def test_training_runs_the_heads_and_evaluation_leaves_them_idle():
    evaluation, training = count("googlenet"), count("googlenet", training=True)
    assert (evaluation.params, sum(evaluation.idle.values())) == (6_998_552, 6_379_728)
    assert (training.params, training.idle) == (13_378_280, {})
    assert training.macs - evaluation.macs == 8_372_224
    assert evaluation.idle_stages == ["aux1", "aux2"]
    assert "idle: 6,379,728 parameters in aux1, aux2" in str(evaluation)


def test_rows_and_stages_add_up_to_the_whole():
    cost = count("googlenet")
    for column, whole in (("params", cost.params), ("macs", cost.macs), ("activations", cost.activations)):
        assert cost.rows[column].sum() == cost.by_stage()[column].sum() == whole


def test_stages_have_the_macs_of_the_facts():
    macs = count("googlenet").by_stage()["macs"]
    assert macs["conv1"] == 118_013_952
    assert macs["inception_3b"] == 304_267_264
    assert macs["inception_5a"] == 51_079_168
    assert macs["linear"] == 1_024_000


@pytest.mark.parametrize(
    "name, written", [("googlenet", 6_684_056), ("vgg16", 15_112_168), ("alexnet-2012", 1_258_760)]
)
def test_a_layer_of_pytorch_counts_what_it_hands_on(name, written):
    """Local response normalization is computed by seven operators, and is one layer."""
    cost = count(name)
    assert cost.activations == written
    for layer in cost.layers:
        if layer.operation == "LocalResponseNorm":
            assert layer.activations == torch.Size(layer.output).numel()


@pytest.mark.parametrize("training", [False, True])
def test_the_input_of_a_layer_is_what_comes_from_the_image(training):
    """And not its bias, which a linear layer's operator reads first, or a count of batches."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 64, 10))
    assert [layer.input for layer in count(network, 8, training=training).layers] == [(3, 8, 8), (4, 8, 8), (256,)]


def test_by_stage_goes_as_deep_as_asked():
    stages = count("googlenet").by_stage(depth=2)
    assert stages.loc["inception_3a.five", "macs"] == (192 * 16 + 25 * 16 * 32) * 784


@pytest.mark.parametrize("mode", [True, False])
def test_the_callers_model_comes_back_untouched(mode):
    model = build("googlenet-bn-32", num_classes=5).train(mode)
    before = copy.deepcopy(model.state_dict())
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    count(model, (3, 32, 32), training=not mode)
    assert model.training is mode
    assert all(torch.equal(before[name], t) and t.device.type == "cpu" for name, t in model.state_dict().items())
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_the_callers_hooks_are_not_called():
    model, seen = nn.Sequential(nn.Conv2d(3, 4, 1)), []
    model[0].register_forward_hook(lambda *_: seen.append("after"))
    model[0].register_forward_pre_hook(lambda *_: seen.append("before"))
    count(model, 8)
    assert seen == []


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("weight_norm", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_weight_norm_and_kept_tensors_do_not_stand_in_the_way(weight_norm):
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = weight_norm(nn.Conv2d(3, 4, 1))
            self.scale = torch.ones(4, 1, 1)

        def forward(self, x):
            self.last = self.conv(x) * self.scale
            return self.last

    model = Keeps()
    model(torch.randn(1, 3, 8, 8))  # leaves an activation with a gradient behind
    assert count(model, 8).macs == 3 * 4 * 64


@pytest.mark.parametrize("name", ["inception-v3", "googlenet-bn-32", "googlenet"])
def test_training_is_counted_for_one_image_also_where_batch_norm_needs_two(name):
    cost = count(name, training=True)
    assert cost.idle == {} and cost.params == sum(p.numel() for p in on_meta(name).parameters())
    heads = [row for row in cost.layers if row.name.lower().startswith("aux")]
    assert cost.macs - sum(row.macs for row in heads) == count(name).macs


def on_meta(name):
    with torch.device("meta"):
        return build(name)


@pytest.mark.parametrize(
    "layer",
    [nn.PReLU(), nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=2, mode="bilinear"), nn.PixelShuffle(2)]
    + [nn.AdaptiveMaxPool2d(2), nn.GLU(1), nn.Unfold(3), nn.Softmax(1), nn.GroupNorm(2, 4), nn.Hardswish()],
    ids=lambda layer: type(layer).__name__,
)
def test_common_layers_without_matrix_products_have_no_macs(layer):
    assert count(nn.Sequential(nn.Conv2d(3, 4, 1), layer), 8).macs == 3 * 4 * 64


def test_a_half_precision_model_is_counted_too():
    assert count(nn.Conv2d(3, 8, 3).to(torch.bfloat16), 10).macs == 27 * 8 * 64


@pytest.fixture
def regnet_without_weights(monkeypatch):
    """RegNet computes its widths with tensors, which need values also where weights have none."""
    widths = regnet.BlockParams.from_init_params

    def on_cpu(*arguments, **options):
        with torch.device("cpu"):
            return widths(*arguments, **options)

    monkeypatch.setattr(regnet.BlockParams, "from_init_params", on_cpu)


def torchvision_classifier(name):
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None, **options)


@pytest.mark.slow
@pytest.mark.usefixtures("regnet_without_weights")
def test_it_agrees_with_torch_on_every_classifier_of_torchvision_within_90_seconds():
    names = torchvision.models.list_models(module=torchvision.models)
    assert len(names) >= 80
    start = time.process_time()  # by the clock it would depend on what else runs
    for name in some(names, 12):
        model = torchvision_classifier(name)
        try:
            cost = count(model)  # raises where PyTorch's counter differs
        except Exception as error:
            pytest.fail(f"{name}: {error}")
        assert cost.macs > 0, name
        assert cost.params + sum(cost.idle.values()) == sum(p.numel() for p in model.parameters()), name
    assert time.process_time() - start < 90


@pytest.mark.parametrize("name", ["alexnet-2012", "vgg16", "googlenet", "googlenet-torchvision", "inception-v2"])
def test_the_outputs_of_weighted_layers_are_those_that_fvcore_counts(name):
    rows = count(name, num_classes=10).rows
    weighted = rows.loc[rows["operation"].isin(["Conv2d", "Linear"]), "activations"].sum()
    size = 227 if name == "alexnet-2012" else 224
    with torch.device("meta"):
        model = build(name, num_classes=10)
    fvcore = ActivationCountAnalysis(model.to_empty(device="cpu").eval(), torch.zeros(1, 3, size, size))
    assert weighted == fvcore.unsupported_ops_warnings(False).tracer_warnings("none").total()


def test_receptive_fields_of_the_paper_network():
    fields = count("googlenet").by_stage()["receptive_field"]
    steps = count("googlenet").by_stage()["total_stride"]
    assert fields[["conv1", "pool1", "conv2", "pool2", "inception_3a"]].tolist() == [7, 11, 19, 27, 59]
    assert fields["inception_5b"] == 715
    assert steps[["conv1", "pool1", "pool2", "pool3", "pool4"]].tolist() == [2, 4, 8, 16, 32]


@pytest.mark.parametrize("stage, size", [("conv2", 64), ("inception_3a", 128), ("pool3", 192), ("inception_4a", 256)])
@pytest.mark.parametrize("five_by_five", ["5x5", "3x3", "two 3x3"])
def test_receptive_fields_by_gradient_equal_the_formula(stage, size, five_by_five):
    model = GoogLeNet(Design(five_by_five=five_by_five), aux=False, num_classes=2).double().eval()
    for name, module in model.named_children():  # average pools send gradient to their whole window
        if isinstance(module, nn.MaxPool2d):
            setattr(model, name, nn.AvgPool2d(module.kernel_size, module.stride, ceil_mode=module.ceil_mode))
        elif isinstance(module, Inception):
            module.pool.pool = nn.AvgPool2d(3, 1, padding=1)
    for module in model.modules():  # positive weights, so that no two contributions cancel and no ReLU closes
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    x = torch.ones(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    y = x
    for name in model.stages[: model.stages.index(stage) + 1]:
        y = getattr(model, name)(y)
    middle = y.shape[-1] // 2
    y[0, :, middle, middle].sum().backward()
    rows = x.grad[0].abs().sum(dim=(0, 2)).nonzero()
    measured = int(rows.max() - rows.min()) + 1
    assert measured == count(model, (3, size, size)).by_stage()["receptive_field"][stage]


def test_padding_and_cropping_move_a_receptive_field_and_do_not_widen_it():
    class PadAndCrop(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 1, 3, stride=2), nn.Conv2d(1, 1, 3)

        def forward(self, x):
            return self.second(nn.functional.pad(self.first(x)[:, :, 1:, -9:], (2, 2, 2, 2)))

    assert count(PadAndCrop(), (1, 33, 33)).layers[-1].receptive_field == 3 + 2 * 2


def test_rectangular_kernels_are_shown_as_they_are():
    rows = count(nn.Conv2d(2, 2, (1, 7), padding=(0, 3)), (2, 17, 17)).rows
    assert rows.loc[0, "kernel"] == "1×7" and rows.loc[0, "receptive_field"] == 7


def test_a_field_that_cannot_be_followed_is_left_empty():
    class Permuted(nn.Module):
        def forward(self, x):
            return nn.functional.avg_pool2d(x.permute(0, 2, 1, 3), 2)

    assert count(Permuted(), (4, 8, 8)).layers[-1].receptive_field is None
    assert count(nn.ConvTranspose2d(4, 4, 3), (4, 8, 8)).layers[-1].receptive_field is None


def test_an_operator_without_a_rule_is_named_with_its_layer():
    class Fourier(nn.Module):
        def forward(self, x):
            return torch.fft.rfft2(x).real

    with pytest.raises(ValueError, match=r"no rule .*aten\._fft_r2c.* in layer '1'"):
        count(nn.Sequential(nn.Conv2d(3, 3, 1), Fourier()), (3, 8, 8))


def test_a_difference_to_torch_is_an_error_that_names_the_operator(monkeypatch):
    from inception_lab.costs import operators

    monkeypatch.setitem(operators.MACS, torch.ops.aten.convolution, lambda *args: 7)
    with pytest.raises(RuntimeError, match=r"disagree on aten\.convolution: 14 FLOPs here, 2,400 by PyTorch"):
        count(nn.Conv2d(3, 4, 1), (3, 10, 10))


@pytest.mark.parametrize(
    "model, size, message",
    [
        ("googlenet", 16, r"input_size 16×16 does not fit googlenet: x must be at least 31×31 pixels.*; 224×224 works"),
        ("vgg16", 20, r"input_size 20×20 does not fit vgg16: .*too small; 224×224 works"),
        ("alexnet-2012", 224, r"input_size 224×224 does not fit alexnet-2012: .*; 227×227 works"),
        ("googlenet", (1, 224, 224), r"input_size must have 3 channels for googlenet, got 1"),
        ("vgg16", (4, 224, 224), r"input_size must have 3 channels for vgg16, got 4"),
        ("vgg16", (3, 224), r"input_size must be one whole number or \(channels, height, width\)"),
        ("vgg16", 0, r"input_size must be .* above 0, got \(3, 0, 0\)"),
        ("vgg16", 224.0, r"input_size must be one whole number .*got \(3, 224.0, 224.0\)"),
        ("vgg16", True, r"input_size must be one whole number"),
        ("vgg61", 224, r"name 'vgg61' is not in the zoo"),
        (None, 224, r"model must be a name of the zoo or a torch.nn.Module, got None"),
        (nn.Conv2d, 8, r"model must be a name of the zoo or a torch.nn.Module, got <class"),
    ],
)
def test_a_wrong_argument_is_named_with_what_would_work(model, size, message):
    with pytest.raises(ValueError, match=message):
        count(model, size)


class Branches(nn.Module):
    """Its first layer in the order of registration is not the one that reads the image."""

    def __init__(self, channels):
        super().__init__()
        self.head, self.stem = nn.Conv2d(8, 4, 1), nn.Conv2d(channels, 8, 5)

    def forward(self, x):
        return self.head(self.stem(x))


def test_the_channels_of_the_layer_that_reads_the_image_are_told():
    with pytest.raises(ValueError, match="input_size must have 3 channels for Branches, got 1 "):
        count(Branches(3), (1, 16, 16))
    with pytest.raises(ValueError, match="input_size must have 1 channels for Branches, got 3 "):
        count(Branches(1), 16)
    with pytest.raises(ValueError, match="input_size 4×4 does not fit Branches: .*; 224×224 works"):
        count(Branches(3), 4)
    with pytest.raises(ValueError, match="input_size 3×4×4 does not fit Branches: .*; 1×224×224 works"):
        count(Branches(1), 4)


def test_sizes_from_numpy_are_whole_numbers():
    assert count(nn.Conv2d(3, 4, 1), np.int64(8)).macs == count(nn.Conv2d(3, 4, 1), (3, 8, 8)).macs


def test_a_model_that_needs_values_is_refused_with_the_reason():
    class Decides(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match=r"Decides cannot be counted: Tensor.item.* where tensors have shapes"):
        count(Decides(), 8)


def test_options_go_with_a_name_alone():
    assert count("vgg11", num_classes=10).params == count("vgg11").params - 990 * 4097
    with pytest.raises(ValueError, match="num_classes only go with a name"):
        count(nn.Conv2d(3, 3, 1), num_classes=10)


def in_a_new_process(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(result.stdout)


def test_importing_the_library_adds_under_half_a_second():
    seconds = in_a_new_process(
        "import torch, torchvision, time; t = time.process_time(); import inception_lab; print(time.process_time() - t)"
    )
    assert seconds < 0.5


def test_counting_vgg16_allocates_no_weights():
    megabytes = in_a_new_process(
        "import resource, torchvision, inception_lab\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before = peak(); inception_lab.count('vgg16'); print(peak() - before)"
    )
    assert megabytes < 300  # its weights alone are 528 MiB


# --- nothing is assumed to grow with the batch


class Adapted(nn.Module):
    """A linear layer whose weights are the sum of its own and a product, 10×2 by 2×12, as low-rank adaptation does."""

    def __init__(self, product=lambda w, a, b, x: F.linear(x, w + a @ b)):
        super().__init__()
        self.weight, self.product = nn.Parameter(torch.zeros(10, 12)), product
        self.a, self.b = nn.Parameter(torch.zeros(10, 2)), nn.Parameter(torch.zeros(2, 12))

    def forward(self, x):
        return self.product(self.weight, self.a, self.b, x.flatten(1))


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_work_on_weights_is_counted_once_whatever_the_batch(training, normalized):
    model = nn.Sequential(Adapted(), nn.BatchNorm1d(10)) if normalized else Adapted()
    cost = count(model, (3, 2, 2), training=training)
    assert cost.macs == 10 * 2 * 12 + 120
    assert cost.layers[0].activations == 120 + 120 + 10  # A @ B, the sum, and the image's own output


def test_odd_numbers_are_not_rounded():
    assert count(Leaf(lambda x: x.flatten(1) @ torch.ones(27)), 3, training=True).macs == 27


def test_a_cost_that_is_not_linear_in_the_batch_is_refused():
    class Compared(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(12)

        def forward(self, x):
            x = self.norm(x.flatten(1))
            return x @ x.T

    with pytest.raises(ValueError, match=r"macs of layer '' are 48, 108, 192 for 2, 3 and 4 images"):
        count(Compared(), (3, 2, 2), training=True)


# --- models that are no image classifiers


class Two(nn.Module):
    def forward(self, left, right):
        return left + right


class Dictionary(nn.Module):
    def forward(self, batch):
        return batch["image"]


class Unpacks(nn.Module):
    def forward(self, batch):
        return {key: value for key, value in batch.items()}


@pytest.mark.parametrize(
    "model, says",
    [
        (Two(), r"Two\.forward\(left, right\) does not take one image alone \(missing .*'right'\): count a module of"),
        (
            Dictionary(),
            r"Dictionary cannot be counted: .*\(it takes a dictionary, and one image is sent: count a module",
        ),
        (Unpacks(), r"Unpacks cannot be counted: .*\(it takes a dictionary"),
        (
            nn.Sequential(nn.Conv3d(3, 4, 1)),
            r"Sequential cannot be counted: .*\(it takes volumes or video, and one image",
        ),
        (nn.Sequential(nn.Conv1d(3, 4, 1)), r"\(it takes sequences, and one image"),
        (nn.Embedding(10, 4), r"\(it takes whole numbers, such as words"),
        (nn.ModuleList(), r"ModuleList cannot be counted: Module \[ModuleList\] is missing the required .forward"),
        (torch.ao.nn.quantized.Conv2d(3, 4, 1), r"Conv2d is quantized .*: count the float network"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_model_that_takes_no_image_is_told_what_it_is(model, says):
    with pytest.raises(ValueError, match=says):
        count(model, 8)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.ones(1, 3, 8, 8))])
def test_a_scripted_model_is_told_what_it_is(make):
    for model in (make(nn.Conv2d(3, 4, 1)), nn.Sequential(make(nn.Conv2d(3, 4, 1)))):
        with pytest.raises(ValueError, match=r"is scripted or traced \(torch\.jit\).*count what it was made from"):
            count(model, 8)


def test_a_wrapped_video_model_is_counted():
    class Clip(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Conv3d(3, 4, (2, 1, 1))

        def forward(self, x):
            return self.layers(x[:, :, None].expand(-1, -1, 16, -1, -1))

    assert count(Clip(), 8).macs == 4 * 3 * 2 * 15 * 64


def test_a_network_that_does_nothing_has_no_rows():
    cost = count(nn.Identity(), 8)
    assert len(cost.rows) == len(cost.by_stage()) == cost.macs == 0
    assert cost.by_stage().columns.tolist() == count("vgg11").by_stage().columns.tolist()
    assert cost.rows["macs"].sum() == 0


# --- what a module without children does by itself -----------------------------------------------------------


class Leaf(nn.Module):
    """A module without children that calls a function of its input and of weights that it keeps."""

    def __init__(self, function, *shapes):
        super().__init__()
        self.function = function
        for number, shape in enumerate(shapes):
            self.register_buffer(f"weight{number}", torch.zeros(shape))

    def forward(self, x):
        return self.function(x, *self.buffers())


LEAVES = {
    512: Leaf(lambda x, w: F.relu_(F.conv2d(x, w, padding=1)), (8, 3, 3, 3)),
    256: Leaf(lambda x, w: F.relu(F.conv2d(x, w), inplace=True), (4, 3, 1, 1)),
    384: Leaf(lambda x, w, v: F.conv2d(F.conv2d(x, w), v), (4, 3, 1, 1), (2, 4, 1, 1)),
    387: Leaf(lambda x: x.mul(2).relu().sum((2, 3))),
}


@pytest.mark.parametrize("activations", LEAVES)
def test_the_activations_of_all_operators_of_a_module_add_up(activations):
    counted = count(LEAVES[activations], 8)
    assert counted.activations == activations and len(counted.layers) == 1


def test_functions_called_without_child_modules_add_up():
    """A convolution, a pool and a linear layer each write; a ReLU in place does not."""
    weights = ((4, 3, 3, 3), (10, 36))
    leaf = Leaf(lambda x, w, v: F.linear(F.max_pool2d(F.relu_(F.conv2d(x, w)), 2).flatten(1), v), *weights)
    assert count(leaf, 9).activations == 4 * 49 + 4 * 9 + 10


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_recurrent_layer_writes_at_least_its_output(kind):
    """6 tokens of 10 numbers become 6 of 20."""

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = kind(10, 20, batch_first=True)

        def forward(self, x):
            return self.layer(x.flatten(2)[:, 0].unflatten(1, (6, 10)))[0]

    (row,) = [layer for layer in count(Reader(), (1, 6, 10)).layers if layer.name == "layer"]
    assert row.activations >= 120
