"""Killed at any moment, full of errors, without a disk: the bridge loses nothing that it has taken."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict

import pytest

from tests.alerts.bridge_process import bridge_process
from tests.alerts.bridging import a_payload, an_alert
from tests.alerts.hook_peer import HookPeer

PATIENCE = 60.0
KILLS = 25
GROUPS = 5


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


class Nuisance:
    """Answers at random with 200, 500, 503 with Retry-After, or not at all, and takes its time."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.calm = False
        self.lock = threading.Lock()

    def __call__(self, _):
        with self.lock:
            fate, pause = self.chance.random(), self.chance.random() * 0.01
        time.sleep(pause)
        if self.calm or fate < 0.6:
            return (200, {})
        if fate < 0.75:
            return (500, {})
        return (503, {"Retry-After": "0"}) if fate < 0.9 else None


def told_once(peer, path):
    """Numbers of alerts told as firing, by group, in the order of the notifications' first arrival."""
    order = defaultdict(list)
    for body in peer.bodies(path):
        group = body["group"]["labels"]["group"]
        order[group] += [a["labels"]["number"] for a in body["alerts"] if a["change"] == "firing"]
    return order


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again_it_loses_nothing(tmp_path, seed):
    """Every alert that was taken is told once a channel, by stable identifiers, and groups stay in order."""
    chance = random.Random(seed)
    sent = {f"g{i}": 0 for i in range(GROUPS)}
    with HookPeer(answer=Nuisance(seed)) as peer:
        settings = {
            "channels": {
                name: {"type": "webhook", "url": f"{peer.url}/{name}", "timeout": "5s"} for name in ("a", "b")
            }
        }
        with bridge_process(settings, tmp_path) as bridge:
            for _ in range(KILLS):
                killer = threading.Timer(chance.random() * 0.15, bridge.kill)
                killer.start()
                while send_one(bridge, chance.choice(list(sent)), sent):
                    pass
                killer.join()
                bridge.start()
            for group in sent:
                assert send_one(bridge, group, sent)
            peer.answer.calm = True
            total = sum(sent.values())
            wait_for(lambda: all(count(told_once(peer, path)) >= total for path in ("/a", "/b")))
            assert bridge.stop() == 0
            bridge.start()
    for path in ("/a", "/b"):
        told = told_once(peer, path)
        for group, number in sent.items():
            assert told[group] == [f"{i:05d}" for i in range(number)]
        created = defaultdict(list)
        for body in peer.bodies(path):
            created[body["group"]["id"]].append(body["created"])
        assert all(times == sorted(times) for times in created.values())
    assert total > KILLS


def test_full_disk_is_answered_as_such_and_passes(tmp_path):
    """Webhooks are refused while nothing can be written; then all goes on, and nothing taken is missing."""
    sent = {"g": 0}
    with HookPeer() as peer:
        settings = {"channels": {"a": {"type": "webhook", "url": f"{peer.url}/a", "timeout": "5s"}}}
        with bridge_process(settings, tmp_path) as bridge:
            assert send_one(bridge, "g", sent)
            bridge.fill_disk()
            while send_one(bridge, "g", sent):
                pass
            full_at = sent["g"]
            for _ in range(5):
                assert not send_one(bridge, "g", sent)
            bridge.free_disk()
            for _ in range(5):
                assert send_one(bridge, "g", sent)
            wait_for(lambda: count(told_once(peer, "/a")) == full_at + 5)
            assert bridge.stop() == 0
            bridge.start()
    assert told_once(peer, "/a")["g"] == [f"{i:05d}" for i in range(full_at + 5)]


def send_one(bridge, group, sent):
    """Send a group's next alert until the bridge says that it has it, or is dead."""
    alert = an_alert(
        "MLPerformanceDrop",
        starts_at=1.7e9 + sent[group],
        group=group,
        number=f"{sent[group]:05d}",
        severity="critical",
    )
    if not bridge.send(a_payload([alert], group_labels={"group": group})):
        return False
    sent[group] += 1
    return True


def count(told):
    return sum(len(numbers) for numbers in told.values())
