"""Records the gradients of 18 networks in their first steps, for notebook 05 and deeper/gradients_by_depth: minutes.

    python scripts/record_first_steps.py

Writes data/lens/first_steps.csv: one row per network of the study `heads` (three seeds of each arm) and step. `map` of
`training.gradients` is in a column for each stage: the norm of the gradient at its output, on the same 64 images.
The latter trains one of the networks again and compares.
"""

import pandas as pd
import torch

from inception_lab.common import files
from inception_lab.data import datasets, normalize
from inception_lab.evaluation import STUDIES
from inception_lab.training import build_optimizer, gradients, initial_model, learning_rate, loss

SEEDS, STEPS, BATCH = 3, 32, 16
WATCH = (0, 8, STEPS)


def first_steps(recipe, shapes) -> dict[int, pd.Series]:
    """Train a network for some steps, as the notebook's function of this name does; step -> the lengths there."""
    x, y = shapes.batch(range(64))
    images, labels = shapes.batch(range(64, 64 + (STEPS + 1) * BATCH))
    model = initial_model(recipe, 10).to(memory_format=torch.channels_last).train()
    optimizer, found = build_optimizer(recipe, model), {}
    torch.manual_seed(recipe.seed)  # dropout in the heads draws from here
    for step, (pixels, classes) in enumerate(zip(images.split(BATCH), labels.split(BATCH), strict=True)):
        if step in WATCH:
            found[step] = gradients(model, normalize(x, shapes.mean, shapes.std, channels_last=True), y)["map"]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step, recipe.train_images // recipe.batch)
        optimizer.zero_grad()
        loss(model(normalize(pixels, shapes.mean, shapes.std, channels_last=True)), classes).backward()
        optimizer.step()
    return found


def main() -> None:
    torch.set_num_threads(1)
    study, shapes, rows = STUDIES["heads"], datasets.load("shapes", "train", size=64), []
    for arm in study.arms:
        for seed in range(SEEDS):
            for step, lengths in first_steps(study.recipe_of(arm, seed), shapes).items():
                rows.append({"arm": arm, "seed": seed, "step": step} | lengths.to_dict())
            print(arm, seed, flush=True)
    table = pd.DataFrame(rows).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    files.write(files.data_folder() / "lens" / "first_steps.csv", table.encode())


if __name__ == "__main__":
    main()
