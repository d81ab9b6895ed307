"""The channel through apprise, with its own plugins for JSON and forms, against a server on the loopback."""

from __future__ import annotations

import builtins
import importlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from exporter.alerts.channels.apprise import AppriseChannel
from exporter.alerts.channels.opening import open_channel
from exporter.alerts.composing.plain import plain_message
from exporter.alerts.composing.templates import Templates
from exporter.alerts.config import parse_bridge_config
from exporter.alerts.records import Message
from exporter.errors import ConfigurationError, PermanentDeliveryError, TemporaryDeliveryError
from tests.scripted_server import Reply, ScriptedServer

from . import examples


@pytest.fixture
def peer() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    server.accept = lambda _: Reply(200)  # type: ignore[method-assign]
    yield server
    server.close()


def opened(url: str, templates: Templates | None = None) -> AppriseChannel:
    """Open the channel as the bridge does, from a configuration."""
    config = parse_bridge_config({"channels": {"pager": {"type": "apprise", "url": url, "timeout": "2s"}}})
    used = templates or Templates(None, on_failure=lambda _: None)
    channel = open_channel("pager", config.channels["pager"], used, config)
    assert isinstance(channel, AppriseChannel)
    return channel


def at(peer: ScriptedServer, scheme: str = "json", rest: str = "/TOPSECRET?+X-Key=KEYSECRET") -> str:
    return peer.url.replace("http://", f"{scheme}://") + rest


def test_message_arrives_with_its_title_text_and_type(peer: ScriptedServer) -> None:
    """Apprise posts the built-in text; critical is a failure, resolved a success, no data a warning."""
    kinds = {
        examples.performance_drop: "failure",
        examples.column_drift: "warning",
        examples.resolved: "success",
        examples.no_data: "warning",
        examples.test_message: "info",
        examples.missing_heartbeat: "failure",
    }
    channel = opened(at(peer))
    for make, kind in kinds.items():
        message = make()
        receipt = channel.send(message, examples.delivery(message))
        assert not receipt.plain
        body = json.loads(peer.requests[-1].body)
        assert (body["title"], body["type"]) == (message.title, kind)
        for view in message.views[:1]:
            assert view.what in body["message"]
        assert message.notification.text in body["message"]
    assert len(peer.requests) == len(kinds)


def test_form_plugin_takes_hostile_texts_and_the_plain_form(peer: ScriptedServer) -> None:
    """Texts that try to be something else arrive without control characters, as one request each."""
    channel, message = opened(at(peer, "form")), examples.hostile()
    channel.send(message, examples.delivery(message))
    plain = plain_message(message.notification, examples.NOW)
    assert channel.send(plain, examples.delivery(plain, plain=True)).plain
    assert len(peer.requests) == 2
    for request in peer.requests:
        fields = parse_qs(request.body.decode())
        assert not {"\x00", "\x1b", "\x07"} & set(fields["message"][0] + fields["title"][0])


def test_failures_are_temporary_and_apprise_repeats_nothing(
    peer: ScriptedServer, free_port: Callable[[], int]
) -> None:
    """A refusal or no connection is one request, and an error that names no secret."""
    message = examples.performance_drop()
    urls = [at(peer), at(peer) + "&retry=3", f"json://127.0.0.1:{free_port()}/TOPSECRET?+X-Key=KEYSECRET"]
    peer.accept = lambda _: Reply(500, b"no")  # type: ignore[method-assign]
    for url in urls:
        with pytest.raises(TemporaryDeliveryError) as caught:
            opened(url).send(message, examples.delivery(message))
        assert "SECRET" not in str(caught.value)
        assert "JSON did not take the message" in str(caught.value)
        assert caught.value.uncertain
    assert len(peer.requests) == 2


def test_library_logs_nothing_with_secrets(
    peer: ScriptedServer, free_port: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    """What apprise logs stays inside, whatever the level."""
    message = examples.performance_drop()
    with caplog.at_level(logging.INFO):
        opened(at(peer)).send(message, examples.delivery(message))
        channel = opened(f"json://127.0.0.1:{free_port()}/TOPSECRET?+X-Key=KEYSECRET")
        with pytest.raises(TemporaryDeliveryError):
            channel.send(message, examples.delivery(message))
    assert "SECRET" not in caplog.text
    assert "SECRET" not in repr(channel)


def test_long_message_is_split_into_few_pieces_of_whole_alerts(peer: ScriptedServer) -> None:
    """A service with short messages gets at most four; what has no room is counted."""
    channel = opened(at(peer))
    channel._service.body_maxlen = 1000
    limited = AppriseChannel.__new__(AppriseChannel)
    limited.__dict__.update(channel.__dict__ | {"_longest": 4000})
    message = examples.column_drift(100)
    limited.send(message, examples.delivery(message))
    assert 1 < len(peer.requests) <= 5
    whole = "\n".join(json.loads(request.body)["message"] for request in peer.requests)
    told = whole.count("critical value")
    assert 1 <= told < 100
    assert f"and {100 - told} more" in whole


def test_template_of_ones_own_is_used(peer: ScriptedServer, tmp_path: Path) -> None:
    """The text comes from apprise.txt of the directory."""
    (tmp_path / "apprise.txt").write_text("{{ message.model }}: {{ message.views[0].what }}")
    message = examples.performance_drop()
    templates = Templates(tmp_path, on_failure=lambda _: None)
    opened(at(peer), templates).send(message, examples.delivery(message))
    assert json.loads(peer.requests[0].body)["message"] == f"flight_delay: {message.views[0].what}"


def test_plugin_that_raises_gets_the_plain_form_next(peer: ScriptedServer) -> None:
    """An exception inside apprise says that the form may be the reason."""
    channel, message = opened(at(peer)), examples.performance_drop()
    channel._service.notify = lambda **_: 1 / 0
    with pytest.raises(PermanentDeliveryError, match="ZeroDivisionError in apprise") as caught:
        channel.send(message, examples.delivery(message))
    assert caught.value.plain_may_work


@pytest.mark.parametrize(
    "url", ["TOPSECRET", "nothing://TOPSECRET/x", "https://TOPSECRET.example/x y", "json://"]
)
def test_url_that_apprise_does_not_know_is_refused_without_quoting_it(url: str) -> None:
    """A wrong URL stops the start, names the setting and not the URL."""
    try:
        opened(url)
    except ConfigurationError as error:
        assert error.problems[0][0] == "channels.pager.url"  # noqa: PT017
        assert "TOPSECRET" not in str(error)  # noqa: PT017
    else:
        assert url.startswith("https://")  # some plugin took it


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without apprise the configuration is refused with the command that installs it."""
    found = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name == "apprise":
            raise builtins.ImportError(name)
        return found(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(ConfigurationError, match=r'pip install "ml-exporter\[apprise\]"'):
        opened("json://127.0.0.1/x")


def test_message_type() -> None:
    """The text of every example fits the template, with no failure counted."""
    failures: list[str] = []
    templates = Templates(None, on_failure=failures.append)
    makers: list[Callable[[], Message]] = [examples.performance_drop, examples.resolved, examples.no_data]
    for make in makers:
        assert templates.render("apprise.txt", message=make())
    assert failures == []
