"""Alerts and notifications over time."""

from __future__ import annotations

import pytest

from exporter.alerts.questions import Questions
from exporter.alerts.timeline import added_steps
from exporter.errors import BadRequestError
from tests.alerts.bridging import NOW, Rig, an_alert

HOUR = 3600.0


@pytest.fixture
def rig(tmp_path):
    """Two alerts of fraud in the first hour, one of which ends in the second; one of churn in the third."""
    made = Rig(tmp_path / "data", aggregation_window="0s")
    made.take(an_alert("A"), an_alert("B", severity="critical"))
    made.flush()
    made.clock.advance(1.5 * HOUR)
    made.take(an_alert("A", ends_at=NOW + 1.5 * HOUR))
    made.flush()
    made.clock.advance(HOUR)
    made.take(an_alert("C", model="churn", starts_at=NOW + 2.5 * HOUR), group_labels={"model": "churn"})
    made.flush()
    yield made
    made.close()


def ask(rig, **asked):
    span = {"start": NOW, "end": NOW + 3 * HOUR, "step": HOUR} | asked
    return Questions(rig.store).summary(**span)["steps"]


def test_each_step_counts_what_happened_in_it(rig):
    """Alerts that began, alerts that ended with how long they had fired, and notifications."""
    first, second, third = ask(rig)
    assert first == {
        "at": "2026-11-24T04:00:00.000Z",
        "begun": {"info": 0, "warning": 1, "critical": 1},
        "resolved": 0,
        "mean_seconds": None,
        "notifications": 1,
    }
    assert (second["resolved"], second["mean_seconds"], second["notifications"]) == (1, 5400.0, 1)
    assert (third["at"], third["begun"]["warning"]) == ("2026-11-24T06:00:00.000Z", 1)


def test_only_what_may_be_seen_is_counted(rig):
    """Models narrow all numbers; the steps of several models add up to those of all."""
    fraud, churn = ask(rig, models=["fraud"]), ask(rig, model="churn")
    assert [step["notifications"] for step in churn] == [0, 0, 1]
    assert ask(rig, model="churn", models=["fraud"])[2]["begun"]["warning"] == 0
    assert added_steps(fraud, churn) == ask(rig)


def test_the_last_step_may_be_shorter(rig):
    """The span is covered whatever the step, and what is at its end belongs to the next one."""
    assert len(ask(rig, step=2 * HOUR)) == 2
    assert [sum(step["begun"].values()) for step in ask(rig, end=NOW + 2.5 * HOUR)] == [2, 0, 0]
    assert ask(rig, end=NOW) == []


@pytest.mark.parametrize("asked", [{"start": None}, {"end": None}, {"step": 1.0}])
def test_steps_need_a_span_and_a_limit(rig, asked):
    """Without a span, or with too many steps, the answer says what was expected."""
    with pytest.raises(BadRequestError, match="step: expected"):
        ask(rig, **asked)


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({"state": "firing"}, "alerts_firing_by_time"),
        ({"model": "fraud"}, "alerts_by_model"),
        ({"severity": "critical"}, "alerts_by_severity"),
        ({"name": "A"}, "alerts_by_name"),
        ({}, "alerts_by_time"),
    ],
)
def test_pages_of_alerts_are_read_from_an_index(rig, asked, index):
    """However many alerts there are, a page is a walk along an index and no sort."""
    seen = []
    with rig.store.read() as connection:
        connection.set_trace_callback(seen.append)
    Questions(rig.store).alerts(**asked)
    with rig.store.read() as connection:
        connection.set_trace_callback(None)
        query = next(text for text in seen if "FROM alerts WHERE" in text)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert index in plan[0]
    assert not any("TEMP B-TREE" in step for step in plan)
