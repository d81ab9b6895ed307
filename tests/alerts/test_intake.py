"""Alerts into the store: lives, marks, repetitions, and what is told to nobody."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from exporter.alerts.records import Alert
from exporter.alerts.store.refusals import LONGEST_KEPT, MOST_KEPT
from exporter.errors import BadRequestError, StorageUnavailableError
from tests.alerts.bridging import NOW, Rig, a_payload, an_alert, told

MINUTE = 60.0
PROJECT = Path(__file__).parent.parent.parent
HEARTBEAT = {"alertname": "MLHeartbeat", "severity": "info"}


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path / "data", aggregation_window="1h")
    yield made
    made.close()


def lives(rig):
    """Start, whether it fires, and end of every life, relative to the start of the test."""
    rows = rig.rows("SELECT starts_at, firing, resolved_at FROM alerts ORDER BY id")
    return [(start - NOW, firing, None if end is None else end - NOW) for start, firing, end in rows]


def marks(rig):
    return rig.rows("SELECT alert, told, change FROM members ORDER BY group_id, alert")


def test_what_was_taken_is_on_disk(rig):
    """When `take` returns, another process finds the alert, its event and the mark."""
    taken = rig.take(an_alert(starts_at=NOW - 5))
    assert (taken.status, taken.alerts, taken.groups) == ("accepted", 1, 1)
    with sqlite3.connect(f"file:{rig.directory / 'bridge.db'}?mode=ro", uri=True) as other:
        assert other.execute("SELECT name, model, firing FROM alerts").fetchall() == [
            ("MLColumnDrift", "fraud", 1)
        ]
        assert other.execute("SELECT kind FROM events").fetchall() == [("firing",)]
        assert other.execute("SELECT told, change FROM members").fetchall() == [(None, "firing")]
    other.close()
    assert taken.changes == {("warning", "firing"): 1}


def test_taking_it_again_changes_nothing(rig):
    """A repetition within the time is a duplicate: no event, no mark, no later window."""
    rig.take(an_alert())
    before = (
        rig.rows("SELECT * FROM members"),
        rig.rows("SELECT * FROM groups"),
        rig.rows("SELECT * FROM events"),
    )
    rig.clock.advance(10)
    assert rig.take(an_alert()).status == "duplicate"
    assert before == (
        rig.rows("SELECT * FROM members"),
        rig.rows("SELECT * FROM groups"),
        rig.rows("SELECT * FROM events"),
    )


def test_a_later_repetition_is_a_reminder(rig):
    """Unchanged again after the time: due at once, with everything that still fires, and told once."""
    rig.take(an_alert(), an_alert(column="a"))
    rig.clock.advance(60 * MINUTE)
    assert [told(n) for n in rig.flush()] == [[("MLColumnDrift", "firing")] * 2]
    rig.clock.advance(29 * MINUTE)
    assert rig.take(an_alert(), an_alert(column="a")).status == "duplicate"
    assert rig.flush() == []
    rig.clock.advance(2 * MINUTE)
    assert rig.take(an_alert(), an_alert(column="a")).status == "accepted"
    assert rig.take(an_alert(), an_alert(column="a")).status == "duplicate"
    (reminder,) = rig.flush()
    assert (reminder.kind.value, reminder.firing) == ("reminder", 2)
    assert told(reminder) == [("MLColumnDrift", "still")] * 2
    assert rig.rows("SELECT count(*) FROM told_of") == [(4,)]


def test_a_repetition_is_no_reminder_while_changes_wait(rig):
    """What waits for its window is told soon; nobody needs to be reminded of it before."""
    rig.take(an_alert())
    rig.clock.advance(40 * MINUTE)
    assert rig.take(an_alert()).status == "duplicate"
    assert rig.flush() == []


def test_an_identical_payload_is_news_when_the_alert_had_ended_between(rig):
    """Firing, resolved, firing again with the same start, all within the time of duplicates: all is told."""
    rig.take(an_alert(severity="critical"))
    assert len(rig.flush()) == 1
    rig.clock.advance(60)
    rig.take(an_alert(severity="critical", ends_at=NOW + 30))
    assert [told(n) for n in rig.flush()] == [[("MLColumnDrift", "resolved")]]
    rig.clock.advance(60)
    assert rig.take(an_alert(severity="critical")).status == "accepted"
    assert [told(n) for n in rig.flush()] == [[("MLColumnDrift", "firing")]]
    assert rig.events() == ["firing", "resolved", "firing"]


def test_resolved_without_firing_is_kept_and_told_as_passed(rig):
    """An alert of whose beginning we never heard is told of all the same."""
    rig.take(an_alert(starts_at=NOW - 100, ends_at=NOW - 50))
    assert lives(rig) == [(-100, 0, -50)]
    rig.clock.advance(3600)
    (notification,) = rig.flush()
    assert told(notification) == [("MLColumnDrift", "passed")]
    assert notification.firing == 0
    assert marks(rig) == []


def test_a_firing_that_comes_after_its_end_fires_again(rig):
    """Out of order: better told twice than never; asking Alertmanager puts it right."""
    rig.take(an_alert(starts_at=NOW - 100, ends_at=NOW - 50))
    rig.take(an_alert(starts_at=NOW - 100))
    assert lives(rig) == [(-100, 1, None)]


def test_a_new_life_ends_the_old_one(rig):
    """The same alert with a later start: the old life has ended, and both are told."""
    rig.take(an_alert(starts_at=NOW - 100))
    rig.clock.advance(3600)
    rig.flush()
    rig.take(an_alert(starts_at=NOW + 60))
    assert lives(rig) == [(-100, 0, 60), (60, 1, None)]
    rig.clock.advance(3600)
    (notification,) = rig.flush()
    assert sorted(told(notification)) == [("MLColumnDrift", "firing"), ("MLColumnDrift", "resolved")]
    assert notification.firing == 1


def test_a_start_that_moves_back_is_the_same_life(rig):
    """Alertmanager joins what two Prometheis sent and then shows the earlier start; that is no news."""
    rig.take(an_alert(starts_at=NOW - 50))
    assert rig.take(an_alert(starts_at=NOW - 100)).status == "duplicate"
    assert lives(rig) == [(-100, 1, None)]
    rig.take(an_alert(starts_at=NOW - 100, ends_at=NOW))
    assert lives(rig) == [(-100, 0, 0)]


def test_an_end_with_a_start_that_moved_back_ends_the_life(rig):
    """The start may have moved back in the very payload that resolves."""
    rig.take(an_alert(starts_at=NOW - 50))
    rig.take(an_alert(starts_at=NOW - 100, ends_at=NOW))
    assert lives(rig) == [(-50, 0, 0)]


def test_echoes_of_an_earlier_life_change_nothing(rig):
    """What comes late of a life that is known to be over does not touch the one that fires."""
    rig.take(an_alert(starts_at=NOW - 100))
    rig.take(an_alert(starts_at=NOW - 100, ends_at=NOW - 50))
    rig.take(an_alert(starts_at=NOW - 20))
    assert rig.take(an_alert(starts_at=NOW - 100)).status == "duplicate"
    assert rig.take(an_alert(starts_at=NOW - 100, ends_at=NOW - 50)).status == "duplicate"
    assert lives(rig) == [(-100, 0, -50), (-20, 1, None)]


def test_a_late_end_of_an_unknown_earlier_life_is_kept(rig):
    """An earlier life that we never saw is kept as passed; the one that fires goes on."""
    rig.take(an_alert(starts_at=NOW - 20))
    rig.take(an_alert(starts_at=NOW - 100, ends_at=NOW - 50))
    assert lives(rig) == [(-20, 1, None), (-100, 0, -50)]


def test_an_end_of_a_later_life_ends_the_one_that_fires(rig):
    """A life that began later has passed: the one before it is over as well."""
    rig.take(an_alert(starts_at=NOW - 100))
    rig.take(an_alert(starts_at=NOW - 50, ends_at=NOW - 20))
    assert lives(rig) == [(-100, 0, -50), (-50, 0, -20)]


def test_flapping_within_a_window_is_told_as_what_remains(rig):
    """Firing and resolved before anybody was told passed; what was told and is as it was is no news."""
    rig.take(an_alert())
    rig.take(an_alert(ends_at=NOW))
    assert marks(rig) == [(1, None, "passed")]
    rig.take(an_alert())
    assert marks(rig) == [(1, None, "firing")]
    rig.clock.advance(3600)
    assert len(rig.flush()) == 1
    rig.take(an_alert(ends_at=NOW + 1))
    rig.take(an_alert())
    assert marks(rig) == [(1, "firing", None)]
    rig.clock.advance(3600)
    assert rig.flush() == []


def test_one_bad_alert_is_kept_and_the_others_taken(rig):
    """The good ones of a payload are taken, the bad one is kept for inspection and named in the answer."""
    taken = rig.take(an_alert(), an_alert(column="a") | {"startsAt": "soon"})
    assert (taken.alerts, len(taken.refused)) == (1, 1)
    ((reason, body),) = rig.rows("SELECT reason, body FROM rejected")
    assert reason.startswith('alerts[1].startsAt: expected an RFC 3339 time, but "soon" came')
    assert json.loads(body)["labels"]["column"] == "a"


def test_wrong_bodies_are_kept_within_bounds(rig):
    """The last hundred wrong bodies are kept, the beginning of each, with its size and the reason."""
    for number in range(MOST_KEPT + 5):
        with pytest.raises(BadRequestError):
            rig.intake.take(b"%d " % number + b"x" * 100_000)
    kept = rig.rows("SELECT body, bytes, reason FROM rejected ORDER BY id")
    assert len(kept) == MOST_KEPT
    assert kept[0][0].startswith(b"5 ")
    assert len(kept[0][0]) == LONGEST_KEPT
    assert kept[0][1] == 100_002
    assert kept[0][2].startswith("expected JSON")


def test_severities_that_are_not_told_of_are_history(tmp_path):
    """`severity_levels` keeps alerts out of all messages, not out of the history."""
    rig = Rig(tmp_path, severity_levels=["critical"])
    taken = rig.take(an_alert(), an_alert(severity="critical"))
    assert taken.unrouted == 0
    assert len(rig.rows("SELECT 1 FROM alerts")) == 2
    assert marks(rig) == [(2, None, "firing")]
    assert rig.events(1) == ["firing", "suppressed"]
    rig.close()


def test_unrouted_alerts_are_history(tmp_path):
    """An alert that no route takes is kept and counted."""
    rig = Rig(tmp_path, routes=[{"matchers": ["model=other"], "channels": ["hook"]}])
    taken = rig.take(an_alert())
    assert (taken.status, taken.unrouted, taken.groups) == ("accepted", 1, 0)
    assert rig.events() == ["firing", "unrouted"]
    assert rig.take(an_alert()).status == "duplicate"
    rig.close()


def test_a_heartbeat_is_only_a_time(rig):
    """Beats make no alert, event or group."""
    assert rig.take(an_alert(**HEARTBEAT)).status == "accepted"
    assert rig.rows("SELECT count(*) FROM alerts") == [(0,)]
    assert rig.rows("SELECT value FROM state WHERE key = 'heartbeat:heard'") == [(repr(NOW),)]


def test_critical_is_due_at_once_and_takes_its_group_along(rig):
    """A critical change ends its group's window."""
    rig.take(an_alert())
    assert rig.aggregator.next_due() == NOW + 3600
    rig.clock.advance(10)
    rig.take(an_alert(name="MLPerformanceDrop", severity="critical"))
    assert rig.aggregator.next_due() == NOW + 10
    (notification,) = rig.flush()
    assert told(notification) == [("MLPerformanceDrop", "firing"), ("MLColumnDrift", "firing")]
    assert notification.severity.text == "critical"


def test_windows_trail_their_first_change(rig):
    """Later changes do not put off a message."""
    rig.take(an_alert())
    rig.clock.advance(1800)
    rig.take(an_alert(column="a"))
    assert rig.aggregator.next_due() == NOW + 3600


def test_an_alert_of_two_groups_of_alertmanager_is_told_once_a_route(rig):
    """Alertmanager may send an alert to two receivers; in a route it stays in the group where it began."""
    rig.take(an_alert())
    rig.take(an_alert(), group_labels={"alertname": "MLColumnDrift"}, receiver="bridge-again")
    rig.take(an_alert(ends_at=NOW), group_labels={"alertname": "MLColumnDrift"})
    rig.take(an_alert(ends_at=NOW))
    rig.clock.advance(3600)
    assert [told(n) for n in rig.flush()] == [[("MLColumnDrift", "passed")]]


def test_routes_go_on_and_group_by(tmp_path):
    """`continue` tells by several routes; `group_by` makes groups of its own."""
    routes = [
        {"name": "all", "channels": ["hook"], "group_by": ["severity"], "continue": True},
        {"name": "fraud", "matchers": ["model=fraud"], "channels": ["hook"]},
        {"name": "rest", "channels": ["hook"]},
    ]
    rig = Rig(tmp_path, routes=routes)
    rig.take(an_alert(), an_alert(model="churn"), group_labels={"x": "y"})
    groups = rig.rows(
        "SELECT route, labels, count(*) FROM groups JOIN members ON group_id = id GROUP BY id ORDER BY route"
    )
    assert groups == [
        ("all", '{"severity":"warning"}', 2),
        ("fraud", '{"x":"y"}', 1),
        ("rest", '{"x":"y"}', 1),
    ]
    rig.close()


def test_alerts_of_this_process_are_bounded_and_cleaned(rig):
    """What code hands over is as safe as what came in a payload, and has a fingerprint."""
    labels = {"alertname": "Mine\ud800", "model": "fraud", "severity": "info", "long": "x" * 5000}
    taken = rig.intake.accept([Alert("", True, labels, {}, NOW + 0.12345)])
    assert taken.changes == {("info", "firing"): 1}
    ((name, start, fingerprint, source, group),) = rig.rows(
        "SELECT name, starts_at, fingerprint, source, groups.labels FROM alerts, groups"
    )
    assert (name, start, len(fingerprint), source) == ("Mine?", NOW + 0.123, 16, "python")
    assert json.loads(group) == {"alertname": "Mine?", "model": "fraud"}


def test_a_full_disk_is_said_and_nothing_is_half_kept(rig):
    """When the store cannot be written nothing of the payload is kept; afterwards it is taken."""
    limit = rig.rows("PRAGMA page_count")[0][0]
    with rig.store.write() as connection:
        connection.execute(f"PRAGMA max_page_count = {limit}")
    alerts = [an_alert(column=f"c{number}", padding="x" * 1000) for number in range(200)]
    with pytest.raises(StorageUnavailableError, match="cannot be written now"):
        rig.take(*alerts)
    assert rig.rows("SELECT count(*) FROM alerts") == [(0,)]
    with rig.store.write() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    assert rig.take(*alerts).changes == {("warning", "firing"): 200}


KILLED = """
import sys
from pathlib import Path
from tests.alerts.bridging import NOW, Rig, an_alert
rig = Rig(Path(sys.argv[1]))
number = 0
while True:
    rig.take(*[an_alert(column=f"{number}-{part}") for part in range(20)])
    print(number, flush=True)
    number += 1
"""


def test_what_was_answered_survives_a_killed_process(tmp_path):
    """After kill -9 every payload that was answered is there in whole, and at most one more."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "data")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(PROJECT)}
    ) as process:
        answered = -1
        for line in process.stdout:
            answered = int(line)
            if answered >= 10:
                process.kill()
                break
        answered = max([answered, *map(int, process.stdout.read().split())])
    rig = Rig(tmp_path / "data")
    columns = rig.rows("SELECT json_extract(labels, '$.column') FROM alerts")
    counts = Counter(column.partition("-")[0] for (column,) in columns)
    assert len(counts) in {answered + 1, answered + 2}
    assert set(counts.values()) == {20}
    rig.close()


def test_a_hundred_alerts_are_taken_quickly(rig):
    """A payload of a hundred alerts takes milliseconds, the write to disk included."""
    times = []
    for batch in range(10):
        body = a_payload([an_alert(column=f"{batch}-{part}") for part in range(100)])
        begun = time.perf_counter()
        rig.intake.take(body)
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.1
