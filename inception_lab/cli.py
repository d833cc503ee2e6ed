"""The command line.

inception-lab count NAME... [--input-size N] [--by layer|stage] [--json]
inception-lab train RECIPE [--data D] [--out DIR] [--resume] [--set KEY=VALUE]
inception-lab record RUN [--name NAME] [--no-weights] [--note TEXT] [--data D] [--every-class] [--into DIR]
inception-lab study [NAME] [--seeds N] [--arms ARM...] [--data D] [--out CSV] [--runs DIR] [--set KEY=VALUE]
inception-lab ladder RUN... [--crops N...] [--kept | --data D] [--out CSV]
inception-lab evaluate RUN... [--crops 1|10|144] [--data D] [--split S] [--length N] [--batch N] [--json]
inception-lab bench [--device cpu|cuda] [--batches N...] [--rounds N] [--no-compile] [--out CSV] [--table CSV] [--json]
inception-lab explore RUN --out DIR [--data D] [--stages STAGE...] [--steps N] [--size N] [--length N]
"""

import argparse
import json
import sys
from functools import partial

from inception_lab.common.checks import RunError
from inception_lab.costs.counting import Count, count
from inception_lab.models import zoo
from inception_lab.training import recipes


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 2 for a wrong argument, 1 for a run that cannot go on.

    What was wrong is told on standard error.
    """
    args = _parser().parse_args(arguments)
    try:
        return args.run(args)
    except (ValueError, RunError) as error:
        print(f"inception-lab: {error}", file=sys.stderr)
        return 1 if isinstance(error, RunError) else 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="inception-lab", description="The companion of a course on GoogLeNet.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    counting = commands.add_parser(
        "count",
        help="parameters, MACs and activations of networks",
        description="Count what one image costs in each network, in evaluation mode. One MAC is one "
        "multiply-accumulate; FLOPs are 2 × MACs. Nothing is downloaded and no weight is allocated.",
        epilog=f"Networks: {', '.join(zoo.names())}",
    )
    counting.add_argument("names", nargs="+", metavar="NAME", help="networks of the zoo, listed below")
    counting.add_argument(
        "--input-size", type=int, metavar="N", help="side of the image in pixels (default: the network's)"
    )
    counting.add_argument("--by", choices=["layer", "stage"], help="a row a layer, or a row a stage")
    counting.add_argument("--json", action="store_true", help="print JSON, with shapes as lists")
    counting.set_defaults(run=_count)

    training = commands.add_parser(
        "train",
        help="train a network by a recipe",
        description="Train by a recipe into a run folder, or go on with a run that was stopped.",
        epilog=f"Recipes: {', '.join(recipes.RECIPES)}",
    )
    training.add_argument("recipe", metavar="RECIPE", help="one of those below, or a recipe.json")
    training.add_argument("--data", metavar="D", help="a data tier, or a folder of images (default: the recipe's)")
    training.add_argument("--out", metavar="DIR", help="the run folder (default: runs/RECIPE)")
    training.add_argument("--resume", action="store_true", help="go on from the last checkpoint, if there is one")
    training.add_argument(
        "--skip-broken", action="store_true", help="leave out files of a folder that are no whole images"
    )
    training.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a part of the recipe")
    training.add_argument("--devices", default="auto", metavar="N", help="processes, or GPUs (default: all GPUs)")
    training.add_argument("--nodes", type=int, default=1, metavar="N", help="machines (default: 1)")
    training.add_argument("--quiet", action="store_true", help="show no progress")
    training.set_defaults(run=_train)

    recording = commands.add_parser(
        "record",
        help="keep a finished run in data/runs",
        description="Copy a finished run to data/runs, with half-precision weights, and list it in the README there.",
    )
    recording.add_argument("folder", metavar="RUN", help="a run folder")
    recording.add_argument("--name", metavar="NAME", help="of the copy (default: the run folder's)")
    recording.add_argument("--no-weights", action="store_true", help="leave the weights out, to save space")
    recording.add_argument("--note", default="", metavar="TEXT", help='of the data, such as "JPEG copy"')
    recording.add_argument("--data", metavar="D", help="where pictures of the worst mistakes are taken from")
    recording.add_argument(
        "--every-class", action="store_true", help="keep all probabilities, as `ladder --kept` needs"
    )
    recording.add_argument("--into", metavar="DIR", help="another folder than data/runs")
    recording.set_defaults(run=_record)

    study = commands.add_parser(
        "study",
        help="compare networks or recipes over several seeds",
        description="Train what of a study has not been trained yet, and print how its arms compare. It can be stopped "
        "and called again. Several processes may train different arms of one study side by side.",
    )
    study.add_argument("name", nargs="?", metavar="NAME", help="a study; without one, what studies there are")
    study.add_argument("--seeds", type=int, metavar="N", help="runs an arm (default: the study's)")
    study.add_argument("--arms", nargs="+", metavar="ARM", help="some of the arms (default: all)")
    study.add_argument("--data", metavar="D", help="a data tier, or a folder of images (default: the study's)")
    study.add_argument("--out", metavar="CSV", help="the file of results (default: data/studies/NAME.csv)")
    study.add_argument("--runs", metavar="DIR", help="the folder of run folders (default: runs/studies/NAME)")
    study.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe of all arms; needs --out"
    )
    study.add_argument("--quiet", action="store_true", help="show no progress")
    study.set_defaults(run=_study)

    evaluating = commands.add_parser(
        "evaluate",
        help="test trained networks, alone and together",
        description="Test the networks of finished runs. Several runs are also averaged, as one ensemble. What has "
        "been computed is kept in RUN/predictions, so that a command that was stopped goes on where it stood.",
    )
    evaluating.add_argument("runs", nargs="+", metavar="RUN", help="run folders")
    evaluating.add_argument(
        "--crops", type=int, choices=[1, 10, 144], help="crops of each image (default: whole, as in training)"
    )
    evaluating.add_argument("--data", metavar="D", help="a data tier, or a folder of images (default: the run's)")
    evaluating.add_argument("--split", default="val", metavar="S", help="train, val or test (default: val)")
    evaluating.add_argument("--length", type=int, metavar="N", help="only so many images")
    evaluating.add_argument(
        "--batch", type=int, default=128, metavar="N", help="crops that the network sees at once (default: 128)"
    )
    evaluating.add_argument(
        "--skip-broken", action="store_true", help="leave out files of a folder that are no whole images"
    )
    evaluating.add_argument("--no-store", action="store_true", help="keep nothing, and use nothing that was kept")
    evaluating.add_argument("--json", action="store_true", help="print JSON, with the error of each class")
    evaluating.add_argument("--quiet", action="store_true", help="show no progress")
    evaluating.set_defaults(run=_evaluate)

    climbing = commands.add_parser(
        "ladder",
        help="what more crops and more models gain: the paper's Table 3",
        description="Test runs with several numbers of crops, and average every choice of them. It goes on where a "
        "command that was stopped stood.",
    )
    climbing.add_argument("runs", nargs="+", metavar="RUN", help="run folders that differ in their seed")
    climbing.add_argument("--crops", type=int, nargs="+", choices=[1, 10, 144], default=[1, 10, 144], metavar="N")
    climbing.add_argument("--data", metavar="D", help="a data tier, or a folder of images (default: the runs')")
    climbing.add_argument("--kept", action="store_true", help="read what recorded runs keep: no image is needed")
    climbing.add_argument("--length", type=int, metavar="N", help="only so many images")
    climbing.add_argument("--batch", type=int, default=128, metavar="N", help="crops at once (default: 128)")
    climbing.add_argument("--out", metavar="CSV", help="write the table there too")
    climbing.add_argument("--quiet", action="store_true", help="show no progress")
    climbing.set_defaults(run=_ladder)

    benchmark = commands.add_parser(
        "bench",
        help="time this library against torchvision's GoogLeNet",
        description="Time inference and training steps of GoogLeNet at 224 pixels, here and in torchvision, on the "
        "same weights, and say how much of what the machine can do each uses. Nothing else should run meanwhile.",
    )
    benchmark.add_argument("--device", default="cpu", metavar="D", help="cpu or cuda (default: cpu)")
    benchmark.add_argument("--batches", type=int, nargs="+", metavar="N", help="images a call (1 32; GPU: 1 256)")
    benchmark.add_argument("--tasks", nargs="+", default=["inference", "training"], metavar="T", help="one or both")
    benchmark.add_argument("--rounds", type=int, default=15, metavar="N", help="counted calls of each (default: 15)")
    benchmark.add_argument("--no-compile", action="store_true", help="leave out what has to be compiled")
    benchmark.add_argument("--out", metavar="CSV", help="write the results here, with the environment")
    benchmark.add_argument("--table", metavar="CSV", help="measure nothing: print the table of these results")
    benchmark.add_argument("--json", action="store_true", help="print JSON instead of a table")
    benchmark.set_defaults(run=_bench)

    exploring = commands.add_parser(
        "explore",
        help="make a page of all units of a trained network",
        description="Make a page that opens from the disk and shows every unit of a finished run: an image optimized "
        "to excite it, the patches that excite it most, its strongest inputs, its answer to the size of objects. A "
        "command that was stopped goes on where it stood, and the page can be opened meanwhile.",
    )
    exploring.add_argument("folder", metavar="RUN", help="a run folder")
    exploring.add_argument("--out", required=True, metavar="DIR", help="the folder of the page; open its index.html")
    exploring.add_argument("--data", metavar="D", help="a data tier, or a folder of images (default: the run's)")
    exploring.add_argument("--split", default="val", metavar="S", help="train, val or test (default: val)")
    exploring.add_argument("--length", type=int, metavar="N", help="images to look at (default: all, 2000 at most)")
    exploring.add_argument("--stages", nargs="+", metavar="STAGE", help="some stages, as inception_4a (default: all)")
    exploring.add_argument(
        "--steps", type=int, default=128, metavar="N", help="of optimizing an image (default: 128; 0: no such images)"
    )
    exploring.add_argument(
        "--size", type=int, default=64, metavar="N", help="side of the optimized images in pixels (default: 64)"
    )
    exploring.add_argument("--device", default="cpu", metavar="D", help="cpu, or cuda for a GPU (default: cpu)")
    exploring.add_argument("--quiet", action="store_true", help="show no progress")
    exploring.set_defaults(run=_explore)
    return parser


def _bench(args) -> int:
    from inception_lab import bench  # here, because it imports what trains

    if args.table:
        rows = bench.read(args.table)
    else:
        options = dict(compile=not args.no_compile, rounds=args.rounds)
        rows = bench.bench(args.device, args.batches, args.tasks, **options)
    if args.out:
        bench.write(rows, args.out)
    print(json.dumps(rows, indent=1) if args.json else bench.table(rows), end="\n" if args.json else "")
    return 0


def _train(args) -> int:
    from inception_lab.training.trainer import train  # here, because it takes seconds to import what trains

    recipe = recipes.find(args.recipe).with_settings(args.set)
    options = dict(data=args.data, resume=args.resume, skip_broken=args.skip_broken, progress=not args.quiet)
    metrics = train(recipe, args.out, devices=args.devices, nodes=args.nodes, **options)
    print(f"top-1 error {metrics['val_top1_error']:.2f} %, top-5 error {metrics['val_top5_error']:.2f} % of validation")
    return 0


def _record(args) -> int:
    from inception_lab.evaluation.records import record

    options = dict(weights=not args.no_weights, note=args.note, data=args.data, every_class=args.every_class)
    print(record(args.folder, args.name, **options, **(dict(place=args.into) if args.into else {})))
    return 0


def _study(args) -> int:
    from inception_lab.evaluation import studies  # here, because it takes seconds to import what trains

    if args.name is None:
        print(studies.overview())
        return 0
    study = studies.find(args.name).with_settings(args.set)
    options = dict(out=args.out, runs=args.runs, data=args.data, progress=not args.quiet)
    frame = studies.run(study, args.seeds, args.arms, **options)
    print(f"{study.question}\nTop-1 error of validation in per cent, with 95 % intervals of the difference:")
    print(studies.compare(frame).reset_index().to_string(index=False, float_format="{:.2f}".format, na_rep=""))
    return 0


def _evaluate(args) -> int:
    from inception_lab.evaluation.inference import predict
    from inception_lab.evaluation.predictions import average

    options = dict(split=args.split, crops=args.crops, length=args.length, batch=args.batch)
    options |= dict(skip_broken=args.skip_broken, store=not args.no_store, progress=not args.quiet)
    predictions = [predict(run, args.data, **options) for run in args.runs]
    if len(predictions) > 1:
        predictions.append(average(predictions))
    if args.json:
        print(json.dumps([_results(p) for p in predictions], indent=1, ensure_ascii=False))
    else:
        print(_results_table(predictions))
    return 0


def _ladder(args) -> int:
    from pathlib import Path

    from inception_lab.evaluation.inference import predict
    from inception_lab.evaluation.predictions import ladder
    from inception_lab.evaluation.records import predictions

    options = dict(length=args.length, batch=args.batch, progress=not args.quiet)
    test = predictions if args.kept else partial(predict, data=args.data, **options)
    table = ladder(test(run, crops=crops) for run in args.runs for crops in args.crops)
    print(table.to_string(index=False, float_format="{:.2f}".format, na_rep=""))
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        names = " ".join(Path(run).name for run in args.runs)
        table.assign(runs=names).to_csv(args.out, index=False, lineterminator="\n")
    return 0


def _explore(args) -> int:
    from inception_lab.explorer import explore  # here, because it takes seconds to import what looks inside

    options = dict(split=args.split, length=args.length, stages=args.stages, steps=args.steps, size=args.size)
    options |= dict(device=args.device, progress=not args.quiet)
    print(explore(args.folder, args.out, args.data, **options).resolve().as_uri())
    return 0


def _results(p) -> dict:
    results = dict(models=p.models, images=len(p.labels), crops=p.crops, passes=p.passes)
    results |= dict(top1_error=p.error(1), top5_error=p.error(5), loss=p.loss)
    results |= dict(calibration_error=p.calibration_error(), data=p.data)
    return results | dict(by_class=json.loads(p.error_by_class().to_json(orient="records", double_precision=15)))


def _results_table(predictions: list) -> str:
    import pandas as pd

    columns = ["run", "images", "passes", "top-1 error %", "top-5 error %", "loss", "calibration error %"]
    rows = []
    for p in predictions:
        name = p.models[0] if len(p.models) == 1 else f"all {len(p.models)} together"
        figures = (f"{p.error(1):.2f}", f"{p.error(5):.2f}", f"{p.loss:.4f}", f"{p.calibration_error():.2f}")
        rows.append((name, len(p.labels), p.passes, *figures))
    return _table(pd.DataFrame(rows, columns=columns).set_index("run"))


def _count(args) -> int:
    counts = [count(name, args.input_size) for name in args.names]
    if args.json:
        print(json.dumps([_as_dict(c, args.by) for c in counts], indent=1, ensure_ascii=False))
    elif args.by:
        print("\n\n".join(f"{c}\n{_table(_rows(c, args.by))}" for c in counts))
    else:
        print(_summary(counts))
    return 0


def _rows(c: Count, by: str):
    return c.rows.set_index("name") if by == "layer" else c.by_stage()


def _as_dict(c: Count, by: str | None) -> dict:
    summary = dict(name=c.name, input_size=c.input_size, params=c.params, params_not_run=c.idle)
    summary |= dict(macs=c.macs, flops=c.flops, activations=c.activations)
    if by:
        summary["rows"] = json.loads(_rows(c, by).reset_index().to_json(orient="records"))
    return summary


def _summary(counts: list[Count]) -> str:
    import pandas as pd

    columns = ["network", "input", "parameters", "not run", "MACs", "FLOPs", "activations"]
    rows = [
        (
            c.name,
            "×".join(map(str, c.input_size)),
            c.params,
            sum(c.idle.values()),
            c.macs,
            c.flops,
            c.activations,
        )
        for c in counts
    ]
    return _table(pd.DataFrame(rows, columns=columns).set_index("network"))


def _table(frame) -> str:
    text = frame.rename(columns={"params": "parameters", "macs": "MACs"}).map(_cell)
    return text.reset_index().to_string(index=False, na_rep="")


def _cell(value):
    if isinstance(value, tuple):
        return "×".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else value


if __name__ == "__main__":
    sys.exit(main())
