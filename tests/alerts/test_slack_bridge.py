"""The whole bridge with Slack: killed at any moment, every notification is in the channel exactly once."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import pytest

from tests.alerts.bridge_process import bridge_process
from tests.alerts.bridging import a_payload, an_alert
from tests.alerts.slack_peer import Fault, SlackPeer

PATIENCE = 90.0
ALERTS = 8


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def posted(peer):
    """How often each post of each notification is in the channel."""
    payloads = [m["metadata"]["event_payload"] for m in list(peer.channel.messages.values())]
    return Counter((payload["notification"], payload["until"]) for payload in payloads)


@pytest.mark.slow
def test_killed_while_it_sends_nothing_is_lost_and_nothing_is_sent_twice(tmp_path):
    """Answers are lost and the bridge is killed again and again; what arrived is recognised."""
    chance = random.Random(7)
    peer = SlackPeer()
    for after in range(0, 12, 3):
        peer.faults.append(Fault("chat.postMessage", cut=True, stored=True, after=after))
    settings = {
        "channels": {
            "chat": {
                "type": "slack",
                "bot_token": "xoxb-secret-token",
                "channel": "C024BE91L",
                "api_url": peer.api_url,
                "timeout": "5s",
            }
        }
    }
    try:
        with bridge_process(settings, tmp_path) as bridge:
            for number in range(ALERTS):
                labels = {"group": f"g{number}"}
                alert = an_alert("MLPerformanceDrop", severity="critical", **labels)
                assert bridge.send(a_payload([alert], group_labels=labels))
            for _ in range(5):
                killer = threading.Timer(chance.uniform(0.2, 1.5), bridge.kill)
                killer.start()
                killer.join()
                bridge.start()
            wait_for(lambda: len(posted(peer)) == ALERTS)
        assert set(posted(peer).values()) == {1}
        assert len(peer.channel.roots) == ALERTS
        assert "conversations.history" in peer.methods()
        assert peer.refused == []
    finally:
        peer.close()
