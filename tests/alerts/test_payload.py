"""Alertmanager's webhook: what is taken, what is refused and how that is said."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.alerts.payload import (
    LONGEST_ANNOTATION,
    LONGEST_LABEL,
    MOST_BYTES,
    MOST_CHARACTERS,
    MOST_LABELS,
    fingerprint_of,
    parse_webhook,
)
from exporter.errors import BadRequestError, TooLargeError, UnreadableError

FIRING = {
    "status": "firing",
    "labels": {"alertname": "MLColumnDrift", "model": "fraud", "severity": "warning", "column": "amount"},
    "annotations": {"summary": "amount drifts"},
    "startsAt": "2026-11-24T04:00:00.123456789Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus/graph?g0.expr=1",
    "fingerprint": "a1b2c3d4e5f60718",
}
PAYLOAD = {
    "receiver": "bridge",
    "status": "firing",
    "alerts": [FIRING],
    "groupLabels": {"model": "fraud"},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager:9093",
    "version": "4",
    "groupKey": '{}:{model="fraud"}',
    "truncatedAlerts": 3,
}
START = 1795492800.123


def parsed(alerts=None, **changes):
    """Parse the payload with other alerts or other keys."""
    return parse_webhook(
        json.dumps(PAYLOAD | ({} if alerts is None else {"alerts": alerts}) | changes).encode()
    )


def test_a_firing_alert_is_read():
    """Every part of a firing alert and of its group is where it belongs; the zero time means no end."""
    webhook = parsed()
    (alert,) = webhook.alerts
    assert (webhook.receiver, webhook.group_labels) == ("bridge", {"model": "fraud"})
    assert (webhook.group_key, webhook.truncated_alerts) == ('{}:{model="fraud"}', 3)
    assert webhook.external_url == "http://alertmanager:9093"
    assert (alert.name, alert.model, alert.severity.text) == ("MLColumnDrift", "fraud", "warning")
    assert (alert.firing, alert.starts_at, alert.ends_at) == (True, START, None)
    assert alert.fingerprint == "a1b2c3d4e5f60718"
    assert alert.annotations == {"summary": "amount drifts"}
    assert (webhook.refused, webhook.cut) == ((), 0)


def test_a_resolved_alert_has_an_end():
    """A resolved alert ends when it says; one that does not say has no end yet."""
    ended = FIRING | {"status": "resolved", "endsAt": "2026-11-24T05:00:01+01:00"}
    open_end = {name: value for name, value in ended.items() if name != "endsAt"}
    webhook = parsed([ended, open_end, ended | {"endsAt": "0001-01-01T00:00:00Z"}])
    assert [(alert.firing, alert.ends_at) for alert in webhook.alerts] == [
        (False, 1795492801.0),
        (False, None),
        (False, None),
    ]


def test_unknown_keys_and_later_versions_are_taken():
    """Newer Alertmanagers add keys and may count the version up."""
    assert parsed([FIRING | {"novelty": [1]}], version="5", notificationReason="first").alerts
    assert parsed(version=4).alerts


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-24T04:00:00Z", 1795492800.0),
        ("2026-11-24T04:00:00.1Z", 1795492800.1),
        ("2026-11-24T04:00:00.999999999Z", 1795492800.999),
        ("2026-11-24t04:00:00z", 1795492800.0),
        ("2026-11-24T09:30:00+05:30", 1795492800.0),
        ("1969-12-31T23:59:59.5Z", -0.5),
    ],
)
def test_times_are_cut_to_milliseconds(text, seconds):
    """Nanoseconds and zones of Go's times are understood; the API of Alertmanager shows milliseconds."""
    assert parsed([FIRING | {"startsAt": text}]).alerts[0].starts_at == seconds


@given(st.integers(0, 4_000_000_000_000), st.integers(0, 999_999))
def test_every_millisecond_is_kept(milliseconds, nanoseconds):
    """Cutting to milliseconds never loses one, whatever floats make of it."""
    seconds, rest = divmod(milliseconds, 1000)
    shown = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}{nanoseconds:06d}Z"
    assert round(parsed([FIRING | {"startsAt": shown}]).alerts[0].starts_at * 1000) == milliseconds


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"startsAt": "yesterday"}, 'alerts[0].startsAt: expected an RFC 3339 time, but "yesterday" came'),
        ({"startsAt": "2026-13-24T04:00:00Z"}, "alerts[0].startsAt: expected an RFC 3339 time"),
        ({"startsAt": 1795492800}, "alerts[0].startsAt: expected an RFC 3339 time, but 1795492800 came"),
        ({"startsAt": None}, "alerts[0].startsAt: expected an RFC 3339 time, but there is none"),
        ({"startsAt": "0001-01-01T00:00:00Z"}, "alerts[0].startsAt: expected the time when it began"),
        ({"status": "burning"}, 'alerts[0].status: expected "firing" or "resolved", but "burning" came'),
        ({"labels": {}}, "alerts[0].labels: expected at least one label"),
        ({"labels": {"a": 1}}, "alerts[0].labels.a: expected a text, but 1 came"),
        ({"labels": ["a"]}, "alerts[0].labels: expected an object of texts, but a list came"),
        ({"annotations": "x"}, 'alerts[0].annotations: expected an object of texts, but "x" came'),
        ({"fingerprint": 5}, "alerts[0].fingerprint: expected a text, but 5 came"),
        ({"status": "resolved", "endsAt": "x"}, 'alerts[0].endsAt: expected an RFC 3339 time, but "x" came'),
    ],
)
def test_a_wrong_alert_is_named_by_its_place(change, said):
    """The sentence names the place, what was expected there and what came."""
    with pytest.raises(BadRequestError) as caught:
        parsed([FIRING | change])
    assert caught.value.message.startswith(said)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "expected JSON"),
        (b"\xff\xfe", "expected JSON"),
        (b'{"alerts": [', "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b"[]", "the body: expected an object as Alertmanager's webhook sends it, but a list came"),
        (b"{}", "alerts: expected a list of alerts, but there is none"),
        (b'{"alerts": {}}', "alerts: expected a list of alerts, but an object came"),
        (b'{"alerts": []}', "alerts: expected at least one alert, but the list is empty"),
        (b'{"version": "3", "alerts": [1]}', 'version: expected "4" or later, but "3" came'),
        (b'{"alerts": [7]}', "alerts[0]: expected an object with an alert, but 7 came"),
        (b'{"alerts": [7, 8]}', "alerts[0]: expected an object with an alert, but 7 came (and 1 more"),
        (b'{"alerts": [{}], "groupLabels": 1}', "groupLabels: expected an object of texts, but 1 came"),
    ],
)
def test_a_wrong_payload_says_what_is_wrong(body, said):
    """Whatever comes instead of a webhook is answered with one sentence and 400."""
    with pytest.raises(BadRequestError) as caught:
        parse_webhook(body)
    assert caught.value.message.startswith(said)
    assert isinstance(caught.value, UnreadableError) == said.startswith("expected JSON")


def test_one_bad_alert_does_not_cost_the_good_ones():
    """The good alerts are taken; the bad one is kept with its reason, since it is never sent again."""
    webhook = parsed([FIRING, FIRING | {"startsAt": "soon"}, FIRING | {"fingerprint": "b"}])
    assert [alert.fingerprint for alert in webhook.alerts] == ["a1b2c3d4e5f60718", "b"]
    (refused,) = webhook.refused
    assert refused.reason.startswith("alerts[1].startsAt: ")
    assert json.loads(refused.raw)["startsAt"] == "soon"


def test_a_missing_fingerprint_is_computed_as_alertmanager_does():
    """FNV-1a over names and values, so that the alert has the same name as in Alertmanager's API."""
    (alert,) = parsed([{name: value for name, value in FIRING.items() if name != "fingerprint"}]).alerts
    assert fingerprint_of({"alertname": "InstanceDown"}) == "87b13d6d636b9edd"  # of Alertmanager 0.25
    assert alert.fingerprint == fingerprint_of(FIRING["labels"])
    assert parsed([FIRING | {"fingerprint": "f" * 5000}]).alerts[0].fingerprint == alert.fingerprint


def test_hostile_sizes_are_cut_with_a_mark_and_counted():
    """Labels and annotations stay within limits; those that routing reads are the last to go."""
    labels = (
        {f"l{number:03d}": "x" for number in range(100)} | FIRING["labels"] | {"a": "x" * 5000, "n" * 300: ""}
    )
    annotations = {f"a{number}": "y" * 9000 for number in range(20)} | {"summary": "s"}
    webhook = parsed([FIRING | {"labels": labels, "annotations": annotations}])
    (alert,) = webhook.alerts
    assert len(alert.labels) == MOST_LABELS
    assert alert.labels.items() >= FIRING["labels"].items()
    assert len(alert.labels["a"]) == LONGEST_LABEL
    assert alert.labels["a"].endswith("…")
    assert sum(map(len, alert.annotations.values())) <= MOST_CHARACTERS
    assert len(alert.annotations["a0"]) == LONGEST_ANNOTATION
    assert alert.annotations["summary"] == "s"
    assert webhook.cut > 50


def test_a_body_beyond_the_limit_is_refused_before_it_is_read():
    """A body that is too large is refused by its size."""
    with pytest.raises(TooLargeError, match="at most 8388608 bytes"):
        parse_webhook(b"[" * (MOST_BYTES + 1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted(set(PAYLOAD) | set(FIRING))) | st.text(max_size=3), inner)
    ),
    max_leaves=12,
)


@given(JSON, JSON, st.sampled_from(sorted(PAYLOAD)), st.sampled_from(sorted(FIRING)))
def test_any_json_is_a_webhook_or_a_sentence(part, alert_part, key, alert_key):
    """Nothing but the expected error is raised for any JSON in any place."""
    for alerts in ([FIRING | {alert_key: alert_part}], [FIRING, part]):
        said = "a sentence that is long enough"
        try:
            parsed(alerts, **({key: part} if key != "alerts" else {}))
        except BadRequestError as error:
            said = error.message
        assert 10 < len(said) < 400
