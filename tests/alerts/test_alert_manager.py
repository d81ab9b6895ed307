"""`AlertManager`: alerts from Python code reach real receivers, and are remembered."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from exporter import AlertManager
from exporter.clock import ManualClock
from exporter.errors import ConfigurationError, StoreError
from tests.alerts.bridging import NOW
from tests.alerts.hook_peer import HookPeer
from tests.alerts.mail_server import MailServer, make_certificate
from tests.alerts.slack_peer import SlackPeer

PATIENCE = 20.0
HISTORY = {
    "id": "Int64",
    "alert_type": "str",
    "severity": "str",
    "message": "str",
    "state": "str",
    "model": "str",
    "version": "str",
    "value": "float64",
    "threshold": "float64",
    "started": "datetime64[ns, UTC]",
    "ended": "datetime64[ns, UTC]",
    "last_seen": "datetime64[ns, UTC]",
    "labels": "object",
    "annotations": "object",
}


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
    return found


@pytest.fixture
def peer():
    with HookPeer() as running:
        yield running


def hooked(peer, **settings):
    """Return a configuration with one channel, which takes at `peer`."""
    return {"channels": {"hook": {"type": "webhook", "url": f"{peer.url}/hook"}}, **settings}


def types_of(frame):
    """Column types, the names of texts made the same for all versions of pandas."""
    texts = {"object", "string", "str"}
    return {
        name: "text" if str(kind) in texts and HISTORY.get(name) == "str" else str(kind)
        for name, kind in frame.dtypes.items()
    }


def test_contracts_snippet_reaches_slack_and_email(tmp_path):
    """What the documentation shows works: an alert goes by email and to Slack, and is in the history."""
    certificate = make_certificate(tmp_path, "127.0.0.1")
    with closing(SlackPeer()) as slack, MailServer(certificate=certificate) as mail:
        email_config = {
            "smtp_server": "127.0.0.1",
            "smtp_port": mail.port,
            "ca_file": str(certificate.path),
            "from": "ml@example.org",
            "to": "team@example.org",
        }
        alerts = AlertManager(model_name="m", email_config=email_config, slack_webhook=slack.webhook_url)
        alerts.send_alert(alert_type="drift", message="age and income drifted", severity="warning")
        history = alerts.history
        assert mail.received == []
        alerts.close()
        assert len(mail.received) == 1
        assert mail.received[0].encrypted
        assert "age and income drifted" in mail.received[0].email["Subject"]
        assert "age and income drifted" in str(slack.calls)
    assert history[["alert_type", "message", "severity", "state", "model"]].to_dict("records") == [
        {
            "alert_type": "drift",
            "message": "age and income drifted",
            "severity": "warning",
            "state": "firing",
            "model": "m",
        }
    ]


def test_critical_goes_at_once_and_the_rest_is_collected(peer):
    """A critical alert does not wait for the window; others are told of together at its end."""
    with AlertManager("m", config=hooked(peer)) as alerts:
        alerts.send_alert("drift", "age drifted")
        alerts.send_alert("drift", "income drifted")
        alerts.send_alert("outage", "no predictions", severity="critical", value=0, threshold=1)
        wait_for(lambda: len(peer.bodies()) == 1)
        assert [alert["name"] for alert in peer.bodies()[0]["alerts"]] == ["outage"]
    assert len(peer.bodies()) == 2
    told = peer.bodies()[1]["alerts"]
    assert sorted(alert["annotations"]["summary"] for alert in told) == ["age drifted", "income drifted"]


def test_window_is_as_given(peer):
    """A window of seconds, as a number or as text, is waited for and no longer."""
    with AlertManager("m", config=hooked(peer), aggregation_window=0.3) as alerts:
        alerts.send_alert("drift", "one")
        alerts.send_alert("drift", "two")
        wait_for(peer.bodies)
        assert len(peer.bodies()[0]["alerts"]) == 2


def test_resolving_ends_what_fires_and_tells_of_it(peer):
    """`resolve` ends the alerts of the type that have the labels, and the receivers hear of it."""
    with AlertManager("m", config=hooked(peer), aggregation_window=0) as alerts:
        alerts.send_alert("drift", "age drifted", labels={"column": "age"})
        alerts.send_alert("drift", "income drifted", labels={"column": "income"})
        wait_for(lambda: len(peer.texts()) >= 2)
        assert alerts.resolve("drift", labels={"column": "age"}) == 1
        assert alerts.resolve("drift", labels={"column": "age"}) == 0
        assert alerts.resolve("other") == 0
        history = alerts.history
        assert history["state"].tolist() == ["resolved", "firing"]
        assert history["ended"].notna().tolist() == [True, False]
        assert (history["ended"] >= history["started"])[0]
    assert "drift resolved" in peer.texts()


def test_same_alert_again_is_no_second_one(peer):
    """While an alert fires, sending it again changes nothing; after its end it is a new one."""
    clock = ManualClock(NOW)
    with AlertManager("m", config=hooked(peer), aggregation_window=0, clock=clock) as alerts:
        for _ in range(3):
            alerts.send_alert("drift", "age drifted")
        assert len(alerts.history) == 1
        alerts.flush()
        assert len(peer.bodies()) == 1
        clock.advance(3600)
        alerts.send_alert("drift", "age drifted")
        alerts.flush()
        assert [body["kind"] for body in peer.bodies()] == ["change", "reminder"]
        alerts.resolve("drift")
        clock.advance(60)
        alerts.send_alert("drift", "age drifted")
        assert alerts.history["state"].tolist() == ["resolved", "firing"]


def test_what_is_not_repeated_ends_after_a_while():
    """An alert that nobody sends again for `resolve_after` is resolved; None keeps it."""
    for resolve_after, state in (("1h", "resolved"), (None, "firing")):
        clock = ManualClock(NOW)
        with AlertManager("m", config={"channels": {}}, resolve_after=resolve_after, clock=clock) as alerts:
            alerts.send_alert("drift", "age drifted")
            clock.advance(3000)
            alerts.send_alert("drift", "age drifted")
            clock.advance(3000)
            assert alerts.expire() == 0
            clock.advance(3600)
            assert alerts.expire() == (state == "resolved")
            assert alerts.history["state"].tolist() == [state]


def test_history_has_typed_columns_also_when_empty(peer):
    """An empty history has the same columns and types as a full one; what was not given is missing."""
    with AlertManager("m", config=hooked(peer), labels={"team": "risk"}) as alerts:
        empty = types_of(alerts.history)
        nothing_told = types_of(alerts.notifications)
        alerts.send_alert("drift", "first line\nsecond line", labels={"version": "v2"}, value=0.3)
        alerts.send_alert("drift", "critical", severity="critical", threshold=1.5)
        alerts.flush()
        history, notifications = alerts.history, alerts.notifications
    expected = {name: "text" if kind == "str" else kind for name, kind in HISTORY.items()}
    assert empty == types_of(history) == expected
    assert nothing_told == types_of(notifications)
    assert history["message"].tolist() == ["first line\nsecond line", "critical"]
    assert history["version"].tolist() == ["v2", ""]
    assert history["value"].tolist()[0] == 0.3
    assert pd.isna(history["threshold"][0])
    assert history["labels"][0]["team"] == "risk"
    assert notifications["channel"].unique().tolist() == ["hook"]
    assert notifications["state"].unique().tolist() == ["delivered"]


def test_severities_that_are_not_told_of_are_in_the_history(peer):
    """`severity_levels` narrows what is told, not what is remembered."""
    with AlertManager("m", config=hooked(peer), severity_levels=["critical"]) as alerts:
        alerts.send_alert("drift", "a warning")
        alerts.send_alert("outage", "critical", severity="critical")
        assert len(alerts.history) == 2
    assert [alert["name"] for body in peer.bodies() for alert in body["alerts"]] == ["outage"]


def test_no_channel_keeps_history_only_and_says_so_once():
    """Without any channel one warning says that nobody is told; the history works."""
    with pytest.warns(UserWarning, match="no channel is configured") as caught:
        alerts = AlertManager("m")
    with alerts:
        alerts.send_alert("drift", "age drifted")
        alerts.send_alert("drift", "critical", severity="critical")
        assert len(alerts.history) == 2
        assert alerts.notifications.empty
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"email_config": {"smtp_sever": "x", "from": "a@b.c", "to": "d@e.f"}}, "email_config.smtp_sever"),
        ({"email_config": {"from": "a@b.c", "to": "d@e.f"}}, "email_config.smtp_server"),
        ({"email_config": "smtp.example.org"}, "email_config"),
        ({"email_config": {"type": "slack"}}, "email_config.type"),
        ({"slack_webhook": {"bot_token": "x"}}, "slack_webhook"),
        ({"config": {"channels": {}}, "slack_webhook": "https://x"}, "config"),
        ({"config": {"chanels": {}}}, "chanels"),
        ({"config": 3}, "config"),
        ({"aggregation_window": "soon"}, "aggregation_window"),
        ({"severity_levels": ["loud"]}, "severity_levels[0]"),
        ({"severity_levels": "critical"}, "severity_levels"),
        ({"resolve_after": 0}, "resolve_after"),
        ({"resolve_after": "soon"}, "resolve_after"),
        ({"alertmanager_url": "am:9093"}, "alertmanager_url"),
        ({"alertmanager_url": "http://am:9093", "slack_webhook": "https://x"}, "slack_webhook"),
    ],
)
def test_wrong_settings_are_named(arguments, path):
    """A wrong argument is a ConfigurationError with the path in the arguments; no secret is in its text."""
    with pytest.raises(ConfigurationError) as caught:
        AlertManager("m", **arguments)
    assert path in [where for where, _ in caught.value.problems]


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (("drift", "m", "loud"), {}, "info, warning, critical"),
        (("", "m"), {}, "a type of 1 to 256 characters"),
        (("drift", "m"), {"labels": {"a-b": "x"}}, "label names"),
        (("drift", "m"), {"labels": {"model": "x"}}, "set by AlertManager itself"),
    ],
)
def test_wrong_alerts_are_refused(arguments, options, words):
    """A wrong severity, type or label is a ValueError that says what was expected."""
    with AlertManager("m", config={"channels": {}}) as alerts:
        with pytest.raises(ValueError, match=words):
            alerts.send_alert(*arguments, **options)
        assert alerts.history.empty
    with pytest.raises(ValueError, match="closed"):
        alerts.send_alert("drift", "too late")


def test_hostile_texts_are_kept_and_told(peer):
    """Long, unprintable and half texts harm nobody."""
    with AlertManager("m", config=hooked(peer), aggregation_window=0) as alerts:
        alerts.send_alert("drift", "\ud800\x00" + "x" * 100_000, labels={"column": "y" * 10_000})
        alerts.send_alert("<script>", "", severity="critical", annotations={"runbook_url": "javascript:1"})
        assert alerts.flush() == 0
        assert len(alerts.history) == 2
        alerts.resolve("drift")
        assert alerts.history["state"].tolist() == ["resolved", "firing"]


def test_kept_store_outlives_the_process(peer, tmp_path, caplog):
    """With `storage_path` history, what fires and what could not be sent are there after a restart."""
    peer.answer = lambda _: (503, {"Retry-After": "1"})
    config = hooked(peer)
    first = AlertManager("m", config=config, storage_path=tmp_path / "alerts")
    first.send_alert("drift", "age drifted", severity="critical")
    with caplog.at_level(logging.WARNING):
        first.close(timeout=0.5)
    assert "wait in" in caplog.text
    peer.answer = lambda _: (200, {})
    with AlertManager("m", config=config, storage_path=tmp_path / "alerts") as second:
        assert second.history["message"].tolist() == ["age drifted"]
        second.send_alert("drift", "age drifted", severity="critical")
        assert len(second.history) == 1
        wait_for(peer.bodies)
        assert second.resolve("drift") == 1
    assert "drift resolved" in peer.texts()


def test_store_is_used_by_one_process_at_a_time(tmp_path):
    """A second one on the same directory is refused with a sentence."""
    config = {"channels": {}}
    with AlertManager("m", config=config, storage_path=tmp_path), pytest.raises(StoreError):
        AlertManager("m", config=config, storage_path=tmp_path)


def test_temporary_store_is_gone_after_closing(peer, caplog, tmp_path, monkeypatch):
    """Nothing is left on disk; what could not be sent is warned of, within the time given."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    peer.answer = lambda _: (503, {})
    alerts = AlertManager("m", config=hooked(peer))
    alerts.send_alert("drift", "age drifted")
    assert list(tmp_path.iterdir())
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        alerts.close(timeout=0.5)
    alerts.close()
    assert time.monotonic() - started < 8
    assert "1 messages could not be sent yet, and are lost with the temporary store" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_many_threads_send_at_once(peer):
    """Alerts of many threads are all in the history and all told of."""
    with AlertManager("m", config=hooked(peer)) as alerts:
        start = threading.Barrier(8)

        def send(number):
            start.wait()
            for each in range(10):
                alerts.send_alert("load", f"message {each}", labels={"thread": str(number)})

        threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(alerts.history) == 80
        assert alerts.flush() == 0
    assert sum(len(body["alerts"]) for body in peer.bodies()) == 80


def test_secrets_are_not_shown(peer):
    """Neither the representation nor an error has the URL of a webhook in it."""
    with AlertManager("m", slack_webhook=f"{peer.url}/services/SECRET") as alerts:
        assert "SECRET" not in repr(alerts)
        assert "SECRET" not in repr(vars(alerts))
    with pytest.raises(ConfigurationError) as caught:
        AlertManager("m", slack_webhook={"webhook_url": "SECRET", "channel": "SECRET"})
    assert "SECRET" not in str(caught.value)


SCRIPT = """
import sys
from exporter import AlertManager
alerts = AlertManager("m", config={{"channels": {{"hook": {{"type": "webhook", "url": "{url}/hook"}}}}}})
alerts.send_alert("drift", "sent at exit")
print("sent", flush=True)
{end}
"""


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "raise RuntimeError('bug')"])
def test_exit_of_the_interpreter_sends_what_waits(peer, end):
    """A script that just ends, or fails, has told of everything."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(url=peer.url, end=end)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "sent\n"
    assert [alert["annotations"]["summary"] for body in peer.bodies() for alert in body["alerts"]] == [
        "sent at exit"
    ], done.stderr


def test_killed_process_has_lost_nothing_that_it_kept(peer, tmp_path):
    """After `kill -9` the next one with the same store tells of what the first one took."""
    script = SCRIPT.replace('m", config', f'm", storage_path={str(tmp_path / "a")!r}, config')
    process = subprocess.Popen(
        [sys.executable, "-c", script.format(url=peer.url, end="import time; time.sleep(60)")],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"sent\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert peer.bodies() == []
    with AlertManager("m", config=hooked(peer), storage_path=Path(tmp_path / "a")) as alerts:
        assert alerts.flush() == 0
    assert [alert["name"] for body in peer.bodies() for alert in body["alerts"]] == ["drift"]
