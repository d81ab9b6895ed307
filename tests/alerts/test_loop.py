"""Threads of the bridge go on whatever happens, and chores fail alone."""

from __future__ import annotations

import math
import threading
import time

import pytest

from exporter.alerts.housekeeping import Chore, Housekeeping
from exporter.alerts.loop import Loop
from exporter.clock import ManualClock

PATIENCE = 10.0


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), MemoryError()])
def test_loop_outlives_what_its_step_raises(error):
    """A step that fails is counted and tried again, whatever it raised."""
    failures, done = [], threading.Event()

    def step():
        if not failures:
            raise error
        done.set()
        return math.inf

    loop = Loop("work", step, on_error=lambda: failures.append(1))
    loop.start()
    loop.wake()
    assert done.wait(PATIENCE)
    assert failures == [1]
    loop.stop()
    assert loop.join(PATIENCE)
    assert not loop.alive


def test_loop_wakes_when_it_is_told_to():
    """What comes while it sleeps, or just before, is not slept through."""
    steps = threading.Semaphore(0)

    def step():
        steps.release()
        return math.inf

    loop = Loop("work", step, on_error=lambda: None, longest_sleep=PATIENCE)
    loop.start()
    for _ in range(20):
        assert steps.acquire(timeout=PATIENCE)
        loop.wake()
    loop.stop()
    assert loop.join(PATIENCE)


def test_loop_looks_at_the_clock_now_and_then():
    """A sleep is never longer than the longest: the wall clock may have been set."""
    times = []
    loop = Loop(
        "work", lambda: times.append(time.monotonic()) or math.inf, on_error=lambda: None, longest_sleep=0.01
    )
    loop.start()
    deadline = time.monotonic() + PATIENCE
    while len(times) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    loop.stop()
    assert loop.join(PATIENCE)
    assert len(times) >= 5


def test_pause_inside_a_step_ends_with_the_loop():
    """A thread that waits for the disk stops at once when it is to stop."""
    began = threading.Event()
    said = []

    def step():
        began.set()
        said.append(loop.pause(PATIENCE))
        return math.inf

    loop = Loop("work", step, on_error=lambda: None)
    loop.start()
    assert began.wait(PATIENCE)
    loop.stop()
    assert loop.join(PATIENCE)
    assert said == [False]


def test_loop_that_never_began_has_ended():
    """Stopping and joining what was not started is no error."""
    loop = Loop("work", lambda: 0.0, on_error=lambda: None)
    loop.stop()
    assert loop.join(0.0)


def test_chores_are_done_when_they_are_due_and_fail_alone():
    """Each has its own pace; one that fails is counted and hinders none; a pace of zero is never."""
    clock = ManualClock(100.0)
    done, failed = [], []

    def broken(_):
        raise ValueError("x")

    chores = [
        Chore("broken", lambda: 10.0, broken),
        Chore("slow", lambda: 30.0, lambda now: done.append(("slow", now))),
        Chore("never", lambda: 0.0, lambda now: done.append(("never", now))),
        Chore("quick", lambda: 10.0, lambda now: done.append(("quick", now))),
    ]
    housekeeping = Housekeeping(chores, clock, on_error=failed.append)
    assert housekeeping.step() == 10.0
    clock.advance(4.0)
    assert housekeeping.step() == 6.0
    clock.advance(6.0)
    housekeeping.step()
    assert done == [("slow", 100.0), ("quick", 100.0), ("quick", 110.0)]
    assert failed == ["broken", "broken"]
    clock.set(50.0)  # the clock was set back
    housekeeping.step()
    assert done[-2:] == [("slow", 50.0), ("quick", 50.0)]
