"""The alert that always fires: heard, silent, told of once, and back."""

from __future__ import annotations

import pytest

from exporter.alerts.heartbeat import Heartbeat
from exporter.alerts.records import Kind, Severity
from tests.alerts.bridging import HOOK, NOW, Rig, an_alert

ROUTES = [
    {"matchers": ["severity=critical"], "channels": ["pager", "chat"]},
    {"channels": ["chat"]},
]
CHANNELS = {"pager": HOOK, "chat": HOOK, "mail": HOOK}


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path / "data", channels=CHANNELS, routes=ROUTES)
    yield made
    made.close()


def beat(rig):
    return rig.take(an_alert("MLHeartbeat", severity="info"))


def listening(rig):
    return Heartbeat(rig.config, rig.store, rig.clock)


def test_silence_is_told_once_and_its_end_too(rig):
    """After the timeout one message to the channels of critical alerts; one more when it is heard."""
    heartbeat = listening(rig)
    beat(rig)
    rig.clock.advance(15 * 60)
    assert not heartbeat.check(rig.clock.time())
    rig.clock.advance(1)
    assert heartbeat.check(rig.clock.time())
    assert not heartbeat.check(rig.clock.time())
    rig.clock.advance(100)
    beat(rig)
    beat(rig)
    silence, back = rig.notifications()
    assert (silence.kind, silence.severity, silence.firing) == (Kind.SILENCE, Severity.CRITICAL, 1)
    assert "since 2026-11-24T04:00:00Z" in silence.text
    assert (back.kind, back.firing, back.group) == (Kind.SILENCE, 0, silence.group)
    assert "back after 16m41s" in back.text
    rows = rig.rows("SELECT channel FROM deliveries WHERE notification = ? ORDER BY id", silence.id)
    assert rows == [("pager",), ("chat",)]
    rig.clock.advance(15 * 60 + 1)
    assert heartbeat.check(rig.clock.time())


def test_who_never_heard_one_misses_none(rig):
    """Without a first beat there is no silence: perhaps nobody set it up."""
    heartbeat = listening(rig)
    rig.clock.advance(10 * 3600)
    assert not heartbeat.check(rig.clock.time())
    assert heartbeat.heard_at() is None


def test_a_bridge_that_was_down_listens_before_it_cries(rig):
    """After a long stop silence counts from the start, since nothing could be heard before."""
    beat(rig)
    rig.clock.advance(24 * 3600)
    heartbeat = listening(rig)
    rig.clock.advance(15 * 60)
    assert not heartbeat.check(rig.clock.time())
    rig.clock.advance(1)
    assert heartbeat.check(rig.clock.time())


def test_channels_and_matchers_can_be_chosen(rig):
    """Any alert can be the heartbeat, and any channel hear of its silence."""
    rig.configure(heartbeat={"matchers": ["alertname=Watchdog"], "channels": ["mail"], "timeout": "1m"})
    heartbeat = listening(rig)
    rig.take(an_alert("Watchdog"))
    assert heartbeat.heard_at() == NOW
    rig.clock.advance(61)
    assert heartbeat.check(rig.clock.time())
    assert rig.rows("SELECT channel FROM deliveries") == [("mail",)]
    assert rig.rows("SELECT count(*) FROM alerts") == [(0,)]


def test_a_resolved_heartbeat_is_not_heard(rig):
    """The end of the alert that always fires is no beat."""
    rig.take(an_alert("MLHeartbeat", severity="info", ends_at=NOW))
    assert listening(rig).heard_at() is None
