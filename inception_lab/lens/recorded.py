"""What is recorded in data/lens, because it takes too long to compute in a notebook; its README says what makes it.

scales        the scale that each path prefers, see `scales`: networks of several seeds, trained and new
attributions  how well attributions find objects, see `scores`: one trained network, and the same shuffled
pictures      optimized images of the published GoogLeNet, and what each reaches
first_steps   the gradients of networks with and without heads in their first steps
settings      what steps, canvas, transforms and parametrization change in such images, one at a time
"""

from collections.abc import Sequence

import pandas as pd
import torch

from inception_lab.common import files
from inception_lab.common.checks import check_one_of
from inception_lab.data.pictures import photograph


def read(name: str) -> pd.DataFrame:
    """A recorded table by its name, such as "scales"; ValueError where it has not been made."""
    path = files.recorded("lens", f"{name}.csv")
    if not path.is_file():
        raise ValueError(f"there is no {path}: data/lens/README.md says what makes it")
    return pd.read_csv(path)


def pictures(names: Sequence[str]) -> torch.Tensor:
    """Recorded pictures by name, "inception_4a.five:5" or "goldfish", (N, 3, 128, 128) from 0 to 1.

    Raises ValueError for a name that has none, offering the closest.
    """
    known = read("pictures").set_index("name")["file"]
    for name in names:
        check_one_of("name", name, known.index)
    return torch.cat([photograph(files.recorded("lens", "pictures", known[name])) for name in names])


def setting(name: str) -> torch.Tensor:
    """The pictures that a setting of the table "settings" made, one for each of its objectives: (N, 3, 128, 128)."""
    check_one_of("name", name, list(dict.fromkeys(read("settings")["setting"])))
    strip = photograph(files.recorded("lens", "settings", f"{name.replace(' ', '-')}.webp"))
    return torch.cat(strip.split(strip.shape[2], dim=3))
