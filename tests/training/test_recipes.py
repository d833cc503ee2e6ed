"""A recipe says everything, survives JSON, and refuses what cannot be meant; what it means for the optimizer."""

import json
import math
from dataclasses import fields, replace

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from inception_lab import build
from inception_lab.common import files
from inception_lab.models import AuxiliaryHead, ConvUnit, Design, GoogLeNet, Inception, Widths
from inception_lab.training.optimization import Average, build_optimizer, learning_rate
from inception_lab.training.recipes import MAY_CHANGE, PAPER, RECIPES, Recipe, find


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_json(name):
    recipe = find(name)
    assert recipe.name == name
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert json.loads(recipe.to_json()).keys() == {f.name for f in fields(Recipe)}


def test_the_promised_recipes_are_there():
    assert list(RECIPES) == [
        "shapes-laptop",
        "shapes-crops",
        "cifar10-laptop",
        "cifar10",
        "tiny-imagenet",
        "tiny-imagenet-cpu",
        "cifar10-fast",
        "cifar10-uva",
        "tiny-imagenet-224",
        "colab",
        "finetune",
        "imagenet-2014",
        "imagenet-modern",
    ]
    with pytest.raises(ValueError, match="recipe must be one of 'shapes-laptop'.*got 'imagenet'"):
        find("imagenet")


def test_a_recipe_makes_the_recorded_run_on_photographs_again():
    made = (files.recorded("runs", "tiny-imagenet-96") / "recipe.json").read_text()
    assert replace(RECIPES["tiny-imagenet-cpu"], data="tiny-imagenet-200").differences(Recipe.from_json(made)) == []


def test_the_papers_recipe_has_the_papers_numbers_and_a_source_for_every_choice():
    recipe = RECIPES["imagenet-2014"]
    assert (recipe.optimizer, recipe.momentum, recipe.nesterov) == ("sgd", 0.9, False)
    assert (recipe.schedule, recipe.averaging, recipe.aux_weight, recipe.image_size) == ("paper", "polyak", 0.3, 224)
    assert (recipe.augmentation, recipe.smallest_crop) == ("paper", 0.08)
    # The computer's business, what is off, and the seed are nobody's numbers.
    ours = {
        "name",
        "options",
        "data",
        "train_images",
        "in_memory",
        "accumulation",
        "average_decay",
        "precision",
        "seed",
    }
    ours |= {"memory_size", "cutout", "merge_ones", "init", "freeze", "loaded_rate", "mean", "std"}
    ours |= {"channels_last", "compile", "weights_seed", *MAY_CHANGE, "nesterov", "warmup_epochs", "label_smoothing"}
    assert not (
        recipe.memory_size or recipe.cutout or recipe.nesterov or recipe.warmup_epochs or recipe.label_smoothing
    )
    assert PAPER.keys() == {f.name for f in fields(Recipe)} - ours
    assert all(source.startswith(("paper, ", "not in the paper: ")) for source in PAPER.values())


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(network="gogglenet"), "did you mean googlenet"),
        (dict(optimizer="adam"), "optimizer must be one of 'sgd', 'adamw', got 'adam'"),
        (dict(schedule="step"), "schedule must be one of"),
        (dict(augmentation="all"), "augmentation must be one of"),
        (dict(averaging="swa"), "averaging must be one of"),
        (dict(precision="16"), "precision must be one of '32-true', 'bf16-mixed', '16-mixed', got '16'"),
        (dict(learning_rate=0), "learning_rate must be from"),
        (dict(learning_rate=math.nan), "learning_rate must be a finite number, got nan"),
        (dict(learning_rate="0.1"), "learning_rate must be a finite number, got '0.1'"),
        (dict(epochs=0), "epochs must be from 1"),
        (dict(epochs=2.5), "epochs must be a whole number, got 2.5"),
        (dict(epochs=True), "epochs must be a whole number, got True"),
        (dict(compile=1), "compile must be true or false, got 1"),
        (dict(options=[1]), r"options must be an object, got \[1\]"),
        (dict(options={"design": tiny.PLAIN}), "options must be what JSON can hold"),
        (dict(name="a/b"), "name must be usable as the name of a folder"),
        (dict(label_smoothing=1), "label_smoothing must be from 0 to 0.9999, got 1"),
        (dict(smallest_crop=0), "smallest_crop must be from"),
        (dict(average_decay=1), "average_decay must be from"),
        (dict(batch=10, accumulation=4), r"accumulation must divide batch \(10\)"),
        (dict(epochs=3, warmup_epochs=3), r"warmup_epochs must be below epochs \(3\)"),
        (dict(epochs=3, averaging="polyak", average_from=5), "average_from must be below epochs"),
        (dict(schedule="one-cycle"), "needs warmup_epochs above 0"),
        (dict(optimizer="adamw", nesterov=True), "nesterov=True needs optimizer='sgd'"),
        (dict(momentum=0, nesterov=True), "nesterov=True needs"),
        (dict(memory_size=64, in_memory=False), "memory_size must be 0 unless in_memory is true, got 64"),
        (dict(cutout=8), "cutout needs an augmentation and must be below image_size, got 8"),
        (dict(cutout=64, augmentation="flip"), "cutout needs an augmentation and must be below image_size, got 64"),
        (dict(seed=-1), "seed must be from 0"),
        (dict(workers=-1), "workers must be from 0"),
    ],
)
def test_a_wrong_field_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**{"name": "x", "network": "googlenet"} | settings)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(learning_rat=1), "'learning_rat' is no part of a recipe; did you mean 'learning_rate'"),
        (dict(epochs="3"), "epochs must be a whole number, got '3'"),
        (dict(nesterov=None), "nesterov must be true or false, got None"),
    ],
)
def test_json_that_is_no_recipe_is_refused(change, message):
    values = json.loads(RECIPES["cifar10"].to_json())
    with pytest.raises(ValueError, match=message):
        Recipe.from_json(json.dumps(values | change))


@pytest.mark.parametrize("text, message", [("{", "must be JSON"), ("[]", "JSON object, got list"), ("{}", "'name'")])
def test_text_that_is_no_recipe_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Recipe.from_json(text)


def test_settings_have_the_types_of_their_fields():
    settings = ["learning_rate=1e-2", "epochs=3", "nesterov=False", "network=googlenet", "options.aux=false"]
    settings += ["options.in_channels=1", "averaging=none", "aux_weight=1"]
    recipe = RECIPES["cifar10"].with_settings(settings)
    assert (recipe.learning_rate, recipe.epochs, recipe.nesterov, recipe.network) == (0.01, 3, False, "googlenet")
    assert recipe.options == {"aux": False, "in_channels": 1} and recipe.averaging == "none"
    assert type(recipe.aux_weight) is float
    assert RECIPES["cifar10"].options == {} and replace(recipe).with_settings([]) == recipe


@pytest.mark.parametrize(
    "setting, message",
    [
        ("epochs", "a setting must be key=value, got 'epochs'"),
        ("epoch=3", "did you mean 'epochs'"),
        ("epochs=many", "epochs must be a whole number, got 'many'"),
        ("nesterov=maybe", "nesterov must be true or false, got 'maybe'"),
        ("epochs.x=3", "epochs has no parts"),
        ("options=3", "options must be an object, got 3"),
    ],
)
def test_a_wrong_setting_is_named(setting, message):
    with pytest.raises(ValueError, match=message):
        RECIPES["cifar10"].with_settings([setting])


WORDS = {True: ("true", "True", "YES", "on", "1"), False: ("false", "FALSE", "no", "Off", "0")}


@pytest.mark.parametrize("value, word", [(value, word) for value, words in WORDS.items() for word in words])
def test_words_that_say_yes_or_no_are_understood(value, word):
    settings = [f"nesterov={word}", f"options.aux={word}", f"options.separable={word}"]
    recipe = RECIPES["cifar10"].with_settings(settings)
    assert recipe.nesterov is value and recipe.options == {"aux": value, "separable": value}


@pytest.mark.parametrize("option", ["aux", "bias", "residual", "separable", "transform_input", "aux_logits"])
@pytest.mark.parametrize("word", ["maybe", "2", "nein", ""])
def test_another_word_for_an_option_is_refused(option, word):
    with pytest.raises(ValueError, match=rf"options\.{option} must be true or false, got '{word}'"):
        RECIPES["cifar10"].with_settings([f"options.{option}={word}"])


@pytest.mark.parametrize("value", ["no", "false", "", 0, 1, [False]])
def test_networks_take_no_text_for_yes_or_no(value):
    for make in (
        lambda: build("googlenet", aux=value),
        lambda: build("googlenet", bias=value),
        lambda: build("inception-v3", aux_logits=value),
        lambda: GoogLeNet(aux=value),
        lambda: Design(residual=value),
        lambda: Design(transform_input=value),
        lambda: Inception(8, Widths(1, 1, 1, 1, 1, 1), separable=value),
        lambda: ConvUnit(3, 4, 1, bias=value),
        lambda: ConvUnit(3, 4, 1, batch_norm=value),
        lambda: AuxiliaryHead(8, 2, adaptive=value),
    ):
        with pytest.raises(ValueError, match=r"must be true or false, got "):
            make()


def test_numpys_yes_and_no_are_yes_and_no():
    assert not GoogLeNet(aux=np.bool_(False)).heads and build("googlenet-uva", aux=None) is not None


@pytest.mark.parametrize("content", [b"\x80\x81\xff", b"", b"[" * 100_000, b'{"name": 3, "network": "googlenet"}'])
def test_a_file_that_is_no_recipe_is_named(content, tmp_path):
    (tmp_path / "recipe.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"recipe\.json cannot be read as a recipe: "):
        find(str(tmp_path / "recipe.json"))


def test_differences_leave_out_what_changes_no_weight():
    recipe = tiny.recipe()
    assert recipe.differences(replace(recipe, name="other", workers=3, checkpoint_every=7)) == []
    assert replace(recipe, epochs=3, seed=1).differences(recipe) == ["epochs 3, not 2", "seed 1, not 0"]


# --- what it means for the optimizer ------------------------------------------------------------------------


def test_the_papers_schedule_loses_4_percent_every_8_epochs():
    recipe = RECIPES["imagenet-2014"]
    rates = [learning_rate(recipe, epoch * 100 + 99, 100) for epoch in (0, 7, 8, 15, 16, 249)]
    assert rates == pytest.approx([0.01, 0.01, 0.0096, 0.0096, 0.009216, 0.01 * 0.96**31])


def test_cosine_rises_in_a_line_and_falls_to_0():
    recipe = tiny.recipe(learning_rate=2.0, schedule="cosine", epochs=10, warmup_epochs=2)
    rates = [learning_rate(recipe, step, 5) for step in (0, 4, 9, 10, 20, 30, 49)]
    expected = [0.2, 1, 2, 2, 1 + math.cos(math.pi / 4), 1, 1 + math.cos(math.pi * 39 / 40)]
    assert rates == pytest.approx(expected)


def test_one_cycle_is_pytorchs():
    recipe = tiny.recipe(learning_rate=0.3, schedule="one-cycle", epochs=10, warmup_epochs=3)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=70, pct_start=0.3, cycle_momentum=False)
    rates = []
    for _ in range(70):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(rates) < 70:
            theirs.step()
    assert [learning_rate(recipe, step, 7) for step in range(70)] == pytest.approx(rates, rel=1e-9)


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_after_the_last_step_the_rate_stays_as_it_is(schedule):
    recipe = tiny.recipe(learning_rate=0.3, schedule=schedule, epochs=1, warmup_epochs=0.5)
    for steps in (2, 3, 10):  # as a profile takes them, of a run that is shorter
        last = learning_rate(recipe, steps - 1, steps)
        assert [learning_rate(recipe, steps + more, steps) for more in (0, 1, 50)] == [last] * 3


def test_the_papers_schedule_goes_on_falling_after_the_last_step():
    recipe = tiny.recipe(learning_rate=0.3, schedule="paper", epochs=1, warmup_epochs=0)
    assert learning_rate(recipe, 16 * 5, 5) == pytest.approx(0.3 * 0.96**2)


def test_constant_is_constant_after_its_warmup():
    recipe = tiny.recipe(learning_rate=0.4, schedule="constant", epochs=5, warmup_epochs=0.5)
    rates = [learning_rate(recipe, step, 8) for step in (0, 1, 3, 4, 39)]
    assert rates == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.4])


@pytest.mark.parametrize("optimizer, kind", [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_biases_and_norms_are_exempt_from_weight_decay_if_the_recipe_says_so(optimizer, kind):
    recipe = tiny.recipe("googlenet-bn-32", weight_decay=0.01, decay_all=False, optimizer=optimizer, momentum=0.8)
    model = build("googlenet-bn-32", 10)
    built = build_optimizer(recipe, model)
    assert type(built) is kind
    decay = {id(p): group["weight_decay"] for group in built.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        vector = name.endswith(".bias") or ".bn." in name
        assert decay[id(parameter)] == (0 if vector else 0.01), name
    (everything,) = build_optimizer(replace(recipe, decay_all=True), model).param_groups
    assert everything["weight_decay"] == 0.01 and len(everything["params"]) == len(decay)


def averages(**settings):
    """The average after each of three updates of one number: 1, 5, 12."""
    model = nn.Linear(1, 1, bias=False)
    average = Average(tiny.recipe(**settings), model)
    for value in (1.0, 5.0, 12.0):
        nn.init.constant_(model.weight, value)
        average.update(model)
        yield average.model.weight.item()


def test_polyak_is_the_mean_of_what_it_saw():
    assert list(averages(averaging="polyak")) == pytest.approx([1, 3, 6])


def test_ema_forgets_by_its_decay_which_starts_low():
    # Decay after the second update min(d, 2 / 11), after the third min(d, 3 / 12).
    second = 2 / 11 * 1 + 9 / 11 * 5
    assert list(averages(averaging="ema")) == pytest.approx([1, second, 3 / 12 * second + 9 / 12 * 12])
    assert list(averages(averaging="ema", average_decay=0.1)) == pytest.approx([1, 4.6, 11.26])


def test_running_statistics_are_averaged_and_counters_copied():
    model = nn.BatchNorm2d(1)
    average = Average(tiny.recipe(averaging="polyak"), model)
    for value in (2.0, 4.0):
        model(torch.full((2, 1, 1, 1), value))  # running means 0.2 and 0.2 * 0.9 + 0.4
        average.update(model)
    assert average.model.running_mean.item() == pytest.approx((0.2 + 0.58) / 2)
    assert average.model.num_batches_tracked.item() == 2


def test_a_recipe_of_version_0_1_still_loads():
    old = RECIPES["cifar10"].to_json().replace('"optimizer"', '"optimiser"')
    assert "optimiser" in old and Recipe.from_json(old) == RECIPES["cifar10"]


def test_numpys_numbers_are_numbers():
    recipe = tiny.recipe(epochs=np.int64(3), learning_rate=np.float32(0.5), nesterov=np.bool_(True))
    assert (recipe.epochs, recipe.learning_rate, recipe.nesterov) == (3, 0.5, True)
    assert Recipe.from_json(recipe.to_json()) == recipe
