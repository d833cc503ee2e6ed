"""The exam's solutions are what the library computes, and stay with the teacher."""

import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from inception_lab import count
from inception_lab.data import evaluation_crops
from inception_lab.models import Inception, NaiveInception, Widths
from inception_lab.training import RECIPES, learning_rate

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = (ROOT / "docs" / "exam.md").read_text(encoding="utf-8")
SOLUTIONS = (ROOT / "teaching" / "exam_solutions.md").read_text(encoding="utf-8")
W = Widths(64, 96, 128, 16, 32, 32)


def macs(module, channels, size=28):
    return count(module, (channels, size, size)).macs


def one():
    reduced = nn.Sequential(nn.Conv2d(192, 16, 1), nn.Conv2d(16, 32, 5, padding=2))
    plain = nn.Conv2d(192, 32, 5, padding=2)
    return [plain.weight.numel(), macs(plain, 192), macs(reduced, 192)]


def two():
    def cost(r):
        return macs(nn.Sequential(nn.Conv2d(192, r, 1), nn.Conv2d(r, 32, 5, padding=2)), 192)

    plain = one()[1]
    return [max(r for r in range(150, 160) if cost(r) < plain)]


def three():
    found = count(Inception(192, W), (192, 28, 28))
    return [W.out_channels(192), found.params, found.macs, found.macs // 784]


def four():
    channels = [192]
    for widths in ((64, 128, 32), (128, 192, 96)):
        module = NaiveInception(channels[-1], *widths)
        channels.append(module(torch.zeros(1, channels[-1], 3, 3)).shape[1])
    return channels[1:]


def five():
    rows = count("googlenet").rows
    names = ["conv1.conv", "pool1", "conv2.reduce.conv", "conv2.conv.conv"]
    return [int(field) for field in rows.set_index("name").loc[names, "receptive_field"]]


def six():
    c = count("googlenet")
    heads = sum(c.idle.values())
    return [c.params + heads, f"{100 * heads / (c.params + heads):.1f} %"]


def nine():
    recipe = RECIPES["imagenet-2014"].with_settings(["learning_rate=0.01"])
    epochs = next(epoch for epoch in range(1, 400) if learning_rate(recipe, epoch, 1) < 0.005)
    return [f"{learning_rate(recipe, 59, 1):.5f}", f"{epochs} epochs"]


def ten():
    right = [0.6, 0.6, 0.1]
    mean = sum(right) / 3
    return [f"{-sum(map(math.log, right)) / 3:.3f}", f"{mean:.3f}", f"{-math.log(mean):.3f}"]


def eleven():
    crops = evaluation_crops(torch.zeros(1, 3, 64, 56), 144, 32).shape[1]
    return [crops, 7 * crops, 7 * crops * count("googlenet").macs]


def twelve():
    c = count("googlenet")
    return [f"{c.flops / 1e9:.2f} GFLOPs", f"{100 * (c.macs / 1.5e9 - 1):.1f} %"]


def thirteen():
    layers = [nn.Linear(7 * 7 * 512, 4096, device="meta"), nn.Linear(512, 1000), nn.Linear(1024, 1000)]
    return [sum(p.numel() for p in layer.parameters()) for layer in layers]


def fifteen():
    def share(large, small):
        return f"{100 * (1 - macs(small, 8) / macs(large, 8)):.1f}".removesuffix(".0") + " %"

    two_threes = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(2)))
    row_column = nn.Sequential(nn.Conv2d(8, 8, (1, 7), padding=(0, 3)), nn.Conv2d(8, 8, (7, 1), padding=(3, 0)))
    return [share(nn.Conv2d(8, 8, 5, padding=2), two_threes), share(nn.Conv2d(8, 8, 7, padding=3), row_column)]


COMPUTED = {
    1: one,
    2: two,
    3: three,
    4: four,
    5: five,
    6: six,
    9: nine,
    10: ten,
    11: eleven,
    12: twelve,
    13: thirteen,
    15: fifteen,
}


@pytest.mark.parametrize("number", COMPUTED)
def test_a_solution_says_what_the_library_computes(number):
    solution = re.search(rf"^## {number}\. .*?(?=^## |\Z)", SOLUTIONS, re.DOTALL | re.MULTILINE)[0]
    solution = " ".join(solution.split())
    for value in COMPUTED[number]():
        shown = f"{value:,}" if isinstance(value, int) else value
        assert re.search(rf"(?<![\d,.]){re.escape(shown)}(?![\d])", solution), (shown, solution)


def test_each_question_has_a_solution_and_none_of_them_stands_on_the_site():
    questions = re.findall(r"^(\d+)\. \*\*(.+?)\*\*", QUESTIONS, re.MULTILINE)
    assert questions == re.findall(r"^## (\d+)\. (.+)$", SOLUTIONS, re.MULTILINE) and len(questions) == 15
    assert "153,600" not in QUESTIONS and "3.65" not in QUESTIONS and "](../teaching" not in QUESTIONS
