"""Records the logs that exercise 07 reads: four short runs of one recipe, three of which have a fault each.

    python scripts/record_broken_runs.py [--out data/logs]

Writes run-a.csv to run-d.csv: of each run's history.csv the columns that a fault shows in. The learning rate is not
among them, because it would name one fault by itself.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from inception_lab.common import files
from inception_lab.training import RECIPES, Trainer, evaluate, make_fabric, open_data
from inception_lab.training.batches import in_order

RECIPE = replace(RECIPES["shapes-laptop"], train_images=2000, epochs=8)
NOTHING, SHUFFLED = "nothing", "labels shuffled"
NOT_NORMALIZED, FAST = "normalization forgotten", "learning rate too high"
LOGS = {"run-a": SHUFFLED, "run-b": NOTHING, "run-c": NOT_NORMALIZED, "run-d": FAST}  # name → what was wrong
COLUMNS = ["epoch", "train_loss", "train_top1_error", "val_loss", "val_top1_error", "val_top5_error"]


class NotNormalized(Trainer):
    """Training images are normalized as ever, and validation images are not."""

    def evaluate(self) -> dict[str, float]:
        raw = self.data._replace(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        batches = in_order(raw, self.recipe, self.fabric.device)
        return evaluate(self.fabric, self.final_model, batches, len(raw.classes))


def log(fault: str, folder: Path) -> str:
    """Train with that fault, and return what is kept of the run's history.csv."""
    rate = 40 * RECIPE.learning_rate if fault == FAST else RECIPE.learning_rate
    recipe = replace(RECIPE, learning_rate=rate)
    data, trainer = open_data(recipe), NotNormalized if fault == NOT_NORMALIZED else Trainer
    if fault == SHUFFLED:
        order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
        data.train.labels[:] = data.train.labels[order]
    trainer(recipe, data, make_fabric(recipe, "cpu"), folder, progress=False).fit()
    history = pd.read_csv(folder / "history.csv")[COLUMNS]
    return history.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=files.data_folder() / "logs")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    for name, fault in LOGS.items():
        with tempfile.TemporaryDirectory() as folder:
            files.write(out / f"{name}.csv", log(fault, Path(folder) / "run").encode())
        print(name, flush=True)


if __name__ == "__main__":
    main()
