"""The channel to any HTTP endpoint, against a real server on the loopback."""

from __future__ import annotations

import base64
import copy
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from exporter.alerts.channels.opening import open_channel
from exporter.alerts.channels.webhook import WebhookChannel
from exporter.alerts.composing.facts import FactsUnavailableError, HttpFacts
from exporter.alerts.composing.plain import plain_message
from exporter.alerts.composing.templates import Templates
from exporter.alerts.config import parse_bridge_config
from exporter.alerts.records import Message
from exporter.errors import ConfigurationError, PermanentDeliveryError, TemporaryDeliveryError
from tests.scripted_server import Reply, ScriptedServer

from . import examples
from .mail_server import make_certificate

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "webhook-schema.json").read_text(encoding="utf-8"))
PAGE = (DOCS / "notifications.md").read_text(encoding="utf-8")
SECRET = "whsec_" + base64.b64encode(b"a key of the receiver").decode()
MESSAGES: dict[str, Callable[[], Message]] = {
    "performance": examples.performance_drop,
    "columns": examples.column_drift,
    "resolved": examples.resolved,
    "no data": examples.no_data,
    "hostile": examples.hostile,
    "test": examples.test_message,
    "silence": examples.missing_heartbeat,
}


def strict(schema: Any) -> Any:
    """Give the schema without room for fields that it does not name."""
    schema = copy.deepcopy(schema)
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "properties" in part:
                part["additionalProperties"] = False
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return schema


@pytest.fixture
def peer() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    server.accept = lambda _: Reply(204)  # type: ignore[method-assign]
    yield server
    server.close()


def opened(url: str, templates: Templates | None = None, **settings: Any) -> WebhookChannel:
    """Open the channel as the bridge does, from a configuration."""
    config = parse_bridge_config({"channels": {"hook": {"type": "webhook", "url": url, **settings}}})
    used = templates or Templates(None, on_failure=lambda _: None)
    channel = open_channel("hook", config.channels["hook"], used, config)
    assert isinstance(channel, WebhookChannel)
    return channel


def verification() -> Callable[..., bool]:
    """Give the function that the documentation shows to receivers."""
    source = re.search(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert source
    names: dict[str, Any] = {}
    exec(compile(source[1], "docs/notifications.md", "exec"), names)  # the documentation's own code
    verified: Callable[..., bool] = names["verified"]
    return verified


@pytest.mark.parametrize("make", MESSAGES.values(), ids=MESSAGES.keys())
@pytest.mark.parametrize("plain", [False, True], ids=["rich", "plain"])
def test_body_is_as_the_schema_says(peer: ScriptedServer, make: Callable[[], Message], plain: bool) -> None:
    """Every message, hostile and plain ones too, is JSON of the published schema and nothing else."""
    message = make()
    if plain:
        message = plain_message(message.notification, examples.NOW)
    receipt = opened(peer.url).send(message, examples.delivery(message, plain=plain))
    assert receipt.plain is plain
    body = json.loads(peer.requests[0].body)
    jsonschema.validate(body, strict(SCHEMA))
    assert body["id"] == message.notification.id == peer.requests[0].headers["webhook-id"]
    assert len(body["alerts"]) + body["omitted"] == len(message.views) + message.notification.omitted


def test_documented_body_is_of_the_schema() -> None:
    """The example of the documentation is valid too."""
    source = re.search(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
    assert source
    jsonschema.validate(json.loads(source[1]), strict(SCHEMA))


@pytest.mark.parametrize("secret", [SECRET, "any text, ümlauts too"])
def test_receiver_verifies_the_signature_and_sees_repetitions(peer: ScriptedServer, secret: str) -> None:
    """The documented code accepts the first attempt, and recognises forged, changed and repeated ones."""
    channel, verified = opened(peer.url, secret=secret), verification()
    message = examples.performance_drop()
    for attempt in (1, 2):
        channel.send(message, examples.delivery(message, attempt=attempt))
    first, second = peer.requests
    seen: set[str] = set()
    assert verified(first.headers, first.body, secret, seen)
    assert not verified(second.headers, second.body, secret, seen)
    assert not verified(first.headers, first.body + b" ", secret, set())
    assert not verified(first.headers, first.body, "another", set())
    old = {**first.headers, "webhook-timestamp": "1700000000"}
    assert not verified(old, first.body, secret, set())
    assert first.headers["idempotency-key"] == first.headers["webhook-id"] == second.headers["webhook-id"]
    assert abs(int(first.headers["webhook-timestamp"]) - time.time()) < 60


def test_headers_and_login_of_the_configuration_are_sent(peer: ScriptedServer) -> None:
    """Headers of one's own, and a login in the URL, go out; without a secret nothing is signed."""
    url = peer.url.replace("http://", "http://user:p%40ss@")
    message = examples.performance_drop()
    opened(url, headers={"X-Team": "ml", "content-type": "application/cloudevents+json"}).send(
        message, examples.delivery(message)
    )
    headers = peer.requests[0].headers
    assert headers["x-team"] == "ml"
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["authorization"] == "Basic " + base64.b64encode(b"user:p@ss").decode()
    assert "webhook-signature" not in headers


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"secret": "whsec_not base64"}, "channels.hook.secret"),
        ({"headers": {"webhook-id": "x"}}, "channels.hook.headers.webhook-id"),
        ({"headers": {"X": "a\r\nb: c"}}, "channels.hook.headers.X"),
        ({"headers": {"a b": "c"}}, "channels.hook.headers.a b"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings: dict[str, Any], place: str) -> None:
    """A wrong secret or header stops the start with its path, without its value."""
    with pytest.raises(ConfigurationError) as caught:
        opened("http://127.0.0.1:9", **settings)
    assert caught.value.problems[0][0] == place
    assert "not base64" not in str(caught.value)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_temporary_answers_are_repeated_as_asked(peer: ScriptedServer, status: int) -> None:
    """The other side's pause is honoured, as seconds or as a date."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 120))
    waits = (("7", 7.0), (date, 120.0), (None, None))
    peer.script.extend(Reply(status, b"busy", {"Retry-After": text} if text else {}) for text, _ in waits)
    message = examples.performance_drop()
    for _, seconds in waits:
        with pytest.raises(TemporaryDeliveryError, match=f"answered {status}: busy") as caught:
            opened(peer.url).send(message, examples.delivery(message))
        asked = caught.value.retry_after_seconds
        assert asked == seconds if seconds in (None, 7.0) else asked == pytest.approx(seconds, abs=3)


@pytest.mark.parametrize(
    ("status", "plain_may_work", "whole_channel"),
    [(400, True, False), (413, True, False), (422, True, False), (415, True, False), (401, False, True),
     (403, False, True), (404, False, True), (410, False, False), (418, False, False), (301, False, True)],
)  # fmt: skip
def test_permanent_answers_say_what_may_help(
    peer: ScriptedServer, status: int, plain_may_work: bool, whole_channel: bool
) -> None:
    """A refused form may be sent plainly, a refused sender waits for its operator, redirects lead nowhere."""
    peer.script.append(Reply(status, b"", {"Location": f"{peer.url}/elsewhere"}))
    message = examples.performance_drop()
    with pytest.raises(PermanentDeliveryError, match=str(status)) as caught:
        opened(peer.url).send(message, examples.delivery(message))
    assert (caught.value.plain_may_work, caught.value.whole_channel) == (plain_may_work, whole_channel)
    assert len(peer.requests) == 1


def test_errors_name_no_secret_and_quote_little(peer: ScriptedServer) -> None:
    """Path, query, login, headers and secret never stand in an error, even when the answer echoes them."""
    url = peer.url.replace("http://", "http://bob:hunter2secret@") + "/services/T0SECRET/path?key=QUERYSECRET"
    settings = {"secret": "signing-secret", "headers": {"Authorization": "Bearer HEADERSECRET"}}
    channel = opened(url, **settings)
    echo = (
        f"no {url} Bearer HEADERSECRET signing-secret hunter2secret T0SECRET QUERYSECRET \x1b[31m"
        + "x" * 10**6
    )
    message = examples.performance_drop()
    peer.script.extend([Reply(418, echo.encode()), Reply(500, echo.encode()), Reply(302), Reply(cut=True)])
    told = []
    for _ in range(4):
        with pytest.raises((PermanentDeliveryError, TemporaryDeliveryError)) as caught:
            channel.send(message, examples.delivery(message))
        told.append(str(caught.value))
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
    told.append(repr(channel))
    port = peer.url.rsplit(":", 1)[1]
    for text in told:
        assert f"127.0.0.1:{port}" in text
        assert len(text) < 300
        assert text.isprintable()
        for secret in ("SECRET", "hunter2", "signing-secret", "services", "bob"):
            assert secret not in text


def test_broken_connections_tell_whether_it_may_have_arrived(
    peer: ScriptedServer, free_port: Callable[[], int]
) -> None:
    """Nobody listening is certain; a connection that breaks after the request is not."""
    message = examples.performance_drop()
    with pytest.raises(TemporaryDeliveryError) as caught:
        opened(f"http://127.0.0.1:{free_port()}/x").send(message, examples.delivery(message))
    assert not caught.value.uncertain
    peer.script.append(Reply(cut=True))
    with pytest.raises(TemporaryDeliveryError) as caught:
        opened(peer.url).send(message, examples.delivery(message))
    assert caught.value.uncertain


def test_certificates_of_a_private_authority_are_checked(tmp_path: Path) -> None:
    """Over TLS the right authority is believed, another or none is not, nor a certificate of another name."""
    right, wrong = make_certificate(tmp_path, "127.0.0.1"), make_certificate(tmp_path, "other.example")
    message = examples.performance_drop()
    for shown, believed, goes in (
        (right, right, True),
        (right, wrong, False),
        (right, None, False),
        (wrong, wrong, False),
    ):
        server = ScriptedServer()
        server._server.socket = shown.context.wrap_socket(server._server.socket, server_side=True)
        server.accept = lambda _: Reply(200)  # type: ignore[method-assign]
        url = server.url.replace("http://", "https://")
        channel = opened(url, **({"ca_file": str(believed.path)} if believed else {}))
        facts = HttpFacts(url, ca_file=believed.path if believed else None)
        try:
            if goes:
                channel.send(message, examples.delivery(message))
                assert facts.get("/api/v1/models/m", {}) == {}
            else:
                with pytest.raises(TemporaryDeliveryError, match="certificate was not accepted") as caught:
                    channel.send(message, examples.delivery(message))
                assert not caught.value.uncertain
                with pytest.raises(FactsUnavailableError):
                    facts.get("/api/v1/models/m", {})
                assert server.requests == []
        finally:
            server.close()


def test_plain_form_is_small(peer: ScriptedServer) -> None:
    """After a refusal for its size, at most 20 alerts go out, and the rest is counted."""
    told = plain_message(examples.column_drift(100).notification, examples.NOW)
    opened(peer.url).send(told, examples.delivery(told, plain=True))
    body = json.loads(peer.requests[0].body)
    assert (len(body["alerts"]), body["omitted"]) == (20, 80)
    assert all(alert["facts"] is None for alert in body["alerts"])


def test_template_makes_the_body(peer: ScriptedServer, tmp_path: Path) -> None:
    """A template of one's own gives any JSON; one that makes none is counted, the built-in body goes out."""
    failures: list[str] = []
    templates = Templates(tmp_path, on_failure=failures.append)
    channel, message = opened(peer.url, templates), examples.hostile()
    for source in (
        '{"text": {{ message.title | tojson }}, "all": {{ body | tojson }}}',
        '{"text": {{ 1 }',
        "{{ x }}",
    ):
        (tmp_path / "webhook.json").write_text(source)
        channel.send(message, examples.delivery(message))
    own, broken, failed = (json.loads(request.body) for request in peer.requests)
    assert own["all"]["id"] == broken["id"] == failed["id"] == message.notification.id
    assert failures == ["webhook.json", "webhook.json"]
