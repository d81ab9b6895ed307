"""Notifications as they are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.alerts.records import Alert, Change, Group, Kind, Notification, NotifiedAlert, Severity
from exporter.alerts.store.content import dump_notification, read_notification

TEXTS = st.text(max_size=20)
LABELS = st.dictionaries(TEXTS, TEXTS, max_size=4)
TIMES = st.floats(0, 4e9)
ALERTS = st.builds(
    Alert,
    fingerprint=TEXTS,
    firing=st.booleans(),
    labels=LABELS,
    annotations=LABELS,
    starts_at=TIMES,
    ends_at=st.none() | TIMES,
    generator_url=TEXTS,
)
TOLD = st.builds(NotifiedAlert, ALERTS, st.sampled_from(Change), st.integers(1, 2**40))
NOTIFICATIONS = st.builds(
    Notification,
    id=TEXTS,
    created=TIMES,
    kind=st.sampled_from(Kind),
    group=st.builds(Group, TEXTS, TEXTS, LABELS),
    severity=st.sampled_from(Severity),
    alerts=st.lists(TOLD, max_size=4).map(tuple),
    firing=st.integers(0, 1000),
    omitted=st.integers(0, 1000),
    text=TEXTS,
)


@given(NOTIFICATIONS)
def test_a_kept_notification_reads_as_it_was(notification):
    """What is dumped reads as the same notification."""
    assert read_notification(dump_notification(notification)) == notification


@pytest.mark.parametrize("cut", [0, 1, 10, -1])
def test_damaged_bytes_are_a_value_error(cut):
    """A notification whose bytes are damaged says so, in the error that the queue expects."""
    group = Group("g", "r", {})
    data = dump_notification(Notification("n", 1.0, Kind.CHANGE, group, Severity.INFO, ()))
    with pytest.raises(ValueError, match="cannot be read"):
        read_notification(data[:cut])
