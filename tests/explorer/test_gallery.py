"""The gallery: its images are those of lens, it goes on where it was killed, and its page needs no network."""

import shutil
import warnings

import gallery
import numpy as np
import pandas as pd
import pytest
import torch
from test_explorer import alike, contents, make_run

from inception_lab import explorer, lens
from inception_lab.cli import main
from inception_lab.common import files
from inception_lab.common.checks import DataError, RunError
from inception_lab.explorer import page
from inception_lab.models import DESIGNS, GoogLeNet
from inception_lab.models.designs import Design

HOW = dict(steps=3, size=16)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("gallery") / "tiny-run")


@pytest.fixture(scope="module")
def recorded(network, images, tmp_path_factory):
    """A gallery in which the units of one path are still missing."""
    work, out = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "CHUNK", 8)
        gallery.optimize(network, work, **HOW, most=7)
        gallery.measure(network, images, work)
        gallery.pack(network, work, out)
    return work, out


def units(network):
    return {(path, c) for path, width in lens.paths(network).items() if "." in path for c in range(width)}


def test_every_unit_of_the_modules_is_in_one_chunk_and_every_path_is_among_the_first(network):
    found = gallery.chunks(network)
    assert sorted((chunk.path, c) for chunk in found for c in chunk.units) == sorted(units(network))
    paths = {path for path, _ in units(network)}
    assert {chunk.path for chunk in found[: len(paths)]} == paths


def test_the_published_network_has_5488_units_in_36_paths():
    with torch.device("meta"):
        model = GoogLeNet(DESIGNS["googlenet"], aux=False)
    chunks = gallery.chunks(lens.Network(model.to_empty(device="cpu")))
    assert sum(len(chunk.units) for chunk in chunks) == 5488 and len({chunk.path for chunk in chunks}) == 36


def test_images_are_those_of_lens(network, recorded):
    work, _ = recorded
    path = "inception_4a.three"
    with np.load(work / f"{path}-0.npz") as arrays:
        found = dict(arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # three steps wake few of the units
        objectives = [lens.channel(path, c) for c in range(len(found["images"]))]
        seen = lens.visualize(network, objectives, learning_rate=gallery.LEARNING_RATE, progress=False, **HOW)
    assert alike(torch.from_numpy(found["images"]), (seen.images * 255 + 0.5).to(torch.uint8)) < 0.05
    assert found["reached"] == pytest.approx(seen.excitation.numpy(), rel=1e-3, abs=1e-6)


def test_images_of_two_sizes_are_not_packed_together(network, recorded, tmp_path):
    work = shutil.copytree(recorded[0], tmp_path / "work")
    file = sorted(work.glob("*.npz"))[0]
    with np.load(file) as arrays:
        np.savez(file, **(dict(arrays) | {"images": arrays["images"].repeat(2, axis=-1).repeat(2, axis=-2)}))
    with pytest.raises(DataError, match=r"images of one size, got \[16, 32\] pixels"):
        gallery.pack(network, work, tmp_path)


def test_a_quicker_normalization_gives_the_same_and_the_same_gradient():
    torch.manual_seed(0)
    model = GoogLeNet(Design(norm="lrn", aux_after=()), 4).eval()
    images = torch.rand(2, 3, 64, 64)
    gradients = []
    for network in (lens.Network(model), gallery.quick(lens.Network(model))):
        own = images.clone().requires_grad_()
        network.extract(own, ["inception_3a"])["inception_3a"].square().sum().backward()
        gradients.append(own.grad)
    assert torch.allclose(*gradients, rtol=1e-3, atol=1e-4 * gradients[0].abs().max().item())


def test_killed_and_called_again_no_chunk_is_made_twice(network, tmp_path, monkeypatch):
    """Eight units, stopped half-way through the second chunk, and the same eight without a stop."""
    monkeypatch.setattr(gallery, "CHUNK", 4)
    assert gallery.optimize(network, tmp_path / "whole", **HOW, most=2) == 8
    calls, visualize = [], lens.visualize

    def fatal(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return visualize(*arguments, **options)

    monkeypatch.setattr(lens, "visualize", fatal)
    with pytest.raises(KeyboardInterrupt):
        gallery.optimize(network, tmp_path / "killed", **HOW, most=2)
    (first,) = (tmp_path / "killed").glob("*.npz")
    before = first.stat().st_mtime_ns
    assert gallery.optimize(network, tmp_path / "killed", **HOW, most=1) == 8
    assert first.stat().st_mtime_ns == before and len(calls) == 3
    for path in (tmp_path / "whole").glob("*.npz"):
        with np.load(path) as one, np.load(tmp_path / "killed" / path.name) as other:
            assert all(np.array_equal(one[name], other[name]) for name in one)


def test_the_table_says_what_each_unit_reads_feeds_and_answers_to(network, images, recorded):
    _, out = recorded
    table = pd.read_csv(out / "units.csv.bz2", keep_default_na=False, na_values={"reached": ""})
    assert {(f"{r.module}.{r.path}", r.channel) for r in table.itertuples()} == units(network) and len(table) == 52
    names = list(lens.paths(network))
    answers = lens.activations(network, images.images, [*names, "linear"])
    for row in table.itertuples():
        values = answers[f"{row.module}.{row.path}"][:, row.channel]
        peaks, mean = values.flatten(1).amax(1), values.flatten(1).mean(1)
        assert row.peak == pytest.approx(peaks.max().item(), rel=1e-3, abs=1e-6)
        shown = [int(number) for number in str(row.photographs).split()]
        assert len(shown) == min(9, int((peaks > 0).sum()))
        assert not shown or shown[0] == images.labels[peaks.argmax()]
        number, _, r = row.speaks.split()[0].partition(":")
        if mean.std() > 0:
            wanted = np.corrcoef(mean.numpy(), answers["linear"][:, int(number)].numpy())[0, 1]
            assert float(r) == pytest.approx(wanted, abs=0.01)
    done = table["reached"].notna()
    assert 0 < done.sum() < len(table), "some are made, and the others say so"


def test_the_page_holds_what_was_recorded_and_says_what_is_missing(network, recorded, tmp_path):
    work, out = recorded
    assert explorer.gallery(tmp_path / "page", out) == tmp_path / "page" / "index.html"
    state = page.read_script(tmp_path / "page" / "data" / "run.js")
    assert [stage["name"] for stage in state["stages"]] == ["inception_3a", "inception_4a"] and not state["small"]
    for stage in state["stages"]:
        sheet = page.read_sheet(tmp_path / "page" / "images" / f"{stage['name']}-optimized-0.webp", 16, stage["units"])
        first = 0
        for path, width, _ in stage["paths"]:
            file = work / f"{stage['name']}.{path}-0.npz"
            reached = stage["reached"][first : first + width]
            assert [value is not None for value in reached] == [file.is_file() and c < 8 for c in range(width)]
            if file.is_file():
                with np.load(file) as arrays:
                    kept = torch.from_numpy(arrays["images"])
                assert alike(sheet[first : first + len(kept)], kept) < 16
            first += width
        details = page.read_script(tmp_path / "page" / "data" / f"{stage['name']}.js")
        assert {len(details[name]) for name in ("inputs", "outputs", "speaks", "photographs", "peak")} == {
            stage["units"]
        }
        assert set(details["inputs"][0][0]) == {"channel", "excites", "inhibits"}
        assert stage["speaks"] == [[spoken["class"] for spoken in unit] for unit in details["speaks"]]
    before = contents(tmp_path / "page")
    explorer.gallery(tmp_path / "page", out)
    assert contents(tmp_path / "page") == before


def test_a_gallery_that_is_not_there_and_a_folder_with_something_else_are_refused(run, recorded, tmp_path):
    with pytest.raises(DataError, match="scripts/gallery.py makes it"):
        explorer.gallery(tmp_path / "page", tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    with pytest.raises(RunError, match="choose another folder"):
        explorer.gallery(tmp_path / "mine", recorded[1])
    explorer.explore(run, tmp_path / "run", "shapes", length=10, stages=["conv1"], steps=0, progress=False)
    with pytest.raises(RunError, match="choose another folder"):
        explorer.gallery(tmp_path / "run", recorded[1])


def test_the_command_opens_the_recorded_gallery_without_weights(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", "off")
    monkeypatch.chdir(tmp_path)
    assert main(["explore"]) == 0
    assert capsys.readouterr().out.strip() == (tmp_path / "units-googlenet" / "index.html").resolve().as_uri()
    state = page.read_script(tmp_path / "units-googlenet" / "data" / "run.js")
    assert sum(stage["units"] for stage in state["stages"]) == 5488 and len(state["outputs"]) == 1000
    assert main(["explore", "googlenet", "--stages", "inception_3a"]) == 2
    assert "--stages must not be given for googlenet" in capsys.readouterr().err


def test_the_recorded_gallery_is_small_and_of_one_piece():
    place = files.recorded("gallery")
    sizes = {path.name: path.stat().st_size for path in place.iterdir()}
    assert sum(sizes.values()) <= 8_000_000 and sizes["units.csv.bz2"] <= 1_000_000
    table = pd.read_csv(place / "units.csv.bz2", keep_default_na=False, na_values={"reached": ""})
    state = page.read_script(place / "run.js")
    reached = [value for stage in state["stages"] for value in stage["reached"]]
    assert [value is not None for value in reached] == table["reached"].notna().tolist()
    for stage in state["stages"]:
        sheets = [place / f"{stage['name']}-optimized-{n}.webp" for n in range(-(-stage["units"] // state["chunk"]))]
        assert all(sheet.is_file() for sheet in sheets)
