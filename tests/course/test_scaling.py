"""What runs cost and what larger ones would take: the sums by hand, and the assumptions in the open."""

import json
import shutil
from dataclasses import asdict

import pytest
from scaling import ILSVRC_2012, forecast, spent, transferred_rate

from inception_lab import count
from inception_lab.evaluation import recorded_run
from inception_lab.training.recipes import RECIPES

RUN = recorded_run("shapes-laptop")
METRICS = json.loads((RUN / "metrics.json").read_text())


def test_what_a_run_cost_without_a_meter():
    hours = METRICS["seconds"] / 3600
    row = spent(RUN, 0.30, 2.0, watts=20)
    assert not row.measured and row.hours == hours and row.rent == 2 * hours
    assert row.kwh == pytest.approx(0.020 * hours) and row.electricity == pytest.approx(0.006 * hours)
    with pytest.raises(ValueError, match="watts must be given: .*shapes-laptop did not measure its energy"):
        spent(RUN, 0.30)


def test_what_a_run_cost_with_a_meter_and_two_devices(tmp_path):
    run = shutil.copytree(RUN, tmp_path / "run")
    (run / "metrics.json").write_text(json.dumps(METRICS | {"watt_hours": 250.0, "seconds": 7200}))
    environment = json.loads((RUN / "environment.json").read_text())
    environment["sessions"][-1]["processes"] = 2
    (run / "environment.json").write_text(json.dumps(environment))
    row = spent(run, 0.40, 3.0, watts=9999)  # the assumption is not wanted
    assert asdict(row) == dict(hours=2, devices=2, kwh=0.25, measured=True, electricity=pytest.approx(0.1), rent=12)
    assert transferred_rate(run, RECIPES["shapes-laptop"], 10) == pytest.approx(METRICS["images_per_second"] / 2)


def test_a_rate_is_transferred_by_macs():
    options = dict(num_classes=10, training=True)
    mine = count("googlenet-laptop", 64, aux=False, **options).macs
    theirs = count("googlenet-bn", 224, num_classes=1000, training=True).macs
    rate = transferred_rate(RUN, RECIPES["imagenet-modern"], 1000)
    assert rate * theirs == pytest.approx(METRICS["images_per_second"] * mine)


def test_one_device_exchanges_nothing_and_more_lose_what_the_ring_takes():
    about = dict(parameters=10_000_000, batch=100, watts=500, euros_per_kwh=0.2, euros_per_hour=2)
    table = forecast(1000, 90, bandwidth=1e9, devices=(1, 2, 64), **about).set_index("devices")
    assert table["efficiency"][1] == 1 and table["hours"][1] == pytest.approx(90 * ILSVRC_2012 / 1000 / 3600)
    # 0.1 s of work a step; two devices send half of 2 × 40 MB each, which at 1 GB/s takes 0.04 s.
    assert table["efficiency"][2] == pytest.approx(0.1 / 0.14)
    assert table["efficiency"][64] == pytest.approx(0.1 / (0.1 + 2 * 63 / 64 * 0.04))
    assert table["images_per_second"][2] == pytest.approx(2000 * 0.1 / 0.14)
    assert table["kwh"][2] == pytest.approx(2 * 0.5 * table["hours"][2])
    assert table["electricity"][2] == pytest.approx(0.2 * table["kwh"][2])
    assert table["rent"][64] == pytest.approx(64 * 2 * table["hours"][64])
    endless = forecast(1000, 90, bandwidth=1e30, devices=(64,), **about)
    assert endless["hours"][0] == pytest.approx(table["hours"][1] / 64)


@pytest.mark.parametrize("wrong", ["rate", "epochs", "batch", "bandwidth", "parameters"])
def test_a_wrong_argument_is_named(wrong):
    arguments = dict(rate=1, epochs=1, parameters=1, batch=1, bandwidth=1) | {wrong: 0}
    with pytest.raises(ValueError, match=f"{wrong} must be above 0, got 0"):
        forecast(**arguments)
