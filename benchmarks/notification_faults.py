"""What the bridge delivers when something is broken on purpose, with counts.

A channel that is down, kills at random moments, hostile alerts and templates, and secrets looked for
everywhere.

python -m benchmarks.notification_faults [--down-seconds 60] [--kills 10]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import requests

from benchmarks.bridging import Mailbox, Receiver, RunningBridge, alert, webhook

SECRETS = (
    "hook-secret-7f3a",
    "slack-secret-91bc",
    "url-secret-55d0",
    "header-secret-c4e2",
    "smtp-secret-08aa",
)

CONFIGURATION = """
channels:
  hook: {{type: webhook, url: "{peer}/hook?token=url-secret-55d0", secret: hook-secret-7f3a,
          headers: {{Authorization: Bearer header-secret-c4e2}}}}
  other: {{type: webhook, url: "{other}/other"}}
  chat: {{type: slack, webhook_url: "{peer}/services/T0/B0/slack-secret-91bc"}}
  mail: {{type: email, smtp_server: 127.0.0.1, smtp_port: {smtp}, tls: none, from: ml@example.org,
          to: [team@example.org]}}
routes:
  - {{matchers: [], channels: [{channels}], aggregation_window: 0s}}
templates: {{directory: {templates}}}
"""


class Scene:
    """One bridge with its receivers, new for each fault."""

    def __init__(self, stack: ExitStack, channels: str) -> None:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.templates = directory / "templates"
        self.templates.mkdir()
        self.peer = stack.enter_context(Receiver().running())
        self.other = stack.enter_context(Receiver().running())
        self.mailbox = Mailbox()
        smtp = stack.enter_context(self.mailbox.running())
        text = CONFIGURATION.format(
            peer=self.peer.url, other=self.other.url, smtp=smtp, channels=channels, templates=self.templates
        )
        self.bridge = RunningBridge(directory, text)
        stack.callback(self.bridge.stop)

    def post(self, group: int, alerts: list[dict[str, Any]]) -> None:
        """Post as Alertmanager does: again until the bridge has it."""
        labels = {"alertname": "MLColumnDrift", "version": f"v{group}"}
        body = webhook(labels, alerts, "2026-01-01T00:00:00Z")
        while True:
            try:
                answer = requests.post(f"{self.bridge.url}/alertmanager", json=body, timeout=10)
            except requests.RequestException:
                time.sleep(0.05)
                continue
            if answer.ok:
                return
            time.sleep(0.05)


def versions(taken: list[tuple[float, str, dict[str, Any]]]) -> set[str]:
    return {
        one["labels"]["version"]
        for _, _, body in taken
        for one in body["alerts"]
        if "version" in one.get("labels", {})
    }


def channel_down(seconds: float) -> None:
    """One channel answers 503 for a while; 200 groups come meanwhile."""
    with ExitStack() as stack:
        scene = Scene(stack, "hook, other, mail")
        scene.bridge.start()
        scene.peer.status = 503
        posted = {}
        for group in range(200):
            posted[f"v{group}"] = time.time()
            scene.post(group, [alert(group, n, "warning") for n in range(3)])
            time.sleep(seconds / 200)
        deadline = time.time() + 30
        while time.time() < deadline and len(scene.other.taken) < 200:
            time.sleep(0.1)
        waited = [
            at - posted[body["alerts"][0]["labels"]["version"]] for at, _, body in scene.other.of("/other")
        ]
        p50, longest = np.quantile(waited, (0.5, 1.0))
        dead_channel = len(scene.peer.of("/hook"))
        print(
            f"down for {seconds:.0f} s: meanwhile {dead_channel} through it, {len(waited)} of 200 through "
            f"another webhook (p50 {p50:.2f} s, max {longest:.2f} s), {len(scene.mailbox.taken)} emails"
        )
        scene.peer.status = 200
        back = time.time()
        rest = scene.bridge.settle(900)
        hooks = scene.peer.of("/hook")
        print(
            f"back: {len(versions(hooks))} of 200 groups through it {time.time() - back:.0f} s later "
            f"in {len(hooks)} messages, {rest} waiting, {scene.peer.refused} refusals before"
        )


def kills(count: int) -> None:
    """SIGKILL at random moments while webhooks come."""
    generator = np.random.default_rng(11)
    with ExitStack() as stack:
        scene = Scene(stack, "hook, mail")
        scene.bridge.start()
        groups = 20 * count
        for group in range(groups):
            scene_alerts = [alert(group, n, "critical" if group % 5 == 0 else "warning") for n in range(5)]
            if group % 20 == 10:
                time.sleep(float(generator.uniform(0, 0.3)))
                scene.bridge.kill()
                scene.bridge.start()
            scene.post(group, scene_alerts)
        rest = scene.bridge.settle(300)
        hooks = scene.peer.of("/hook")
        ids = [identity for _, identity, _ in hooks]
        kept = sum(1 for _ in scene.bridge.all_alerts())
        print(
            f"{count} kills: {kept} of {groups * 5} alerts in the history, {len(versions(hooks))} of "
            f"{groups} groups told of by webhook in {len(ids)} messages with {len(set(ids))} ids, "
            f"{len(scene.mailbox.taken)} emails, {rest} waiting"
        )


def hostile() -> None:
    """Huge, hostile labels, and a template that fails."""
    with ExitStack() as stack:
        scene = Scene(stack, "hook, chat, mail")
        (scene.templates / "slack_alert.md").write_text("{{ 1 / 0 }}", encoding="utf-8")
        (scene.templates / "email.txt").write_text(
            "{% for i in range(10 ** 9) %}x{% endfor %}", encoding="utf-8"
        )
        scene.bridge.start()
        nasty = {
            "column": "<!channel> <script>alert(1)</script> {{ 7 * 7 }} $(reboot) \u202e\r\nBcc: x@x.org",
            "payload": "A" * 500_000,
            "emoji": "\U0001f9e8" * 2000,
            "zero": "a\x00b",
        }
        scene.post(0, [alert(0, 0, "critical", **nasty)])
        scene.post(
            1, [alert(1, n, "critical", **{f"l{k}": "x" * 200 for k in range(60)}) for n in range(400)]
        )
        started = time.time()
        for group in range(2, 22):
            scene.post(group, [alert(group, 0, "warning")])
        rest = scene.bridge.settle(120)
        samples = scene.bridge.metrics()
        dead = sum(value for name, value in samples.items() if name.startswith("ml_bridge_dead"))
        plain = sum(v for n, v in samples.items() if 'outcome="delivered_plain"' in n)
        failed = sum(v for n, v in samples.items() if n.startswith("ml_bridge_template_failures_total"))
        chat = len(scene.peer.of("/services/T0/B0/slack-secret-91bc"))
        told = len(versions(scene.peer.of("/hook")))
        print(
            f"hostile: 22 groups, webhook {told} groups, chat {chat} messages, {len(scene.mailbox.taken)} "
            f"emails; {plain:.0f} in plain form, {failed:.0f} template failures, {dead:.0f} dead, "
            f"{rest} waiting, {time.time() - started:.0f} s"
        )
        wrong = requests.post(f"{scene.bridge.url}/alertmanager", json={"version": "4"}, timeout=10)
        print(f"wrong payload: {wrong.status_code} {wrong.json()['error']['message'][:120]}")


def secrets() -> None:
    """Every secret looked for in logs, metrics, API and errors, with every channel failing."""
    with ExitStack() as stack:
        scene = Scene(stack, "hook, chat, mail")
        scene.bridge.start()
        for status in (200, 403, 500):
            scene.peer.status = status
            scene.post(status, [alert(status, 0, "critical")])
            for channel in ("hook", "chat", "mail"):
                requests.post(f"{scene.bridge.url}/api/v1/test/{channel}", timeout=60)
        scene.bridge.configuration = scene.bridge.configuration.replace("hook, chat", "hook, chatt")
        pages = [requests.get(f"{scene.bridge.url}{path}", timeout=30).text for path in PATHS]
        pages.append(scene.bridge.log.read_text(encoding="utf-8"))
        scene.bridge.stop()
        try:
            scene.bridge.start()
        except SystemExit:
            pages.append(scene.bridge.log.read_text(encoding="utf-8"))
        found = {secret: sum(page.count(secret) for page in pages) for secret in SECRETS}
        print(
            f"secrets found in {sum(map(len, pages)):,} characters of logs and answers: {json.dumps(found)}"
        )


PATHS = (
    "/metrics",
    "/",
    "/api/v1/alerts",
    "/api/v1/notifications",
    "/api/v1/alerts/summary",
    "/api/v1/openapi.json",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--down-seconds", type=float, default=60.0)
    parser.add_argument("--kills", type=int, default=10)
    asked = parser.parse_args()
    channel_down(asked.down_seconds)
    kills(asked.kills)
    hostile()
    secrets()


if __name__ == "__main__":
    main()
