"""The recorder of the fine-tuning study: fair subsets, one row per run, and it goes on where it was stopped."""

import json
import re
from pathlib import Path

import pytest
import record_finetuning as recorder
import tiny
import torch

from inception_lab.common import files
from inception_lab.data.datasets import InMemory
from inception_lab.evaluation import Study, compare, read_study
from inception_lab.training import RECIPES, Data

pytestmark = pytest.mark.usefixtures("one_thread")
LABELS = torch.arange(400) % 4
CLASSES = ["a", "b", "c", "d"]


@pytest.fixture
def data():
    images = torch.randint(0, 256, (400, 3, tiny.SIZE, tiny.SIZE), generator=torch.Generator().manual_seed(0)).byte()
    return InMemory(images, LABELS, CLASSES, (0.4,) * 3, (0.25,) * 3)


def test_a_seed_chooses_as_many_images_of_each_class_and_larger_choices_hold_smaller_ones(data):
    few, more = (recorder.chosen(data, n, seed=3) for n in (5, 20))
    assert LABELS[few].bincount().tolist() == [5] * 4 and LABELS[more].bincount().tolist() == [20] * 4
    assert set(few.tolist()) < set(more.tolist()) and len(set(more.tolist())) == 80
    assert few.tolist() != recorder.chosen(data, 5, seed=4).tolist()
    part = recorder.subset(data, few)
    assert torch.equal(part.images, data.images[few]) and torch.equal(part.labels, LABELS[few])


def test_rates_are_chosen_on_training_images_alone(data, monkeypatch):
    monkeypatch.setattr(recorder, "HELD_OUT", 10)
    test = InMemory(data.images[:8] * 0, LABELS[:8], CLASSES, (0.4,) * 3, (0.25,) * 3)
    split = recorder.hold_out(Data(data, test, CLASSES, data.mean, data.std, None))
    assert split.val.labels.bincount().tolist() == [10] * 4 and len(split.train) == 360
    both = [tuple(image.flatten().tolist()) for part in (split.train, split.val) for image in part.images]
    assert sorted(both) == sorted(tuple(image.flatten().tolist()) for image in data.images)
    assert recorder.SEED_OF_RATES not in range(recorder.SEEDS)


def test_every_arm_has_its_settings_and_the_steps_that_the_page_states():
    assert len(recorder.ARMS) == 3 * 4 + 4
    for name in recorder.ARMS:
        recipe, images = recorder.STUDY.recipe_of(name, 2), recorder.per_class(name)
        assert recipe.epochs * 10 * images // recipe.batch == {10: 100, 100: 300, 500: 500}[images]
        assert recipe.seed == recipe.weights_seed == 2
        assert (recipe.init == "") == name.startswith("from scratch") and (recipe.loaded_rate == 1) == (not recipe.init)
    for name in recorder.RATES.arms:
        recipe, way = recorder.RATES.recipe_of(name, 7), name.partition(",")[0]
        assert (recipe.learning_rate, recipe.loaded_rate) in recorder.TRIED[way]
        assert name.endswith(f"{recipe.learning_rate:g} × {recipe.loaded_rate:g}")


def test_each_way_has_the_rates_that_were_best_on_the_images_held_out():
    path = files.recorded("finetuning", "rates.csv")
    rows = recorder.rows_of(recorder.RATES, path)
    assert set(rows["arm"]) == set(recorder.RATES.arms) and (rows["seed"] == recorder.SEED_OF_RATES).all()
    table = recorder.table_of_rates(rows)
    assert table in (path.parent / "README.md").read_text(encoding="utf-8")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    for way in recorder.WAYS:
        means = {rates.strip("*"): float(mean) for own, rates, _, _, mean in cells if own == way}
        recipe = recorder.STUDY.recipe_of(f"{way}, 10 per class", 0)
        assert min(means, key=means.get) == f"{recipe.learning_rate:g} × {recipe.loaded_rate:g}"
    usual = RECIPES["finetune"]
    assert [f"learning_rate={usual.learning_rate}", f"loaded_rate={usual.loaded_rate}"] == recorder.WAYS["fine-tuned"]


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
    monkeypatch.setattr(recorder, "run", lambda *some: trained.append(some[1:3]) or run(*some))
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
    rows = recorder.rows_of(recorder.STUDY, path)
    assert (rows["classes"] == 10).all() and (rows["val_top1_error"] > 0).all()
    assert read_study(path).equals(rows)


def test_the_page_says_what_is_recorded():
    rows = read_study(files.recorded("finetuning", "runs.csv"))
    page = (Path(__file__).parents[2] / "docs" / "finetuning.md").read_text(encoding="utf-8")
    for arm, errors in rows.groupby("arm")["val_top1_error"]:
        if len(errors) == recorder.SEEDS:
            assert f"{errors.mean():.1f} ± {errors.std():.1f}" in page, arm
    against = {arm: f"fine-tuned, {arm.rpartition(', ')[2]}" for arm in rows["arm"].unique()}
    judged = compare(rows, baseline={arm: other for arm, other in against.items() if arm != other})
    assert set(judged.index[judged["clear"]]) == {
        *("from scratch, 10 per class", "from scratch, 100 per class", "from scratch, 500 per class"),
        *("linear, 100 per class", "frozen to inception_4b, 100 per class"),
    }
    frozen = judged.index.str.startswith("frozen")
    told = judged.loc[judged["clear"] | ~frozen & judged["ratio"].notna(), ["ratio", "low", "high"]].round(2)
    for arm, ratio, low, high in told.itertuples():
        assert re.search(rf"\b{ratio:.2f}\s+times[^)]*?{low:.2f}\s+to\s+{high:.2f}", page), arm
    narrow = judged.index[
        frozen & (judged["high"] < 1) & ~judged["clear"]
    ]  # "leave out 1 too, but after the correction"
    assert set(narrow) == {f"frozen to inception_{name}, 100 per class" for name in ("3b", "4e")}
    seconds = rows.groupby("arm")["seconds"].median()
    for images in (10, 100, 500):  # "about a third of the time"
        assert 0.25 < seconds[f"linear, {images} per class"] / seconds[f"fine-tuned, {images} per class"] < 0.42
