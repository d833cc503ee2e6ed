"""The variables that say which images, weights and browser there are for tests, and how much is tested with them."""

import os
import random
from collections.abc import Sequence

# Real images for tests: packed sets with a script that unpacks them, beside the repository or where this variable
# says. They are not part of the project. Tests that want them are skipped without them, unless NEED is set.
REAL_IMAGES, NEED_REAL_IMAGES = "INCEPTION_LAB_REAL_IMAGES", "INCEPTION_LAB_NEED_REAL_IMAGES"

# The published GoogLeNet's weights: where INCEPTION_LAB_WEIGHTS says, as for the library, or beside the real images.
WEIGHTS = "INCEPTION_LAB_WEIGHTS"

# Pages are tested in an installed Chromium. Without one these tests are skipped, unless this variable is set.
NEED_BROWSER = "INCEPTION_LAB_NEED_BROWSER"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# All images of each recorded run are evaluated, however long a CPU takes, if this is set.
WHOLE_SETS = "INCEPTION_LAB_WHOLE_SETS"

# `.ci/run` sets this and tests everything. `make test` leaves out what CONTRIBUTING.md lists, and takes `some` of what
# is many times the same. The seed draws them: a failure prints it, and with it set the same ones are taken again.
THOROUGH, SEED = "INCEPTION_LAB_THOROUGH", "INCEPTION_LAB_TEST_SEED"


def is_thorough() -> bool:
    return bool(os.environ.get(THOROUGH))


def some(things: Sequence, number: int) -> list:
    """So many of these things in their order, drawn anew for each run of pytest; all of them where it is thorough."""
    if is_thorough():
        return list(things)
    seed = os.environ[SEED]  # tests/conftest.py sets it
    drawn = sorted(random.Random(f"{seed} {len(things)}").sample(range(len(things)), number))
    print(f"{number} of {len(things)} were drawn: {SEED}={seed} draws them again, and {THOROUGH}=1 takes all")
    return [things[i] for i in drawn]
