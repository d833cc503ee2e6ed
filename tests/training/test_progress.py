"""Energy is measured where a driver tells it, card by card, and is absent everywhere else."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import tiny
import torch
from tiny import history, quietly

from inception_lab.training import progress
from inception_lab.training.progress import Clock

CARD = torch.device("cuda", 1)


@pytest.fixture(autouse=True)
def forget():
    progress.energy_counter.cache_clear()
    yield
    progress.energy_counter.cache_clear()


def driver(monkeypatch, refuses=""):
    """A module as nvidia-ml-py's, whose cards have used 1000 J more at every look; the call `refuses` fails."""
    module = ModuleType("pynvml")
    module.NVMLError = type("NVMLError", (Exception,), {})
    module.asked, module.millijoules = [], 5_000_000

    def call(name, result):
        def function(*arguments):
            if name == refuses:
                raise module.NVMLError("not supported")
            module.asked += arguments
            return result()

        return function

    def used():
        module.millijoules += 1_000_000
        return module.millijoules

    module.nvmlInit = call("init", lambda: None)
    module.nvmlDeviceGetHandleByUUID = call("handle", lambda: "the card")
    module.nvmlDeviceGetTotalEnergyConsumption = call("energy", used)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=f"uuid-{device.index}")
    )
    return module


def test_joules_are_the_driver_s_counter_of_that_card(monkeypatch):
    module = driver(monkeypatch)
    read = progress.energy_counter(CARD)
    before = read()
    assert read() - before == 1000 and before == 7000  # one look was to see whether it answers
    assert module.asked[0] == "GPU-uuid-1" and set(module.asked[1:]) == {"the card"}


@pytest.mark.parametrize("refuses", ["init", "handle", "energy"])
def test_a_driver_that_refuses_is_no_error(monkeypatch, refuses):
    driver(monkeypatch, refuses)
    assert progress.energy_counter(CARD) is None


def test_without_the_package_or_on_a_cpu_nobody_can_tell(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)  # import fails
    assert progress.energy_counter(CARD) is None
    assert progress.energy_counter(torch.device("cpu")) is None


def test_a_clock_counts_from_its_first_batch_and_goes_on_from_what_was_saved(monkeypatch):
    monkeypatch.setattr(progress, "energy_counter", lambda device: iter(range(10_000, 99_000, 1000)).__next__)
    clock = Clock(torch.device("cpu"), joules=500.0)
    for _ in clock.watch([1, 2]):
        clock.read()
    assert clock.joules == 500 + 2000  # two looks after the first
    assert Clock(torch.device("cpu"), joules=None).joules is None  # a part of the epoch was not measured


@pytest.mark.usefixtures("one_thread")
def test_a_run_has_watt_hours_only_where_they_are_known(monkeypatch, tmp_path):
    assert "watt_hours" not in quietly(tiny.recipe(), tmp_path / "plain")
    monkeypatch.setattr(progress, "energy_counter", lambda device: iter(range(0, 10**7, 3600)).__next__)
    metrics = quietly(tiny.recipe(), tmp_path / "measured")
    rows = history(tmp_path / "measured")
    looks = 4  # of an epoch of 4 steps: on a CPU every step is looked at
    assert [row["watt_hours"] for row in rows] == [looks, looks] and metrics["watt_hours"] == 2 * looks
    assert json.loads((tmp_path / "measured" / "metrics.json").read_text()) == metrics
