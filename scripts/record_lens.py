"""Records what notebook 09 reads because it takes too long to compute in it: two tables in data/lens.

    python scripts/record_lens.py --seeds 6        # trains what it needs; stopped and called again, it goes on
    python scripts/record_lens.py --renew new      # measures the new networks again: half a minute each, no training

scales.csv        the scale that each path prefers, see `scales`: networks of several seeds, trained and new
attributions.csv  how well attributions find objects, see `scores`: the network of data/runs/shapes-laptop, trained, and
                  shuffled three times
"""

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from inception_lab.common import files
from inception_lab.lens.controls import shuffled, untrained
from inception_lab.lens.network import open_run
from inception_lab.lens.scales import path_scales
from inception_lab.lens.scores import METHODS, score
from inception_lab.training.recipes import RECIPES, Recipe

RUN, CROPS = "shapes-laptop", ("shapes-crops-0", "shapes-crops-1", "shapes-crops-2")
SHUFFLES = 3


def recipe_of_seed(seed: int) -> Recipe:
    """The recipe with a seed, also of its first weights."""
    return replace(RECIPES[RUN], seed=seed, weights_seed=seed)


def run_of_seed(seed: int, folder: Path, recorded: Path) -> Path:
    """The finished run of the recipe with a seed; trained if it is not there yet."""
    if seed == 0:
        return recorded / RUN
    from inception_lab.training.trainer import train  # here, because it takes seconds to import

    run = folder / f"seed-{seed}"
    if not (run / "metrics.json").exists():
        train(recipe_of_seed(seed), run, resume=True)
    return run


def record_scales(seeds: int, folder: Path, recorded: Path, out: Path) -> None:
    """Add the rows of every network that scales.csv does not have yet."""
    networks = {
        "trained": lambda seed: open_run(run_of_seed(seed, folder, recorded)),
        "new": lambda seed: untrained(recipe_of_seed(seed)),
        "crops": lambda seed: open_run(recorded / CROPS[seed]),
    }
    wanted = [(RUN, seed, weights, weights) for seed in range(seeds) for weights in ("trained", "new")]
    wanted += [("shapes-crops", seed, "trained", "crops") for seed in range(len(CROPS))]
    for recipe, seed, weights, which in wanted:
        key = {"recipe": recipe, "seed": seed, "weights": weights}
        add(out, key, lambda seed=seed, which=which: path_scales(networks[which](seed), progress=False))


def record_attributions(images: int, recorded: Path, out: Path) -> None:
    """Add the rows of every network and method that attributions.csv does not have yet."""
    for seed in range(-1, SHUFFLES):
        for method, attribute in METHODS.items():
            key = {"network": "trained" if seed < 0 else f"shuffled {seed}", "method": method}

            def rows(seed=seed, method=method, attribute=attribute):
                network = open_run(recorded / RUN) if seed < 0 else shuffled(recorded / RUN, seed)
                table = score({"": network}, {method: attribute}, images=images, progress=False)
                return table[table["network"] == ""].drop(columns=["network", "method"]).round(4)

            add(out, key, rows)


def forget(path: Path, weights: str) -> None:
    """Take the rows of networks with these weights out of a table, so that they are computed again."""
    table = pd.read_csv(path)
    files.write(path, table[table["weights"] != weights].to_csv(index=False, lineterminator="\n").encode())


def add(path: Path, key: dict, make) -> None:
    """Add what `make` computes to a table, behind the columns of `key`, unless rows with this key are there."""
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=list(key))
    if (table[list(key)] == pd.Series(key)).all(axis=1).any():
        return
    print(f"{path.stem}: {', '.join(map(str, key.values()))}", flush=True)
    new = make()
    for number, (column, value) in enumerate(key.items()):
        new.insert(number, column, value)
    table = pd.concat([table, new]) if len(table) else new
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, table.to_csv(index=False, lineterminator="\n").encode())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seeds", type=int, default=6, metavar="N", help="networks of the recipe, the recorded one too"
    )
    parser.add_argument("--images", type=int, default=200, metavar="N", help="to score attributions on")
    parser.add_argument("--renew", choices=("trained", "new"), help="measure these networks of scales.csv again")
    parser.add_argument("--runs", default="runs/lens", metavar="DIR", help="the folder of the run folders")
    parser.add_argument("--out", metavar="DIR", help="the folder of the tables (default: data/lens)")
    args = parser.parse_args(arguments)
    out = files.data_folder() / "lens" if args.out is None else Path(args.out)
    recorded = files.recorded("runs")
    if args.renew and (out / "scales.csv").is_file():
        forget(out / "scales.csv", args.renew)
    record_scales(args.seeds, Path(args.runs), recorded, out / "scales.csv")
    record_attributions(args.images, recorded, out / "attributions.csv")


if __name__ == "__main__":
    main()
