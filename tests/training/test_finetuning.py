"""Training that begins with weights: what is loaded, what stays, what learns how fast, and that it resumes alone."""

import copy
import json
import shutil
from dataclasses import replace

import killing
import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import nn

from inception_lab import build, hub
from inception_lab.cli import main
from inception_lab.common.checks import RunError
from inception_lab.data.folders import IMAGENET_MEAN
from inception_lab.evaluation import predict
from inception_lab.evaluation.records import record
from inception_lab.lens import open_run
from inception_lab.models import fast, zoo
from inception_lab.models.googlenet import Outputs
from inception_lab.training import (
    RECIPES,
    Recipe,
    Trainer,
    build_optimizer,
    initial_model,
    learning_rate,
    load_model,
    make_fabric,
    open_data,
)
from inception_lab.training.weights import complete

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A finished run of each small network, on four classes."""
    folder = tmp_path_factory.mktemp("sources")
    for network in ("tiny-lrn", "tiny-bn", "tiny-aux"):
        tiny.quietly(tiny.recipe(network, epochs=1), folder / network)
    return folder


def weights(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def started(source, network="", **settings) -> Recipe:
    """A recipe that begins with a run."""
    return tiny.recipe(network, init=str(source), **{"image_size": 0} | settings)


def features(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What the classifier reads."""
    seen = []
    hook = model.linear.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.eval()(images)
    hook.remove()
    return seen[0]


IMAGES = torch.rand(5, 3, tiny.SIZE, tiny.SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("network", ["tiny-lrn", "tiny-bn", "tiny-aux"])
def test_before_the_first_step_it_answers_as_its_source_up_to_the_classifier(sources, network):
    source, _ = load_model(sources / network)
    model = initial_model(started(sources / network), 7)
    assert model.training and len(model.linear.weight) == 7
    assert torch.equal(features(model, IMAGES), features(source, IMAGES))
    fresh = build(network, 7)
    assert not torch.equal(features(fresh, IMAGES), features(source, IMAGES))


def test_classifier_and_heads_begin_anew_and_keep_their_places(sources):
    source, _ = load_model(sources / "tiny-aux")
    model = initial_model(started(sources / "tiny-aux"), 2)
    for name, tensor in source.state_dict().items():
        new = name.startswith(("linear.", "aux1."))
        same = model.state_dict()[name].shape == tensor.shape and torch.equal(model.state_dict()[name], tensor)
        assert same != (new and tensor.ndim > 1) or (new and tensor.ndim == 1), name
    with torch.no_grad():
        model.linear.weight.zero_(), model.linear.bias.fill_(7), model.aux1.fc2.bias.fill_(-7)
        model.aux1.fc2.weight.zero_()
    outputs = model.train()(IMAGES)
    assert isinstance(outputs, Outputs) and outputs[0] is outputs.logits
    assert (outputs.logits == 7).all() and (outputs.aux1 == -7).all() and outputs.aux2 is None
    assert (model.eval()(IMAGES) == 7).all()  # in evaluation the logits alone


def test_network_options_size_and_normalization_come_with_the_weights(sources, tmp_path):
    tiny.quietly(tiny.recipe("tiny-bn", epochs=1, options={"in_channels": 3}), tmp_path / "mine")
    made = complete(started(tmp_path / "mine", options={"aux": False}))
    assert (made.network, made.image_size, made.mean, made.std) == ("tiny-bn", tiny.SIZE, [0.4] * 3, [0.25] * 3)
    assert made.options == {"in_channels": 3, "aux": False} and complete(made) == made
    assert complete(started(tmp_path / "mine", image_size=16)).image_size == 16
    tiny.quietly(started(tmp_path / "mine"), tmp_path / "run")
    stored = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert stored["init"] == "mine/" and str(tmp_path) not in (tmp_path / "run" / "recipe.json").read_text()
    assert str(tmp_path).encode() not in (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"data must have the recipe's mean and std, \[0.4, 0.4, 0.4\]"):
        tiny.quietly(started(tmp_path / "mine"), tmp_path / "other", tiny.data()._replace(mean=(0.5,) * 3))


def test_a_folder_of_photographs_is_normalized_as_the_weights_want_it(sources, photographs):
    data = open_data(started(sources / "tiny-bn", augmentation="flip"), photographs(3))
    assert data.mean == data.augment.mean == (0.4,) * 3 and data.augment.size == tiny.SIZE
    assert open_data(tiny.recipe(), photographs(3)).mean == IMAGENET_MEAN


@pytest.fixture
def photographs(tmp_path):
    """A function that makes a folder of photographs: images per class, number of classes."""
    from PIL import Image

    def make(images, classes=2, size=(20, 14)):
        folder = tmp_path / f"{images} of {classes}"
        for i in range(images * classes):
            place = folder / f"class {i % classes}" / f"{i}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            pixels = torch.randint(0, 256, (*size[::-1], 3), generator=torch.Generator().manual_seed(i))
            Image.fromarray(pixels.byte().numpy()).save(place)
        return folder

    return make


# --- what stays ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        dict(averaging="polyak"),
        dict(merge_ones=True),
        dict(precision="bf16-mixed", channels_last=True, optimizer="adamw", weight_decay=0.5),
        dict(compile=True),
    ],
    ids=str,
)
def test_frozen_stages_are_bit_equal_after_training_statistics_too(sources, tmp_path, settings, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)  # a compiler takes long
    tiny.quietly(started(sources / "tiny-bn", freeze="inception_3a", **settings), tmp_path / "run")
    before, after = weights(sources / "tiny-bn"), weights(tmp_path / "run")
    for name in before.keys() - {"linear.weight", "linear.bias"}:
        frozen = name.startswith(("conv", "inception_3a"))
        assert torch.equal(before[name], after[name]) == frozen, name


def test_it_is_train_that_keeps_them_so_in_any_loop(sources):
    model = initial_model(started(sources / "tiny-bn", freeze="conv2"), 4)
    before = copy.deepcopy(model.state_dict())
    for _ in range(2):
        model.train()  # as every loop calls it in each epoch
        assert model.training and model.inception_4a.training and model.dropout.training
        nn.Sequential(model).train()(IMAGES).sum().backward()
    for name, tensor in model.state_dict().items():
        moves = "running" in name or "num_batches" in name
        assert torch.equal(tensor, before[name]) == (name.startswith("conv") or not moves), name
    assert [name for name, p in model.named_parameters() if p.grad is None] == [
        name for name, _ in model.named_parameters() if name.startswith("conv")
    ]
    assert copy.deepcopy(model).train().conv1.training is False


def test_the_fast_twin_of_a_network_with_frozen_stages_is_the_same(sources):
    model, images = (
        initial_model(Recipe("x", "", init="shapes-laptop", freeze="inception_4a"), 3),
        torch.rand(2, 3, 64, 64),
    )
    torch.testing.assert_close(fast(model)(images), model.eval()(images), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_frozen_is_refused(sources, tmp_path):
    with pytest.raises(ValueError, match="freeze must be one of 'conv1', 'conv2', .*'inception_4a', got 'inception_9'"):
        tiny.quietly(started(sources / "tiny-bn", freeze="inception_9"), tmp_path / "run")
    for stage in ("linear", "dropout"):  # the classifier learns
        with pytest.raises(ValueError, match=f"freeze must be one of .*, got '{stage}'"):
            initial_model(started(sources / "tiny-bn", freeze=stage), 2)
    for settings in (dict(freeze="conv1"), dict(loaded_rate=0.1)):
        with pytest.raises(ValueError, match="freeze and loaded_rate need init"):
            tiny.recipe(**settings)
    assert not (tmp_path / "run").exists()


# --- how fast the parts learn -------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_was_loaded_learns_at_its_share_of_the_rate_at_every_step(sources, tmp_path, monkeypatch, optimizer):
    recipe = started(
        sources / "tiny-aux", loaded_rate=0.25, optimizer=optimizer, weight_decay=0.01, decay_all=False,
        schedule="cosine", warmup_epochs=0.5,
    )  # fmt: skip
    used, names = [], {}

    def note(self):
        groups = self.optimizer.param_groups
        used.append({names[id(p)]: group["lr"] for group in groups for p in group["params"]})
        step(self)

    step, setup = Trainer.update_average, Trainer.__init__

    def named(self, *arguments):
        setup(self, *arguments)
        names.update({id(p): name for name, p in self.model.module.named_parameters()})

    monkeypatch.setattr(Trainer, "update_average", note)
    monkeypatch.setattr(Trainer, "__init__", named)
    tiny.quietly(recipe, tmp_path / "run")
    assert len(used) == 8 and set(used[0]) == set(names.values())
    for number, rates in enumerate(used):
        rate = learning_rate(recipe, number, 4)
        for name, value in rates.items():
            assert value == pytest.approx(rate if name.startswith(("linear.", "aux1.")) else rate / 4), (number, name)
    assert used[0]["linear.bias"] != used[-1]["linear.bias"]


def test_a_loop_of_ones_own_takes_the_recipe_as_it_is(sources):
    recipe = started(sources / "tiny-bn", loaded_rate=0.1, freeze="conv1")
    model = initial_model(recipe, 2)
    rates = {id(p): group["factor"] for group in build_optimizer(recipe, model).param_groups for p in group["params"]}
    for name, p in model.named_parameters():
        assert rates.get(id(p)) == (None if name.startswith("conv1") else 1 if name.startswith("linear") else 0.1), name


def test_a_rate_of_0_is_a_network_that_only_gets_a_new_classifier(sources, tmp_path):
    tiny.quietly(started(sources / "tiny-lrn", loaded_rate=0, weight_decay=0.1), tmp_path / "run")
    before, after = weights(sources / "tiny-lrn"), weights(tmp_path / "run")
    assert all(torch.equal(before[name], after[name]) != name.startswith("linear") for name in before)


# --- few classes, few images --------------------------------------------------------------------------------


def test_two_classes_and_a_last_batch_of_one_image(sources, tmp_path, photographs):
    folder = photographs(20)  # 36 to train on, in batches of 7: the last would have 1; 4 to validate on, 3 and 1
    recipe = replace(started(sources / "tiny-bn", batch=7, accumulation=1), in_memory=False)
    metrics = tiny.quietly(recipe, tmp_path / "run", folder)
    assert metrics["val_top5_error"] == 0 and metrics["steps"] == 2 * 5
    found = predict(tmp_path / "run", folder, progress=False)
    assert found.error(5) == 0 and found.error(1) == metrics["val_top1_error"]


def test_one_class_is_refused(sources, tmp_path, photographs):
    with pytest.raises(ValueError, match="data must have at least 2 classes, got 1"):
        tiny.quietly(started(sources / "tiny-bn", batch=4), tmp_path / "run", photographs(9, classes=1))
    assert not (tmp_path / "run").exists()


# --- weights that do not fit --------------------------------------------------------------------------------


def test_weights_of_another_network_are_refused_by_name(sources, published_weights, monkeypatch):
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", str(published_weights))
    with pytest.raises(ValueError, match="network must be 'googlenet' for init='published'.*weights of another 5×5"):
        complete(Recipe("x", "googlenet-torchvision", init="published"))
    with pytest.raises(ValueError, match="network must be 'tiny-bn' for init=.*got 'tiny-lrn': the weights have no"):
        complete(started(sources / "tiny-bn", "tiny-lrn"))
    with pytest.raises(ValueError, match=r"five.conv.conv.weight is .*×5×5 in the weights, and .*×3×3 .*another 5×5"):
        initial_model(Recipe("x", "", {"five_by_five": "3x3"}, init="shapes-laptop"), 4)
    monkeypatch.setitem(zoo.ZOO, "twin", zoo.ZOO["tiny-bn"])
    with pytest.raises(ValueError, match="network must be 'tiny-bn'.*the same weights in another network"):
        complete(started(sources / "tiny-bn", "twin"))


def test_torchvisions_weights_bring_their_transform(monkeypatch):
    theirs = build("googlenet-torchvision", aux=False, transform_input=True)
    monkeypatch.setattr(zoo, "_published", lambda name: theirs)
    recipe = complete(Recipe("x", "", init="imagenet"))
    assert (recipe.network, recipe.options) == ("googlenet-torchvision", {"transform_input": True})
    assert recipe.mean == list(IMAGENET_MEAN) and recipe.image_size == 224
    model, images = initial_model(recipe, 3), torch.randn(1, 3, 64, 64)
    assert torch.equal(features(model, images), features(theirs, images))
    with pytest.raises(ValueError, match="got 'googlenet': .*5×5"):
        complete(Recipe("x", "googlenet", init="imagenet"))


def test_another_publishers_network_gets_a_new_classifier_too(monkeypatch):
    theirs = build("alexnet")
    monkeypatch.setattr(zoo, "_published", lambda name: theirs)
    model = initial_model(Recipe("x", "alexnet", init="imagenet"), 3)
    assert torch.equal(model.classifier[4].weight, theirs.classifier[4].weight) and len(model.classifier[6].bias) == 3
    with pytest.raises(ValueError, match="freeze must be '' for alexnet, which has no stages"):
        initial_model(Recipe("x", "alexnet", init="imagenet", freeze="conv1"), 3)


def test_without_the_published_weights_both_ways_out_are_named(monkeypatch, capsys, photographs):
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", "off")
    assert main(["train", "finetune", "--data", str(photographs(3))]) == 2
    said = capsys.readouterr().err
    assert "`inception-lab pretrained googlenet` fetches them" in said and "--set init=tiny-imagenet-96" in said
    assert "Traceback" not in said
    with pytest.raises(
        ValueError, match="init must be one of 'published', 'imagenet', .*or a run folder, got 'nowhere'"
    ):
        complete(started("nowhere"))


def test_the_published_network_is_what_finetune_begins_with(published_weights, monkeypatch):
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", str(published_weights))
    recipe, google = complete(RECIPES["finetune"]), hub.pretrained()
    assert (recipe.network, recipe.image_size) == ("googlenet", 224)
    assert (tuple(recipe.mean), tuple(recipe.std)) == (google.mean, google.std)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(features(initial_model(recipe, 2), images), features(google.network, images))


# --- without the source -------------------------------------------------------------------------------------


class Killed(Exception):
    pass


def kill_after(step, monkeypatch, recipe, folder):
    """Begin a run that comes to this step and no further."""

    def die(self):
        after(self)
        if self.step == step:
            raise Killed

    after = Trainer.after_step
    monkeypatch.setattr(Trainer, "after_step", die)
    with pytest.raises(Killed):
        tiny.quietly(recipe, folder)
    monkeypatch.setattr(Trainer, "after_step", after)


def test_a_run_resumes_and_is_read_without_the_weights_that_it_began_with(sources, tmp_path, monkeypatch):
    source = tmp_path / "source"
    shutil.copytree(sources / "tiny-bn", source)
    recipe = started(source, freeze="conv1", loaded_rate=0.5, checkpoint_every=3, averaging="ema")
    tiny.quietly(recipe, tmp_path / "whole")

    kill_after(6, monkeypatch, recipe, tmp_path / "run")
    shutil.rmtree(source)
    tiny.quietly(recipe, tmp_path / "run", resume=True)
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "run")
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)
    tiny.quietly(recipe, tmp_path / "run", resume=True)  # finished: it is only read
    made = record(tmp_path / "run", "mine", into=tmp_path / "records")
    network = open_run(made)
    assert network.size == tiny.SIZE and len(network.classes) == 4
    with pytest.raises(RunError, match="belongs to another recipe: freeze 'conv2', not 'conv1'"):
        tiny.quietly(replace(recipe, freeze="conv2"), tmp_path / "run", resume=True)
    with pytest.raises(RunError, match="belongs to another recipe: network 'tiny-lrn', not 'tiny-bn'"):
        tiny.quietly(replace(recipe, network="tiny-lrn"), tmp_path / "run", resume=True)
    with pytest.raises(RunError, match="belongs to another recipe: .*init 'tiny-aux/', not 'source/'"):
        tiny.quietly(started(sources / "tiny-aux"), tmp_path / "run", resume=True)
    fabric = make_fabric(recipe, "cpu", 1)
    assert Trainer(recipe, tiny.data(), fabric, tmp_path / "run", progress=False).fit(resume=True)["steps"] == 8


def test_a_run_that_has_no_checkpoint_yet_needs_the_weights_and_says_so(sources, tmp_path, monkeypatch):
    source = tmp_path / "source"
    shutil.copytree(sources / "tiny-bn", source)

    kill_after(2, monkeypatch, started(source), tmp_path / "run")
    shutil.rmtree(source)
    with pytest.raises(ValueError, match="init must be one of"):
        tiny.quietly(started(source), tmp_path / "run", resume=True)


def finetuning(out, source):
    tiny.quietly(tiny.recipe("", image_size=0, init=str(source), freeze="conv2", loaded_rate=0.5), out)


@pytest.mark.slow
def test_two_processes_begin_with_the_same_weights(sources, tmp_path):
    killing.run_two(finetuning, tmp_path / "two", sources / "tiny-aux")
    (session,) = json.loads((tmp_path / "two" / "environment.json").read_text())["sessions"]
    assert session["processes"] == 2
    before, after = weights(sources / "tiny-aux"), weights(tmp_path / "two")
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("conv"))
    assert not torch.equal(before["inception_4a.one.conv.weight"], after["inception_4a.one.conv.weight"])
