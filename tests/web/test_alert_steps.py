"""The summary of alerts over time, as it is asked for over HTTP."""

from __future__ import annotations

import pytest

from tests.alerts.bridging import HOOK, an_alert
from tests.web.bridges import WebBridge, assert_error

SPAN = "from=2026-01-01T00:00:00Z&to=2126-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def bridge(tmp_path_factory):
    running = WebBridge.start(tmp_path_factory.mktemp("bridge"), {"channels": {"hook": HOOK}})
    yield running
    running.stop()


def test_steps_are_counted_over_http(bridge):
    """With a step the summary says what began when."""
    bridge.take(an_alert("MLFirst"))
    summary = bridge.get(f"/api/v1/alerts/summary?{SPAN}&step=3650d")
    assert len(summary["steps"]) == 11
    assert sum(sum(step["begun"].values()) for step in summary["steps"]) == 1
    assert "steps" not in bridge.get("/api/v1/alerts/summary")


@pytest.mark.parametrize("query", ["step=1h", f"{SPAN}&step=1s", f"{SPAN}&step=soon", f"{SPAN}&step=0"])
def test_wrong_steps_are_400(bridge, query):
    """A step without a span, too short or unreadable is answered with what was expected."""
    assert_error(bridge.ask("GET", f"/api/v1/alerts/summary?{query}"), 400, "bad_parameter")
