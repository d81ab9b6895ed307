"""The whole chain as it is shipped, every part real: exporter, Prometheus, Alertmanager, bridge, mail."""

from __future__ import annotations

import email
import email.policy
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from aiosmtpd.controller import Controller

from exporter.client import Client
from tests.alertmanager import running_alertmanager
from tests.conftest import RunningExporter
from tests.prometheus import Prometheus, running_prometheus
from tests.scripted_server import ScriptedServer

RULES = Path(__file__).parent.parent / "alerting_rules"
MODELS = """
models:
  fraud:
    task: binary
    columns: {id: id, timestamp: at, prediction: answer, score: score, label: truth}
    features: {amount: numeric, country: categorical, a: numeric, b: numeric, c: numeric, d: numeric}
    windows: [6h]
    evaluation_interval: 200ms
    counter_warmup: 0s
    metrics: [accuracy]
"""
BRIDGE = """
channels:
  mail: {{type: email, smtp_server: 127.0.0.1, smtp_port: {smtp}, tls: none, from: ml@example.org,
          to: [oncall@example.org]}}
  hook: {{type: webhook, url: "{hook}/hook", secret: "whsec_c2VjcmV0"}}
routes:
  - {{matchers: ['alertname=~"MLPerformanceDrop|MLColumnDriftStrong"'], channels: [mail, hook],
      aggregation_window: 0s}}
links: {{grafana: "http://grafana.example:3000", alertmanager: "{alertmanager}", exporter: "{exporter}"}}
reconcile_every: 1s
"""


class Mailbox:
    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        del server, session
        parsed = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        self.messages.append(parsed)
        return "250 OK"

    def about(self, *words: str) -> list[EmailMessage]:
        return [message for message in list(self.messages) if all(w in text_of(message) for w in words)]


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return f"{message['Subject']}\n{body.get_content()}"


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited in vain for {what}")


def frame(count: int, first: int, *, shift: float = 0.0) -> pd.DataFrame:
    generator = np.random.default_rng([3, first])
    score = generator.uniform(size=count)
    return pd.DataFrame(
        {
            "id": [f"t{first + position}" for position in range(count)],
            "at": time.time() - generator.uniform(0, 1800, count),
            "answer": score > 0.5,
            "score": score,
            "amount": generator.normal(100, 15, count) + shift,
            "country": generator.choice(["AT", "DE"], count),
            **{name: generator.normal(size=count) for name in "abcd"},
        }
    )


@contextmanager
def running_bridge(directory: Path, configuration: str, port: int) -> Iterator[str]:
    directory.mkdir()
    config = directory / "bridge.yml"
    config.write_text(configuration, encoding="utf-8")
    log = directory / "bridge.log"
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("ml-exporter")),
                "bridge",
                f"--config.file={config}",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--storage.path={directory / 'data'}",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(lambda: answers(url, process), log.read_text() or "the bridge")
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, log.read_text()


def answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None
    try:
        return requests.get(f"{url}/-/ready", timeout=2).ok
    except requests.ConnectionError:
        return False


def hurried(path: Path, target: Path) -> Path:
    """Copy a rule file without its waiting times."""
    text = re.sub(r"\n *(for|keep_firing_for|interval): \w+", "", path.read_text(encoding="utf-8"))
    copy = target / f"{path.parent.name}-{path.name}"
    copy.write_text(text, encoding="utf-8")
    return copy


@dataclass
class Chain:
    """Everything from the exporter to the mailbox, with the shipped configuration in a hurry."""

    exporter: RunningExporter
    bridge: str
    alertmanager: str
    prometheus: Prometheus
    mailbox: Mailbox
    hook: ScriptedServer


@pytest.fixture
def chain(
    running_exporter: Callable[..., RunningExporter],
    requires_program: Callable[[str], Path],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> Iterator[Chain]:
    programs = requires_program("prometheus"), requires_program("alertmanager")
    mailbox, hook, smtp_port, bridge_port, manager_port = (
        Mailbox(),
        ScriptedServer(),
        free_port(),
        free_port(),
        free_port(),
    )
    with ExitStack() as stack:
        stack.callback(hook.close)
        hook.count = lambda _: 1
        smtp = Controller(mailbox, hostname="127.0.0.1", port=smtp_port)
        smtp.start()
        stack.callback(smtp.stop)
        exporter = running_exporter(MODELS)
        manager = f"http://127.0.0.1:{manager_port}"
        configuration = BRIDGE.format(
            smtp=smtp_port, hook=hook.url, alertmanager=manager, exporter=exporter.url
        )
        bridge = stack.enter_context(running_bridge(tmp_path / "bridge", configuration, bridge_port))
        routing = (RULES / "alertmanager.yml").read_text(encoding="utf-8")
        routing = routing.replace("http://127.0.0.1:10093", bridge)
        routing = re.sub(r"(group_wait|group_interval): \w+", r"\1: 1s", routing)
        stack.enter_context(running_alertmanager(programs[1], tmp_path / "am", routing, manager_port))
        (tmp_path / "rules").mkdir()
        rules = [path for path in sorted(RULES.glob("*/*.yml")) if path.parent.name != "tests"]
        server = stack.enter_context(
            running_prometheus(
                programs[0],
                tmp_path / "prometheus",
                {"ml-exporter": host_of(exporter.url), "ml-bridge": host_of(bridge)},
                free_port(),
                rule_files=[hurried(path, tmp_path / "rules") for path in rules],
                alertmanagers=[host_of(manager)],
            )
        )
        yield Chain(exporter, bridge, manager, server, mailbox, hook)


def host_of(url: str) -> str:
    return url.removeprefix("http://")


def push_bad_rows(client: Client) -> pd.DataFrame:
    """Push a baseline, and rows of which two in five are answered wrongly and one column has moved."""
    baseline = frame(4000, 100_000)
    client.create_baseline("fraud", baseline.assign(truth=baseline["answer"]))
    rows = frame(2000, 0, shift=30.0)
    client.push("fraud", rows, version="v7")
    truth = rows["answer"].to_numpy().copy()
    truth[:800] = ~truth[:800]
    client.push_labels("fraud", pd.DataFrame({"id": rows["id"], "truth": truth}))
    return rows


@pytest.mark.slow
@pytest.mark.prometheus
def test_people_are_told_what_got_worse_where_to_look_and_when_it_is_over(chain: Chain) -> None:
    """A model gets worse and drifts, recovers, loses its data; each is told of once, with present values."""
    client, mailbox = Client(chain.exporter.url), chain.mailbox
    rows = push_bad_rows(client)
    drop = wait_until(lambda: mailbox.about("fraud", "accuracy", "MLPerformanceDrop"), "the drop's mail")
    drift = wait_until(lambda: mailbox.about("fraud", "amount"), "the drift's mail")
    text = text_of(drop[0])
    for expected in (
        "v7",
        "0.6",
        f"{chain.exporter.url}/runbooks/MLPerformanceDrop",
        "http://grafana.example:3000/d/ml-model",
        f"{chain.alertmanager}/#/silences/new",
    ):
        assert expected in text
    assert "critical" in text.lower()
    assert "country" not in text_of(drift[0])
    assert requests.get(f"{chain.exporter.url}/runbooks/MLPerformanceDrop", timeout=5).ok

    client.push_labels("fraud", pd.DataFrame({"id": rows["id"], "truth": rows["answer"]}))
    over = wait_until(lambda: mailbox.about("accuracy", "recovered"), "the end of the drop")
    assert over[0]["References"].split()[0] == drop[0]["References"].split()[0]
    requests.delete(f"{chain.exporter.url}/api/v1/models/fraud/versions/v7", timeout=10).raise_for_status()
    wait_until(lambda: mailbox.about("amount", "no data"), "the end of data")

    history = requests.get(f"{chain.bridge}/api/v1/alerts", params={"model": "fraud"}, timeout=5).json()
    lives = {(one["name"], one["labels"].get("column"), one["state"]) for one in history["alerts"]}
    assert ("MLPerformanceDrop", None, "resolved") in lives
    assert ("MLColumnDriftStrong", "amount", "resolved") in lives
    told = [one for one in history["alerts"] if one["name"] == "MLPerformanceDrop" and one["notified"]]
    assert {entry["channel"] for entry in told[0]["notified"]} == {"mail", "hook"}
    assert chain.prometheus.value("ml_bridge_last_heartbeat_timestamp_seconds") is not None
    assert chain.prometheus.value("sum(ml_bridge_dead)") == 0
    ids = [seen.headers["webhook-id"] for seen in chain.hook.requests]
    assert len(ids) == len(set(ids))
