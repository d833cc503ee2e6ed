"""The command line: the options that commands take, and what each command does.

inception-lab --help                 # all commands
inception-lab count --help           # one of them
"""

import argparse
import io
import json
import sys
from argparse import Namespace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from inception_lab import __version__
from inception_lab.common import console, files
from inception_lab.common.checks import RunError

if TYPE_CHECKING:
    import pandas as pd

    from inception_lab.costs import Count
    from inception_lab.evaluation import Predictions

# What takes seconds to import, each command imports itself: so Ctrl-C is met by `console.run` then, too.


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status, see `console.run`. What was wrong is told on standard error."""
    return console.run("inception-lab", partial(run_command, arguments))


def run_command(arguments: list[str] | None) -> int | None:
    """Call the function of a command; returns its exit status, where it has one of its own."""
    args = make_parser().parse_args(arguments)
    try:
        return args.function(args)
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(RESUMED.get(args.function, "")) from interrupt


def make_parser() -> argparse.ArgumentParser:
    """The parser of all COMMANDS; the docstring of a command's function is its help."""
    from inception_lab.models import zoo

    parser = argparse.ArgumentParser(prog="inception-lab", description="The companion of a course on GoogLeNet.")
    parser.add_argument("--version", action="version", version=f"inception-lab {__version__}")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (function, options) in COMMANDS.items():
        about = function.__doc__ or ""
        networks = f"The networks are {', '.join(zoo.names())}." if NETWORKS in options else None
        subparser = subparsers.add_parser(name, help=about.partition(".")[0], description=about, epilog=networks)
        for names, settings in options:
            subparser.add_argument(*names, **settings)
        subparser.set_defaults(function=function)
    return parser


def option(*names: str, **settings: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """An argument of a command, as `ArgumentParser.add_argument` takes it."""
    return names, settings


def flag(name: str, help: str, **settings: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return option(name, action="store_false" if "dest" in settings else "store_true", help=help, **settings)


# --- the options. Each has the name of the parameter that it is handed to ------------------------------------

ARMS = option("--arms", nargs="+", metavar="ARM", help="some of the arms (default: all)")
BATCH = option("--batch", type=int, default=128, metavar="N", help="crops that the network sees at once (default: 128)")
BY = option("--by", choices=["layer", "stage"], help="one row per layer, or one row per stage")
CROPS = option("--crops", type=int, metavar="N", help="1, 10 or 144 crops of each image (default: the whole image)")
CROPS_ALL = option("--crops", type=int, nargs="+", default=[1, 10, 144], metavar="N", help="(default: 1 10 144)")
DATA = option("--data", metavar="D", help="a data tier, or a folder of images (default: that of the recipe)")
DEVICE = option("--device", default="cpu", metavar="D", help="cpu, or cuda for a GPU (default: cpu)")
DEVICES = option("--devices", default="auto", metavar="N", help="processes, or GPUs (default: all GPUs)")
FROM = option("--from", dest="source", metavar="PATH", help="a .caffemodel or .safetensors file, or raw files' folder")
DRY_RUN = flag("--dry-run", "say how large the run is and how long it takes, and write nothing")
EVERY_CLASS = flag("--every-class", "keep all probabilities, as `ladder --kept` needs")
GUESSING = option("run", metavar="RUN", help="a run folder, a recorded run's name, or googlenet")
INPUT_SIZE = option("--input-size", type=int, metavar="N", help="side of the image in pixels (default: the network's)")
INTO = option("--into", metavar="DIR", help="another folder than data/runs")
JSON = flag("--json", "print JSON, with the rows in it")
KEPT = flag("--kept", "read what recorded runs keep: no image is needed")
HIGH = option("--high", type=float, default=1.0, metavar="RATE", help="the last learning rate (default: 1)")
LENGTH = option("--length", type=int, metavar="N", help="only so many images")
LOW = option("--low", type=float, default=1e-5, metavar="RATE", help="the first learning rate (default: 1e-5)")
NAME = option("--name", metavar="NAME", help="of the copy (default: the run folder's)")
NETWORKS = option("names", nargs="+", metavar="NAME", help="networks, see below")
NOTEBOOKS = option("notebooks", nargs="*", metavar="NOTEBOOK", help="yours, with the exercises; none: all are listed")
NODES = option("--nodes", type=int, default=1, metavar="N", help="machines (default: 1)")
NO_STORE = flag("--no-store", "store nothing, and use nothing that was stored", dest="store")
NO_WEIGHTS = flag("--no-weights", "leave the weights out, to save space", dest="weights")
NO_BROWSER = flag("--no-browser", "print the address, and open no browser", dest="browser")
NOTE = option("--note", default="", metavar="TEXT", help='of the data, such as "JPEG copy"')
OFFLINE = flag("--offline", "do not ask for the published weights")
OUT_PAGE = option("--out", metavar="DIR", help="the folder of the page (default: units-NAME)")
OUT_RATES = option("--out", metavar="CSV", help="the file of losses (default: lr-range-RECIPE.csv)")
OUT_RUN = option("--out", metavar="DIR", help="the run folder (default: runs/RECIPE)")
OUT_STUDY = option("--out", metavar="CSV", help="the file of results (default: data/studies/NAME.csv)")
OUT_TABLE = option("--out", metavar="CSV", help="write the table there too")
PHOTOGRAPHS = option("photographs", nargs="+", metavar="PHOTO", help="image files")
PORT = option("--port", type=int, metavar="N", help="of the address (default: 8888, or the next that is free)")
PUBLISHED = option("name", nargs="?", metavar="NAME", help="a network; without one, all are listed")
QUIET = flag("--quiet", "show no progress", dest="progress")
RATES = option("--steps", type=int, default=100, metavar="N", help="learning rates, one per step (default: 100)")
RECIPE = option("recipe", nargs="?", metavar="RECIPE", help="its name, or a recipe.json; without one, all are listed")
RESUME = flag("--resume", "go on from the last checkpoint, if there is one")
RUN = option("run", metavar="RUN", help="a run folder")
RUN_OR_PUBLISHED = option(
    "run", nargs="?", default="googlenet", metavar="RUN", help="a run folder (default: googlenet)"
)
RUNS = option("runs", nargs="+", metavar="RUN", help="run folders")
RUN_FOLDERS = option("--runs", metavar="DIR", help="the folder of run folders (default: runs/studies/NAME)")
SEEDS = option("--seeds", type=int, metavar="N", help="runs per arm (default: the study's)")
SET = option("--set", action="append", default=[], metavar="KEY=VALUE", help="change a part of the recipe")
SIZE = option("--size", type=int, default=64, metavar="N", help="side of the optimized images in pixels (default: 64)")
SKIP_BROKEN = flag("--skip-broken", "leave out files of a folder that are no whole images")
SPLIT = option("--split", default="val", metavar="S", help="train, val or test (default: val)")
STAGES = option("--stages", nargs="+", metavar="STAGE", help="some stages, as inception_4a (default: all)")
STEPS = option("--steps", type=int, default=128, metavar="N", help="of optimizing an image, 0: none (default: 128)")
SOME_RUNS = option("runs", nargs="*", metavar="RUN", help="run folders")
STUDY = option("name", nargs="?", metavar="NAME", help="a study; without one, all are listed")
TENSORBOARD = flag("--tensorboard", "write events to RUN/tensorboard (pip install 'inception-lab[tensorboard]')")
TOP = option("--top", type=int, default=5, metavar="N", help="classes of each photograph (default: 5)")
ZOO = option("--zoo", nargs="+", default=[], metavar="NAME", help="networks with published weights, as googlenet")


def chosen(values: Any, names: str) -> dict[str, Any]:
    """Some attributes of an object as a dict, such as options to be handed on."""
    return {name: getattr(values, name) for name in names.split()}


# --- the commands -------------------------------------------------------------------------------------------


def count_networks(args: Namespace) -> None:
    """Count parameters, MACs and activations of networks. The costs are those of one image in evaluation mode. One MAC
    is one multiply-accumulate; FLOPs are 2 × MACs. Nothing is downloaded and no weight is allocated."""
    import pandas as pd

    from inception_lab.costs import count

    counts = [count(name, args.input_size) for name in args.names]
    if args.json:
        print_json([count_results(c, args.by) for c in counts])
    elif args.by:
        print("\n\n".join(f"{c}\n{table(count_rows(c, args.by))}" for c in counts))
    else:
        columns = ["network", "input", "parameters", "idle", "MACs", "FLOPs", "activations"]
        rows = [(c.name, c.input_size, c.params, sum(c.idle.values()), c.macs, c.flops, c.activations) for c in counts]
        print(table(pd.DataFrame(rows, columns=columns)))


def count_rows(c: "Count", by: str) -> "pd.DataFrame":
    return c.rows if by == "layer" else c.by_stage().reset_index()


def count_results(c: "Count", by: str | None) -> dict[str, Any]:
    results = chosen(c, "name input_size params idle macs flops activations")
    return results | ({"rows": records(count_rows(c, by))} if by else {})


def train_network(args: Namespace) -> None:
    """Train a network by a recipe, into a run folder. With --resume, a run that was stopped goes on. While it trains,
    the folder has the loss by step (steps.csv) and the errors by epoch (history.csv). With --dry-run nothing is
    written: images, steps and memory of the run are told, and hours by a few of its steps."""
    from inception_lab.training import RECIPES, dry_run, recipes, train

    if args.recipe is None:
        print("\n".join(RECIPES))
        return
    if args.out and not Path(args.out, "recipe.json").is_file():  # a run that is there may be finished, and only read
        files.check_out(args.out, folder=True)
    recipe, options = recipes.find(args.recipe).with_settings(args.set), chosen(args, "data skip_broken devices nodes")
    if args.dry_run:
        if estimate := dry_run(recipe, **options):
            print(estimate)
        return
    metrics = train(recipe, args.out, **options, **chosen(args, "resume progress tensorboard"))
    print(f"top-1 error {metrics['val_top1_error']:.2f} %, top-5 error {metrics['val_top5_error']:.2f} % of validation")


def find_learning_rate(args: Namespace) -> None:
    """Suggest a learning rate for a recipe by a range test. In a short training, which no run folder sees, the rate
    rises until the loss diverges. A tenth of the rate with the lowest smoothed loss is suggested. The losses are
    written as CSV, and drawn beside it as PNG."""
    import matplotlib.pyplot as plt

    from inception_lab import plots
    from inception_lab.training import RECIPES, lr_range, recipes

    if args.recipe is None:
        print("\n".join(RECIPES))
        return
    recipe = recipes.find(args.recipe).with_settings(args.set)
    out = files.check_out(args.out or f"lr-range-{recipe.name}.csv")
    if out.suffix != ".csv":
        raise ValueError(f"out must end in .csv, got {str(out)!r}")
    picture = files.check_out(out.with_suffix(".png"))
    frame, suggestion = lr_range(recipe, **chosen(args, "low high steps data skip_broken"))
    files.write(out, frame.to_csv(index=False, lineterminator="\n").encode())
    plots.use_style()
    plots.lr_range(frame, suggestion)
    drawn = io.BytesIO()
    plt.savefig(drawn, format="png")
    files.write(picture, drawn.getvalue())
    print(
        f"suggested learning rate: {suggestion:.2g} (the recipe's is {recipe.learning_rate:g}); see {out} and {picture}"
    )


def guess_photographs(args: Namespace) -> None:
    """Say what photographs show, by a trained network: the most probable classes of each, with their probabilities. The
    network is that of a run folder or a recorded run, or googlenet, the published one."""
    from inception_lab.evaluation import guess

    frame = guess(args.run, args.photographs, args.top)
    if args.json:
        print_json(records(frame))
    else:
        shares = frame["probability"].map("{:.1%}".format)
        names = frame["photograph"].mask(frame["photograph"].duplicated(), "")
        print(table(frame.assign(photograph=names, probability=shares)))


def record_run(args: Namespace) -> None:
    """Copy a finished run to data/runs, with half-precision weights, and list it in the README there. With --data, the
    images that it was evaluated on, pictures of the worst mistakes are kept too."""
    from inception_lab.evaluation.records import record

    print(record(args.run, **chosen(args, "name weights note data every_class into")))


def run_study(args: Namespace) -> None:
    """Compare networks or recipes over several seeds. What of the study has not been trained yet is trained. It can be
    stopped and called again, and several processes may train different arms side by side. --set changes all arms, and
    needs --out."""
    from inception_lab.evaluation import compare, run_study, studies, verdicts

    if args.name is None:
        print(studies.overview())
        return
    study = studies.find(args.name).with_settings(args.set)
    frame = run_study(study, **chosen(args, "seeds arms out runs data progress"))
    if study.scale == "ratio" and (frame["val_top1_error"] <= 0).any():
        means = compare(frame, scale="points")[["parameters", "macs", "mean", "sd"]]
        print(f"{study.question}\nTop-1 error of validation in per cent:\n{two_decimals(means.reset_index())}")
        print("no verdict: errors are compared as ratios in this study, and one of them is 0")
        return
    table = compare(frame, scale=study.scale)
    print(f"{study.question}\nTop-1 error of validation in per cent, with 95 % intervals of the {study.scale}:")
    print(two_decimals(table.reset_index()), verdicts(table), sep="\n")


def evaluate_runs(args: Namespace) -> None:
    """Test trained networks, alone and together. Several are also averaged, as one ensemble. What has been computed is
    stored in RUN/predictions, or data/cache/zoo, so that a command that was stopped is resumed. --zoo tests networks
    with published weights on a tree of ImageNet (--data), whose folders are WordNet ids."""
    import pandas as pd

    from inception_lab.evaluation import average, predict

    if not args.runs + args.zoo:
        raise ValueError("runs must be one run folder or more, or --zoo must name a network, got neither")
    options = chosen(args, "data split crops length batch skip_broken store progress")
    tested = [predict(run, **options) for run in args.runs] + [predict(name, zoo=True, **options) for name in args.zoo]
    if len(tested) > 1:
        tested.append(average(tested))
    if args.json:
        print_json([evaluate_results(p) for p in tested])
        return
    columns = ["run", "images", "passes", "top-1 error %", "top-5 error %", "loss", "calibration error %"]
    rows = []
    for p in tested:
        name = p.models[0] if len(p.models) == 1 else f"all {len(p.models)} together"
        figures = (f"{p.error(1):.2f}", f"{p.error(5):.2f}", f"{p.loss:.4f}", f"{p.calibration_error():.2f}")
        rows.append((name, len(p.labels), p.passes, *figures))
    print(table(pd.DataFrame(rows, columns=columns)))


def evaluate_results(p: "Predictions") -> dict[str, Any]:
    errors = dict(top1_error=p.error(1), top5_error=p.error(5), calibration_error=p.calibration_error())
    by_class = records(p.error_by_class())
    return chosen(p, "models crops passes data loss") | {"images": len(p.labels), **errors, "by_class": by_class}


def climb_ladder(args: Namespace) -> None:
    """Show what more crops and more models gain: the paper's Table 3. Runs that differ in their seed are tested with
    several numbers of crops, and every choice of them is averaged. A command that was stopped is resumed."""
    from inception_lab.evaluation import ladder, predict, recorded_predictions

    if args.out:
        files.check_out(args.out)
    tests, options = [(run, n) for run in args.runs for n in args.crops], chosen(args, "data length batch progress")
    if args.kept:
        rungs = ladder(recorded_predictions(run, n) for run, n in tests)
    else:
        rungs = ladder(predict(run, crops=n, **options) for run, n in tests)
    print(two_decimals(rungs))
    if args.out:
        names = " ".join(Path(run).name for run in args.runs)
        files.write(Path(args.out), rungs.assign(runs=names).to_csv(index=False, lineterminator="\n").encode())


def explore_run(args: Namespace) -> None:
    """Make a page of all units of a trained network. It opens from the disk, and shows of each unit an image optimized
    to excite it, the patches that excite it most, what it reads and feeds, and its answer to the size of objects. If
    the command was stopped, it is resumed; the page can be opened meanwhile. For googlenet, the published network, the
    units are recorded: names of classes stand for the patches, and nothing is computed."""
    from inception_lab.explorer import explore, gallery

    out = args.out or f"units-{Path(args.run).resolve().name}"
    if args.run == "googlenet":
        given = [f"--{name}" for name in ("data", "length", "stages") if getattr(args, name) is not None]
        if given:
            raise ValueError(f"{', '.join(given)} must not be given for googlenet, whose units are recorded")
        page = gallery(out)
    else:
        page = explore(args.run, out, **chosen(args, "data split length stages steps size device progress"))
    print(page.resolve().as_uri())


def get_pretrained(args: Namespace) -> None:
    """Get the published GoogLeNet's weights. They go into PyTorch's cache, from a file or folder (--from) or from the
    network, and are checked. Without a name, the networks with published weights are listed, and where each is."""
    from inception_lab import build, hub

    if args.name is None:
        print(hub.overview().to_string(index=False))
    elif args.name == "googlenet":
        print(hub.fetch(args.source))
    elif args.source is not None:
        raise ValueError(f"--from is for googlenet, got {args.name}")
    else:
        build(args.name, weights="imagenet")
        print(f"{args.name} is in its publisher's cache")


def open_course(args: Namespace) -> None:
    """Open the course in JupyterLab, as your own copy in the folder work. A newer lesson never overwrites what you have
    written. The published GoogLeNet's weights (28 MB) are asked for the first time, unless with --offline."""
    script("lab").open_course(**chosen(args, "offline browser port"))


def check_answers(args: Namespace) -> int:
    """Grade your answers to exercises, and say what went wrong. The status is 1 while not all of them are right."""
    return script("exercises").check_all([Path(notebook) for notebook in args.notebooks])


def script(name: str) -> ModuleType:
    """One of the course's scripts, which lie beside its notebooks. Raises RunError where these are not."""
    folder = files.PACKAGE.parent / "scripts"
    if not (folder / f"{name}.py").is_file():
        raise RunError(
            "this command needs the folder of the course, and the library is installed without it: clone the "
            'repository, and in its folder run "python -m pip install -c constraints.txt -e ."'
        )
    sys.path.insert(0, str(folder))
    return import_module(name)


COMMANDS = {
    "lab": (open_course, [OFFLINE, PORT, NO_BROWSER]),
    "check": (check_answers, [NOTEBOOKS]),
    "count": (count_networks, [NETWORKS, INPUT_SIZE, BY, JSON]),
    "pretrained": (get_pretrained, [PUBLISHED, FROM]),
    "train": (
        train_network,
        [RECIPE, DATA, OUT_RUN, RESUME, DRY_RUN, SKIP_BROKEN, SET, DEVICES, NODES, TENSORBOARD, QUIET],
    ),
    "lr-range": (find_learning_rate, [RECIPE, DATA, LOW, HIGH, RATES, SET, SKIP_BROKEN, OUT_RATES]),
    "guess": (guess_photographs, [GUESSING, PHOTOGRAPHS, TOP, JSON]),
    "record": (record_run, [RUN, NAME, NO_WEIGHTS, NOTE, DATA, EVERY_CLASS, INTO]),
    "study": (run_study, [STUDY, SEEDS, ARMS, DATA, OUT_STUDY, RUN_FOLDERS, SET, QUIET]),
    "evaluate": (
        evaluate_runs,
        [SOME_RUNS, ZOO, CROPS, DATA, SPLIT, LENGTH, BATCH, SKIP_BROKEN, NO_STORE, JSON, QUIET],
    ),
    "ladder": (climb_ladder, [RUNS, CROPS_ALL, DATA, KEPT, LENGTH, BATCH, OUT_TABLE, QUIET]),
    "explore": (explore_run, [RUN_OR_PUBLISHED, OUT_PAGE, DATA, SPLIT, LENGTH, STAGES, STEPS, SIZE, DEVICE, QUIET]),
}

# How a command that was interrupted can go on.
STORED = "the same command goes on from what it has stored"
RESUMED = {
    train_network: "with --resume, the same command goes on from the last checkpoint",
    **dict.fromkeys([run_study, evaluate_runs, climb_ladder, explore_run], STORED),
}


# --- how results are printed --------------------------------------------------------------------------------


def print_json(results: list[dict]) -> None:
    print(json.dumps(results, indent=1, ensure_ascii=False))


def records(frame: "pd.DataFrame") -> list[dict]:
    """The rows of a DataFrame as JSON has them: NaN as null, shapes as lists."""
    return json.loads(frame.to_json(orient="records", double_precision=15))


def two_decimals(frame: "pd.DataFrame") -> str:
    return frame.to_string(index=False, float_format="{:.2f}".format, na_rep="")


def table(frame: "pd.DataFrame") -> str:
    """A DataFrame as text, with 1,234 for whole numbers and 3×224×224 for shapes."""
    return frame.rename(columns={"params": "parameters", "macs": "MACs"}).map(cell).to_string(index=False, na_rep="")


def cell(value: Any) -> Any:
    if isinstance(value, tuple):
        return "×".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else value


if __name__ == "__main__":
    sys.exit(main())
