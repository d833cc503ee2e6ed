"""What is recorded for notebooks 09 and 10 is there, whole, and what the code computes."""

import pytest
import record_lens
import torch

from inception_lab import lens
from inception_lab.common import files
from inception_lab.lens import recorded

PLACE = files.recorded("lens")


def test_every_path_has_a_picture_and_every_picture_a_row():
    table = recorded.read("pictures")
    assert table["name"].is_unique and (table["end"] > table["start"].clip(lower=0) + 50).all()
    modules = [stage for stage in lens.open("shapes-laptop").model.stages if stage.startswith("inception")]
    names = [f"{module}.{path}:{record_lens.UNIT}" for module in modules for path in ("one", "three", "five", "pool")]
    assert set(names) <= set(table["name"])
    assert recorded.pictures(names[:2]).shape == (2, 3, record_lens.SIZE, record_lens.SIZE)
    assert {path.name for path in (PLACE / "pictures").iterdir()} == set(table["file"])
    assert sum(path.stat().st_size for path in PLACE.rglob("*.webp")) < 700e3


def test_every_setting_has_its_pictures_and_rows():
    table = recorded.read("settings")
    assert list(dict.fromkeys(table["setting"])) == list(record_lens.SETTINGS)
    for setting in record_lens.SETTINGS:
        assert len(recorded.setting(setting)) == (table["setting"] == setting).sum()
    assert (table["judge"].notna() == table["objective"].isin(record_lens.CLASSES)).all()


def test_what_is_not_recorded_is_told():
    with pytest.raises(ValueError, match=r"name must be one of .*did you mean 'inception_4a.five:5'"):
        recorded.pictures(["inception_4a.fife:5"])
    with pytest.raises(ValueError, match="name must be one of 'default'"):
        recorded.setting("defaults")
    with pytest.raises(ValueError, match="README.md says what makes it"):
        recorded.read("picture")


def test_a_picture_starts_where_the_code_does_and_excites_its_unit(published_weights, monkeypatch):
    monkeypatch.setenv("INCEPTION_LAB_WEIGHTS", str(published_weights))
    network, unit = lens.open("googlenet", device="cpu"), f"inception_3a.pool:{record_lens.UNIT}"
    row = recorded.read("pictures").set_index("name").loc[unit]
    some = next(group for group in record_lens.wanted_pictures(network) if unit in dict(group))
    seen = lens.visualize(network, [objective for _, objective in some], size=128, steps=1, progress=False)
    assert seen.history[0, list(dict(some)).index(unit)].item() == pytest.approx(row["start"], abs=0.01)
    picture = lens.excitation(network, recorded.pictures([unit]), [lens.channel(unit)])
    assert picture.item() > 3 * lens.excitation(network, seen.images[:1], [lens.channel(unit)]).item()


def test_measures_are_of_the_images():
    fine, color = record_lens.variance_shares(torch.rand(2, 3, 64, 64))
    assert (fine > 70).all() and (color > 60).all()  # noise
    gray = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    fine, color = record_lens.variance_shares(gray)
    assert fine < 5 and color < 1e-3
