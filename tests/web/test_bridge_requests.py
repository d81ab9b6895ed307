"""The bridge over HTTP: webhooks, the history of alerts, notifications, channels, and who may ask."""

from __future__ import annotations

import gzip
import re
import socket
import threading

import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from exporter import AlertManager
from exporter.web.alerts import WEBHOOK_BYTES
from exporter.web.bridge_operations import BRIDGE_OPERATIONS
from exporter.web.openapi import openapi_document
from tests.alertmanager import running_alertmanager
from tests.alerts.bridging import NOW, a_payload, an_alert
from tests.alerts.hook_peer import HookPeer
from tests.web.bridges import TOKENS, WebBridge, assert_error, by, token_file, wait_for

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def peer():
    with HookPeer() as running:
        yield running


def settings(peer, **more):
    channel = {"type": "webhook", "url": f"{peer.url}/hook", "timeout": "5s"}
    return {"channels": {"hook": channel}, "aggregation_window": "0s", **more}


@pytest.fixture(scope="module")
def bridge(tmp_path_factory, peer):
    """Give a bridge of the whole file with nobody to authenticate."""
    running = WebBridge.start(tmp_path_factory.mktemp("bridge"), settings(peer))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, peer):
    """Give a bridge that asks for tokens, with an alert of each of two models."""
    directory = tmp_path_factory.mktemp("guarded")
    running = WebBridge.start(directory, settings(peer), web_config=token_file(directory))
    for model in ("fraud", "churn"):
        running.fire("MLSecret", token="hook", model=model)
    wait_for(lambda: len(running.get("/api/v1/notifications", "reader")["notifications"]) == 2)
    yield running
    running.stop()


def test_webhook_is_kept_and_told_of(bridge, peer):
    """An alert is answered with what became of it, is in the history, and reaches the channel."""
    answer = bridge.take(an_alert("MLFirst", column="age"), group_labels={"alertname": "MLFirst"})
    assert answer.status_code == 200
    assert answer.json() == {"status": "accepted", "alerts": 1, "groups": 1}
    again = bridge.take(an_alert("MLFirst", column="age"), group_labels={"alertname": "MLFirst"})
    assert again.json()["status"] == "duplicate"
    listed = bridge.get("/api/v1/alerts?name=MLFirst")["alerts"]
    assert [(alert["name"], alert["state"], alert["model"]) for alert in listed] == [
        ("MLFirst", "firing", "fraud")
    ]
    wait_for(lambda: any(body["alerts"][0]["name"] == "MLFirst" for body in peer.bodies()))
    told = wait_for(
        lambda: [
            one
            for one in bridge.get("/api/v1/notifications?state=delivered&limit=1000")["notifications"]
            if "MLFirst" in str(one)
        ]
    )
    assert len(told) == 1
    assert told[0]["deliveries"][0]["channel"] == "hook"


def test_life_of_an_alert(bridge):
    """One alert's page has when it fired, where it was told of and when it was resolved."""
    fired = bridge.fire("MLLife")
    alert_id = bridge.get("/api/v1/alerts?name=MLLife")["alerts"][0]["id"]

    def kinds():
        return [event["kind"] for event in bridge.get(f"/api/v1/alerts/{alert_id}")["events"]]

    wait_for(lambda: "notified" in kinds())
    resolved = {**fired, "status": "resolved", "endsAt": an_alert(ends_at=NOW + 60)["endsAt"]}
    bridge.take(resolved, group_labels={"alertname": "MLLife", "model": "fraud"})
    wait_for(lambda: kinds().count("notified") == 2)
    assert kinds()[0] == "firing"
    assert "resolved" in kinds()
    assert bridge.get(f"/api/v1/alerts/{alert_id}")["state"] == "resolved"
    assert_error(bridge.ask("GET", "/api/v1/alerts/999999"), 404, "not_found")
    assert_error(bridge.ask("GET", "/api/v1/alerts/x"), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"version": "3", "alerts": []}', 400),
        (a_payload([]), 400),
        (b'{"version": "4", "alerts": [{"labels": 1}]}', 400),
    ],
)
def test_wrong_payloads_are_refused_and_kept(bridge, body, status):
    """A wrong payload is 400 with what was expected, and can be looked at."""
    before = len(bridge.get("/api/v1/webhooks/rejected")["rejected"])
    answer = bridge.ask("POST", "/alertmanager", data=body, headers=JSON)
    error = assert_error(answer, status, answer.json()["error"]["code"])
    assert "expected" in error["message"]
    assert len(bridge.get("/api/v1/webhooks/rejected")["rejected"]) == before + 1


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"Content-Type": "text/plain"}, b"{}", 415, "unsupported_format"),
        (JSON, b" " * (WEBHOOK_BYTES + 1), 413, "too_large"),
        (
            {**JSON, "Content-Encoding": "gzip"},
            gzip.compress(b" " * (WEBHOOK_BYTES + 1), mtime=0),
            413,
            "too_large",
        ),
    ],
)
def test_bodies_beyond_the_limits_are_refused(bridge, headers, body, status, code):
    """A body of another type or of more than 8 MiB, packed or not, is refused."""
    assert_error(bridge.ask("POST", "/alertmanager", data=body, headers=headers), status, code)


def test_store_that_is_full_is_503_with_retry_after(bridge):
    """While the store cannot be written Alertmanager is told to come again, which it only does on 5xx."""
    store = bridge.server.bridge._bridge._store
    with store._writing:
        pages = store._writer.execute("PRAGMA max_page_count").fetchone()[0]
        store._writer.execute("PRAGMA max_page_count = 1")  # which SQLite takes as: no page more
    try:
        answer = bridge.take(*(an_alert("MLFull", number=f"{n}" * 500) for n in range(500)))
    finally:
        with store._writing:
            store._writer.execute(f"PRAGMA max_page_count = {pages}")
    assert_error(answer, 503, "storage_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert bridge.get("/api/v1/alerts?name=MLFull")["alerts"] == []
    assert bridge.take(an_alert("MLFull")).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "severity=loud",
        "state=burning",
        "limit=0",
        "limit=1001",
        "limit=x",
        "from=yesterday",
        "from=2026-01-02&to=2026-01-01",
        "modle=fraud",
        "next=nonsense",
    ],
)
def test_wrong_questions_are_400(bridge, query):
    """A parameter that is unknown or cannot be read says what was expected."""
    answer = bridge.ask("GET", f"/api/v1/alerts?{query}")
    assert_error(answer, 400, answer.json()["error"]["code"])


def test_alerts_are_filtered_and_paged(bridge):
    """Filters and pages of the list, and the summary's counts."""
    for number in range(5):
        bridge.fire("MLPaged", model="paged", severity="critical" if number else "info", number=str(number))
    path = "/api/v1/alerts?model=paged"
    assert len(bridge.get(path)["alerts"]) == 5
    assert len(bridge.get(f"{path}&severity=critical")["alerts"]) == 4
    assert bridge.get(f"{path}&state=resolved")["alerts"] == []
    assert bridge.get(f"{path}&to={NOW - 1}")["alerts"] == []
    assert len(bridge.get(f"{path}&from={NOW - 1}")["alerts"]) == 5
    seen, following = [], ""
    while following is not None:
        page = bridge.get(f"{path}&limit=2{following and '&next=' + following}")
        seen += [alert["labels"]["number"] for alert in page["alerts"]]
        following = page.get("next")
    assert seen == ["4", "3", "2", "1", "0"]
    assert "MLPaged" in str(bridge.get("/api/v1/alerts/summary?model=paged"))


def test_channels_can_be_tested_and_dead_letters_sent_again(bridge, peer):
    """A test goes out at once; what a channel refuses for good waits until it is asked for again."""
    assert bridge.ask("POST", "/api/v1/test/hook").json()["delivered"] is True
    assert_error(bridge.ask("POST", "/api/v1/test/nothing"), 404, "not_found")
    peer.answer = lambda _: (410, {})
    try:
        assert_error(bridge.ask("POST", "/api/v1/test/hook"), 502, "delivery_failed")
        bridge.fire("MLDead")
        dead = wait_for(
            lambda: [
                one
                for one in bridge.get("/api/v1/notifications?state=dead")["notifications"]
                if "MLDead" in str(one)
            ]
        )
    finally:
        peer.answer = lambda _: (200, {})
    path = f"/api/v1/notifications/{dead[0]['id']}/retry"
    assert_error(bridge.ask("POST", "/api/v1/notifications/none/retry"), 404, "not_found")
    assert bridge.ask("POST", f"{path}?channel=other").json()["queued"] == 0
    assert bridge.ask("POST", path).json() == {"id": dead[0]["id"], "queued": 1}
    wait_for(lambda: any("MLDead" in str(body) for body in peer.bodies()))


def test_reload_takes_effect_or_says_what_is_wrong(tmp_path, peer):
    """A changed file is in force at once; one with errors changes nothing and every path is named."""
    file = tmp_path / "bridge.yml"
    file.write_text(yaml.safe_dump(settings(peer)), encoding="utf-8")
    bridge = WebBridge.start(tmp_path / "data", file)
    try:
        changed = settings(peer)
        changed["channels"]["second"] = {"type": "webhook", "url": f"{peer.url}/second"}
        file.write_text(yaml.safe_dump(changed), encoding="utf-8")
        assert bridge.ask("POST", "/-/reload").json() == {"status": "reloaded"}
        assert bridge.ask("POST", "/api/v1/test/second").status_code == 200
        file.write_text(yaml.safe_dump({**changed, "retenton": "1d"}), encoding="utf-8")
        answer = bridge.ask("POST", "/-/reload")
        error = assert_error(answer, 422, "bad_configuration")
        assert error["details"][0]["path"] == "retenton"
        assert bridge.ask("POST", "/api/v1/test/second").status_code == 200
        wait_for(lambda: "ml_bridge_config_last_reload_successful 0.0" in bridge.ask("GET", "/metrics").text)
    finally:
        bridge.stop()


def test_metrics_health_and_page(bridge):
    """The exposition has the bridge's families alone, probes answer, and the page loads nothing."""
    bridge.fire("MLPage<script>", model="<b>model")
    text = wait_for(
        lambda: (
            (found := bridge.ask("GET", "/metrics").text).count("ml_bridge_http_requests_total{") and found
        )
    )
    assert 'ml_bridge_queue{channel="hook"}' in text
    assert "ml_exporter_ready" not in text
    assert bridge.ask("GET", "/-/healthy").text == "healthy\n"
    assert bridge.ask("GET", "/-/ready").text == "ready\n"
    page = bridge.ask("GET", "/")
    assert "MLPage&lt;script&gt;" in page.text
    assert "&lt;b&gt;model" in page.text
    assert "<b>model" not in page.text
    assert "hook" in page.text
    assert not re.search(r"<script|<link|<img|style=|https?://", page.text)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")


def test_openapi_document_is_valid_and_complete(bridge):
    """The document is OpenAPI 3.1 and has every operation of the bridge."""
    document = bridge.get("/api/v1/openapi.json")
    OpenAPIV31SpecValidator(document).validate()
    assert document == openapi_document(BRIDGE_OPERATIONS, title="ml-exporter bridge")
    assert set(document["paths"]) == {operation.path for operation in BRIDGE_OPERATIONS}


ALLOWED = {
    "alertmanager": {"hook"},
    "read": {"reader", "fraud", "both", "operator"},
    "admin": {"operator"},
    "metrics": {"scraper"},
}


@pytest.mark.parametrize("operation", BRIDGE_OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_asks_for_its_scope(guarded, operation):
    """Without a token 401, with one of another scope 403; what changes things is for tokens of all models."""
    if operation.scope is None:
        assert guarded.ask(operation.method, operation.path).status_code not in {401, 403}
        return
    path = re.sub(r"\{\w+\}", "1", operation.path)
    assert_error(guarded.ask(operation.method, path), 401, "unauthenticated")
    assert_error(guarded.ask(operation.method, path, headers=by("wrong")), 401, "unauthenticated")
    for token in TOKENS:
        answer = guarded.ask(operation.method, path, headers={**by(token), **JSON})
        allowed = token in ALLOWED[operation.scope.value]
        assert (answer.status_code != 403) == allowed, (token, answer.text)


def test_token_of_one_model_sees_that_model_only(guarded):
    """Alerts, counts and notifications of other models are not there for it."""
    alerts = {alert["model"]: alert["id"] for alert in guarded.get("/api/v1/alerts", "reader")["alerts"]}
    assert set(alerts) == {"fraud", "churn"}
    assert {alert["model"] for alert in guarded.get("/api/v1/alerts", "fraud")["alerts"]} == {"fraud"}
    assert_error(guarded.ask("GET", "/api/v1/alerts?model=churn", headers=by("fraud")), 403, "forbidden")
    assert_error(
        guarded.ask("GET", f"/api/v1/alerts/{alerts['churn']}", headers=by("fraud")), 404, "not_found"
    )
    assert guarded.get(f"/api/v1/alerts/{alerts['fraud']}", "fraud")["model"] == "fraud"
    assert "churn" not in str(guarded.get("/api/v1/alerts/summary", "fraud"))
    told = guarded.get("/api/v1/notifications", "fraud")["notifications"]
    assert told
    assert "churn" not in str(told)
    page = guarded.ask("GET", "/", headers=by("fraud")).text
    assert "churn" not in page
    assert ">hook<" not in page


def test_slow_webhooks_leave_room_for_scrapes(bridge):
    """Many webhooks whose body never comes neither block the page of metrics nor each other's refusal."""
    waiting = []
    try:
        for _ in range(60):
            client = socket.create_connection(bridge.server._server.address, timeout=10)
            client.sendall(
                b"POST /alertmanager HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 100\r\n\r\n"
            )
            waiting.append(client)
        assert bridge.ask("GET", "/metrics").status_code == 200
        assert bridge.ask("GET", "/-/ready").status_code == 200
    finally:
        for client in waiting:
            client.close()


def test_all_groups_of_an_alertmanager_may_come_at_once(bridge):
    """Forty webhooks at the same moment are all taken."""
    start = threading.Barrier(40)
    answers = []

    def send(number):
        payload = a_payload([an_alert("MLStorm", number=str(number))], group_labels={"number": str(number)})
        start.wait()
        answers.append(bridge.ask("POST", "/alertmanager", data=payload, headers=JSON).status_code)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 40


@pytest.mark.prometheus
def test_real_alertmanager_delivers_with_its_token(guarded, peer, requires_program, tmp_path, free_port):
    """Alertmanager's own webhook, with a token from a file, is taken, told of and resolved."""
    secret = tmp_path / "token"
    secret.write_text("hook", encoding="utf-8")
    configuration = f"""
route: {{receiver: bridge, group_by: [alertname, model], group_wait: 100ms, group_interval: 200ms}}
receivers:
  - name: bridge
    webhook_configs:
      - url: {guarded.url}/alertmanager
        http_config: {{authorization: {{credentials_file: {secret}}}}}
"""
    program = requires_program("alertmanager")

    def state():
        found = guarded.get("/api/v1/alerts?name=MLReal", "reader")["alerts"]
        return found[0]["state"] if found else None

    with (
        running_alertmanager(program, tmp_path / "am", configuration, free_port()) as alertmanager,
        AlertManager("fraud", alertmanager_url=alertmanager.url) as alerts,
    ):
        alerts.send_alert("MLReal", "real", severity="critical")
        wait_for(lambda: state() == "firing")
        wait_for(lambda: "MLReal firing" in peer.texts())
        alerts.resolve("MLReal")
        wait_for(lambda: state() == "resolved")
        wait_for(lambda: "MLReal resolved" in peer.texts())
