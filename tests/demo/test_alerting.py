"""What the demo tells its bridge of."""

from __future__ import annotations

from contextlib import closing

from exporter.alerts.payload import parse_webhook
from exporter.client import Client
from exporter.demo.alerting import Watch
from tests.scripted_server import Reply, ScriptedServer


def performance(**drops):
    """Return an answer of the exporter: metrics of the champion with their drops, above 0.1 degraded."""
    metrics = {name: {"value": 0.5, "drop": drop, "degraded": drop > 0.1} for name, drop in drops.items()}
    return Reply(200, {"results": [{"version": "champion", "threshold": 0.1, "metrics": metrics}]})


def test_changes_are_told_once():
    """A drop is told of when it begins and when it ends, in payloads that the bridge can read."""
    posts = []
    with closing(ScriptedServer()) as server, Client(server.url) as client:
        watch = Watch(client, posts.append, "7d")
        for answer in (performance(f1=0.0), performance(f1=0.3), performance(f1=0.2), performance(f1=0.05)):
            server.script.append(answer)
            watch.look(1000.0 * len(server.requests))
    told = [parse_webhook(post).alerts for post in posts]
    assert [[alert.firing for alert in alerts] for alerts in told] == [[True], [False]]
    began, ended = told[0][0], told[1][0]
    assert began.fingerprint == ended.fingerprint
    assert began.starts_at == ended.starts_at
    assert ended.ends_at is not None
    assert ended.ends_at > began.starts_at
    assert dict(began.labels) == {
        "alertname": "MLPerformanceDrop",
        "severity": "warning",
        "model": "flight_delay",
        "version": "champion",
        "window": "7d",
        "metric": "f1",
    }
    assert began.annotations["threshold"] == "0.1"


def test_metrics_without_a_value_are_left_alone():
    """What is not defined yet is neither a drop nor a recovery."""
    with closing(ScriptedServer()) as server, Client(server.url) as client:
        watch = Watch(client, lambda _: None, "7d")
        server.script.append(
            Reply(200, {"results": [{"version": "v", "metrics": {"f1": {"reason": "empty"}}}]})
        )
        watch.look(1.0)
