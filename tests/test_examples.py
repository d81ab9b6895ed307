"""The examples in docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import exporter

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(exporter.__path__, "exporter.")
    if not found.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    """Every example of a module gives what is printed under it."""
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0


def test_what_users_import_has_an_example() -> None:
    """The classes of the Python interface each show how they are used."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in ("ModelMonitor", "DataQualityDashboard"):
        subject = getattr(exporter, name)
        assert any(test.examples for test in finder.find(subject, name)), name
