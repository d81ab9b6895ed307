"""What Alertmanager knows sets right what the bridge holds, but never at once and never wrongly."""

from __future__ import annotations

import subprocess
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import orjson
import pytest
import requests

from exporter.alerts.alertmanager_api import AlertmanagerUnavailableError
from exporter.alerts.questions import Questions
from exporter.alerts.reconciliation import ENDED_SECONDS, MISSED_SECONDS, Reconciled, Reconciler
from tests.alerts.bridging import NOW, Rig, an_alert, rfc3339, told

PATIENCE = 30.0
SILENCE = {"id": "s1", "createdBy": "ada", "endsAt": "2026-11-25T00:00:00Z", "comment": "known, being mended"}


class AlertmanagerPeer:
    """Answers as Alertmanager's API, with groups and silences that the test sets."""

    def __init__(self):
        self.groups, self.silences, self.config, self.raw = [], [], "route: {receiver: bridge}", None
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                path = self.path.partition("?")[0]
                answers = {
                    "/api/v2/alerts/groups": peer.groups,
                    "/api/v2/silences": peer.silences,
                    "/api/v2/status": {"config": {"original": peer.config}},
                }
                content = orjson.dumps(answers[path]) if peer.raw is None else peer.raw
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def has(self, *alerts, receiver="bridge", **status):
        """From now on it has these alerts, in one group."""
        states = {"state": "active", "silencedBy": [], "inhibitedBy": []} | status
        members = [{**alert, "status": states} for alert in alerts]
        self.groups = [{"labels": {"model": "fraud"}, "receiver": {"name": receiver}, "alerts": members}]

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def peer():
    made = AlertmanagerPeer()
    yield made
    made.close()


@pytest.fixture
def rig(tmp_path, peer):
    made = Rig(tmp_path / "data", aggregation_window="0s", links={"alertmanager": peer.url})
    made.take(an_alert("MLKnown", starts_at=NOW - 60))
    made.flush()
    yield made
    made.close()


@pytest.fixture
def reconciler(rig):
    return Reconciler(rig.config, rig.store, rig.clock, rig.intake)


def states(rig):
    return {alert["name"]: alert["state"] for alert in Questions(rig.store).alerts()["alerts"]}


def settle(rig, reconciler, seconds):
    """Reconcile once a minute for so long; gives what was found in all."""
    found = Reconciled()
    for _ in range(int(seconds // 60) + 1):
        one = reconciler.reconcile()
        found = Reconciled(found.missed + one.missed, found.ended + one.ended)
        rig.clock.advance(60.0)
    return found


KNOWN = an_alert("MLKnown", starts_at=NOW - 60)


def test_silence_is_seen_with_its_author_and_its_end(rig, peer, reconciler):
    """Who, until when and why; and that it is over."""
    peer.has(KNOWN, state="suppressed", silencedBy=["s1"])
    peer.silences = [SILENCE]
    assert reconciler.reconcile() == Reconciled()
    (alert,) = Questions(rig.store).alerts(state="silenced")["alerts"]
    assert alert["suppressed_by"] == {
        "silence": "s1",
        "by": "ada",
        "until": "2026-11-25T00:00:00Z",
        "comment": "known, being mended",
    }
    reconciler.reconcile()
    peer.has(KNOWN)
    reconciler.reconcile()
    assert states(rig) == {"MLKnown": "firing"}
    assert rig.events() == ["firing", "silenced", "unsilenced"]


def test_inhibition_is_seen_and_turns_into_a_silence(rig, peer, reconciler):
    """Each change of what mutes an alert is an event of its life."""
    peer.has(KNOWN, state="suppressed", inhibitedBy=["abc"])
    reconciler.reconcile()
    assert states(rig) == {"MLKnown": "inhibited"}
    peer.has(KNOWN, state="suppressed", silencedBy=["gone"])
    reconciler.reconcile()
    assert states(rig) == {"MLKnown": "silenced"}
    assert rig.events() == ["firing", "inhibited", "uninhibited", "silenced"]


def test_alert_that_is_gone_for_long_has_ended(rig, peer, reconciler):
    """Its end is told; one that is missing for a moment, as after a restart, fires on."""
    peer.has()
    assert settle(rig, reconciler, ENDED_SECONDS - 60) == Reconciled()
    peer.has(KNOWN)
    reconciler.reconcile()
    peer.has()
    assert settle(rig, reconciler, ENDED_SECONDS - 60) == Reconciled()
    assert states(rig) == {"MLKnown": "firing"}
    assert settle(rig, reconciler, 120) == Reconciled(ended=1)
    assert states(rig) == {"MLKnown": "resolved"}
    assert [told(one) for one in rig.flush()] == [[("MLKnown", "resolved")]]


def test_alert_that_goes_to_another_receiver_now_has_not_ended(rig, peer, reconciler):
    """Routes were edited, but it fires."""
    peer.has(KNOWN, receiver="somebody else")
    assert settle(rig, reconciler, 2 * ENDED_SECONDS) == Reconciled()
    assert states(rig) == {"MLKnown": "firing"}


def test_alert_that_was_heard_of_meanwhile_has_not_ended(rig, peer, reconciler):
    """A webhook says more than the API that lacks it."""
    peer.has()
    settle(rig, reconciler, ENDED_SECONDS - 120)
    rig.take(KNOWN)
    assert settle(rig, reconciler, ENDED_SECONDS - 120) == Reconciled()


def test_alert_that_was_never_told_is_taken_in_after_a_while(rig, peer, reconciler):
    """Alertmanager waits before it tells, so it is given time; then the alert goes the usual way."""
    peer.has(KNOWN, an_alert("MLMissed", starts_at=NOW - 5))
    assert settle(rig, reconciler, MISSED_SECONDS - 60) == Reconciled()
    assert settle(rig, reconciler, 60) == Reconciled(missed=1)
    (one,) = rig.flush()
    assert ("MLMissed", "firing") in told(one)
    assert one.group.labels == {"model": "fraud"}
    assert settle(rig, reconciler, 2 * MISSED_SECONDS) == Reconciled()


def test_what_is_muted_or_not_ours_or_a_heartbeat_was_not_missed(rig, peer, reconciler):
    """Silenced alerts, other receivers' alerts and beats are not taken in."""
    peer.has(KNOWN, an_alert("MLSilenced"), state="suppressed", silencedBy=["s1"])
    peer.groups += [
        {
            "labels": {},
            "receiver": {"name": "pager"},
            "alerts": [{**an_alert("MLOther"), "status": {"state": "active"}}],
        },
        {
            "labels": {},
            "receiver": {"name": "bridge"},
            "alerts": [{**an_alert("MLHeartbeat"), "status": {"state": "active"}}],
        },
    ]
    assert settle(rig, reconciler, 2 * MISSED_SECONDS) == Reconciled()
    assert set(states(rig)) == {"MLKnown"}


def test_where_routes_sleep_only_critical_alerts_can_be_missed(rig, peer, reconciler):
    """Alertmanager does not say that an alert is muted at this time of day."""
    peer.config = "route:\n  routes:\n  - mute_time_intervals: [nights]\n"
    peer.has(KNOWN, an_alert("MLQuiet"), an_alert("MLUrgent", severity="critical"))
    assert settle(rig, reconciler, 2 * MISSED_SECONDS) == Reconciled(missed=1)
    assert set(states(rig)) == {"MLKnown", "MLUrgent"}


@pytest.mark.parametrize("raw", [b"", b"{}", b"<html>", b'{"status": "error"}'])
def test_answer_that_cannot_be_used_changes_nothing(rig, peer, reconciler, raw):
    """It is an error of its own, for a metric and the log."""
    peer.raw = raw
    with pytest.raises(AlertmanagerUnavailableError):
        settle(rig, reconciler, 2 * ENDED_SECONDS)
    assert states(rig) == {"MLKnown": "firing"}


@pytest.mark.parametrize(
    "groups",
    [
        [1, "x", None],
        [{"receiver": "bridge", "alerts": 3}],
        [{"receiver": {"name": "bridge"}, "labels": 3, "alerts": [1, {"status": 3, "labels": []}]}],
    ],
)
def test_hostile_answer_changes_nothing(rig, peer, reconciler, groups):
    """Whatever stands where groups are expected, what is held stays as it is."""
    peer.groups = [
        *groups,
        {"receiver": {"name": "bridge"}, "labels": {}, "alerts": [{**KNOWN, "status": {"state": "active"}}]},
    ]
    assert settle(rig, reconciler, 2 * MISSED_SECONDS) == Reconciled()
    assert states(rig) == {"MLKnown": "firing"}


def test_nothing_is_asked_without_an_alertmanager(tmp_path):
    """No link, no question; and none before a webhook has named a receiver."""
    rig = Rig(tmp_path / "data")
    assert Reconciler(rig.config, rig.store, rig.clock, rig.intake).reconcile() == Reconciled()
    rig.configure(links={"alertmanager": "http://127.0.0.1:9"})
    assert Reconciler(rig.config, rig.store, rig.clock, rig.intake).reconcile() == Reconciled()
    rig.take(an_alert())
    with pytest.raises(AlertmanagerUnavailableError):
        Reconciler(rig.config, rig.store, rig.clock, rig.intake).reconcile()
    rig.close()


@pytest.mark.slow
@pytest.mark.prometheus
def test_real_alertmanager_is_understood(tmp_path, requires_program, free_port):
    """Silences, their end, and alerts that are gone, as the real program tells of them."""
    port = free_port()
    config = tmp_path / "alertmanager.yml"
    config.write_text(
        "route: {receiver: bridge, group_by: [model], group_wait: 1h}\nreceivers: [{name: bridge}]\n",
        encoding="utf-8",
    )
    url = f"http://127.0.0.1:{port}"
    command = [
        str(requires_program("alertmanager")),
        f"--config.file={config}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.path={tmp_path / 'am'}",
        "--cluster.listen-address=",
    ]
    with (tmp_path / "log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    rig = Rig(tmp_path / "data", now=time.time(), aggregation_window="0s", links={"alertmanager": url})
    try:
        wait_until(lambda: requests.get(f"{url}/-/ready", timeout=2).ok)
        alert = an_alert("MLKnown", starts_at=rig.clock.time() - 60)
        posted = {key: alert[key] for key in ("labels", "annotations", "startsAt")}
        requests.post(f"{url}/api/v2/alerts", json=[posted], timeout=5).raise_for_status()
        rig.take(alert)
        reconciler = Reconciler(rig.config, rig.store, rig.clock, rig.intake)
        wait_until(lambda: requests.get(f"{url}/api/v2/alerts/groups", timeout=2).json())
        assert reconciler.reconcile() == Reconciled()
        assert states(rig) == {"MLKnown": "firing"}
        silence = {
            "matchers": [{"name": "alertname", "value": "MLKnown", "isRegex": False, "isEqual": True}],
            "startsAt": rfc3339(time.time()),
            "endsAt": rfc3339(time.time() + 3600),
            "createdBy": "ada",
            "comment": "being mended",
        }
        made = requests.post(f"{url}/api/v2/silences", json=silence, timeout=5).json()["silenceID"]
        wait_until(lambda: reconciler.reconcile() == Reconciled() and states(rig) == {"MLKnown": "silenced"})
        (shown,) = Questions(rig.store).alerts()["alerts"]
        assert (shown["suppressed_by"]["by"], shown["suppressed_by"]["comment"]) == ("ada", "being mended")
        requests.delete(f"{url}/api/v2/silence/{made}", timeout=5).raise_for_status()
        wait_until(lambda: reconciler.reconcile() == Reconciled() and states(rig) == {"MLKnown": "firing"})
        ended = {**posted, "endsAt": rfc3339(time.time() - 1)}
        requests.post(f"{url}/api/v2/alerts", json=[ended], timeout=5).raise_for_status()
        wait_until(lambda: reconciler.reconcile() == Reconciled() and reconciler._gone_since)
        assert settle(rig, reconciler, ENDED_SECONDS + 60) == Reconciled(ended=1)
        assert not reconciler._api.has_time_intervals()
    finally:
        process.terminate()
        process.wait(PATIENCE)
        rig.close()


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if condition():
                return
        except requests.ConnectionError:
            pass
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
