"""Deliveries by an incoming webhook, over HTTP and TLS, and what its refusals mean."""

from __future__ import annotations

import logging
import socket
import ssl
import traceback
from dataclasses import replace

import pytest
from pydantic import SecretStr

from exporter.alerts.channels.slack import SlackChannel
from exporter.alerts.composing.templates import Templates
from exporter.alerts.config import SlackSettings, parse_bridge_config
from exporter.errors import ConfigurationError, PermanentDeliveryError, TemporaryDeliveryError
from tests.alerts import examples
from tests.alerts.slack_peer import Fault, SlackPeer
from tests.web.test_tls import write_certificate

SECRET = "hooksecret"
HOOK = "/services/T000/B000/hooksecret"


@pytest.fixture
def peer():
    """Give a workspace with one incoming webhook."""
    made = SlackPeer()
    yield made
    made.close()


@pytest.fixture
def open_channel(peer):
    """Give a function that opens a channel by webhook; all are closed at the end."""
    opened = []

    def make(url=None, *, timeout=10, ca_file=None, spacing=0.0):
        settings = SlackSettings(
            type="slack",
            webhook_url=SecretStr(url or peer.webhook_url),
            timeout=f"{timeout * 1000:.0f}ms",
            ca_file=ca_file,
        )
        templates = Templates(None, on_failure=lambda name: pytest.fail(f"{name} failed"))
        opened.append(SlackChannel(settings, name="chat", templates=templates, spacing_seconds=spacing))
        return opened[-1]

    yield make
    for channel in opened:
        channel.close()


@pytest.fixture
def channel(open_channel):
    return open_channel()


def long_drift():
    message = examples.column_drift(40)
    views = tuple(replace(view, what=f"{view.what}, {'as seen ' * 40}") for view in message.views)
    return replace(message, views=views)


def heading(message):
    return message["blocks"][0]["text"]["text"]


def test_a_message_arrives(peer, channel):
    """The webhook answers `ok` and no reference, so there is no thread."""
    drop = examples.performance_drop()
    receipt = channel.send(drop, examples.delivery(drop))
    (kept,) = peer.channel.roots
    assert heading(kept) == "🔴 Critical: flight_delay v3: f1 dropped by 0.153"
    assert receipt.thread is None
    assert receipt.detail == "1 message by the incoming webhook"
    assert peer.refused == []


def test_what_is_too_long_becomes_numbered_messages(peer, channel):
    """Whole alerts in each."""
    message = long_drift()
    receipt = channel.send(message, examples.delivery(message))
    headings = [heading(kept) for kept in peer.channel.roots]
    count = len(headings)
    assert count >= 2
    assert [h.rpartition(" ")[2] for h in headings] == [f"({i + 1}/{count})" for i in range(count)]
    assert receipt.detail == f"{count} messages by the incoming webhook"


def test_a_failure_between_two_messages_repeats_none(peer, channel):
    """The same process goes on where it stopped."""
    message = long_drift()
    peer.faults.append(Fault(HOOK, 429, headers={"Retry-After": "2"}, after=1))
    with pytest.raises(TemporaryDeliveryError) as caught:
        channel.send(message, examples.delivery(message))
    assert caught.value.retry_after_seconds == 2
    channel.send(message, examples.delivery(message, attempt=2))
    headings = [heading(kept) for kept in peer.channel.roots]
    assert len(headings) == len(set(headings)) >= 2


def test_plain_form(peer, channel):
    """Text only, and the receipt says so."""
    drop = examples.performance_drop()
    receipt = channel.send(drop, examples.delivery(drop, plain=True))
    (kept,) = peer.channel.roots
    assert receipt.plain
    assert kept["blocks"] is None
    assert "f1 is 0.707" in kept["text"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, "no_service"),
        (404, "channel_not_found"),
        (410, "channel_is_archived"),
        (403, "action_prohibited"),
        (403, "invalid_token"),
        (404, "no_team"),
        (404, "<html>not here</html>"),
    ],
)
def test_what_an_operator_can_mend_concerns_the_whole_channel(peer, channel, status, body):
    """Messages wait until somebody sets a new address or opens the channel again."""
    peer.webhook_refusal = (status, body)
    drop = examples.performance_drop()
    with pytest.raises(PermanentDeliveryError) as caught:
        channel.send(drop, examples.delivery(drop))
    assert caught.value.whole_channel
    assert not caught.value.plain_may_work
    assert body in caught.value.message


@pytest.mark.parametrize(
    "body", ["invalid_payload", "invalid_blocks", "no_text", "too_many_attachments", "what"]
)
def test_what_is_refused_for_its_form_may_work_plain(peer, channel, body):
    """The queue sends the plain form once."""
    peer.webhook_refusal = (400, body)
    drop = examples.performance_drop()
    with pytest.raises(PermanentDeliveryError, match=body) as caught:
        channel.send(drop, examples.delivery(drop))
    assert caught.value.plain_may_work


@pytest.mark.parametrize(
    ("fault", "uncertain", "wait"),
    [
        (Fault(HOOK, 429, b"", {"Retry-After": "11"}), False, 11),
        (Fault(HOOK, 500, b"rollup_error"), True, None),
        (Fault(HOOK, 502, b"<html>bad gateway</html>"), True, None),
        (Fault(HOOK, 200, b"<html>please log in</html>"), True, None),
        (Fault(HOOK, 301, b"", {"Location": "http://127.0.0.1:1/"}), False, None),
        (Fault(HOOK, cut=True), True, None),
    ],
)
def test_what_passes_is_tried_again(peer, channel, fault, uncertain, wait):
    """Throttling, failures, pages of proxies and broken connections."""
    peer.faults.append(fault)
    drop = examples.performance_drop()
    with pytest.raises(TemporaryDeliveryError) as caught:
        channel.send(drop, examples.delivery(drop))
    assert caught.value.uncertain is uncertain
    assert caught.value.retry_after_seconds == wait


def test_compatible_services_are_understood(peer, channel):
    """Some answer JSON instead of `ok`."""
    peer.faults.append(Fault(HOOK, 200, b'{"success": true}'))
    drop = examples.performance_drop()
    assert channel.send(drop, examples.delivery(drop)).detail


def every_text(error):
    """Everything that a log or a report of this error could show."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error.__context__) + str(error.args)


@pytest.mark.parametrize("kind", ["refused", "unknown host", "cut", "slow", "bad port", "bad certificate"])
def test_no_failure_names_the_address(peer, open_channel, tmp_path, caplog, kind):
    """The path of a webhook is its password: no error, no cause of one and no log line repeats it."""
    caplog.set_level(logging.INFO)
    url = peer.webhook_url
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        ca_file = None
        if kind == "refused":
            url = f"http://127.0.0.1:{unused.getsockname()[1]}{HOOK}"
        elif kind == "unknown host":
            url = f"http://no-such-host.invalid{HOOK}"
        elif kind == "cut":
            peer.faults.append(Fault(HOOK, cut=True))
        elif kind == "slow":
            peer.faults.append(Fault(HOOK, hang=0.6))
        elif kind == "bad port":
            url = f"http://127.0.0.1:99999{HOOK}"
        else:
            ca_file = tmp_path / "absent.pem"
            url = f"https://127.0.0.1:{unused.getsockname()[1]}{HOOK}"
        drop = examples.performance_drop()
        with pytest.raises(TemporaryDeliveryError) as caught:
            open_channel(url, timeout=0.3, ca_file=ca_file).send(drop, examples.delivery(drop))
    assert caught.value.uncertain is (kind in {"cut", "slow"})
    assert SECRET not in every_text(caught.value)
    assert SECRET not in caplog.text


def test_an_echoed_address_is_not_repeated(peer, channel):
    """Neither the address nor its path stands in what we say of an answer."""
    peer.webhook_refusal = (404, f"nothing at {HOOK}")
    drop = examples.performance_drop()
    with pytest.raises(PermanentDeliveryError) as caught:
        channel.send(drop, examples.delivery(drop))
    assert SECRET not in every_text(caught.value)
    assert SECRET not in repr(vars(channel))


def test_tls_with_a_private_authority(tmp_path, open_channel):
    """The authority's certificate is given by ca_file; without it nothing is sent."""
    certificate, key = write_certificate(tmp_path, "slack")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    peer = SlackPeer(context)
    try:
        drop = examples.performance_drop()
        with pytest.raises(TemporaryDeliveryError, match="certificate was not accepted") as caught:
            open_channel(peer.webhook_url).send(drop, examples.delivery(drop))
        assert not caught.value.uncertain
        assert peer.channel.messages == {}
        open_channel(peer.webhook_url, ca_file=certificate).send(drop, examples.delivery(drop))
        assert len(peer.channel.messages) == 1
    finally:
        peer.close()


def test_passwords_of_netrc_are_not_sent(peer, channel, tmp_path, monkeypatch):
    """What the account's file of passwords holds for the host is not for this."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    drop = examples.performance_drop()
    channel.send(drop, examples.delivery(drop))
    assert [authorization for _, authorization in peer.authorizations] == [None]


def test_an_endless_answer_is_not_read(peer, open_channel):
    """Only so much of an answer is taken."""
    peer.faults.append(Fault(HOOK, 200, b"x" * (9 * 2**20)))
    drop = examples.performance_drop()
    with pytest.raises(TemporaryDeliveryError, match="connection broke") as caught:
        open_channel().send(drop, examples.delivery(drop))
    assert caught.value.uncertain


@pytest.mark.parametrize("url", [f"http://[{HOOK}", f"ftp://slack.example{HOOK}", HOOK, "https://"])
def test_an_address_that_is_none_is_refused_without_naming_it(url):
    """The configuration says what it expects, and does not repeat the secret."""
    with pytest.raises(ConfigurationError, match="expected a URL that begins with http") as caught:
        parse_bridge_config({"channels": {"chat": {"type": "slack", "webhook_url": url}}})
    assert SECRET not in every_text(caught.value)
    assert caught.value.problems[0][0].startswith("channels.chat")
