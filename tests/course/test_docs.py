"""The commands in docs/ are commands of this library, and do what the pages say, here at the smallest scale."""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace
from functools import partial
from pathlib import Path

import bench
import killing
import pandas as pd
import pytest
from materials import some
from torchvision.io import write_png

from inception_lab import cli, count
from inception_lab.common import files
from inception_lab.data import datasets
from inception_lab.data.shapes import Shapes
from inception_lab.evaluation import STUDIES, read_study, studies
from inception_lab.models import designs, zoo
from inception_lab.models.designs import DESIGNS
from inception_lab.training import recipes

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
# What makes any recipe small enough for a CPU.
SMALL = [
    "epochs=1",
    "warmup_epochs=0.5",
    "batch=4",
    "precision=32-true",
    "compile=false",
    "workers=0",
    "train_images=0",
]


def commands(page, program="inception-lab"):
    """The commands of a page's shell blocks as lists of words, `DATA` standing for the folder of images."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    whole = (block.replace("\\\n", "").replace("$DATA", "DATA") for block in blocks)
    lines = (line for block in whole for line in block.splitlines())
    found = (shlex.split(line, comments=True) for line in lines if not line.startswith("#"))
    return [words for words in found if program in words[:-1]]  # the last word may be the environment's name


def arguments(words):
    return words[words.index("inception-lab") + 1 :]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_one_that_the_library_takes(page):
    assert commands(page) or page.stem not in ("gpu-runs", "scaling")
    for words in commands(page):
        args = cli.make_parser().parse_args(arguments(words))
        if args.function is cli.train_network:
            recipe = recipes.find(args.recipe).with_settings(args.set)
            own = args.data is None and recipe.data in datasets.NAMES  # which the library draws or downloads
            given = Path(args.data or "").name.removesuffix("-jpeg")
            assert own or recipe.data == "imagenet" or given.startswith(recipe.data)
            assert args.devices == "auto" or recipe.batch % (int(args.devices) * args.nodes) == 0
        if args.function is cli.run_study:
            assert args.name is None or studies.find(args.name)  # without a name all are listed


def test_all_seeds_of_a_recipe_are_asked_for_and_resumable():
    trained = [arguments(words) for words in commands(ROOT / "docs" / "gpu-runs.md") if "train" in words]
    assert all("--resume" in words for words in trained)
    outs = {words[words.index("--out") + 1] for words in trained}
    expected = {f"runs/{name}-{seed}" for name in ("cifar10-fast", "cifar10-uva", "tiny-imagenet") for seed in range(3)}
    assert outs == expected | {"runs/rate"}


def test_the_table_of_the_ablations_is_what_the_counter_says():
    text = (ROOT / "docs" / "gpu-runs.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.partition("| arm |")[2].splitlines()[2:]]
    stated = {row[0].strip("`"): (row[1], row[2]) for row in rows[: len(STUDIES["ablations"].arms)]}
    study, counted = STUDIES["ablations"], {}
    for arm in study.arms:
        recipe = study.recipe_of(arm, 0)
        cost = count(recipe.network, recipe.image_size, num_classes=10, **recipe.options)
        counted[arm] = f"{cost.params:,}", f"{cost.macs / 1e6:,.1f}"
    assert stated == counted


def draw(folder, train, val, size, classes=4):
    """A folder of shapes in so many classes, as many of each, as PNG files."""
    for split, each in (("train", train), ("val", val)):
        drawn = Shapes(split, size=size, length=400)
        for label in range(classes):
            place = folder / split / drawn.classes[label]
            place.mkdir(parents=True)
            for number in (drawn.scenes(range(400)).label == label).nonzero()[0][:each]:
                write_png(drawn[int(number)][0], str(place / f"{number}.png"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "cache", lambda: tmp_path / "cache")
    return tmp_path


def small(words):
    """The arguments of a documented command, changed so that it takes seconds and writes below the working folder."""
    words = list(words)
    if words[0] in ("train", "study"):
        words += [word for setting in SMALL for word in ("--set", setting)]
    if words[0] == "study":
        words += ["--arms", "batch norm", "naive modules", "--seeds", "1", "--out", "studies/ablations.csv"]
    if words[0] == "record" and "--into" not in words:
        words += ["--into", "data/runs"]
    if words[0] == "ladder" and "--kept" not in words:
        words += ["--length", "1"]  # image, in 144 crops by three models of the whole width
    return words if words[0] == "record" else [*words, "--quiet"]


@pytest.fixture
def narrow_networks(monkeypatch):
    """The networks of these recipes at a quarter of their width, so that a rehearsal does not take minutes."""
    for name in ("googlenet-bn", "googlenet-bn-32", "googlenet-uva"):
        narrow = replace(DESIGNS[name], table=designs.narrow(DESIGNS[name].table, 1 / 4))
        monkeypatch.setitem(zoo.ZOO, name, zoo.ZOO[name]._replace(make=partial(zoo._googlenet, narrow)))


@pytest.mark.slow
@pytest.mark.usefixtures("narrow_networks", "one_thread")
def test_the_runs_on_a_gpu_can_be_rehearsed_from_the_first_command_to_the_last(place, capsys, monkeypatch):
    monkeypatch.setattr(bench, "SIZE", 64)  # of its random images
    draw(place / "DATA" / "cifar10-jpeg", 2, 1, 32, classes=2)
    draw(place / "DATA" / "tiny-imagenet-200", 2, 1, 64, classes=2)
    for words in commands(ROOT / "docs" / "gpu-runs.md"):
        words = arguments(words)
        assert cli.main(small(words)) == 0, (words, capsys.readouterr().err)
    lines = []
    for words in commands(ROOT / "docs" / "gpu-runs.md", "benchmarks/bench.py"):
        words = [word.replace("cuda", "cpu") for word in words[words.index("benchmarks/bench.py") + 1 :]]
        words[words.index("--batches") + 1] = "1"
        lines += [words] if words not in lines else []  # two that differ in the batch are one here
    for words in lines:
        assert bench.main([*words, "--rounds", "2", "--no-compile"]) == 0
    recorded = {path.parent.name for path in (place / "data" / "runs").glob("*/model.safetensors")}
    assert recorded == {"cifar10-fast-0", "cifar10-uva-0", "tiny-imagenet-0"}
    seeds = [json.loads((place / "runs" / f"tiny-imagenet-{i}" / "recipe.json").read_text()) for i in range(3)]
    assert [(r["seed"], r["weights_seed"], r["image_size"], r["memory_size"]) for r in seeds] == [
        (i, 0, 224, 64) for i in range(3)
    ]
    rungs = pd.read_csv(place / "data" / "ladders" / "tiny-imagenet.csv")
    assert list(zip(rungs["crops"], rungs["models"], strict=True)) == [(c, n) for c in (1, 10, 144) for n in (1, 2, 3)]
    assert len(read_study(place / "studies" / "ablations.csv")) == 2


def adapted(words, place):
    """A documented command that trains on ImageNet, on drawn images, a single step."""
    settings = ["epochs=1", "batch=4", "warmup_epochs=0", "average_from=0", "workers=0", "precision=32-true"]
    settings += ["compile=false"]
    words = [str(place / "imagenet") if word == "/data/imagenet" else word for word in words]
    return [*words, *(word for setting in settings for word in ("--set", setting)), "--quiet"]


def assert_trained_by_two(run, outputs):
    (session,) = json.loads((run / "environment.json").read_text())["sessions"]
    assert session["processes"] == 2 and session["data"]["name"] == "imagenet"
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["steps"] == 1 and metrics["averaged"]
    assert all(f"top-1 error {metrics['val_top1_error']:.2f} %" in output for output in outputs)


def given(place, words, variables):
    """The command in a process that has imported the library; what it prints in a file named by the process's rank."""
    os.environ |= variables
    os.chdir(place)
    rank = os.environ.get("RANK") or os.environ["SLURM_PROCID"]
    with open(f"{rank}.txt", "w") as file, contextlib.redirect_stdout(file):
        assert cli.main(words) == 0


def printed(place):
    return [(place / f"{rank}.txt").read_text() for rank in (0, 1)]


def by_torchrun(place):
    """And given again, it finds a finished run."""
    (words,) = [w for w in commands(ROOT / "docs" / "scaling.md", "torchrun") if "--standalone" in w]
    command = [sys.executable, "-m", "torch.distributed.run", *adapted(words, place)[1:]]
    about = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=os.environ | about, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    killing.run_two(given, place, adapted(words[words.index("train") :], place), {})
    assert_trained_by_two(place / "runs" / "imagenet-2014", [done.stdout, *printed(place)])


def by_slurm(place):
    """Two processes with the variables that srun would set; the page's line but for the numbers of GPUs and nodes."""
    (words,) = [arguments(w) for w in commands(ROOT / "docs" / "scaling.md", "srun")]
    words[words.index("--devices") + 1], words[words.index("--nodes") + 1] = "2", "1"
    job = dict(SLURM_NTASKS="2", SLURM_NTASKS_PER_NODE="2", SLURM_NNODES="1", SLURM_NODEID="0", SLURM_JOB_NAME="train")
    job |= dict(SLURM_NODELIST="127.0.0.1", SLURM_JOB_ID=str(os.getpid()))  # the port is made from the last digits
    job |= dict(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    ranks = [dict(SLURM_PROCID=str(i), SLURM_LOCALID=str(i)) for i in range(2)]
    tasks = [killing.start(given, place, adapted(words, place), job | rank) for rank in ranks]
    for task in tasks:
        task.join(300)
        task.kill()  # one that waits for the other
    assert [task.exitcode for task in tasks] == [0, 0]
    assert_trained_by_two(place / "runs" / "imagenet-modern", printed(place))


@pytest.mark.slow
def test_the_documented_lines_for_two_processes_train(place):
    draw(place / "imagenet", 1, 1, 224)
    for trains in some((by_torchrun, by_slurm), 1):
        trains(place)


WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import inception_lab.cli, inception_lab.evaluation
sys.exit(inception_lab.cli.main(["count", "googlenet-bn"]))
"""


def test_the_packages_that_the_page_lists_are_enough():
    """Those that the course needs beside them, and the page does not name, are hidden; pynvml is never needed."""
    text = (ROOT / "docs" / "gpu-runs.md").read_text(encoding="utf-8")
    listed = text.partition("## What is needed")[2].partition("\n\n")[2].partition("\n\n")[0]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [re.match(r"[\w-]+", requirement).group() for requirement in project["dependencies"]]
    hidden = [name for name in wanted if not re.search(rf"\b{name}\b", listed)]
    assert {"captum", "fvcore", "ipywidgets", "jupyterlab", "timm", "torchinfo"} <= set(hidden)
    modules = ["skimage" if name == "scikit-image" else name for name in hidden] + ["pynvml", "IPython"]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *modules], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "googlenet-bn" in done.stdout, done.stderr
