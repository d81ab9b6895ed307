"""What is old goes, with all that belongs to it; what fires or waits stays, however old."""

from __future__ import annotations

import pytest

from exporter.alerts import expiry
from exporter.alerts.expiry import Expiry
from exporter.alerts.records import Receipt
from tests.alerts.bridging import NOW, Rig, an_alert

DAY = 86_400.0
TABLES = (
    "alerts",
    "events",
    "notifications",
    "notified_models",
    "told_of",
    "deliveries",
    "members",
    "groups",
)


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path / "data", aggregation_window="0s", retention="30d")
    yield made
    made.close()


def counts(rig):
    return {table: rig.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def deliver(rig):
    while (delivery := rig.store.outbox.lease("hook", now=rig.clock.time(), lease_seconds=60)) is not None:
        rig.store.outbox.acknowledge(delivery, Receipt("ok", {"ts": "1"}), rig.clock.time())


def expire(rig):
    return Expiry(rig.config, rig.store).expire(rig.clock.time())


def test_life_that_ended_long_ago_goes_with_everything_of_it(rig):
    """Alert, events, notifications, deliveries, group and thread: nothing is left."""
    rig.take(an_alert())
    rig.flush()
    deliver(rig)
    rig.clock.advance(60)
    rig.take(an_alert(ends_at=NOW + 30))
    rig.flush()
    deliver(rig)
    rig.clock.advance(29 * DAY)
    assert expire(rig) == 0
    assert counts(rig)["notifications"] == 2
    rig.clock.advance(2 * DAY)
    assert expire(rig) == 3
    assert counts(rig) == dict.fromkeys(TABLES, 0)
    assert rig.rows("SELECT count(*) FROM threads") == [(0,)]


def test_alert_that_fires_and_delivery_that_waits_stay(rig):
    """Age alone takes nothing away that is not over."""
    rig.take(an_alert("MLA"), group_labels={"alertname": "MLA"})
    rig.flush()
    deliver(rig)
    rig.take(an_alert("MLB"), group_labels={"alertname": "MLB"})
    rig.flush()
    rig.clock.advance(90 * DAY)
    assert expire(rig) == 1
    left = counts(rig)
    assert left["alerts"] == 2
    assert left["members"] == 2
    assert left["deliveries"] == left["notifications"] == left["notified_models"] == 1
    assert rig.rows("SELECT count(*) FROM threads") == [(1,)]


def test_end_that_nobody_was_told_of_is_not_forgotten(rig):
    """A resolved alert stays while its group still has to tell of it."""
    rig.configure(aggregation_window="90d")
    rig.take(an_alert())
    rig.take(an_alert(ends_at=NOW))
    rig.clock.advance(60 * DAY)
    assert expire(rig) == 0
    assert counts(rig)["alerts"] == 1


def test_dead_letters_go_with_their_notification(rig):
    """They stay until the retention is over, so that they can be sent again."""
    rig.take(an_alert())
    rig.flush()
    delivery = rig.store.outbox.lease("hook", now=NOW, lease_seconds=60)
    rig.store.outbox.bury(delivery, "no", NOW)
    rig.clock.advance(29 * DAY)
    expire(rig)
    assert rig.store.outbox.counts()["hook"].dead == 1
    rig.clock.advance(2 * DAY)
    expire(rig)
    assert rig.store.outbox.counts() == {}


def test_much_goes_in_small_transactions(rig, monkeypatch):
    """However much is old, each transaction takes a bounded part of it, and all of it goes."""
    monkeypatch.setattr(expiry, "AT_ONCE", 10)
    alerts = [an_alert(ends_at=NOW, number=str(number)) for number in range(35)]
    rig.take(*alerts)
    rig.flush()
    deliver(rig)
    rig.clock.advance(31 * DAY)
    assert expire(rig) == 36
    assert counts(rig)["alerts"] == 0
