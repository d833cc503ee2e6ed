"""The logs of exercise 07 show their faults, and the script that made them makes such logs."""

from dataclasses import replace

import pandas as pd
import pytest
import record_broken_runs as script

from inception_lab.common import files
from inception_lab.data import Shapes, datasets
from inception_lab.training import open_data

LOGS = {fault: pd.read_csv(files.recorded("logs", f"{name}.csv")) for name, fault in script.LOGS.items()}
TRAINING = ["epoch", "train_loss", "train_top1_error"]


def test_every_fault_shows_in_its_log():
    good, shuffled, raw, fast = (LOGS[f] for f in (script.NOTHING, script.SHUFFLED, script.NOT_NORMALIZED, script.FAST))
    assert all(list(log.columns) == script.COLUMNS and len(log) == script.RECIPE.epochs for log in LOGS.values())
    assert good["val_top1_error"].iloc[-1] < 70
    assert all(log["val_top1_error"].min() > 88 for log in (shuffled, raw, fast))  # guessing has 90 ± 2
    pd.testing.assert_frame_equal(raw[TRAINING], good[TRAINING])
    assert shuffled["train_top1_error"].iloc[-1] > good["train_top1_error"].iloc[-1] + 10
    assert fast["val_loss"].max() > 100 and fast["train_top1_error"].min() > 89


@pytest.mark.slow
def test_the_script_makes_such_logs(monkeypatch, tmp_path):
    recipe = replace(script.RECIPE, train_images=32, epochs=1, warmup_epochs=0, schedule="constant", batch=16)
    monkeypatch.setattr(script, "RECIPE", recipe)
    validation = datasets.in_memory(Shapes("val", length=64))  # of 2,000, which take longer than the training
    monkeypatch.setattr(script, "open_data", lambda recipe: open_data(recipe)._replace(val=validation))
    made = {}
    for number, fault in enumerate(script.LOGS.values()):
        made[fault] = script.log(fault, tmp_path / str(number))
        assert made[fault].startswith(",".join(script.COLUMNS)) and made[fault].count("\n") == 2
    assert len(set(made.values())) == 4
    train = {fault: text.splitlines()[1].split(",")[1:3] for fault, text in made.items()}
    assert train[script.NOT_NORMALIZED] == train[script.NOTHING] != train[script.SHUFFLED]
