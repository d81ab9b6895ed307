"""Messages as the composer makes them, built by hand: what channels and templates are tested with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from exporter.alerts.records import (
    Alert,
    Change,
    Delivery,
    Facts,
    Group,
    Kind,
    Message,
    Notification,
    NotifiedAlert,
    Severity,
    View,
    WorstColumn,
)

NOW = 1_780_315_200.0
"""2026-06-01 12:00:00 UTC."""
HOUR = 3600.0
GRAFANA = "http://127.0.0.1:3000"
RUNBOOKS = "http://127.0.0.1:10090/runbooks"
ALERTMANAGER = "http://127.0.0.1:9093"
DROPPED = "f1 of flight_delay v3 over 1d is below the baseline by more than alert_threshold."


def alert(
    name: str = "MLPerformanceDrop",
    *,
    firing: bool = True,
    severity: str = "critical",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    starts_at: float = NOW - 2 * HOUR,
    ends_at: float | None = None,
    fingerprint: str | None = None,
) -> Alert:
    """One alert with the labels and annotations of our rules."""
    all_labels = {
        "alertname": name,
        "severity": severity,
        "model": "flight_delay",
        "version": "v3",
        "window": "1d",
        **(labels or {}),
    }
    all_annotations = {
        "summary": f"{name} on flight_delay",
        "description": "Look at the dashboard first.",
        "runbook_url": f"{RUNBOOKS}/{name}",
        "dashboard_url": f"{GRAFANA}/d/ml-model?var-model=flight_delay&var-version=v3&from=now-7d&to=now",
        **(annotations or {}),
    }
    given = fingerprint or f"{abs(hash_of(sorted(all_labels.items()))):016x}"
    ended = (NOW - 60.0 if not firing else None) if ends_at is None else ends_at
    return Alert(given, firing, all_labels, all_annotations, starts_at, ended, "http://127.0.0.1:9090/graph")


def hash_of(items: Any) -> int:
    """Give a number that is the same in every process."""
    number = 0xCBF29CE484222325
    for byte in repr(items).encode("utf-8", "surrogatepass"):
        number = ((number ^ byte) * 0x100000001B3) % 2**64
    return number


def links_of(name: str) -> dict[str, str]:
    return {
        "dashboard": f"{GRAFANA}/d/ml-model?var-model=flight_delay&var-version=v3&from=now-7d&to=now",
        "runbook": f"{RUNBOOKS}/{name}",
        "silence": f"{ALERTMANAGER}/#/silences/new?filter=%7Balertname%3D%22{name}%22%7D",
    }


def message(
    views: tuple[View, ...],
    *,
    title: str,
    kind: Kind = Kind.CHANGE,
    severity: Severity | None = None,
    notification_id: str = "01JWPM3Z0000000000000000A1",
    group: Group | None = None,
    omitted: int = 0,
    text: str = "",
    made_at: float = NOW,
) -> Message:
    """Views as a message of one group; what is not given follows from the views."""
    firing = sum(view.alert.firing for view in views)
    highest = max((view.alert.severity for view in views), default=Severity.INFO)
    models = {view.alert.model for view in views}
    versions = {view.alert.labels.get("version", "") for view in views}
    of_group = group or Group(
        "4f1c2a9be07d", "routes[0]", {"alertname": "MLPerformanceDrop", "model": "flight_delay"}
    )
    notification = Notification(
        id=notification_id,
        created=made_at - 1.0,
        kind=kind,
        group=of_group,
        severity=severity if severity is not None else highest,
        alerts=tuple(NotifiedAlert(view.alert, view.change, i + 1) for i, view in enumerate(views)),
        firing=firing + omitted + (kind is Kind.SILENCE),
        omitted=omitted,
        text=text,
    )
    links = dict(views[0].links) if views else {}
    return Message(
        notification=notification,
        title=title,
        status="firing" if firing or kind is Kind.SILENCE else "resolved",
        severity=notification.severity,
        model=models.pop() if len(models) == 1 else "",
        version=versions.pop() if len(versions) == 1 else "",
        views=views,
        links=links | {"alertmanager": ALERTMANAGER},
        made_at=made_at,
    )


def f1_history(points: int = 48, *, until: float = NOW) -> tuple[tuple[float, float], ...]:
    """A day's values that hold for two thirds and fall then."""
    values = []
    for i in range(points):
        fallen = max(0.0, i - points * 2 / 3) / points
        values.append((until - (points - 1 - i) * HOUR / 2, 0.86 + 0.012 * math.sin(i * 1.3) - 0.5 * fallen))
    return tuple(values)


def performance_drop() -> Message:
    """One critical alert: F1 fell by more than the threshold."""
    name = "MLPerformanceDrop"
    view = View(
        alert=alert(
            name,
            labels={"metric": "f1"},
            annotations={
                "summary": "Performance of flight_delay dropped",
                "description": DROPPED,
                "measure": "performance",
                "value": "0.153",
                "threshold": "0.1",
            },
        ),
        change=Change.FIRING,
        summary="Performance of flight_delay dropped",
        description=DROPPED,
        what="f1 is 0.707, the baseline's was 0.86: a drop of 0.153, threshold 0.1",
        facts=Facts(
            measure="performance",
            current=0.707,
            threshold=0.1,
            baseline=0.86,
            lower=0.689,
            upper=0.725,
            unit="ratio",
            rows=4210,
            at=NOW - 600.0,
            history=f1_history(),
            worst_columns=(
                WorstColumn("distance", 0.31, 0.021, "ks"),
                WorstColumn("carrier", 0.22, 0.035, "chi2"),
                WorstColumn("origin", 0.12, 0.033, "chi2"),
            ),
        ),
        links=links_of(name),
    )
    return message((view,), title="flight_delay v3: f1 dropped by 0.153")


def _drifted(i: int, *, change: Change = Change.FIRING) -> View:
    name = "MLColumnDrift"
    column = f"feature_{i:02d}"
    statistic, critical = 0.08 + i * 0.007, 0.031
    description = f"The distribution of {column} has differed from the baseline for 6h."
    firing = change not in {Change.RESOLVED, Change.PASSED}
    return View(
        alert=alert(
            name,
            firing=firing,
            severity="warning",
            labels={"column": column, "role": "feature", "method": "ks"},
            annotations={
                "summary": "Columns of flight_delay drifted",
                "description": description,
                "measure": "drift",
                "value": f"{statistic:.3f}",
                "threshold": f"{critical:.3f}",
            },
            starts_at=NOW - HOUR - 60.0 * i,
        ),
        change=change,
        summary="Columns of flight_delay drifted",
        description=description,
        what=f"{column}: ks is {statistic:.3f}, critical value {critical:.3f}",
        facts=Facts(
            measure="drift",
            current=statistic,
            threshold=critical,
            unit="ratio",
            rows=10_000,
            at=NOW - 300.0,
            history=tuple((NOW - (23 - k) * HOUR, 0.01 + max(0, k - 12) * statistic / 12) for k in range(24)),
        ),
        links=links_of(name),
    )


def column_drift(n: int = 40) -> Message:
    """Tell of `n` columns that drifted, as one group of warnings."""
    group = Group("9a03c51d77e2", "routes[1]", {"alertname": "MLColumnDrift", "model": "flight_delay"})
    return message(
        tuple(_drifted(i) for i in range(n)),
        title=f"flight_delay v3: {n} columns drifted",
        group=group,
        notification_id="01JWPM3Z0000000000000000B2",
    )


def _after(what: str, facts: Facts, *, ending: str, description: str) -> View:
    name = "MLPerformanceDrop"
    return View(
        alert=alert(
            name,
            firing=False,
            labels={"metric": "f1"},
            annotations={
                "summary": "Performance of flight_delay dropped",
                "measure": "performance",
                "value": "0.153",
            },
        ),
        change=Change.RESOLVED,
        summary="Performance of flight_delay dropped",
        description=description,
        what=what,
        facts=facts,
        ending=ending,
        links=links_of(name),
    )


def resolved() -> Message:
    """The same alert, resolved: the value is back, and it is the current one."""
    facts = Facts(
        measure="performance",
        current=0.851,
        threshold=0.1,
        baseline=0.86,
        lower=0.839,
        upper=0.863,
        unit="ratio",
        rows=4388,
        at=NOW - 120.0,
        history=(*f1_history(until=NOW - HOUR), (NOW, 0.851)),
    )
    view = _after(
        "f1 is 0.851 now, the baseline's was 0.86: a drop of 0.009, threshold 0.1",
        facts,
        ending="recovered",
        description=DROPPED,
    )
    return message(
        (view,), title="Recovered: flight_delay v3 f1 is 0.851", notification_id="01JWPM3Z0000000000000000C3"
    )


def no_data() -> Message:
    """The same alert, resolved only because there is nothing to measure any more."""
    view = _after(
        "there is no current value of f1: insufficient_labels",
        Facts(
            measure="performance", baseline=0.86, threshold=0.1, unit="ratio", undefined="insufficient_labels"
        ),
        ending="no data",
        description=DROPPED,
    )
    return message((view,), title="No data: flight_delay v3 f1", notification_id="01JWPM3Z0000000000000000D4")


HOSTILE = (
    "<!channel> <!here> <@U012AB3CD> @here @everyone &lt;!channel&gt; `code` ```block``` *bold* _it_ ~no~ "
    "<http://evil.example|click> <script>alert(1)</script> \u202eesrever\u202c zero\u200bwidth\ufeff "
    "\ud83d\ude00 emoji {{ 7*7 }} {% raw %} \x00\x07\x1b[31m "
    "\r\n\r\n.\r\nSubject: injected\r\nBcc: a@b.example"
)


def hostile(text: str = HOSTILE) -> Message:
    """Every text that comes from outside tries to be something else."""
    bad = View(
        alert=alert(
            "MLValidationRuleFailing",
            severity="critical",
            labels={"column": text, "rule": text, "model": text, "version": text, text[:40]: text},
            annotations={
                "summary": text,
                "description": text * 60,
                "runbook_url": "javascript:alert(1)",
                "dashboard_url": f"http://x.example/{text}",
            },
        ),
        change=Change.FIRING,
        summary=text,
        description=text * 60,
        what=text,
        facts=Facts(
            measure=text,
            current=math.nan,
            threshold=math.inf,
            unit=text,
            rows=-1,
            undefined=text,
            history=((NOW - 1, math.nan), (NOW, math.inf), (math.nan, 1.0)),
            worst_columns=(WorstColumn(text, math.nan, math.inf, text),) * 30,
        ),
        links={
            "runbook": "javascript:alert(1)",
            "dashboard": f"http://x.example/{text}",
            "silence": "http://a/" + "b" * 5000,
        },
    )
    group = Group("000000000bad", "routes[0]", {text: text})
    return message(
        (bad,) * 3, title=text[:150], group=group, notification_id="01JWPM3Z0000000000000000E5", text=text
    )


def test_message() -> Message:
    """What `POST /api/v1/test/{channel}` sends."""
    return message(
        (),
        title="Test of ml-exporter",
        kind=Kind.TEST,
        severity=Severity.INFO,
        group=Group("test", "test", {}),
        text="This is a test message: the channel works.",
        notification_id="01JWPM3Z0000000000000000F6",
    )


test_message.__test__ = False  # type: ignore[attr-defined]  # pytest collects what is imported under this name


def missing_heartbeat() -> Message:
    """Prometheus or Alertmanager went silent."""
    return message(
        (),
        title="No heartbeat for 15m",
        kind=Kind.SILENCE,
        severity=Severity.CRITICAL,
        group=Group("heartbeat", "heartbeat", {}),
        text="No heartbeat was heard for 15m: alerts may not get through.",
        notification_id="01JWPM3Z0000000000000000G7",
    )


def delivery(of: Message, *, channel: str = "chat", attempt: int = 1, **changes: Any) -> Delivery:
    """Put a message on its way to one channel."""
    return Delivery(
        id=1, channel=channel, notification=of.notification, attempt=attempt, lease="lease", **changes
    )
