"""The recorder of the fine-tuning study: fair subsets, one row per run, and it goes on where it was stopped."""

import json

import pytest
import record_finetuning as recorder
import tiny
import torch

from inception_lab.common import files
from inception_lab.data.datasets import InMemory
from inception_lab.evaluation import Study, compare, read_study
from inception_lab.training import Data

pytestmark = pytest.mark.usefixtures("one_thread")
LABELS = torch.arange(400) % 4
CLASSES = ["a", "b", "c", "d"]


@pytest.fixture
def data():
    images = torch.randint(0, 256, (400, 3, tiny.SIZE, tiny.SIZE), generator=torch.Generator().manual_seed(0)).byte()
    return InMemory(images, LABELS, CLASSES, (0.4,) * 3, (0.25,) * 3)


def test_a_seed_chooses_as_many_images_of_each_class_and_larger_choices_hold_smaller_ones(data):
    few, more = (recorder.balanced(data, n, seed=3) for n in (5, 20))
    assert few.labels.bincount().tolist() == [5] * 4 and more.labels.bincount().tolist() == [20] * 4
    pixels = {tuple(image.flatten().tolist()) for image in more.images}
    assert all(tuple(image.flatten().tolist()) in pixels for image in few.images) and len(pixels) == 80
    assert not torch.equal(few.images, recorder.balanced(data, 5, seed=4).images)


def test_every_arm_has_its_settings_and_the_steps_that_the_page_states():
    assert len(recorder.ARMS) == 3 * 4 + 4
    for name in recorder.ARMS:
        recipe, images = recorder.STUDY.recipe_of(name, 2), recorder.per_class(name)
        assert recipe.epochs * 10 * images // recipe.batch == {10: 100, 100: 300, 500: 500}[images]
        assert recipe.learning_rate == 0.01 and recipe.seed == recipe.weights_seed == 2
        assert (recipe.init == "") == name.startswith("from scratch") and (recipe.loaded_rate == 1) == (not recipe.init)


def test_it_is_resumed_without_training_what_has_its_row(data, tmp_path, monkeypatch):
    tiny.quietly(tiny.recipe("tiny-bn", epochs=1), tmp_path / "source")
    arms = {
        "from scratch, 10 per class": ["init=", "network=tiny-bn", "image_size=12"],
        "fine-tuned, 10 per class": [],
    }
    recipe = tiny.recipe("", image_size=0, init=str(tmp_path / "source"), batch=10, augmentation="flip")
    study = Study("finetuning", "?", recipe, arms, 2)
    sets = Data(data, data, CLASSES, data.mean, data.std, tiny.FLIP)
    monkeypatch.setattr(recorder, "fast", lambda model: model)  # of networks that the twin does not know
    monkeypatch.setattr(recorder, "TEST_IMAGES", 15)
    for name, value in dict(STUDY=study, GROUPS=(arms,), ARMS=arms, SEEDS=2).items():
        monkeypatch.setattr(recorder, name, value)
    monkeypatch.setattr(recorder, "open_data", lambda recipe, folder: sets)
    trained, run = [], recorder.run
    monkeypatch.setattr(recorder, "run", lambda *some: trained.append(some[:2]) or run(*some))
    command = ["somewhere", "--out", str(tmp_path / "runs.csv"), "--runs", str(tmp_path / "runs")]
    recorder.main([*command, "--arms", "fine-tuned, 10 per class"])
    recorder.main(command)
    recorder.main(command)
    assert len(trained) == 4 and len(set(trained)) == 4 and not list((tmp_path / "runs").iterdir())
    frame = read_study(tmp_path / "runs.csv")
    assert list(frame["arm"]) == [name for name in arms for _ in range(2)] and (frame["train_images"] == 40).all()
    assert compare(frame, scale="points")["seeds"].tolist() == [2, 2]
    assert json.loads(frame["recipe"].iloc[-1])["init"] == "source/"


def test_what_is_recorded_is_of_the_study():
    path = files.recorded("finetuning", "runs.csv")
    if not path.is_file():
        pytest.skip("the study has not been recorded yet")
    rows = recorder.rows_of(recorder.STUDY, path)
    assert (rows["classes"] == 10).all() and (rows["val_top1_error"] > 0).all()
    assert read_study(path).equals(rows)
