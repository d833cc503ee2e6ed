"""The plain script trains as the trainer does: the same weights, to the last bit, on one CPU thread."""

import inspect

import pytest
import torch

from inception_lab.data import Shapes, datasets
from inception_lab.training import load_model, open_data, plain, train
from inception_lab.training.recipes import Recipe

RECIPE = Recipe(
    "plain",
    "googlenet-laptop",
    train_images=128,
    augmentation="flip",
    optimizer="adamw",
    learning_rate=plain.LEARNING_RATE,
    weight_decay=plain.WEIGHT_DECAY,
    aux_weight=plain.AUX_WEIGHT,
    schedule="cosine",
    epochs=2,
    batch=plain.BATCH,
)


@pytest.mark.usefixtures("one_thread")
def test_its_weights_are_the_trainers_to_the_last_bit(tmp_path, capsys):
    validation = datasets.in_memory(Shapes("val", length=64))  # of 2,000: evaluation takes longer than these four steps
    sets = open_data(RECIPE)._replace(val=validation)
    metrics = train(RECIPE, tmp_path / "run", data=sets, progress=False, accelerator="cpu")
    capsys.readouterr()
    ours, trained = plain.main(epochs=2, images=128, val_images=64), load_model(tmp_path / "run")[0]
    for name, tensor in trained.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name
    assert f"validation top-1 error {metrics['val_top1_error']:.2f} %" in capsys.readouterr().out.splitlines()[-1]


def test_it_fits_on_a_page():
    assert len(inspect.getsource(plain).splitlines()) <= 80
