"""Answers that are kept for as long as what they are about."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from weakref import ref

import pytest

from exporter.statistics.remembered import remembered


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Sample:
    rows: int


@dataclass(frozen=True, eq=False, slots=True)
class Slotted:
    rows: int


def test_an_answer_is_computed_once_for_each_object():
    """Objects are told apart by identity: an equal one is asked for itself."""
    asked = []

    @remembered
    def half(sample):
        asked.append(sample)
        return sample.rows / 2

    one, other = Sample(4), Sample(4)
    assert half(one) == half(one) == half(other) == half(one) == 2
    assert list(map(id, asked)) == [id(one), id(other)]


def test_an_answer_keeps_no_object_alive():
    """Who forgets a baseline frees its columns."""
    half = remembered(lambda sample: sample.rows / 2)
    sample = Sample(4)
    half(sample)
    known = ref(sample)
    del sample
    gc.collect()
    assert known() is None


def test_an_object_that_cannot_be_remembered_is_asked_each_time():
    """Any view is taken, also one without weak references."""
    asked = []
    half = remembered(lambda sample: asked.append(sample) or sample.rows / 2)
    sample = Slotted(4)
    assert half(sample) == half(sample) == 2
    assert len(asked) == 2


@pytest.mark.parametrize("error", [KeyError, TypeError, ValueError])
def test_a_failure_is_raised_and_not_remembered(error):
    """Whatever the function raises comes through, each time."""
    asked = []

    @remembered
    def fail(sample):
        asked.append(sample)
        raise error(sample.rows)

    sample = Sample(4)
    for _ in range(2):
        with pytest.raises(error, match="4"):
            fail(sample)
    assert len(asked) == 2
