"""What the tests of the explorer look into: each module of tests has a `run` of its own."""

import pytest
import tiny

from inception_lab import lens
from inception_lab.data import datasets


@pytest.fixture(scope="module")
def network(run):
    return lens.open_run(run)


@pytest.fixture(scope="module")
def images():
    return datasets.in_memory(datasets.load("shapes", "val", size=tiny.SIZE, length=60))
