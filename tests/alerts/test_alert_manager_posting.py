"""`AlertManager` with an Alertmanager: a real one, one that restarts, and one that refuses."""

from __future__ import annotations

import logging
import time

import pytest

from exporter import AlertManager
from exporter.alerts.records import Alert
from exporter.alerts.sending.alertmanager import AlertmanagerWay
from exporter.clock import SystemClock
from exporter.errors import PermanentDeliveryError
from tests.alertmanager import running_alertmanager
from tests.scripted_server import Reply, ScriptedServer

PATIENCE = 20.0
QUIET = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
    return found


@pytest.fixture
def server():
    running = ScriptedServer()
    running.accept = lambda _: Reply(200)
    yield running
    running.close()


def sent(server):
    """Return the alerts of all posts, in their order."""
    import orjson

    return [alert for seen in server.requests for alert in orjson.loads(seen.body)]


@pytest.mark.prometheus
def test_real_alertmanager_takes_and_resolves(requires_program, tmp_path, free_port):
    """Alerts fire in Alertmanager with labels and annotations until they are resolved."""
    program = requires_program("alertmanager")
    with running_alertmanager(program, tmp_path, QUIET, free_port()) as server:
        with AlertManager("m", alertmanager_url=f"{server.url}/", labels={"team": "risk"}) as alerts:
            alerts.send_alert("drift", "age drifted", value=0.3, threshold=0.2)
            alerts.send_alert("outage", "no predictions", severity="critical")
            found = {alert["labels"]["alertname"]: alert for alert in wait_for(server.alerts)}
            assert set(found) == {"drift", "outage"}
            assert found["drift"]["labels"] == {
                "alertname": "drift",
                "model": "m",
                "severity": "warning",
                "team": "risk",
            }
            assert found["drift"]["annotations"] == {
                "summary": "age drifted",
                "value": "0.3",
                "threshold": "0.2",
            }
            assert alerts.resolve("drift") == 1
            wait_for(lambda: [a["labels"]["alertname"] for a in server.alerts()] == ["outage"])
            assert alerts.history["state"].tolist() == ["resolved", "firing"]
            assert alerts.notifications.empty
        assert [alert["labels"]["alertname"] for alert in server.alerts()] == ["outage"]


@pytest.mark.prometheus
def test_alertmanager_that_comes_later_gets_everything(requires_program, tmp_path, free_port, caplog):
    """What could not be posted waits, and is posted once Alertmanager is there."""
    program, port = requires_program("alertmanager"), free_port()
    with AlertManager("m", alertmanager_url=f"http://127.0.0.1:{port}") as alerts:
        with caplog.at_level(logging.WARNING):
            alerts.send_alert("drift", "age drifted")
        assert "waits for Alertmanager" in caplog.text
        assert alerts.flush(0.1) == 1
        with running_alertmanager(program, tmp_path, QUIET, port) as server:
            assert alerts.flush(10) == 0
            assert [alert["labels"]["alertname"] for alert in server.alerts()] == ["drift"]


def a_way(server, **options):
    return AlertmanagerWay(server.url, lasting=60.0, clock=SystemClock(), **options)


def drift(*, ends_at=None):
    labels = {"alertname": "drift", "model": "m"}
    return Alert("f", ends_at is None, labels, {"summary": "age drifted"}, time.time() - 5, ends_at)


def test_waiting_alerts_are_tried_again_by_themselves(server):
    """After failures the sender tries again without being asked, and the last word is said last."""
    server.script.extend([Reply(503), Reply(500), Reply(cut=True)])
    way = a_way(server, retry_seconds=0.05)
    way.send([drift()])
    way.send([drift(ends_at=time.time())])
    wait_for(lambda: len(server.requests) >= 4)
    assert way.close(5) == []
    ends = [alert["endsAt"] for alert in sent(server)]
    assert ends[-1] < ends[0]


def test_what_fires_is_sent_again(server):
    """Alertmanager forgets alerts when it restarts, so what fires is posted again and again."""
    way = a_way(server, repeat_seconds=0.1)
    way.send([drift()])
    wait_for(lambda: len(server.requests) >= 3)
    assert len({alert["startsAt"] for alert in sent(server)}) == 1
    way.send([drift(ends_at=time.time())])
    way.flush(5)
    ended = server.requests[-1]
    assert way.close(0.5) == []
    assert server.requests[-1] is ended


def test_refused_alert_is_an_error(server):
    """What Alertmanager refuses for good is told to the caller, and does not stand in the way."""
    server.script.append(Reply(400, b"bad label"))
    with AlertManager("m", alertmanager_url=server.url) as alerts:
        with pytest.raises(PermanentDeliveryError, match="400: bad label"):
            alerts.send_alert("drift", "age drifted")
        alerts.send_alert("other", "fine")
        assert alerts.flush(0) == 0


def test_what_cannot_be_sent_is_warned_of(free_port, caplog):
    """Closing takes no longer than it may, and says how many alerts are lost; a password is not shown."""
    port = free_port()
    alerts = AlertManager("m", alertmanager_url=f"http://user:SECRET@127.0.0.1:{port}")
    with caplog.at_level(logging.WARNING):
        alerts.send_alert("drift", "age drifted")
        started = time.monotonic()
        alerts.close(timeout=0.3)
    assert time.monotonic() - started < 5
    assert "1 alerts were not taken by Alertmanager" in caplog.text
    assert "SECRET" not in caplog.text
