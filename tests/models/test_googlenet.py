"""GoogLeNet: the paper's numbers, the published departures, torchvision's logits, and what is refused."""

import time
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from inception_lab import build
from inception_lab.costs import published
from inception_lab.models import zoo
from inception_lab.models.designs import DESIGNS, TABLE_1, Design, change, small_images, without
from inception_lab.models.googlenet import GoogLeNet, Outputs
from inception_lab.models.torchvision_weights import from_torchvision


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def on_meta(*args, **kwargs):
    with torch.device("meta"):
        return GoogLeNet(*args, **kwargs)


def test_the_papers_network_has_the_papers_parameters():
    assert parameters(on_meta(aux=False)) == 6_998_552
    assert parameters(on_meta()) == 13_378_280


def test_the_table_in_the_code_is_the_table_in_the_reference():
    printed = published.table("table1").set_index("stage")
    for row in TABLE_1:
        reference = printed.loc[row.stage]
        assert (row.type, row.depth) == (reference["type"].split(" (")[0], reference["depth"])
        if row.type != "inception":
            assert (row.patch, row.stride) == (reference["patch_size"], reference["stride"])
        for column in ("one", "three_reduce", "three", "five_reduce", "five", "pool_proj"):
            expected = reference[column]
            assert getattr(row, column) == (0 if str(expected) == "<NA>" else expected), (row.stage, column)


def test_every_stage_has_the_printed_output_size():
    printed = published.table("table1").set_index("stage")
    model, x = on_meta(aux=False), torch.empty(1, 3, 224, 224, device="meta")
    seen = 0
    for stage in model.stages:
        x = getattr(model, stage)(x)
        if stage in printed.index and x.ndim == 4:
            row = printed.loc[stage]
            assert x.shape[1:] == (row["output_channels"], row["output_height"], row["output_width"]), stage
            seen += 1
    assert seen == len(TABLE_1) + 1  # and the average pool


QUOTED = [row for row in published.table("parameter_counts").itertuples() if row.builder]


@pytest.mark.parametrize("row", QUOTED, ids=lambda row: row.quoted_as)
def test_a_quoted_parameter_count_is_produced_by_its_builder(row):
    with torch.device("meta"):
        model = build(row.builder, **row.options)
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    if row.counted == "weights":
        sizes = {name: n for name, n in sizes.items() if not name.endswith("bias")}
    elif row.counted == "all but the linear layer":
        sizes = {name: n for name, n in sizes.items() if not name.startswith("linear.")}
    elif row.counted == "auxiliary heads":
        sizes = {name: n for name, n in sizes.items() if name.startswith("aux")}
    assert sum(sizes.values()) == row[1]  # the column "count", which itertuples' own method hides


@pytest.mark.parametrize("num_classes", [1000, 7])
@pytest.mark.parametrize("transform_input", [False, True])
def test_torchvisions_weights_give_torchvisions_logits(num_classes, transform_input):
    torch.manual_seed(0)
    theirs = torchvision.models.googlenet(init_weights=False, num_classes=num_classes, transform_input=transform_input)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):  # running statistics that a fresh network would hide
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.weight, 1.0, 0.1)
    ours = from_torchvision(theirs.state_dict(), transform_input=transform_input)
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-5, atol=1e-5)
        torch.manual_seed(1)  # both draw their dropout masks in the same order
        expected = theirs.train()(x)
        torch.manual_seed(1)
        outputs = ours.train()(x)
    torch.testing.assert_close(outputs.logits, expected.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(outputs.aux1, expected.aux_logits1, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(outputs.aux2, expected.aux_logits2, rtol=1e-5, atol=1e-5)


def test_torchvisions_weights_without_heads_load_too():
    theirs = torchvision.models.googlenet(init_weights=False, aux_logits=False).eval()
    ours = from_torchvision(theirs.state_dict()).eval()
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-5, atol=1e-5)
    assert not ours.heads


def test_the_weights_keep_their_precision():
    weights = torchvision.models.googlenet(init_weights=False, aux_logits=False).to(torch.bfloat16).state_dict()
    assert {p.dtype for p in from_torchvision(weights).parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    "saved",
    [
        lambda weights: {f"module.{name}": t for name, t in weights.items()},
        lambda weights: {f"_orig_mod.{name}": t for name, t in weights.items()},
        lambda weights: {"state_dict": {f"module._orig_mod.{name}": t for name, t in weights.items()}, "epoch": 3},
        lambda weights: {"model": weights, "optimizer": {}},
        lambda weights: {name: t.numpy() for name, t in weights.items()},
    ],
)
def test_weights_are_found_where_training_scripts_put_them(saved):
    weights = torchvision.models.googlenet(init_weights=False, num_classes=3).state_dict()
    expected = from_torchvision(weights).state_dict()
    loaded = from_torchvision(saved(weights)).state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_a_new_classifier_beside_old_heads_is_named():
    theirs = torchvision.models.googlenet(init_weights=False)
    theirs.fc = nn.Linear(1024, 10)
    weights = theirs.state_dict()
    with pytest.raises(ValueError, match="got 1000 in aux1.fc2.weight and 10 in fc: leave out what begins with aux"):
        from_torchvision(weights)
    assert from_torchvision({n: t for n, t in weights.items() if not n.startswith("aux")}).linear.out_features == 10


@pytest.mark.parametrize("wrong", [nn.Identity(), {"model": nn.Identity()}, {"net": {"a": 1}}, {"fc.weight": "text"}])
def test_what_is_no_state_dict_is_named(wrong):
    with pytest.raises(ValueError, match="state_dict must"):
        from_torchvision(wrong)


def test_a_state_dict_of_another_network_is_refused_by_name():
    weights = torchvision.models.googlenet(init_weights=False, aux_logits=False).state_dict()
    with pytest.raises(ValueError, match="has nothing for conv1.conv.weight"):
        from_torchvision(torchvision.models.vgg11(num_classes=2).state_dict())
    with pytest.raises(ValueError, match="what a model's state_dict.. returns, got GoogLeNet"):
        from_torchvision(build("googlenet-torchvision", num_classes=2))
    missing = {name: t for name, t in weights.items() if not name.startswith("inception4c.branch3.1")}
    with pytest.raises(ValueError, match=r"6 tensors are missing.* inception_4c\.five\.conv\.conv\.weight, "):
        from_torchvision(missing)
    with pytest.raises(ValueError, match=r"1 tensors .*first of them conv1\.conv\.bias"):
        from_torchvision(weights | {"conv1.conv.bias": torch.zeros(64)})
    with pytest.raises(ValueError, match=r"1 tensors .*first of them inception_3a\.one\.conv\.weight"):
        from_torchvision(weights | {"inception3a.branch1.conv.weight": torch.zeros(64, 192, 3, 3)})


def test_training_gives_a_named_tuple_and_evaluation_gives_logits():
    model, x = build("googlenet", num_classes=5), torch.randn(2, 3, 224, 224)
    outputs = model.train()(x)
    assert isinstance(outputs, Outputs)
    assert outputs._fields == ("logits", "aux1", "aux2")
    assert all(logits.shape == (2, 5) for logits in outputs)
    assert model.eval()(x).shape == (2, 5)
    assert build("googlenet", num_classes=5, aux=False).train()(x).shape == (2, 5)


def test_a_head_says_which_images_it_takes():
    with pytest.raises(ValueError, match=r"maps of 14×14 to 16×16 .*aux=False"):
        build("googlenet").train()(torch.randn(2, 3, 64, 64))
    assert build("googlenet").eval()(torch.randn(1, 3, 64, 64)).shape == (1, 1000)


def test_the_first_head_reads_4a_and_the_second_4d():
    model = build("googlenet", num_classes=5).train()
    for head in (model.aux1, model.aux2):
        head.dropout.p = 0.0
    seen = {}
    model.inception_4a.register_forward_hook(lambda module, x, y: seen.update(aux1=y))
    model.inception_4d.register_forward_hook(lambda module, x, y: seen.update(aux2=y))
    outputs = model(torch.randn(1, 3, 224, 224))
    torch.testing.assert_close(outputs.aux1, model.aux1(seen["aux1"]))
    torch.testing.assert_close(outputs.aux2, model.aux2(seen["aux2"]))


def test_an_auxiliary_head_changes_no_logit_in_evaluation():
    model, x = build("googlenet-bn", num_classes=5).eval(), torch.randn(1, 3, 224, 224)
    before = model(x)
    for parameter in [*model.aux1.parameters(), *model.aux2.parameters()]:
        nn.init.constant_(parameter, float("nan"))
    assert torch.equal(model(x), before)


def test_the_heads_send_gradient_to_the_stages_before_them():
    model = build("googlenet", num_classes=5).train()
    outputs = model(torch.randn(1, 3, 224, 224))
    outputs.aux1.sum().backward()
    assert model.inception_4a.one.conv.weight.grad.abs().sum() > 0
    assert model.inception_4b.one.conv.weight.grad is None


def test_googlenet_is_built_in_under_half_a_second():
    GoogLeNet()  # whatever the first call alone must load
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        GoogLeNet()
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("norm", ["lrn", "batch"])
def test_small_images_reach_the_modules_at_32_16_and_8_pixels(size, norm):
    model = GoogLeNet(small_images(Design(norm=norm), size), num_classes=10)
    sides, x = {}, torch.randn(2, 3, size, size)
    for stage in model.stages:
        x = getattr(model, stage)(x)
        if stage.startswith("inception"):
            sides.setdefault(x.shape[-1], stage)
    assert sides == {32: "inception_3a", 16: "inception_4a", 8: "inception_5a"}
    outputs = model.train()(torch.randn(2, 3, size, size))
    assert [tuple(logits.shape) for logits in outputs] == [(2, 10)] * 3


def test_the_design_says_how_the_stage_is_normalized():
    kinds = {norm: {type(m) for m in on_meta(Design(norm=norm)).modules()} for norm in ("lrn", "batch", "none")}
    assert nn.LocalResponseNorm in kinds["lrn"] and nn.BatchNorm2d not in kinds["lrn"]
    assert nn.BatchNorm2d in kinds["batch"] and nn.LocalResponseNorm not in kinds["batch"]
    assert not {nn.BatchNorm2d, nn.LocalResponseNorm} & kinds["none"]


def test_local_response_normalization_stands_on_both_sides_of_conv2():
    stages = on_meta().stages
    assert stages[:6] == ["conv1", "pool1", "norm1", "conv2", "norm2", "pool2"]


def test_dropout_is_40_and_70_percent():
    model = on_meta()
    assert (model.dropout.p, model.aux1.dropout.p, model.aux2.dropout.p) == (0.4, 0.7, 0.7)


def test_a_fully_connected_classifier_keeps_where_things_are():
    options = dict(num_classes=10, aux=False, dropout=0.0)
    pooled, map_kept = (
        build("googlenet-bn-32", **options).eval(),
        build("googlenet-bn-32", final_map=8, **options).eval(),
    )
    assert map_kept.linear.in_features == 8 * 8 * 1024 and pooled.linear.in_features == 1024
    x = torch.randn(1, 1024, 8, 8)
    for model, differs in ((pooled, False), (map_kept, True)):
        one, mirrored = (model.linear(model.flatten(model.avg_pool(y))) for y in (x, x.flip(-1)))
        assert torch.allclose(one, mirrored, atol=1e-4) != differs


def test_a_hidden_layer_stands_before_the_classifier():
    model = build("googlenet-laptop", num_classes=10, final_map=2, hidden=40)
    assert (model.fc.linear.in_features, model.fc.linear.out_features) == (4 * 256, 40)
    assert model.stages[-4:] == ["flatten", "fc", "dropout", "linear"] and model.linear.in_features == 40
    assert model.eval()(torch.randn(2, 3, 64, 64)).shape == (2, 10)
    for wrong, least in (("final_map", 1), ("hidden", 0)):
        with pytest.raises(ValueError, match=f"{wrong} must be a whole number of at least {least}, got -1"):
            build("googlenet-laptop", **{wrong: -1})


def test_xavier_bounds_hold_and_hidden_biases_start_at_a_fifth():
    model = GoogLeNet()
    weight = model.inception_4e.three.conv.conv.weight
    bound = (6 / (9 * 160 + 9 * 320)) ** 0.5
    assert 0.99 * bound < weight.abs().max() <= bound
    assert (model.inception_4e.three.conv.conv.bias == 0.2).all() and (model.aux1.fc1.bias == 0.2).all()
    assert (model.linear.bias == 0).all() and (model.aux2.fc2.bias == 0).all()


def test_features_can_be_extracted_by_stage_and_path():
    model = build("googlenet", aux=False).eval()
    nodes = {"inception_4a.five.conv.relu": "five", "inception_4a.cat": "all"}
    features = create_feature_extractor(model, nodes)(torch.randn(1, 3, 224, 224))
    assert features["five"].shape == (1, 48, 14, 14) and features["all"].shape == (1, 512, 14, 14)


@pytest.mark.parametrize("name", [name for name in zoo.GOOGLENETS if DESIGNS[name].aux_after])
def test_the_stated_smallest_image_is_the_smallest_that_runs(name):
    model = build(name, aux=False, num_classes=3).eval()
    smallest = model.smallest_input
    assert model(torch.randn(1, 3, smallest, smallest)).shape == (1, 3)
    with pytest.raises(ValueError, match=rf"at least {smallest}×{smallest} pixels"):
        model(torch.randn(1, 3, smallest - 1, smallest + 50))
    model.smallest_input = 0  # without the check, PyTorch itself must fail one pixel below
    with pytest.raises(RuntimeError):
        model(torch.randn(1, 3, smallest - 1, smallest - 1))


@pytest.mark.parametrize("shape", [(1, 1, 224, 224), (3, 224, 224), (1, 224, 224, 3)])
def test_wrong_channels_are_refused(shape):
    with pytest.raises(ValueError, match=r"x must be images of shape \(N, 3, H, W\), got"):
        build("googlenet", aux=False)(torch.zeros(shape))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"five_by_five": "5×5"}, "five_by_five must be one of '5x5', '3x3', .*, got '5×5'"),
        ({"table": ()}, "table must have at least one row"),
        ({"table": change(TABLE_1, "pool1", type="avg pool")}, "type of row pool1 must be one of .*got 'avg pool'"),
        ({"table": change(TABLE_1, "conv1", channels=0)}, "row conv1 must have channels"),
        ({"norm": "layer"}, "norm must be one of 'lrn', 'batch', 'none', got 'layer'"),
        ({"initialization": "zeros"}, "initialization must be one of"),
        ({"pool_rounding": "down"}, "pool_rounding must be one of 'up', 'padded'"),
        ({"aux_pool": "max"}, "aux_pool must be one of"),
        ({"aux_after": ("inception_9z",)}, "aux_after must be one of .*got 'inception_9z'"),
        ({"aux_after": ("inception_3a", "inception_3b", "inception_4a")}, "at most two stages"),
    ],
)
def test_a_wrong_design_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        Design(**options)


def test_wrong_arguments_of_the_network_are_named():
    with pytest.raises(ValueError, match="num_classes must be a whole number of at least 1, got 0"):
        GoogLeNet(num_classes=0)
    with pytest.raises(ValueError, match="in_channels must be a whole number of at least 1, got -3"):
        GoogLeNet(in_channels=-3)
    with pytest.raises(ValueError, match="design must be a Design, got 'googlenet'; inception_lab.build takes a name"):
        GoogLeNet("googlenet")
    with pytest.raises(ValueError, match="no auxiliary heads"):
        build("googlenet-d2l", aux=True)
    with pytest.raises(ValueError, match="in_channels must be 3 where transform_input"):
        GoogLeNet(replace(Design(), transform_input=True), in_channels=1)
    with pytest.raises(ValueError, match="size must be one of 32, 64, got 48"):
        small_images(Design(), 48)


def test_a_table_is_changed_by_the_name_of_its_stage():
    table = change(TABLE_1, "inception_4a", three=204)
    assert [row.stage for row, old in zip(table, TABLE_1, strict=True) if row != old] == ["inception_4a"]
    assert len(without(TABLE_1, "pool1")) == len(TABLE_1) - 1
    for edit in (lambda: change(TABLE_1, "inception_6a", three=1), lambda: without(TABLE_1, "inception_6a")):
        with pytest.raises(ValueError, match="stage must be one of .*got 'inception_6a'"):
            edit()
