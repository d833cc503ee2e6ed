"""Packages hand out names, and no name hides a file of its package."""

import importlib
import pkgutil
from types import ModuleType

import pytest

import inception_lab

PACKAGES = ["inception_lab"]
PACKAGES += [m.name for m in pkgutil.walk_packages(inception_lab.__path__, "inception_lab.") if m.ispkg]


@pytest.mark.parametrize("name", PACKAGES)
def test_no_public_name_hides_a_file_of_its_package(name):
    package = importlib.import_module(name)
    for found in pkgutil.iter_modules(package.__path__):
        if found.name in getattr(package, "__all__", ()):
            value = getattr(package, found.name)
            assert isinstance(value, ModuleType), f"{name}.{found.name} is {value!r}, and a file has this name"


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_what_it_is_for_and_has_what_it_hands_out(name):
    package = importlib.import_module(name)
    assert package.__doc__
    assert [public for public in getattr(package, "__all__", ()) if not hasattr(package, public)] == []
