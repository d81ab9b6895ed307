"""Alerts that come as webhooks and leave as emails, through the whole bridge and a real mail server."""

from __future__ import annotations

import time

import pytest

from exporter.alerts.bridge import Bridge
from exporter.alerts.config import parse_bridge_config
from exporter.alerts.delivery.timing import Timing
from exporter.clock import SystemClock
from tests.alerts.bridging import a_payload, an_alert
from tests.alerts.mail_server import MailServer, make_certificate

QUICK = Timing(first=0.02, longest=0.2, longest_pause=0.2, longest_sleep=0.02, gauges=0.05)
PASSWORD = "s3cret-password"


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


@pytest.fixture
def server(tmp_path):
    certificate = make_certificate(tmp_path, "127.0.0.1")
    with MailServer(certificate=certificate, login=("ml", PASSWORD)) as running:
        yield running


@pytest.fixture
def settings(tmp_path, server):
    assert server.certificate is not None
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    mail = {
        "type": "email",
        "smtp_server": "127.0.0.1",
        "smtp_port": server.port,
        "tls": "starttls",
        "username": "ml",
        "password_file": str(secret),
        "ca_file": str(server.certificate.path),
        "from": "ml@example.org",
        "to": ["team@example.org"],
        "timeout": "5s",
    }
    return {"channels": {"mail": mail}}


@pytest.fixture
def bridge(tmp_path, settings):
    running = Bridge(parse_bridge_config(settings), tmp_path / "data", timing=QUICK)
    running.start()
    yield running
    running.stop()


def alert(**changes):
    started = changes.pop("started")
    return an_alert("MLPerformanceDrop", starts_at=started, severity="critical", **changes)


def test_incident_is_one_conversation(bridge, server):
    """Firing and resolved arrive once each, encrypted, with one root; the second says that it is over."""
    started = SystemClock().time() - 60
    bridge.take(a_payload([alert(started=started)]))
    wait_for(lambda: len(server.received) == 1)
    bridge.take(a_payload([alert(started=started, ends_at=started + 50)]))
    bridge.flush()
    wait_for(lambda: len(server.received) == 2)
    first, second = (got.email for got in server.received)
    assert all(got.encrypted and got.login == "ml" for got in server.received)
    assert first["Subject"] == "[FIRING:1] critical · MLPerformanceDrop of fraud"
    assert second["Subject"] == "[RESOLVED] critical · MLPerformanceDrop of fraud"
    assert first["References"] == second["References"] == second["In-Reply-To"]
    assert first["Message-ID"] != second["Message-ID"]
    assert (first["X-ML-Model"], first["X-ML-Status"], second["X-ML-Status"]) == (
        "fraud",
        "firing",
        "resolved",
    )


def test_email_that_may_have_arrived_is_sent_again_as_the_same(bridge, server):
    """After a connection that broke at the worst moment, clients can drop the second by its id."""
    server.will(".", "drop after keeping", "451 4.3.0 not now", "250 2.0.0 taken")
    bridge.take(a_payload([alert(started=SystemClock().time())]))
    wait_for(lambda: len(server.received) == 2)
    assert len({got.email["Message-ID"] for got in server.received}) == 1


def test_refused_content_goes_in_the_plain_form(bridge, server):
    """A server that wants no pictures gets text."""
    server.will(".", "554 5.6.0 no HTML here")
    bridge.take(a_payload([alert(started=SystemClock().time())]))
    wait_for(lambda: len(server.received) == 1)
    assert server.received[0].email.get_content_type() == "text/plain"


def test_one_recipient_refused_for_now_holds_up_nobody_else(bridge, server, settings):
    """The channel works: other groups' messages are not paused with it."""
    settings["channels"]["mail"]["to"].append("slow@example.org")
    bridge.reload(parse_bridge_config(settings))
    server.refused["slow@example.org"] = "450 4.2.0 greylisted, try again in 1000 seconds"
    started = SystemClock().time()
    for model in ("a", "b", "c", "d", "e"):
        bridge.take(a_payload([alert(started=started, model=model)], group_labels={"model": model}))
    wait_for(lambda: len(server.received) == 5)
    assert {got.email["X-ML-Model"] for got in server.received} == {"a", "b", "c", "d", "e"}
    assert {got.recipients for got in server.received} == {("team@example.org",)}


def test_mended_password_is_used_at_once(bridge, server, settings):
    """The long pause after a refused login ends with new settings."""
    wrong = {**settings["channels"]["mail"], "password": "wrong"}
    del wrong["password_file"]
    bridge.reload(parse_bridge_config({"channels": {"mail": wrong}}))
    bridge.take(a_payload([alert(started=SystemClock().time())]))
    wait_for(lambda: any(command.startswith("AUTH") for command in server.commands))
    wait_for(
        lambda: bridge.telemetry.registry.get_sample_value("ml_bridge_throttled_total", {"channel": "mail"})
    )
    bridge.reload(parse_bridge_config(settings))
    wait_for(lambda: len(server.received) == 1)
    assert sum(command.startswith("AUTH") for command in server.commands) == 2


def test_channel_is_tested(bridge, server):
    """`POST /api/v1/test/mail` answers with what the server said."""
    answer = bridge.test("mail")
    assert "1 recipient, the server said: 2.0.0 queued as 4F7" in str(answer)
    assert server.received[0].email["Subject"].startswith("[TEST] ")
