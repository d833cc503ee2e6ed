"""The command line prints what the library counts, and refuses a wrong argument on standard error."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from inception_lab import __version__
from inception_lab.cli import COMMANDS, main
from inception_lab.training import RECIPES


def test_a_summary_line_a_network(capsys):
    assert main(["count", "googlenet", "vgg16"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for figure in ("googlenet", "3×224×224", "6,998,552", "6,379,728", "1,582,671,872", "3,165,343,744"):
        assert figure in lines[1].split()
    assert "138,357,544" in lines[2].split()


def test_the_readme_shows_what_the_command_prints(capsys):
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    ((command, output),) = re.findall(r"```console\n\$ inception-lab (.*?)\n(.*?)```", readme, re.DOTALL)
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
