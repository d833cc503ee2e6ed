"""The benchmark measures what it says, and the page on speed shows the recorded results."""

import importlib.util
import json
import time
from pathlib import Path

import bench
import pytest
import torch
from torch import nn

from inception_lab.common import console

ROOT = Path(__file__).parents[2]


def test_the_page_shows_the_recorded_table(capsys):
    assert bench.main(["--table", str(ROOT / "data" / "bench" / "cpu.csv")]) == 0
    table = capsys.readouterr().out
    assert f"<!-- bench -->\n\n{table}\n<!-- /bench -->" in (ROOT / "docs" / "speed.md").read_text("utf-8")
    assert table.count("\n") > 5 and "1.00×" in table


def test_rounds_alternate_and_the_first_call_is_timed_apart():
    order = []

    def call(name, seconds):
        def run():
            time.sleep(seconds if name in order else 0.05)
            order.append(name)

        return run

    results = bench.measure({"a": call("a", 0.001), "b": call("b", 0.004)}, "cpu", rounds=4)
    assert order[4:] == ["b", "a", "a", "b", "b", "a", "a", "b", "b", "a"]
    assert results["a"]["first_call_s"] > 0.04 and results["a"]["median_ms"] < results["b"]["median_ms"]
    assert results["b"]["low_ms"] <= results["b"]["median_ms"] <= results["b"]["high_ms"]


def test_the_peak_of_memory_is_what_a_call_takes():
    measured = bench.peak_memory(lambda: torch.ones(25_000_000).sum(), "cpu")
    assert measured is None or 90 < measured < 130


def test_contenders_of_inference_give_the_same_logits_and_those_of_training_learn(monkeypatch):
    monkeypatch.setattr(bench, "SIZE", 64)
    calls = bench.contenders("inference", "cpu", 2, compile=False)
    expected = calls["torchvision"][-1]()
    for name, (_, dtype, call) in calls.items():
        tolerance = 1e-4 if dtype == torch.float32 else 0.05
        assert (call().float() - expected).abs().max() < tolerance * expected.abs().max(), name
    for is_compiled, _, call in bench.contenders("training", "cpu", 2, compile=False).values():
        call()
        assert not is_compiled


def test_rows_are_written_and_those_of_other_batches_stay(tmp_path, monkeypatch, capsys):
    def contenders(task, device, batch, compile):
        return {"torchvision": (False, torch.float32, lambda: None), "twin": (False, torch.float32, lambda: None)}

    monkeypatch.setattr(bench, "contenders", contenders)
    monkeypatch.setattr(bench, "peak", lambda device, dtype: 1e12)
    path = tmp_path / "bench.csv"
    for batch in ("1", "2", "1"):
        arguments = ["--batches", batch, "--tasks", "inference", "--rounds", "3"]
        assert bench.main([*arguments, "--out", str(path), "--json"]) == 0
        first = json.loads(capsys.readouterr().out)[0]
    rows = bench.read(path)
    assert [(row["contender"], row["batch"]) for row in rows] == [
        (name, batch) for batch in "12" for name in ("torchvision", "twin")
    ]
    assert {"device", "torch", "threads", "peak_float32_gmacs", "others_percent"} <= first.keys() and first[
        "ratio"
    ] == 1
    assert bench.table(rows).splitlines()[0] == "|  | inference, batch 1 | inference, batch 2 |"


def test_a_benchmark_that_is_stopped_keeps_what_it_has_measured(tmp_path, monkeypatch):
    def contenders(task, device, batch, compile):
        if batch == 2:
            raise KeyboardInterrupt
        return {"torchvision": (False, torch.float32, lambda: None)}

    monkeypatch.setattr(bench, "contenders", contenders)
    monkeypatch.setattr(bench, "peak", lambda device, dtype: 1e12)
    with pytest.raises(KeyboardInterrupt):
        bench.bench("cpu", [1, 2], ["inference"], rounds=2, out=str(tmp_path / "bench.csv"))
    assert [row["batch"] for row in bench.read(tmp_path / "bench.csv")] == ["1"]


def test_results_are_measured_or_shown_and_not_both(tmp_path, capsys):
    with pytest.raises(SystemExit):
        bench.main(["--table", str(ROOT / "data" / "bench" / "cpu.csv"), "--out", str(tmp_path / "bench.csv")])
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--device", "tpu"], "device must be 'cpu'"),
        (["--tasks", "guessing"], "tasks must be one of"),
        (["--rounds", "1"], "rounds must be a whole number of at least 2"),
        (["--batches", "0"], "batches must be a whole number of at least 1"),
        (["--out", "/proc/bench.csv"], "out must be a file that can be written"),
        (["--out", str(ROOT)], "out must be a file"),
        (["--out", str(ROOT / "README.md")], "README.md holds no results of this benchmark"),
        (["--table", str(ROOT / "data" / "runs" / "shapes-laptop" / "model.safetensors")], "holds no results"),
        (["--table", str(ROOT / "data" / "studies" / "schedules.csv")], "holds no results"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_measured(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(bench, "peak", lambda *_: pytest.fail("measured"))
    assert bench.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bench.py: ") and message in line


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("augmentation", ["--csv", "/proc/rounds.csv"]),
        ("augmentation", ["--rounds", "0"]),
        ("lens", ["--steps", "0"]),
        ("training", ["--rounds", "0"]),
        ("training", ["--recipe", "guessing"]),
        ("twin", ["--batch", "0"]),
    ],
)
def test_the_other_benchmarks_tell_wrong_arguments_too(name, arguments, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", [name, *arguments])
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None)
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    threads = torch.get_num_threads()
    assert console.run(name, program.main) == 2
    torch.set_num_threads(threads)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_peak_is_at_least_what_a_convolution_reaches():
    conv, image = nn.Conv2d(64, 64, 3, padding=1), torch.randn(1, 64, 56, 56)
    with torch.no_grad():
        spent = min(bench.timed(lambda: conv(image), "cpu") for _ in range(5))
    assert bench.peak("cpu", torch.float32, side=512) > 0.3 * 64 * 64 * 9 * 56**2 / spent
