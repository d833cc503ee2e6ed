"""Attributions hold what they promise, and the scores know a good map from a bad one."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import record_lens
import torch
from scipy import ndimage

from inception_lab import lens
from inception_lab.common import files
from inception_lab.data.shapes import Shapes
from inception_lab.lens import controls, recorded, scales, scores
from inception_lab.lens.attribution import class_maps, enlarged
from inception_lab.lens.network import Network
from inception_lab.models import zoo
from inception_lab.training import RECIPES, Trainer, initial_model, load_model, make_fabric, open_data

RUN = files.recorded("runs") / "shapes-laptop"
DATA = Shapes("test", length=30)


@pytest.fixture(scope="module")
def network():
    return lens.open_run(RUN)


@pytest.fixture(scope="module")
def batch():
    return DATA.batch(range(6))


def test_integrated_gradients_add_up_to_the_difference_of_logits(network, batch):
    images, labels = batch
    maps = lens.integrated_gradients(network, images, labels, steps=128)
    with torch.no_grad():
        both = network(images), network(network.mean.expand(6, 3, 64, 64))
    rise = (both[0] - both[1])[range(6), labels]
    assert torch.allclose(maps.sum((1, 2)), rise, atol=0.02 * rise.abs().max())


def test_occlusion_is_the_fall_of_the_logit(network, batch):
    images, labels = batch[0][:2] / 255, batch[1][:2]
    maps = lens.occlusion(network, images, labels, window=16, stride=16)
    covered = images.clone()
    covered[:, :, 16:32, 48:64] = network.mean[0]
    with torch.no_grad():
        fall = (network(images) - network(covered))[range(2), labels]
    assert torch.allclose(maps[:, 20, 50], fall, atol=1e-3)
    assert (maps[:, 16:32, 48:64] == maps[:, 16:17, 48:49]).all()


def test_grad_cam_is_its_formula(network, batch):
    images, labels = batch
    maps = lens.grad_cam(network, images, labels, "inception_4e")
    values = network.extract(images, ["inception_4e", "inception_5b"])["inception_4e"].detach().requires_grad_()
    x = values
    for stage in network.model.stages[network.model.stages.index("inception_4e") + 1 :]:
        x = getattr(network.model, stage)(x)
    (gradient,) = torch.autograd.grad(x[range(6), labels].sum(), values)
    by_hand = (values * gradient.mean((2, 3), keepdim=True)).sum(1).relu()
    enlarged = torch.nn.functional.interpolate(by_hand[:, None], (64, 64), mode="bilinear", align_corners=False)[:, 0]
    assert torch.allclose(maps, enlarged.detach(), atol=1e-4 * float(maps.max()))


def test_classes_by_name_number_or_as_found(network, batch):
    images, _ = batch
    found = network(images).argmax(1)
    names = [network.classes[i] for i in found]
    expected = lens.grad_cam(network, images, found)
    assert torch.equal(lens.grad_cam(network, images), expected)
    assert torch.equal(lens.grad_cam(network, images, names), expected)
    assert torch.equal(lens.grad_cam(network, images, "ring"), lens.grad_cam(network, images, [3] * 6))


@pytest.mark.parametrize("method", [lens.cam, lens.grad_cam, lens.occlusion, lens.gradient, lens.integrated_gradients])
def test_wrong_arguments_are_told(network, batch, method):
    for target, message in [
        ("rings", r"or a name, got 'rings'; did you mean 'ring'"),
        (10, "class must be from 0 to 9"),
    ]:
        with pytest.raises(ValueError, match=message):
            method(network, batch[0], target)
    with pytest.raises(ValueError, match="one for each of the 6 images, got 2"):
        method(network, batch[0], [1, 2])
    with pytest.raises(ValueError, match="images must be a batch"):
        method(network, batch[0][0])


def test_wrong_settings_are_told(network, batch):
    with pytest.raises(ValueError, match="layer: 'inception_4z' is not in this network"):
        lens.grad_cam(network, batch[0], layer="inception_4z")
    with pytest.raises(ValueError, match="window must be a whole number from 1 to 64, got 65"):
        lens.occlusion(network, batch[0], window=65)
    with pytest.raises(ValueError, match="stride must be a whole number from 1 to 8, got 9"):
        lens.occlusion(network, batch[0], stride=9)
    with pytest.raises(ValueError, match="steps must be"):
        lens.integrated_gradients(network, batch[0], steps=0)


# --- what holds at 224 pixels and for one line of algebra -----------------------------------------------------


@pytest.mark.parametrize("aux", [True, False])
def test_grad_cam_at_the_last_module_is_cam_cut_off_over_the_number_of_positions(aux):
    torch.manual_seed(0)
    network = lens.Network(zoo.build("googlenet", 20, aux=aux), size=96)
    images = torch.rand(3, 3, 96, 128)
    maps = class_maps(network, network.pixels(images))
    h, w = maps.shape[2:]
    by_hand = enlarged((maps / (h * w))[range(3), [5, 0, 19]].relu(), images)
    found = lens.grad_cam(network, images, [5, 0, 19])
    assert (found - by_hand).abs().max() < 2e-7 * max(1, found.max())
    logits = network(images).detach() - network.model.linear.bias
    torch.testing.assert_close(maps.mean((2, 3)), logits, rtol=1e-4, atol=1e-5)
    cam = lens.cam(network, images, [5, 0, 19])
    assert cam.shape == (3, 96, 128) and torch.equal(cam, enlarged(maps[range(3), [5, 0, 19]], images))


def test_occlusion_reaches_every_edge_and_is_the_same_whatever_computes_it(network, batch, monkeypatch):
    images, labels = batch[0][:2, :, :50, :61], batch[1][:2]
    found = lens.occlusion(network, images, labels, window=9, stride=7)
    assert found.shape == (2, 50, 61) and found.isfinite().all()
    covered = images / 255
    covered[:, :, 41:, 52:] = network.mean[0]
    with torch.no_grad():
        fall = (network(images) - network(covered))[range(2), labels]
    torch.testing.assert_close(found[:, 49, 60], fall, rtol=1e-3, atol=1e-3)
    monkeypatch.setattr(Network, "for_inference", lambda self: self)
    torch.testing.assert_close(lens.occlusion(network, images, labels, window=9, stride=7), found, rtol=1e-3, atol=1e-3)


def test_the_gradient_is_what_a_small_step_changes(network, batch):
    double = lens.Network(
        load_model(RUN)[0].double(),
        network.mean.flatten().tolist(),
        network.std.flatten().tolist(),
        network.classes,
        64,
    )
    images, labels = batch[0][:1].double() / 255 * 0.98 + 0.01, batch[1][:1]
    step = torch.zeros_like(images)
    step[0, 1, 30, 31] = 1e-5
    with torch.no_grad():
        slope = (double(images + step) - double(images - step))[0, labels[0]] / 2e-5
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(double(x)[0, labels[0]], x)
    assert gradient[0, 1, 30, 31].item() == pytest.approx(slope.item(), rel=1e-3, abs=1e-6)
    torch.testing.assert_close(lens.gradient(double, images, labels), gradient.abs().sum(1).float())


def test_unsigned_integrated_gradients_are_the_size_of_the_signed(network, batch):
    signed, unsigned = (lens.integrated_gradients(network, *batch, steps=4, signed=s) for s in (True, False))
    assert (signed < 0).any() and torch.equal(unsigned, signed.abs())


def test_the_edge_filter_is_scipys_sobel(network, batch):
    for image, found in zip(batch[0].float().mean(1).numpy() / 255, lens.edges(network, batch[0]), strict=True):
        expected = np.hypot(ndimage.sobel(image, 0, mode="mirror"), ndimage.sobel(image, 1, mode="mirror"))
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("wrong", [{}, [], None, 5])
def test_scores_say_which_argument_is_empty(network, wrong):
    with pytest.raises(ValueError, match="networks must be at least one, by name"):
        scores.score(wrong)
    if wrong is not None:
        with pytest.raises(ValueError, match="methods must be at least one, by name"):
            scores.score({"trained": network}, wrong)
    with pytest.raises(ValueError, match="groups must be at least one table"):
        scales.verdicts({})


# --- scores -------------------------------------------------------------------------------------------------


def test_the_pointing_game_looks_at_the_largest_pixel():
    maps = torch.zeros(3, 8, 10)
    maps[0, 2, 7], maps[1, 2, 7], maps[2, 0, 0] = 1, 1, 1
    boxes = torch.tensor([[7.0, 2, 8, 3], [0, 2, 7, 3], [0, 0, 1, 1]])
    assert scores.hits(scores.points(maps), boxes).diagonal().tolist() == [True, False, True]


def test_the_box_is_that_of_the_largest_region():
    maps = torch.zeros(1, 10, 10)
    maps[0, 1:4, 2:6], maps[0, 8, 8] = 0.6, 1.0
    assert scores.found_boxes(maps, 0.5).tolist() == [[2, 1, 6, 4]]
    assert scores.found_boxes(maps, 0.7).tolist() == [[8, 8, 9, 9]]
    assert scores.found_boxes(maps - 2, 0.5).tolist() == [[8, 8, 9, 9]]


def test_overlap_is_intersection_over_union():
    one = torch.tensor([[0.0, 0, 2, 2], [0, 0, 4, 4]])
    found = scores.box_iou(one, torch.tensor([[1.0, 1, 3, 3], [5, 5, 6, 6]]))
    assert torch.allclose(found, torch.tensor([[1 / 7, 0], [4 / 16, 0]]))


def painted(box):
    """A map that is 1 in the pixels whose centers a box covers."""
    left, top, right, bottom = box
    centers = torch.arange(64) + 0.5
    return (((left <= centers) & (centers <= right)) & ((top <= centers) & (centers <= bottom))[:, None]).float()


def test_a_map_that_knows_the_object_wins_and_one_of_another_object_is_chance(network):
    def knows(shift):
        def attribute(network, images, labels):
            order = [int((images_of == image).all((1, 2, 3)).nonzero()[0]) for image in images]
            return torch.stack([painted(data.box((i + shift) % 30)) for i in order])

        return attribute

    rows = []
    for shift in (0, 7):
        sets = []
        for split in ("val", "test"):
            data = Shapes(split, length=30)
            images_of = data.batch(range(30))[0]
            sets += [knows(shift)(network, images_of, None), scores.boxes_of(data, range(30))]
        rows.append(scores.compare(*sets))
    assert rows[0].pointing == 100 and rows[0].overlap > 85  # pixels that are covered in part
    assert abs(rows[1].pointing - rows[1].pointing_chance) < 30 and rows[1].overlap < 30


def test_scores_are_the_same_wherever_they_are_computed_and_broken_maps_are_told(network):
    how = dict(methods={"Grad-CAM": lens.grad_cam}, images=4, progress=False)
    expected = scores.score({"trained": network}, **how)
    with torch.inference_mode(), torch.device("meta"):
        assert scores.score({"trained": network}, **how).equals(expected)
    for broken in (lambda *these: lens.grad_cam(*these) / 0, lambda *these: lens.grad_cam(*these)[:, None]):
        with pytest.raises(ValueError, match=r"tuning_maps must be finite numbers \(N, H, W\), got"):
            scores.score({"trained": network}, {"broken": broken}, images=4, progress=False)


def test_scores_of_a_network_and_of_none(network):
    table = scores.score({"trained": network}, {"Grad-CAM": lens.grad_cam}, images=20, progress=False)
    assert table["network"].tolist() == ["trained", "none"]
    trained, none = table.to_dict("records")
    boxes = scores.boxes_of(Shapes("test", length=20), range(20))
    centered = ((boxes[:, :2] <= 32) & (boxes[:, 2:] >= 32)).all(1).float().mean().item()
    assert none["pointing"] == pytest.approx(100 * centered) and none["overlap"] == pytest.approx(
        none["overlap_chance"]
    )
    assert trained["overlap"] > trained["overlap_chance"] and 0 < trained["threshold"] < 1
    with pytest.raises(ValueError, match="images must be a whole number of at least 2, got 1"):
        scores.score({"trained": network}, images=1)


def test_shuffling_keeps_the_weights_and_loses_what_they_know(network):
    blank, (images, labels) = controls.shuffled(RUN, seed=1), DATA.batch(range(30))
    model = load_model(RUN)[0]
    old = torch.cat([p.flatten() for p in model.linear.parameters()])
    new = torch.cat([p.flatten() for p in blank.model.linear.parameters()])
    assert torch.equal(old.sort().values, new.sort().values) and not torch.equal(old, new)
    right = [(n(images).argmax(1) == labels).float().mean().item() for n in (network, blank)]
    assert right[0] > 0.9 and right[1] < 0.4
    spread = [lens.activations(n, images, "inception_5b")["inception_5b"].std().item() for n in (network, blank)]
    assert 0.1 < spread[1] / spread[0] < 10, "values of the usual size"


# --- which scale a path prefers -----------------------------------------------------------------------------


def rows_with(effect, noise=0.1, seeds=6):
    rng, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        for module in ("inception_3a", "inception_4a"):
            for path, kernel in {"one": 0, "three": 1, "five": 2}.items():
                rows.append((seed, module, path, -1.5 + effect * kernel + noise * rng.normal()))
    return pd.DataFrame(rows, columns=["seed", "module", "path", "octaves"])


def test_the_verdict_finds_a_planted_effect_and_no_other():
    found = scales.verdict(rows_with(0.3))
    assert found["clear"].all() and found["octaves"].between(0.45, 0.75).all()
    assert found.index.tolist() == ["inception_3a", "inception_4a", "all modules"]
    assert (found["networks"] == 6).all() and (found["low"] > 0).all()
    assert not scales.verdict(rows_with(0.0))["clear"].any()
    assert (scales.verdict(rows_with(0.3), "one", "five")["octaves"] < 0).all()
    with pytest.raises(ValueError, match="at least 3 seeds, got 2"):
        scales.verdict(rows_with(0.3, seeds=2))


def test_tests_that_are_shown_together_are_corrected_together():
    found = scales.verdicts({name: scales.differences(rows_with(0.2)) for name in "ab"})
    alone = scales.verdict(rows_with(0.2))
    assert found.loc["a", "p"].gt(alone["p"]).all() and found.loc["a"].drop(columns="p").equals(alone.drop(columns="p"))
    few = scales.verdict(rows_with(0.3, noise=0.001, seeds=4))
    assert (few["p"] < 0.05).all() and not few["clear"].any(), "no verdict on fewer than five networks"


def test_what_training_adds_is_clear_and_what_is_there_before_it_is_not():
    rows = recorded.read("scales").query("recipe == 'shapes-laptop'")
    trained, new = (scales.differences(rows[rows["weights"] == weights]) for weights in ("trained", "new"))
    found = scales.verdicts({"trained": trained, "new": new, "change": trained - new}).xs("all modules", level="module")
    assert found["octaves"].round(3).tolist() == [0.077, 0.015, 0.062]
    assert found[["low", "high"]].round(3).loc[["new", "change"]].to_numpy().tolist() == [
        [-0.005, 0.035],
        [0.016, 0.107],
    ]
    assert found["clear"].tolist() == [True, False, True]


def test_path_scales_are_the_means_of_the_units(network):
    table = scales.path_scales(network, images=8, progress=False)
    assert len(table) == 36 and table["units"].sum() == sum(lens.paths(network).values()) - 64
    preferred = lens.tuning(network, "inception_4a.five", images=8, progress=False).preferred("inception_4a.five")
    row = table.query("module == 'inception_4a' and path == 'five'").iloc[0]
    assert row["octaves"] == pytest.approx(preferred.log2().nanmean().item(), abs=1e-3)


@pytest.mark.slow
def test_the_recorded_tables_are_what_the_code_computes(network):
    table = recorded.read("scales")
    assert {weights: sorted(rows["seed"].unique()) for weights, rows in table.groupby("weights")} == {
        "trained": list(range(8)),
        "new": list(range(8)),
    }
    assert len(table) == (8 + 8 + 3) * 36 and not table["octaves"].isna().any()
    kept = table.query("recipe == 'shapes-laptop' and seed == 0 and weights == 'trained'")
    again = scales.path_scales(network, progress=False)
    merged = kept.merge(again, on=["module", "path"], suffixes=("", "_again"))
    assert len(merged) == 36 and np.allclose(merged["octaves"], merged["octaves_again"], atol=0.01)
    kept = recorded.read("attributions").query("network == 'trained' and method == 'Grad-CAM'").iloc[0]
    again = scores.score({"trained": network}, {"Grad-CAM": lens.grad_cam}, images=200, progress=False).iloc[0]
    assert again["pointing"] == pytest.approx(kept["pointing"], abs=1)
    assert again["threshold"] == pytest.approx(kept["threshold"])
    assert len(recorded.read("attributions")) == (1 + record_lens.SHUFFLES) * len(scores.METHODS)


SMALL = dict(train_images=64, seed=3, weights_seed=5, precision="32-true")


@pytest.mark.parametrize("changes", [{}, {"options": {"norm": "lrn", "bias": True}}, {"merge_ones": True}])
def test_the_untrained_network_is_the_one_that_training_starts_from(tmp_path, changes):
    recipe = replace(RECIPES["shapes-laptop"], **SMALL, **changes)
    fabric = make_fabric(recipe, "cpu", 1, 1)
    trainer = Trainer(recipe, open_data(recipe, None), fabric, tmp_path / "run", progress=False)
    drawn = torch.get_rng_state()
    found = controls.untrained(recipe, images=32)
    assert torch.equal(torch.get_rng_state(), drawn)
    started = zoo.build(recipe.network, 10, **recipe.options)  # as it lies in memory: sums in the same order
    started.load_state_dict(trainer.model.module.state_dict())
    controls.recalibrate(started, Shapes("train", length=32), Shapes.mean, Shapes.std)
    expected = lens.Network(started, Shapes.mean, Shapes.std, size=64)
    assert all(torch.equal(one, other) for one, other in zip(found.parameters(), expected.parameters(), strict=True))


def test_the_untrained_network_of_a_run_is_what_its_trained_weights_grew_from():
    found, (model, about) = controls.untrained(RUN, images=32), load_model(RUN)
    start = initial_model(about["recipe"], 10).conv1.conv.weight
    both = torch.stack([start.flatten(), model.conv1.conv.weight.flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.8, "four epochs leave most of a weight where it was"
    for same in (about["recipe"], RUN.name):
        again = controls.untrained(same, images=32)
        assert torch.equal(found.model.conv1.conv.weight, again.model.conv1.conv.weight)
    images, labels = DATA.batch(range(30))
    assert (found(images).argmax(1) == labels).float().mean() < 0.5


def test_rows_are_measured_again_on_demand(tmp_path):
    pd.DataFrame({"weights": ["new", "trained"], "octaves": [1.5, 2.25]}).to_csv(tmp_path / "t.csv", index=False)
    record_lens.forget(tmp_path / "t.csv", "new")
    assert (tmp_path / "t.csv").read_text() == "weights,octaves\ntrained,2.25\n"


def test_the_tables_are_made_where_they_stopped(tmp_path, monkeypatch):
    calls = []

    def rows():
        calls.append(1)
        return pd.DataFrame({"value": [1.5]})

    for key in ({"network": "a", "seed": 0}, {"network": "a", "seed": 1}, {"network": "a", "seed": 0}):
        record_lens.add(tmp_path / "t.csv", key, rows)
    assert len(calls) == 2
    assert pd.read_csv(tmp_path / "t.csv").to_dict("list") == {"network": ["a"] * 2, "seed": [0, 1], "value": [1.5] * 2}
    monkeypatch.setattr(files, "recorded", lambda *parts: tmp_path / parts[-1])
    assert len(recorded.read("t")) == 2
    with pytest.raises(ValueError, match="README.md says what makes it"):
        recorded.read("other")
