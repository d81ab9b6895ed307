"""A bridge that runs with its HTTP server, and tokens to ask it with."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import yaml

from exporter.alerts.config import parse_bridge_config
from exporter.web.bridge_assembly import BridgeServer, bridge_limits
from exporter.web.front import WebSettings
from exporter.web.local_bridge import BridgeFile
from tests.alerts.bridging import a_payload, an_alert

PATIENCE = 20.0
TOKENS: Mapping[str, Mapping[str, Any]] = {
    "hook": {"scopes": ["alertmanager"]},
    "reader": {"scopes": ["read"]},
    "fraud": {"scopes": ["read"], "models": ["fraud"]},
    "both": {"scopes": ["read"], "models": ["fraud", "churn"]},
    "operator": {"scopes": ["admin", "read"]},
    "part": {"scopes": ["admin", "alertmanager"], "models": ["fraud"]},
    "scraper": {"scopes": ["metrics"]},
}
"""Each token's text is its name."""


def wait_for(condition: Callable[[], Any]) -> Any:
    """Return what the condition gives once that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
    return found


def token_file(directory: Path) -> Path:
    """Write a web configuration with all tokens."""
    tokens = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **entry}
        for name, entry in TOKENS.items()
    ]
    file = directory / "web.yml"
    file.write_text(yaml.safe_dump({"tokens": tokens}), encoding="utf-8")
    return file


def by(token: str) -> dict[str, str]:
    """Headers of somebody with this token."""
    return {"Authorization": f"Bearer {token}"}


@dataclass
class WebBridge:
    """A running bridge and a way to speak to it."""

    server: BridgeServer
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False

    @classmethod
    def start(
        cls, directory: Path, source: Mapping[str, Any] | Path, *, web_config: Path | None = None
    ) -> WebBridge:
        settings = WebSettings("127.0.0.1:0", web_config, limits=bridge_limits())
        config = source if isinstance(source, Path) else parse_bridge_config(source)
        server = BridgeServer(BridgeFile(config), directory, settings)
        server.start()
        return cls(server)

    def stop(self) -> None:
        self.session.close()
        self.server.stop(2)

    @property
    def url(self) -> str:
        return self.server.url

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.url + path, timeout=20, **options)

    def get(self, path: str, token: str | None = None) -> Any:
        """The JSON of an answer 200."""
        answer = self.ask("GET", path, headers=by(token) if token else {})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def take(self, *alerts: Mapping[str, Any], token: str | None = None, **payload: Any) -> requests.Response:
        headers = {"Content-Type": "application/json", **(by(token) if token else {})}
        return self.ask("POST", "/alertmanager", data=a_payload(alerts, **payload), headers=headers)

    def fire(self, name: str = "MLColumnDrift", *, token: str | None = None, **labels: str) -> dict[str, Any]:
        """Take one firing alert in; returns it."""
        alert = an_alert(name, **labels)
        answer = self.take(
            alert, token=token, group_labels={"alertname": name, "model": alert["labels"]["model"]}
        )
        assert answer.status_code == 200, answer.text
        return alert


def assert_error(answer: requests.Response, status: int, code: str) -> dict[str, Any]:
    """The error of an answer, in the one shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "details"}
    assert error["code"] == code, error
    assert error["message"]
    return dict(json.loads(answer.content)["error"])
