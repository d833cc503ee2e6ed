"""Training does what the recipe says: the losses, the steps, the averages, the metrics, on one process and on two."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import killing
import pytest
import tiny
import torch
from lightning_fabric import Fabric
from tiny import history, quietly
from torch.nn import functional as F

from inception_lab import build
from inception_lab.common.checks import RunError
from inception_lab.data import Augmentation
from inception_lab.data.pictures import normalize
from inception_lab.models.googlenet import Outputs
from inception_lab.training.batches import Batches, in_order
from inception_lab.training.devices import make_fabric, on_rank_zero
from inception_lab.training.optimization import Average, learning_rate
from inception_lab.training.trainer import evaluate, loss, train
from inception_lab.training.weights import load_model

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


def weights(folder):
    return load_model(folder)[0].state_dict()


# --- the loss -----------------------------------------------------------------------------------------------


def logits(*right):
    """Logits (N, 2) for class 0 whose softmax gives it these probabilities."""
    return torch.tensor([[math.log(p / (1 - p)), 0.0] for p in right])


def test_auxiliary_losses_have_exactly_their_weight():
    labels = torch.tensor([0, 0])
    main, aux1, aux2 = logits(0.5, 0.25), logits(0.5, 0.5), logits(0.125, 0.5)
    # Mean cross entropies in units of log 2: (1 + 2) / 2, (1 + 1) / 2 and (3 + 1) / 2.
    for outputs, expected in [
        (main, 1.5),
        (Outputs(main), 1.5),
        (Outputs(main, aux1), 1.5 + 0.3),
        (Outputs(main, aux1, aux2), 1.5 + 0.3 * (1 + 2)),
    ]:
        assert loss(outputs, labels).item() == pytest.approx(expected * math.log(2))
    assert loss(Outputs(main, aux1, aux2), labels, 0.5).item() == pytest.approx((1.5 + 0.5 * 3) * math.log(2))


def test_label_smoothing_gives_a_share_to_all_classes_and_acts_on_the_heads_too():
    # 0.9 of the weight on class 0, 0.1 on class 1 with two classes and smoothing 0.2.
    once = -(0.9 * math.log(0.25) + 0.1 * math.log(0.75))
    outputs = Outputs(logits(0.25), logits(0.25))
    assert loss(outputs, torch.tensor([0]), 0.3, 0.2).item() == pytest.approx(1.3 * once)


def test_heads_get_their_gradient_through_the_weight():
    main, aux = logits(0.5).requires_grad_(), logits(0.5).requires_grad_()
    loss(Outputs(main, aux), torch.tensor([0]), 0.3).backward()
    assert torch.allclose(aux.grad, 0.3 * main.grad) and aux.grad.abs().max() > 0.1


# --- batches ------------------------------------------------------------------------------------------------


def images_of(recipe, data, epochs=1, start=0, **place):
    batches = Batches(recipe, data, CPU, **place)
    return [batches.to_device(*part)[0] for epoch in range(epochs) for part in batches.epoch(epoch, start)]


def test_an_epoch_has_every_image_once_in_an_order_of_its_own():
    batches = Batches(tiny.recipe(batch=10), tiny.data(64), CPU)
    first, second = (torch.cat(batches.order(epoch)) for epoch in (0, 1))
    assert batches.steps == 6 and len(first) == len(set(first.tolist())) == 60
    assert not torch.equal(first, second)
    other = Batches(tiny.recipe(batch=10, seed=1), tiny.data(64), CPU)
    assert not torch.equal(first, torch.cat(other.order(0)))


def test_processes_and_parts_share_a_batch_without_overlap():
    whole = Batches(tiny.recipe(), tiny.data(), CPU).order(0)
    shares = [Batches(tiny.recipe(accumulation=2), tiny.data(), CPU, rank, 4).order(0) for rank in range(4)]
    for step, batch in enumerate(whole):
        parts = [part for share in shares for part in share[2 * step : 2 * step + 2]]
        assert [len(part) for part in parts] == [2] * 8
        assert sorted(torch.cat(parts).tolist()) == sorted(batch.tolist())


@pytest.mark.parametrize("kind", ["flip", "crop", "shift", "paper"])
def test_augmentation_does_not_depend_on_processes_and_parts(kind):
    """A batch is augmented as one process would, whoever computes which part of it."""
    augment = {
        "flip": Augmentation(12, (1, 1), (1, 1), photometric=0),
        "crop": Augmentation(12, cutout=4, photometric=0),
        "shift": Augmentation(12, (1, 1), (1, 1), photometric=0, shift=2),
        "paper": Augmentation(12),
    }[kind]
    data = tiny.data(augment=augment)
    whole = images_of(tiny.recipe(), data, epochs=2)
    assert not torch.equal(whole[0].sort(0).values, whole[4].sort(0).values)
    for parts, processes in ((1, 2), (2, 1), (2, 4)):
        shares = [
            images_of(tiny.recipe(accumulation=parts), data, epochs=2, rank=rank, processes=processes)
            for rank in range(processes)
        ]
        for step, batch in enumerate(whole):
            made = [share[step * parts + part] for part in range(parts) for share in shares]
            assert torch.allclose(torch.cat(made), batch, atol=1e-6)


@pytest.mark.parametrize("kind", [tiny.InMemory, tiny.Stripes])
def test_an_epoch_goes_on_from_any_step_as_if_never_left(kind):
    recipe, data = tiny.recipe(accumulation=2), tiny.data(kind=kind)
    whole = images_of(recipe, data)
    torch.rand(3)  # whatever was drawn before has no influence
    rest = images_of(recipe, data, start=3)
    assert len(whole) == 8 and len(rest) == 2
    assert all(torch.equal(a, b) for a, b in zip(whole[6:], rest, strict=True))


class Noisy(tiny.Stripes):
    """A set that draws what it gives, as one with a random transform does."""

    def __getitem__(self, i):
        image, label = super().__getitem__(i)
        return image + torch.randint(0, 20, image.shape, dtype=torch.uint8), label


def test_what_a_transform_draws_does_not_depend_on_the_number_of_workers():
    data = tiny.data(kind=Noisy, augment=None)
    alone, two = (images_of(tiny.recipe(workers=workers), data, epochs=2) for workers in (0, 2))
    assert all(torch.equal(a, b) for a, b in zip(alone, two, strict=True))
    assert not torch.equal(alone[0].sort(0).values, alone[4].sort(0).values)


def test_images_are_normalized_and_laid_out():
    data, images = tiny.data(), tiny.InMemory(2, 0).images
    made = normalize(images, data.mean, data.std, channels_last=True)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(made, (images / 255 - 0.4) / 0.25)
    assert torch.equal(normalize(made, data.mean, data.std), made)  # floats have been normalized already


@pytest.mark.parametrize("kind", [tiny.InMemory, tiny.Stripes])
def test_processes_share_the_validation_images_in_order(kind):
    data, recipe = tiny.data(kind=kind, val=21), tiny.recipe(accumulation=2)
    shares = [list(in_order(data, recipe, CPU, rank, 3)) for rank in range(3)]
    assert [len(images) for images, _ in shares[0]] == [7]
    assert [len(images) for images, _ in in_order(data, recipe, CPU)] == [8, 8, 5]
    for rank, share in enumerate(shares):
        images, labels = share[0]
        expected = [data.val[i] for i in range(rank, 21, 3)]
        assert torch.equal(images, normalize(torch.stack([image for image, _ in expected]), data.mean, data.std))
        assert labels.tolist() == [label for _, label in expected]


@pytest.mark.parametrize(
    "recipe, processes, message",
    [
        (tiny.recipe(batch=65), 1, "batch must be at most the 64 images"),
        (
            tiny.recipe(batch=16, accumulation=2),
            3,
            r"batch must be a multiple of 6 \(processes × accumulation\), got 16",
        ),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(recipe, processes, message):
    with pytest.raises(ValueError, match=message):
        Batches(recipe, tiny.data(), CPU, 0, processes)


# --- the loop -----------------------------------------------------------------------------------------------


def test_the_loop_is_plain_pytorch(tmp_path):
    recipe, data = tiny.recipe("tiny-bn"), tiny.data()
    metrics = quietly(recipe, tmp_path / "run", data)
    model, losses = tiny.by_hand(recipe, data)
    trained = weights(tmp_path / "run")
    for name, tensor in model.state_dict().items():
        assert torch.allclose(tensor, trained[name], rtol=1e-4, atol=1e-6), name
    rows = history(tmp_path / "run")
    assert [row["train_loss"] for row in rows] == pytest.approx([sum(losses[:4]) / 4, sum(losses[4:]) / 4], rel=1e-4)

    model.eval()
    right = seen = total = 0.0
    for image, label in data.val:
        output = model(((image / 255 - 0.4) / 0.25)[None])
        right += output.argmax().item() == label
        total += F.cross_entropy(output, torch.tensor([label])).item()
        seen += 1
    assert seen == 50
    assert metrics["val_top1_error"] == rows[-1]["val_top1_error"] == pytest.approx(100 - 100 * right / 50)
    assert metrics["val_loss"] == pytest.approx(total / 50, rel=1e-4)


def test_averaged_weights_are_evaluated_and_kept(tmp_path):
    recipe, data = tiny.recipe("tiny-bn", averaging="polyak"), tiny.data()
    metrics = quietly(recipe, tmp_path / "run", data)
    average = Average(recipe, build("tiny-bn", 4))
    tiny.by_hand(recipe, data, average)
    trained = weights(tmp_path / "run")
    for name, tensor in average.model.state_dict().items():
        assert torch.allclose(tensor, trained[name], rtol=1e-4, atol=1e-6), name
    fabric = Fabric(accelerator="cpu")
    again = evaluate(fabric, load_model(tmp_path / "run")[0], in_order(data, recipe, CPU), 4)
    assert metrics["averaged"] and again == {name: metrics[name] for name in again}


def test_averaging_begins_with_its_epoch(tmp_path):
    quietly(tiny.recipe(averaging="polyak", average_from=1), tmp_path / "late")
    quietly(tiny.recipe(), tmp_path / "none")
    late, none = history(tmp_path / "late"), history(tmp_path / "none")
    assert late[0]["val_loss"] == none[0]["val_loss"] and late[1]["val_loss"] != none[1]["val_loss"]


def test_top5_error_counts_the_five_largest():
    class Fixed(torch.nn.Module):
        def forward(self, x):
            return torch.arange(8.0).flip(0).expand(len(x), 8)  # classes 0 to 4 are the five largest

    labels = torch.tensor([0, 1, 4, 5, 7])
    results = evaluate(Fabric(accelerator="cpu"), Fixed(), [(torch.zeros(3, 1), labels[:3])] * 1, 8)
    assert (results["val_top1_error"], results["val_top5_error"]) == (pytest.approx(200 / 3, abs=1e-3), 0)
    results = evaluate(Fabric(accelerator="cpu"), Fixed(), [(torch.zeros(5, 1), labels)], 8)
    assert (results["val_top1_error"], results["val_top5_error"]) == (80, 40)


@pytest.mark.parametrize("network", ["tiny-lrn", "tiny-bn"])
def test_it_learns(network, tmp_path):
    recipe = tiny.recipe(network, epochs=8, schedule="one-cycle", warmup_epochs=2, averaging="ema")
    metrics = quietly(recipe, tmp_path / "run", tiny.data(256))
    rows = history(tmp_path / "run")
    assert rows[0]["train_loss"] > 0.8 and rows[-1]["train_loss"] < 0.4
    assert metrics["val_top1_error"] < 20  # by chance 75
    rate = learning_rate(recipe, 127, 16)
    assert rows[-1]["learning_rate"] == pytest.approx(rate) and rows[-1]["step"] == 128


def test_accumulated_parts_give_the_step_of_the_whole_batch(tmp_path):
    data = tiny.data(augment=None)  # which draws for a part, not for a batch
    quietly(tiny.recipe("tiny-aux"), tmp_path / "whole", data)
    quietly(tiny.recipe("tiny-aux", accumulation=4), tmp_path / "parts", data)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    for name, tensor in whole.items():
        assert torch.allclose(tensor, parts[name], rtol=1e-3, atol=1e-5), name
    a, b = history(tmp_path / "whole"), history(tmp_path / "parts")
    assert [row["train_loss"] for row in a] == pytest.approx([row["train_loss"] for row in b], rel=1e-4)


def test_the_switches_train_too(tmp_path):
    settings = dict(precision="bf16-mixed", channels_last=True, optimizer="adamw", learning_rate=0.01, weight_decay=0.1)
    quietly(tiny.recipe("tiny-bn", epochs=4, **settings), tmp_path / "run", tiny.data(128))
    rows = history(tmp_path / "run")
    assert rows[-1]["train_loss"] < rows[0]["train_loss"] < 2
    assert all(t.dtype in (torch.float32, torch.int64) for t in weights(tmp_path / "run").values())


def test_compile_wraps_the_network_that_is_trained_and_saved(tmp_path, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model, **_: compiled.append(model) or model)  # a compiler takes long
    quietly(tiny.recipe(compile=True), tmp_path / "a")
    quietly(tiny.recipe(), tmp_path / "b")
    assert len(compiled) == 1
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(tmp_path / "a").values(), weights(tmp_path / "b").values(), strict=True)
    )


def test_the_share_of_waiting_is_measured(tmp_path, capsys):
    def slow(images):
        time.sleep(0.05)
        return images

    train(tiny.recipe(epochs=1), tmp_path / "slow", data=tiny.data(augment=slow), accelerator="cpu")
    (row,) = history(tmp_path / "slow")
    assert 0.2 <= row["seconds"] * row["waiting_percent"] / 100 < row["seconds"]
    assert row["images_per_second"] == pytest.approx(64 / row["seconds"])
    out, err = capsys.readouterr()
    assert f"waiting for data {row['waiting_percent']:.1f} % of the time" in out
    assert "epoch 1/1" in err and "top-1" in err and "images/s" in err


def test_no_progress_is_silent(tmp_path, capsys):
    quietly(tiny.recipe(epochs=1), tmp_path / "run")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_loss_that_is_not_finite_stops_with_step_rate_and_checkpoint(tmp_path, accumulation, monkeypatch):
    calls = []

    def poisoned(images):
        calls.append(1)
        images = (images / 255 - 0.4) / 0.25
        return images * math.nan if len(calls) == 6 * accumulation else images

    recipe = tiny.recipe(checkpoint_every=2, accumulation=accumulation, schedule="cosine")
    with pytest.raises(RunError) as error:
        quietly(recipe, tmp_path / "run", tiny.data(augment=poisoned))
    rate = learning_rate(recipe, 5, 4)
    message = f"the loss is nan at step 6, with the learning rate {rate:g}; the last good checkpoint is "
    assert str(error.value) == message + f"{tmp_path / 'run' / 'checkpoint.safetensors'} (step 4)"
    assert quietly(recipe, tmp_path / "run", tiny.data(augment=poisoned), resume=True)["steps"] == 8


def test_an_infinite_weight_is_not_saved_as_a_good_checkpoint(tmp_path, monkeypatch):
    def overflow(optimizer):
        optimizer.param_groups[0]["params"][0].data.fill_(math.inf)

    monkeypatch.setattr(torch.optim.SGD, "step", overflow)
    with pytest.raises(
        RunError, match="a weight is not finite after the update at step 1,.*there is no checkpoint yet"
    ):
        quietly(tiny.recipe(checkpoint_every=1), tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    "recipe, message",
    [
        (tiny.recipe("googlenet", image_size=64), "does not fit googlenet: the auxiliary head .*; 224×224 works"),
        (tiny.recipe(options={"no_such": 1}), "options {'no_such': 1} do not go with the network 'tiny-lrn'"),
        (tiny.recipe(batch=100), "batch must be at most the 64 images"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_before_anything_is_written(recipe, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        quietly(recipe, tmp_path / "run")
    assert not list(tmp_path.iterdir())


class Odd(Exception):
    def __init__(self, one, two):  # which cannot be sent to another process
        super().__init__(one + two)


def first_fails(out):
    def fail(error):
        raise error

    fabric, told = make_fabric(tiny.recipe(), "cpu"), []
    fabric.launch()
    for error in (OSError(28, "No space left on device", "x.csv"), KeyError("a"), Odd("b", "c")):
        try:
            on_rank_zero(fabric, fail, error)
        except Exception as raised:
            told.append(f"{type(raised).__name__} {raised}")
    (out / f"{fabric.global_rank}.txt").write_text(", ".join(told))


def test_whatever_the_first_process_raises_stops_the_others_too(tmp_path):
    killing.run_two(first_fails, tmp_path)
    said = ["[Errno 28] No space left on device: 'x.csv'", "'a'", "bc"]
    first, other = ((tmp_path / f"{rank}.txt").read_text().split(", ") for rank in (0, 1))
    assert first == [f"{kind} {text}" for kind, text in zip(("OSError", "KeyError", "Odd"), said, strict=True)]
    assert other == [f"RunError {text}" for text in said]


def test_images_that_cannot_be_read_are_told_by_every_process_without_a_traceback(tmp_path):
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        (tmp_path / "photographs" / name / "broken.png").write_bytes(b"no picture")
    code = "import sys; from inception_lab.cli import main; sys.exit(main())"
    (tmp_path / "command.py").write_text(code)
    command = [sys.executable, str(tmp_path / "command.py"), "train", "shapes-laptop", "--devices", "2", "--quiet"]
    command += ["--data", str(tmp_path / "photographs"), "--out", str(tmp_path / "run")]
    path = {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=os.environ | path, capture_output=True, text=True, timeout=120)
    assert done.returncode and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.count("inception-lab: ") == 2 and "broken.png" in done.stderr
    assert not (tmp_path / "run").exists()


def training_by_two(out):
    recipe = tiny.recipe("tiny-aux", epochs=2, accumulation=2, checkpoint_every=3)
    train(recipe, out, data=tiny.data(augment=tiny.FLIP, val=51), progress=False, accelerator="cpu", devices=2)


TWO = "import sys; from test_trainer import training_by_two; training_by_two(sys.argv[1])"


@pytest.mark.parametrize("torchrun", [False, True], ids=["fabric", "torchrun"])
def test_two_processes_give_the_loss_curve_of_one(tmp_path, torchrun):
    """By Fabric's launcher, and as by torchrun, whose own launcher test_docs.py starts."""
    if torchrun:
        killing.run_two(training_by_two, tmp_path / "two")
    else:
        (tmp_path / "two.py").write_text(TWO)
        here = Path(__file__).parent
        path = {"PYTHONPATH": os.pathsep.join(map(str, (here, *here.parents[:2]))), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(tmp_path / "two.py"), str(tmp_path / "two")]
        done = subprocess.run(command, env=os.environ | path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    quietly(tiny.recipe("tiny-aux", epochs=2), tmp_path / "one", tiny.data(augment=tiny.FLIP, val=51))
    one, two = history(tmp_path / "one"), history(tmp_path / "two")
    for name in ("train_loss", "train_top1_error", "val_loss", "val_top1_error", "step", "learning_rate"):
        assert [row[name] for row in two] == pytest.approx([row[name] for row in one], rel=1e-3), name
    assert one[0]["train_loss"] != one[1]["train_loss"]
    # Without dropout and batch norm nothing but the order of sums differs, flips included.
    ours, theirs = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert max((ours[name] - theirs[name]).abs().max().item() for name in ours) < 1e-5
