"""A storm of 50,000 alerts in 500 groups within a minute, through a real Alertmanager and the bridge.

Measured: what is lost, how soon critical ones are told of, the bridge's memory, the time until all is told.

python -m benchmarks.notification_storm [--groups 500] [--alerts 100] [--seconds 60]
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import requests

from benchmarks.bridging import Mailbox, Receiver, RunningBridge, alert, alertmanager

CRITICAL_EVERY = 25
AT_ONCE = 250

CONFIGURATION = """
channels:
  hook: {{type: webhook, url: {peer}/hook, secret: hook-secret}}
  chat: {{type: slack, webhook_url: {peer}/services/T0/B0/slack-secret}}
  mail: {{type: email, smtp_server: 127.0.0.1, smtp_port: {smtp}, tls: none, from: ml@example.org,
          to: [team@example.org]}}
routes:
  - {{matchers: ['severity="critical"'], channels: [hook, chat, mail], aggregation_window: 0s}}
  - {{matchers: [], channels: [hook, mail], aggregation_window: 20s}}
"""


def severity_of(group: int) -> str:
    return "critical" if group % CRITICAL_EVERY == 7 else "warning"


def post_storm(url: str, groups: int, alerts: int, seconds: float) -> dict[str, float]:
    """Post all alerts in a random order, evenly over the time; returns when each group was first posted."""
    order = np.random.default_rng(4).permutation(groups * alerts)
    first: dict[str, float] = {}
    session = requests.Session()
    begun = time.time()
    for start in range(0, len(order), AT_ONCE):
        due = begun + seconds * start / len(order)
        time.sleep(max(0.0, due - time.time()))
        chosen = order[start : start + AT_ONCE]
        body = [alert(int(i) % groups, int(i) // groups, severity_of(int(i) % groups)) for i in chosen]
        session.post(f"{url}/api/v2/alerts", json=body, timeout=60).raise_for_status()
        for one in body:
            first.setdefault(one["labels"]["version"], time.time())
    return first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument("--alerts", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        raise SystemExit("this benchmark needs Alertmanager (tools/install-programs)")
    receiver, mailbox = Receiver(), Mailbox()
    with (
        tempfile.TemporaryDirectory() as name,
        receiver.running(),
        mailbox.running() as smtp,
    ):
        directory = Path(name)
        bridge = RunningBridge(directory, CONFIGURATION.format(peer=receiver.url, smtp=smtp))
        bridge.start()
        before = bridge.memory_bytes()
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.2):
                bridge.memory_bytes()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            with alertmanager(program, directory, bridge.url, ["alertname", "model", "version"]) as url:
                begun = time.time()
                first = post_storm(url, asked.groups, asked.alerts, asked.seconds)
                posted = time.time() - begun
                told_everything(bridge, asked.groups * asked.alerts)
                done = max(at for at, *_ in receiver.taken) - begun
            report(bridge, receiver, mailbox, first, asked.groups * asked.alerts)
            print(f"posted in {posted:.0f} s, all told after {done:.0f} s")
            print(f"resident memory before {before / 1e6:.0f} MB, peak {bridge.peak_bytes / 1e6:.0f} MB")
        finally:
            stop.set()
            watcher.join()
            bridge.stop()


def told_everything(bridge: RunningBridge, alerts: int) -> None:
    """Wait until every alert is in the history and nothing waits any more."""
    deadline = time.time() + 900
    while time.time() < deadline:
        taken = sum(
            value
            for name, value in bridge.metrics().items()
            if name.startswith("ml_bridge_alerts_total{") and 'change="firing"' in name
        )
        if taken >= alerts and bridge.settle(900) == 0:
            return
        time.sleep(1)
    raise SystemExit("not all was told within 15 minutes")


def report(
    bridge: RunningBridge, receiver: Receiver, mailbox: Mailbox, first: dict[str, float], alerts: int
) -> None:
    told: dict[str, set[str]] = {}
    unnotified = 0
    kept = 0
    for one in bridge.all_alerts():
        kept += 1
        told.setdefault(one["labels"]["version"], set()).add(one["labels"]["column"])
        unnotified += not one["notified"]
    print(f"{alerts:,} alerts posted, {kept:,} in the history, {unnotified} of them not told of")
    hooks = receiver.of("/hook")
    ids = [identity for _, identity, _ in hooks]
    chat = len(receiver.of("/services/T0/B0/slack-secret"))
    print(
        f"webhook: {len(hooks)} messages, {len(set(ids))} different; chat {chat}; mail {len(mailbox.taken)}"
    )
    waited: dict[str, list[float]] = {"critical": [], "warning": []}
    seen: set[str] = set()
    for at, _, body in sorted(hooks, key=lambda entry: entry[0]):
        text = json.dumps(body)
        version = next((v for v in first if f'"{v}"' in text), None)
        if version is not None and version not in seen:
            seen.add(version)
            waited[severity_of(int(version[1:]))].append(at - first[version])
    for severity, seconds in waited.items():
        p50, p99, longest = np.quantile(seconds, (0.5, 0.99, 1.0))
        print(f"{severity:<9} {len(seconds):>4} groups: first told after p50 {p50:.1f} s, p99 {p99:.1f} s, "
              f"max {longest:.1f} s (1 s of it Alertmanager's group_wait)")  # fmt: skip
    errors = {name: value for name, value in bridge.metrics().items() if "errors_total" in name and value}
    print(f"errors: {errors or 'none'}")


if __name__ == "__main__":
    main()
