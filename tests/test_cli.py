"""The command line prints what the library counts, and refuses a wrong argument on standard error."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from inception_lab import __version__
from inception_lab.cli import COMMANDS, main
from inception_lab.evaluation import study_run
from inception_lab.training import RECIPES


def test_a_summary_line_a_network(capsys):
    assert main(["count", "googlenet", "vgg16"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for figure in ("googlenet", "3×224×224", "6,998,552", "6,379,728", "1,582,671,872", "3,165,343,744"):
        assert figure in lines[1].split()
    assert "138,357,544" in lines[2].split()


def test_the_tour_shows_what_the_command_prints(capsys):
    page = (Path(__file__).parent.parent / "docs" / "tour.md").read_text(encoding="utf-8")
    ((command, output),) = re.findall(r"```console\n\$ inception-lab (.*?)\n(.*?)```", page, re.DOTALL)
    assert main(command.split()) == 0
    assert capsys.readouterr().out == output


def test_by_stage_has_the_rows_of_the_paper(capsys):
    assert main(["count", "googlenet", "--by", "stage"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["inception_3a", "256×28×28", "163,696", "128,049,152", "639,744", "59", "8"] in rows


def test_by_layer_names_kernel_and_stride(capsys):
    main(["count", "googlenet", "--by", "layer"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[2][:6] == ["conv1.conv", "Conv2d", "3×224×224", "64×112×112", "7×7", "2"]


def test_another_input_size(capsys):
    main(["count", "googlenet", "--input-size", "112"])
    assert "3×112×112" in capsys.readouterr().out


def test_json_can_be_read_back(capsys):
    main(["count", "alexnet", "googlenet", "--by", "stage", "--json"])
    alexnet, googlenet = json.loads(capsys.readouterr().out)
    assert alexnet["params"] == 61_100_840 and googlenet["flops"] == 2 * googlenet["macs"]
    assert sum(row["macs"] for row in googlenet["rows"]) == googlenet["macs"]
    assert googlenet["rows"][0]["output"] == [64, 112, 112]
    assert sum(googlenet["idle"].values()) == 6_379_728


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["count", "gogglenet"], "did you mean googlenet"),
        (["count", "googlenet", "--input-size", "16"], "x must be at least 31×31 pixels for this network"),
    ],
)
def test_a_wrong_argument_is_told_and_nothing_printed(arguments, message, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and message in err


def test_the_version_is_that_of_the_project(capsys):
    with pytest.raises(SystemExit) as exit_status:
        main(["--version"])
    assert exit_status.value.code == 0 and capsys.readouterr().out == f"inception-lab {__version__}\n"


def test_without_a_recipe_all_are_listed(capsys):
    assert main(["train"]) == 0
    assert capsys.readouterr().out.split() == list(RECIPES)


@pytest.mark.slow
def test_counting_imports_nothing_that_trains():
    code = "import sys, inception_lab.cli as c; c.main(['count', 'alexnet']); print('lightning_fabric' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split()[-1] == "False" and "alexnet" in done.stdout, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as exit_status:
        main([command, "--help"])
    assert exit_status.value.code == 0 and f"usage: inception-lab {command}" in capsys.readouterr().out


def test_without_a_command_the_usage_is_shown(capsys):
    with pytest.raises(SystemExit) as exit_status:
        main([])
    assert exit_status.value.code == 2
    assert "usage: inception-lab" in capsys.readouterr().err


# --- each command with each kind of bad input: a line on standard error, a status, and no work -----------------------

RUN = str(Path(__file__).parents[1] / "data" / "runs" / "shapes-laptop")

# Commands with a place that is written to, and places that cannot be.
OUTPUTS = {
    "study": ["schedules", "--seeds", "1", "--out"],
    "study --runs": ["schedules", "--out", "{place}/study.csv", "--runs"],
    "ladder": [RUN, "--kept", "--crops", "10", "--out"],
    "explore": [RUN, "--out"],
    "train": ["shapes-laptop", "--out"],
    "train --resume": ["shapes-laptop", "--resume", "--out"],
    "record": [RUN, "--name", "copy", "--into"],
}
PLACES = ["/proc/x.csv", "{place}/file/x.csv", "{place}/" + 300 * "n" + ".csv", "{place}/of/a/" + 300 * "n" + "/x.csv"]

# Commands with a run folder, and folders that are none.
READERS = {
    "record": ["--name", "copy", "--into", "{place}/into"],
    "evaluate": ["--length", "2"],
    "ladder": ["--length", "2", "--crops", "1"],
    "ladder --kept": ["--kept", "--crops", "10"],
    "explore": ["--out", "{place}/page", "--length", "2"],
}
RUNS = ["none", "empty", "file", "truncated", "foreign"]

VALUES = [
    ("count", ["googlenet", "--input-size", "0"]),
    ("count", ["googlenet", "--input-size", 30 * "9"]),
    ("train", ["shapes-laptop", "--devices", "many"]),
    ("train", ["shapes-laptop", "--devices", "0"]),
    ("train", ["shapes-laptop", "--nodes", "0"]),
    ("train", ["shapes-laptop", "--data", "/none"]),
    ("train", ["shapes-laptop", "--set", "batch"]),
    ("train", ["{place}/file"]),
    ("record", [RUN, "--name", "../evil"]),
    ("record", [RUN, "--name", "copy", "--data", "/none", "--into", "{place}/into"]),
    ("record", [RUN, "--name", "copy", "--note", "two\nlines", "--into", "{place}/into"]),
    ("study", ["schedules", "--seeds", "0"]),
    ("study", ["schedules", "--arms", "none"]),
    ("study", ["schedules", "--out", "{place}/foreign.csv"]),
    ("study", ["schedules", "--out", "{place}/binary.csv"]),
    ("study", ["schedules", "--out", "{place}/study.txt"]),
    ("evaluate", [RUN, "--data", "/none"]),
    ("evaluate", [RUN, "--data", "{place}/empty"]),
    ("evaluate", [RUN, "--crops", "7"]),
    ("evaluate", [RUN, "--length", "0"]),
    ("evaluate", [RUN, "--batch", "-1"]),
    ("evaluate", [RUN, "--split", "none"]),
    ("ladder", [RUN, "--crops", "7"]),
    ("ladder", [RUN, "--kept", "--crops", "144"]),
    ("explore", [RUN, "--out", "{place}/page", "--size", "10000000"]),
    ("explore", [RUN, "--out", "{place}/page", "--steps", "-1"]),
    ("explore", [RUN, "--out", "{place}/page", "--device", "tpu"]),
    ("explore", [RUN, "--out", "{place}/page", "--device", "meta"]),
    ("explore", [RUN, "--out", "{place}/page", "--stages", "none"]),
    ("explore", [RUN, "--out", "{place}/page", "--data", "/none"]),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with things that are no runs, no records of studies and no images."""
    place = tmp_path_factory.mktemp("place")
    (place / "file").write_bytes(b"\xff\x00")
    (place / "binary.csv").write_bytes(bytes(range(256)))
    (place / "foreign.csv").write_text("a,b\n1,2\n")
    (place / "empty").mkdir()
    for name in ("truncated", "foreign"):
        shutil.copytree(RUN, place / name)
    weights = place / "truncated" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    save_file({"a": torch.zeros(2)}, place / "foreign" / "model.safetensors")
    shutil.rmtree(place / "truncated" / "predictions", ignore_errors=True)
    shutil.rmtree(place / "foreign" / "predictions", ignore_errors=True)
    return place


def assert_refused(arguments, place, capsys):
    before = sorted(place.rglob("*"))
    assert main([argument.replace("{place}", str(place)) for argument in arguments]) in (1, 2)
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("inception-lab: ")
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("output", PLACES)
@pytest.mark.parametrize("command", OUTPUTS)
def test_a_place_that_cannot_be_written_is_told_before_the_work(command, output, place, capsys, monkeypatch):
    monkeypatch.setattr(study_run, "open_data", lambda *_: pytest.fail("data were opened"))
    monkeypatch.setattr("inception_lab.training.trainer.open_data", lambda *_: pytest.fail("data were opened"))
    assert_refused([command.split()[0], *OUTPUTS[command], output], place, capsys)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("command", READERS)
def test_a_folder_that_is_no_run_is_told(command, run, place, capsys):
    assert_refused([command.split()[0], f"{{place}}/{run}", *READERS[command]], place, capsys)


@pytest.mark.parametrize("command, options", VALUES, ids=lambda value: value if isinstance(value, str) else value[-1])
def test_a_wrong_value_is_told(command, options, place, capsys):
    assert_refused([command, *options], place, capsys)


# --- the terminal ----------------------------------------------------------------------------------------------------


def ascii_terminal(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    return terminal.buffer


def test_an_ascii_terminal_is_given_ascii(monkeypatch):
    written = ascii_terminal(monkeypatch)
    assert main(["count", "googlenet"]) == 0
    assert b"3x224x224" in written.getvalue()


def test_help_is_given_in_ascii_too(monkeypatch):
    written = ascii_terminal(monkeypatch)
    with pytest.raises(SystemExit):
        main(["count", "--help"])
    assert b"FLOPs are 2 x MACs" in b" ".join(written.getvalue().split())


def test_a_closed_pipe_is_met_with_silence(monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed:
        monkeypatch.setattr("sys.stdout", closed)
        assert main(["count", "googlenet"]) == 141
        assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_a_full_disk_behind_standard_output_is_told(monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main(["count", "googlenet"]) == 1
        assert capsys.readouterr().err == "inception-lab: standard output: No space left on device\n"


@pytest.mark.slow
def test_no_process_adds_something_when_it_ends():
    for destination, status in (("/dev/full", 1), ("closed", 141)):
        code = "import sys; from inception_lab.cli import main; sys.exit(main(['count', 'googlenet']))"
        command = [sys.executable, "-c", code]
        if destination == "closed":
            reader, output = os.pipe()
            os.close(reader)
        else:
            output = os.open(destination, os.O_WRONLY)
        done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, timeout=120)
        os.close(output)
        assert done.returncode == status and "Exception" not in done.stderr and "Traceback" not in done.stderr


def stopped(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "function, arguments, advice",
    [
        ("inception_lab.training.train", ["train", "shapes-laptop"], "with --resume, "),
        ("inception_lab.evaluation.predict", ["evaluate", RUN], "the same command goes on"),
        ("inception_lab.evaluation.run_study", ["study", "schedules"], "the same command goes on"),
        ("inception_lab.explorer.explore", ["explore", RUN, "--out", "{place}/page"], "the same command goes on"),
        ("inception_lab.costs.count", ["count", "googlenet"], "interrupted\n"),
    ],
)
def test_an_interrupted_command_says_how_it_goes_on(function, arguments, advice, place, monkeypatch, capsys):
    monkeypatch.setattr(function, stopped)
    assert main([argument.replace("{place}", str(place)) for argument in arguments]) == 130
    (line,) = capsys.readouterr().err.splitlines(keepends=True)
    assert line.startswith("inception-lab: interrupted") and advice in line


@pytest.mark.parametrize(
    "module, command", [("torch", "--help"), ("torch", "count googlenet"), ("pandas", "count googlenet")]
)
def test_ctrl_c_while_pytorch_is_imported_is_told_in_a_line(module, command, tmp_path):
    (tmp_path / f"{module}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell may ignore it
    code += f"import sys; from inception_lab.cli import main; sys.exit(main({command.split()}))"
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | path, timeout=120
    )
    assert (done.returncode, done.stderr) == (130, "inception-lab: interrupted\n")


def test_the_library_is_imported_when_it_is_asked_for():
    values = "'count' in dir(lab), 'torch' in sys.modules, lab.count.__name__, lab.models.__name__"
    code = f"import sys, inception_lab as lab; print({values})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True", "False", "count", "inception_lab.models"], done.stderr
    with pytest.raises(ImportError, match="cannot import name 'recount'"):
        exec("from inception_lab import recount")


def test_a_name_does_not_command_the_terminal(capsys):
    assert main(["evaluate", "a\x1b[2Jb"]) == 1
    assert "\x1b" not in capsys.readouterr().err
