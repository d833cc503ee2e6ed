"""The Python examples of the pages run as they are printed, one page after the other, from top to bottom."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import skimage.data
import torch
from PIL import Image

from inception_lab import build
from inception_lab.common import files
from inception_lab.hub import names, sources
from inception_lab.training import recipes

ROOT = Path(__file__).parents[2]
PAGES = [page for page in sorted(ROOT.glob("docs/*.md")) if "```python" in page.read_text(encoding="utf-8")]
PHOTOGRAPHS = {"cat": skimage.data.chelsea, "cup": skimage.data.coffee}


def examples(page):
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A folder with what the pages speak of: photographs in folders by class, a run, and recipes that take seconds."""
    for split in ("train", "val"):
        for name, photograph in PHOTOGRAPHS.items():
            folder = tmp_path / "my_photos" / split / name
            folder.mkdir(parents=True)
            for left in (0, 20):
                Image.fromarray(photograph()[:, left:]).save(folder / f"{left}.jpg")
    for name in ("a.jpg", "b.jpg", "photograph.jpg"):
        Image.fromarray(skimage.data.chelsea()).save(tmp_path / name)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "finetune").symlink_to(files.recorded("runs") / "tiny-imagenet-96")
    short = replace(recipes.find("shapes-laptop"), epochs=1, warmup_epochs=0.5, train_images=64, batch=32, workers=0)
    monkeypatch.setitem(recipes.RECIPES, "shapes-laptop", short)
    shapes, read = names.shapes(build("googlenet"), names.CAFFE), sources.read
    heads = {name: torch.randn(shape) for name, shape in shapes.items() if name.startswith(sources.HEADS)}
    monkeypatch.setattr(sources, "read", lambda place: heads | read(place))  # which only the original has
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.usefixtures("reader", "published_weights")
def test_the_examples_of_a_page_run(page):
    exec(compile(examples(page), page.name, "exec"), {"model": build("googlenet-bn").eval()})
