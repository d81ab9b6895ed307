"""Where a bridge can be: nowhere, in the exporter's process, or elsewhere."""

from __future__ import annotations

import socket
import time

import pytest
import requests

from exporter.alerts.config import parse_bridge_config
from exporter.config import parse_config
from exporter.errors import BadRequestError, ConfigurationError, NotFoundError
from exporter.web.assembly import Exporter, WebSettings
from exporter.web.local_bridge import BridgeFile
from exporter.web.operations import MODEL_OPERATIONS
from exporter.web.remote_bridge import BridgeAddress
from exporter.web.service_answers import ServiceAnswers
from tests.alerts.bridging import a_payload, an_alert
from tests.alerts.hook_peer import HookPeer
from tests.scripted_server import Reply, ScriptedServer
from tests.scripted_server import error as an_error
from tests.web.bridges import WebBridge, assert_error, by, token_file, wait_for

MODEL = {
    "task": "binary",
    "columns": {"prediction": "predicted", "label": "delayed"},
    "features": {"distance": "numeric"},
    "windows": ["1d"],
}
CONFIG = {"models": {"fraud": MODEL, "churn": MODEL}}
JSON = {"Content-Type": "application/json"}
QUESTIONS = ("alerts", "alerts/1", "alerts/summary", "notifications")


def settings(peer):
    channel = {"type": "webhook", "url": f"{peer.url}/hook", "timeout": "5s"}
    return {"channels": {"hook": channel}, "aggregation_window": "0s"}


@pytest.fixture
def peer():
    with HookPeer() as running:
        yield running


@pytest.fixture
def serve(tmp_path):
    """Give a function (**options) that runs an exporter; all are stopped at the end."""
    running = []

    def start(*, tokens=False, **options):
        web = WebSettings("127.0.0.1:0", token_file(tmp_path) if tokens else None)
        exporter = Exporter(parse_config(CONFIG), tmp_path / "data", web, **options)
        running.append(exporter)
        exporter.start()
        return exporter

    yield start
    for exporter in running:
        exporter.stop(2)


def ask(exporter, path, method="GET", **options):
    return requests.request(method, exporter.url + path, timeout=20, **options)


def test_without_a_bridge_everything_says_how_to_get_one(serve):
    """Questions and webhooks are 404 with a code of their own and the flags that help."""
    exporter = serve()
    for path in QUESTIONS:
        error = assert_error(ask(exporter, f"/api/v1/{path}"), 404, "no_bridge")
        assert "--bridge.config.file" in error["message"]
        assert "--bridge.url" in error["message"]
    answer = ask(exporter, "/alertmanager", "POST", data=a_payload([an_alert()]), headers=JSON)
    assert_error(answer, 404, "no_bridge")
    for path in ("/api/v1/notifications/x/retry", "/api/v1/test/x", "/-/reload"):
        assert_error(ask(exporter, path, "POST"), 404, "no_bridge")


def test_bridge_in_the_exporters_process(serve, peer, tmp_path):
    """Webhooks come to the exporter's address, facts come from its models, families are on its page."""
    exporter = serve(bridge=BridgeFile(parse_bridge_config(settings(peer))))
    alert = an_alert("MLBatchesStale", model="fraud", version="default", window="1d")
    answer = ask(exporter, "/alertmanager", "POST", data=a_payload([alert]), headers=JSON)
    assert answer.json()["status"] == "accepted"
    wait_for(peer.bodies)
    assert ask(exporter, "/api/v1/alerts?model=fraud").json()["alerts"][0]["name"] == "MLBatchesStale"
    delivered = 'ml_bridge_notifications_total{channel="hook",outcome="delivered"} 1.0'
    wait_for(lambda: delivered in ask(exporter, "/metrics").text)
    page = ask(exporter, "/metrics").text
    assert "ml_bridge_ready 1.0" in page
    assert "ml_exporter_ready 1.0" in page
    assert page.count("# TYPE process_cpu_seconds_total") == 1
    assert "ml_bridge_http_requests_total{" not in page
    assert {path.name for path in (tmp_path / "data").iterdir()} >= {"exporter.db", "bridge.db"}
    assert 'href="/api/v1/alerts"' in ask(exporter, "/").text


def test_facts_within_the_process_are_the_apis_answers(serve):
    """What the bridge is told of a model without HTTP is what the API answers, errors included."""
    exporter = serve()
    rows = [{"predicted": i % 2 == 0, "delayed": i % 3 == 0, "distance": float(i)} for i in range(50)]
    assert ask(exporter, "/api/v1/models/fraud/batches", "POST", json=rows).status_code == 202
    answers = ServiceAnswers(exporter.service)
    for operation in MODEL_OPERATIONS:
        if operation.method != "GET" or operation.personal or "baseline" in operation.path:
            continue
        path = operation.path.replace("{model}", "fraud")
        answer = ask(exporter, path)
        if answer.ok and answer.headers["Content-Type"] == "application/json":
            assert answers(path, {}) == answer.json(), path
    assert answers("/api/v1/models/fraud/performance", {"window": "1d"})["model"] == "fraud"
    for path, params in (
        ("/api/v1/models/none/drift", {}),
        ("/api/v1/models/fraud/drift", {"windw": "1d"}),
        ("/metrics", {}),
    ):
        with pytest.raises((NotFoundError, BadRequestError)):
            answers(path, params)


def test_wrong_settings_open_nothing(tmp_path):
    """A bridge that cannot be configured stops the start before a store is made."""
    bad = tmp_path / "bridge.yml"
    bad.write_text("channels: {x: {type: sms}}\n", encoding="utf-8")
    for bridge in (
        BridgeFile(bad),
        BridgeAddress("localhost:10093"),
        BridgeAddress("http://u:SECRET@localhost:10093"),
        BridgeAddress("http://localhost:10093", tmp_path / "none"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            Exporter(parse_config(CONFIG), tmp_path / "data", WebSettings("127.0.0.1:0"), bridge=bridge)
        assert "SECRET" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_bridge_elsewhere_is_asked(serve, peer, tmp_path):
    """Questions are passed on with the exporter's token; a caller of one model gets that model alone."""
    guarded = WebBridge.start(tmp_path / "bridge", settings(peer), web_config=token_file(tmp_path))
    try:
        for model in ("fraud", "churn", "other"):
            guarded.fire("MLFar", token="hook", model=model)
        secret = tmp_path / "token"
        secret.write_text("reader\n", encoding="utf-8")
        exporter = serve(tokens=True, bridge=BridgeAddress(guarded.url, secret))
        wait_for(lambda: len(guarded.get("/api/v1/notifications", "reader")["notifications"]) == 3)

        def get(path, token):
            answer = ask(exporter, f"/api/v1/{path}", headers=by(token))
            assert answer.status_code == 200, answer.text
            return answer.json()

        for path in (
            "alerts?limit=2",
            "alerts?name=MLFar&severity=warning",
            "alerts/summary",
            "notifications",
        ):
            assert get(path, "reader") == guarded.get(f"/api/v1/{path}", "reader")
        ids = {alert["model"]: alert["id"] for alert in get("alerts", "reader")["alerts"]}
        assert set(ids) == {"fraud", "churn", "other"}
        assert {alert["model"] for alert in get("alerts", "fraud")["alerts"]} == {"fraud"}
        assert {alert["model"] for alert in get("alerts", "both")["alerts"]} == {"fraud", "churn"}
        for token in ("fraud", "both"):
            for path in ("notifications", "alerts/summary"):
                assert get(path, token) == guarded.get(f"/api/v1/{path}", token), (token, path)
        assert get(f"alerts/{ids['fraud']}", "fraud")["model"] == "fraud"
        assert_error(ask(exporter, f"/api/v1/alerts/{ids['churn']}", headers=by("fraud")), 404, "not_found")
        assert_error(ask(exporter, "/api/v1/alerts?model=churn", headers=by("fraud")), 403, "forbidden")
        assert_error(ask(exporter, "/api/v1/alerts/77", headers=by("reader")), 404, "not_found")
        assert_error(ask(exporter, "/api/v1/alerts?next=bad", headers=by("reader")), 400, "bad_parameter")
        answer = ask(exporter, "/alertmanager", "POST", data=b"{}", headers={**by("hook"), **JSON})
        assert_error(answer, 404, "no_bridge")
        secret.write_text("scraper", encoding="utf-8")
        error = assert_error(ask(exporter, "/api/v1/alerts", headers=by("reader")), 502, "bridge_failed")
        assert "--bridge.token.file" in error["message"]
    finally:
        guarded.stop()
    answer = ask(exporter, "/api/v1/alerts", headers=by("reader"))
    assert_error(answer, 503, "bridge_unreachable")
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (Reply(200, b"<html>"), 502, "bridge_failed"),
        (Reply(200, [1]), 502, "bridge_failed"),
        (Reply(500, b""), 502, "bridge_failed"),
        (Reply(302, {}, {"Location": "http://127.0.0.1:1/"}), 502, "bridge_failed"),
        (an_error(500, "internal_error"), 502, "bridge_failed"),
        (an_error(503, "busy"), 503, "busy"),
        (an_error(400, "bad_parameter"), 400, "bad_parameter"),
        (an_error(404, "not_found"), 404, "not_found"),
        (Reply(cut=True), 503, "bridge_unreachable"),
    ],
)
def test_answers_of_a_bridge_that_cannot_be_used(serve, reply, status, code):
    """Whatever the other side answers, the caller gets our shape: 502 for nonsense, 503 to come again."""
    server = ScriptedServer()
    try:
        exporter = serve(bridge=BridgeAddress(server.url))
        server.script.append(reply)
        assert_error(ask(exporter, "/api/v1/alerts"), status, code)
    finally:
        server.close()


@pytest.mark.parametrize("path", ["alerts", "alerts/summary", "notifications"])
@pytest.mark.parametrize("body", [{"x": 1}, {"counts": 3, "alerts": 3, "notifications": {}}])
def test_answers_of_another_shape_are_502_for_callers_of_some_models(serve, tmp_path, path, body):
    """Where something is to be taken out of an answer, one of another shape is refused, not passed on."""
    server = ScriptedServer()
    server.accept = lambda _: Reply(200, body)
    try:
        exporter = serve(tokens=True, bridge=BridgeAddress(server.url))
        answer = ask(exporter, f"/api/v1/{path}", headers=by("both"))
        if path != "alerts/summary" or "counts" in body:
            assert_error(answer, 502, "bridge_failed")
    finally:
        server.close()


def test_bridge_that_hangs_is_not_waited_for_long(serve, monkeypatch):
    """A bridge that takes the connection and says nothing is given up after the time for answers."""
    monkeypatch.setattr("exporter.web.remote_bridge.ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        exporter = serve(bridge=BridgeAddress(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        started = time.monotonic()
        assert_error(ask(exporter, "/api/v1/alerts"), 503, "bridge_unreachable")
        assert time.monotonic() - started < 5
