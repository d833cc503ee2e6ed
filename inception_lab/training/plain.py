"""The same training as one script, read from top to bottom: no Fabric, no recipe, no checkpoints.

    python -m inception_lab.training.plain

A quarter-width GoogLeNet with both auxiliary heads learns ten shapes that are drawn by code. The weights that come out
are, on one CPU thread, those of `train` with the recipe of tests/training/test_plain.py, to the last bit.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from inception_lab.common.seeds import seed_all, seed_of
from inception_lab.data import Augmentation, Shapes, normalize
from inception_lab.models import build

EPOCHS, IMAGES, BATCH = 4, 8000, 64
LEARNING_RATE, WEIGHT_DECAY, AUX_WEIGHT = 0.005, 5e-4, 0.3  # 0.3: Section 5 of the paper


def main(epochs: int = EPOCHS, images: int = IMAGES, val_images: int = 2000) -> nn.Module:
    """Train and evaluate; returns the network. images: how many to train on."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    # Data: uint8 images (N, 3, 64, 64) in memory, mirrored at random and normalized when they are used.
    train, val = Shapes("train", length=images), Shapes("val", length=val_images)
    train_images, train_labels = (t.to(device) for t in train.batch(range(images)))
    val_pixels, val_labels = (t.to(device) for t in val.batch(range(val_images)))
    augment = Augmentation(64, (1.0, 1.0), (1.0, 1.0), photometric=0.0, mean=train.mean, std=train.std)

    # Model: its first weights follow from a seed.
    seed_all(seed_of(0, "weights"))
    model = build("googlenet-laptop", num_classes=10).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    steps = images // BATCH
    for epoch in range(epochs):
        model.train()
        shuffle = torch.Generator().manual_seed(seed_of(0, "order", epoch))
        order = torch.randperm(images, generator=shuffle).to(device)
        for step in range(steps):
            seed_all(seed_of(0, "part", epoch, step, 0))  # for mirroring and dropout
            chosen = order[step * BATCH : (step + 1) * BATCH]
            x, y = augment(train_images[chosen]), train_labels[chosen]

            # Forward: the logits, and those of the two heads. Backward: three losses.
            logits, aux1, aux2 = model(x)
            heads = AUX_WEIGHT * F.cross_entropy(aux1, y) + AUX_WEIGHT * F.cross_entropy(aux2, y)
            loss = F.cross_entropy(logits, y) + heads
            loss.backward()

            # Step: the learning rate falls as half a cosine.
            share = (epoch * steps + step) / (epochs * steps)
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * ((1 + math.cos(math.pi * share)) / 2)
            optimizer.step()
            optimizer.zero_grad()

        # Evaluate: top-1 error on images that it has not seen.
        model.eval()
        with torch.no_grad():
            batches = normalize(val_pixels, val.mean, val.std).split(BATCH)
            predicted = torch.cat([model(x).argmax(1) for x in batches])
        error = 100 * (predicted != val_labels).float().mean().item()
        print(f"epoch {epoch + 1}/{epochs}: loss {loss.item():.3f}, validation top-1 error {error:.2f} %", flush=True)
    return model


if __name__ == "__main__":
    main()
