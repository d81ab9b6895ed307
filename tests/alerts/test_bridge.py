"""The whole bridge: what Alertmanager sends reaches the channels, through every fault, and is remembered."""

from __future__ import annotations

import re
import threading
import time

import pytest
from prometheus_client.samples import Sample

from exporter.alerts.bridge import Bridge
from exporter.alerts.config import parse_bridge_config
from exporter.alerts.delivery.timing import Timing
from exporter.catalog import FAMILIES
from exporter.clock import SystemClock
from exporter.errors import BadRequestError, ConfigurationError, DeliveryError, NotFoundError, StoreError
from exporter.exposition import Exposition
from tests.alerts.bridging import a_payload, an_alert
from tests.alerts.hook_peer import HookPeer

PATIENCE = 20.0
QUICK = Timing(first=0.02, longest=0.2, longest_pause=0.2, longest_sleep=0.02, gauges=0.05)
CRITICAL = {"severity": "critical"}


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


@pytest.fixture
def peer():
    with HookPeer() as running:
        yield running


@pytest.fixture
def start(tmp_path, peer):
    """Give a function (**settings) -> started Bridge, one at a time, always on the same store."""
    running = []

    def make(**settings):
        bridge = Bridge(configuration(peer, **settings), tmp_path / "data", timing=QUICK)
        running.append(bridge)
        bridge.start()
        return bridge

    yield make
    for bridge in running:
        bridge.stop()


def configuration(peer, channels=("hook",), **settings):
    hooks = {name: {"type": "webhook", "url": f"{peer.url}/{name}", "timeout": "5s"} for name in channels}
    return parse_bridge_config({"channels": hooks} | settings)


def value(bridge, name, **labels):
    return bridge.telemetry.registry.get_sample_value(name, labels)


def now():
    return SystemClock().time()


def test_critical_alert_is_delivered_at_once(start, peer):
    """A webhook is answered when it is durable, and the channel gets the message without a window."""
    bridge = start()
    answer = bridge.take(a_payload([an_alert("MLPerformanceDrop", starts_at=now(), **CRITICAL)]))
    assert answer == {"status": "accepted", "alerts": 1, "groups": 1}
    wait_for(peer.bodies)
    body = peer.bodies()[0]
    assert body["status"] == "firing"
    assert body["severity"] == "critical"
    assert peer.texts() == ["MLPerformanceDrop firing"]
    assert value(bridge, "ml_bridge_webhooks_total", outcome="accepted") == 1
    assert value(bridge, "ml_bridge_alerts_total", severity="critical", change="firing") == 1
    wait_for(lambda: value(bridge, "ml_bridge_notifications_total", channel="hook", outcome="delivered") == 1)


def test_wrong_payload_is_refused_and_counted(start):
    """It is the sender's fault, and the bridge goes on."""
    bridge = start()
    with pytest.raises(BadRequestError):
        bridge.take(b"{")
    assert value(bridge, "ml_bridge_webhooks_total", outcome="rejected") == 1
    assert len(bridge.rejected()["rejected"]) == 1


def test_window_collects_and_flush_sends_now(start, peer):
    """Warnings wait for their window; closing sends them at once, in one message."""
    bridge = start(aggregation_window="1h")
    for column in ("a", "b", "c"):
        bridge.take(a_payload([an_alert(starts_at=now(), number=column)]))
    wait_for(lambda: value(bridge, "ml_bridge_pending_groups") == 1)
    assert peer.posts == []
    assert bridge.flush(wait_seconds=PATIENCE) == 0
    assert sorted(peer.texts()) == ["a firing", "b firing", "c firing"]
    assert len(peer.posts) == 1


def test_short_window_ends_by_itself(start, peer):
    """The aggregator wakes when the window is over."""
    bridge = start(aggregation_window="200ms")
    bridge.take(a_payload([an_alert(starts_at=now())]))
    bridge.take(a_payload([an_alert(starts_at=now(), number="2")]))
    wait_for(peer.bodies)
    assert len(peer.texts()) == 2


def test_what_waits_survives_a_stop(start, peer):
    """Queued deliveries and open windows are taken up by the next process."""
    peer.answer = lambda _: (503, {})
    bridge = start(aggregation_window="1h")
    bridge.take(a_payload([an_alert("MLPerformanceDrop", starts_at=now(), **CRITICAL)]))
    bridge.take(a_payload([an_alert("MLColumnDrift", starts_at=now())], group_labels={"model": "other"}))
    wait_for(lambda: peer.posts)
    bridge.stop()
    assert not bridge.ready
    peer.answer = lambda _: (200, {})
    again = start(aggregation_window="1h")
    assert again.flush(wait_seconds=PATIENCE) == 0
    assert sorted(peer.texts()) == ["MLColumnDrift firing", "MLPerformanceDrop firing"]


def test_broken_channels_delay_no_other(start, peer):
    """One channel hangs, one answers 500, one 429: the fourth gets everything meanwhile."""
    release = threading.Event()

    def answer(post):
        if post.path == "/hanging":
            release.wait(PATIENCE)
        return {
            "/hanging": (200, {}),
            "/failing": (500, {}),
            "/throttled": (429, {"Retry-After": "3600"}),
        }.get(post.path, (200, {}))

    peer.answer = answer
    bridge = start(channels=("hanging", "failing", "throttled", "working"))
    for number in range(30):
        alert = an_alert("MLPerformanceDrop", starts_at=now(), number=f"{number:02d}", **CRITICAL)
        bridge.take(a_payload([alert], group_labels={"number": f"{number}"}))
    wait_for(lambda: len(peer.bodies("/working")) == 30)
    wait_for(lambda: {"/hanging", "/throttled"} <= {post.path for post in peer.posts})
    assert len([post for post in peer.posts if post.path == "/hanging"]) == 1
    assert len([post for post in peer.posts if post.path == "/throttled"]) == 1
    wait_for(lambda: value(bridge, "ml_bridge_throttled_total", channel="throttled") == 1)
    wait_for(lambda: value(bridge, "ml_bridge_queue", channel="failing") == 30)
    wait_for(lambda: value(bridge, "ml_bridge_queue", channel="working") == 0)
    assert value(bridge, "ml_bridge_oldest_seconds", channel="failing") >= 0
    peer.answer = lambda _: (200, {})
    release.set()
    wait_for(lambda: len(peer.bodies("/failing")) == len(peer.bodies("/hanging")) == 30)


def test_dead_letter_can_be_sent_again(start, peer):
    """What a receiver refuses for good is kept and counted, and goes out when it is asked for."""
    peer.answer = lambda _: (422, {})
    bridge = start()
    bridge.take(a_payload([an_alert("MLPerformanceDrop", starts_at=now(), **CRITICAL)]))
    wait_for(lambda: value(bridge, "ml_bridge_dead", channel="hook") == 1)
    assert [body.id for body in peer.posts] == [peer.posts[0].id] * 2  # as usual, then in the plain form
    peer.answer = lambda _: (200, {})
    assert bridge.retry(peer.posts[0].id, "nowhere") == {"id": peer.posts[0].id, "queued": 0}
    assert bridge.retry(peer.posts[0].id) == {"id": peer.posts[0].id, "queued": 1}
    wait_for(peer.bodies)
    wait_for(lambda: value(bridge, "ml_bridge_dead", channel="hook") == 0)
    with pytest.raises(NotFoundError, match="there is no notification nothing"):
        bridge.retry("nothing")


def test_test_message_says_what_came_of_it_and_is_remembered(start, peer):
    """A test goes the way of every message, at once, and never becomes a dead letter."""
    bridge = start()
    answer = bridge.test("hook")
    assert answer["delivered"]
    assert answer["notification"] == peer.posts[0].id
    assert peer.bodies()[0]["kind"] == "test"
    assert "hook" in peer.bodies()[0]["text"]
    peer.answer = lambda _: (403, {})
    with pytest.raises(DeliveryError, match="answered 403"):
        bridge.test("hook")
    with pytest.raises(NotFoundError):
        bridge.test("nowhere")
    kept = bridge.notifications()["notifications"]
    assert [one["kind"] for one in kept] == ["test", "test"]
    wait_for(lambda: value(bridge, "ml_bridge_dead", channel="hook") == 0)


def test_reload_changes_channels_and_keeps_queues(start, peer):
    """A channel that is mended by a reload delivers what waits; one that is removed keeps its queue."""
    peer.answer = lambda post: (404, {}) if post.path in ("/hook", "/old") else (200, {})
    bridge = start(channels=("hook", "old"))
    for number in range(3):
        alert = an_alert("MLPerformanceDrop", starts_at=now(), number=f"{number}", **CRITICAL)
        bridge.take(a_payload([alert], group_labels={"number": f"{number}"}))
    wait_for(lambda: peer.posts)
    changed = configuration(peer, channels=("hook", "new"))
    mended = replace_url(changed, "hook", f"{peer.url}/mended")
    bridge.reload(mended)
    wait_for(lambda: len(peer.bodies("/mended")) == 3)
    wait_for(lambda: value(bridge, "ml_bridge_queue", channel="old") == 3)
    alert = an_alert("MLPerformanceDrop", starts_at=now(), number="after", **CRITICAL)
    bridge.take(a_payload([alert], group_labels={"number": "after"}))
    wait_for(lambda: len(peer.bodies("/new")) == 1)
    peer.answer = lambda _: (200, {})
    bridge.reload(configuration(peer, channels=("hook", "new", "old")))
    wait_for(lambda: len(peer.bodies("/old")) == 3)
    assert value(bridge, "ml_bridge_config_last_reload_successful") == 1


def replace_url(config, channel, url):
    settings = config.channels[channel]
    changed = type(settings).model_validate({"type": "webhook", "url": url, "timeout": "5s"})
    return config.model_copy(update={"channels": {**config.channels, channel: changed}})


def test_configuration_that_cannot_be_used_changes_nothing(start, peer, tmp_path):
    """A reload that fails is answered with the reason and seen in a metric; the old one goes on."""
    bridge = start()
    wrong = configuration(peer, channels=("hook", "two"), templates={"directory": str(tmp_path / "none")})
    with pytest.raises(ConfigurationError):
        bridge.reload(wrong)
    assert value(bridge, "ml_bridge_config_last_reload_successful") == 0
    assert bridge.config.templates.directory is None
    bridge.take(a_payload([an_alert("MLPerformanceDrop", starts_at=now(), **CRITICAL)]))
    wait_for(peer.bodies)
    assert {post.path for post in peer.posts} == {"/hook"}
    bridge.reload(configuration(peer))
    assert value(bridge, "ml_bridge_config_last_reload_successful") == 1


def test_configuration_that_cannot_be_opened_leaves_the_directory_free(peer, tmp_path):
    """A bridge that does not come up holds no lock."""
    wrong = configuration(peer, templates={"directory": str(tmp_path / "none")})
    with pytest.raises(ConfigurationError):
        Bridge(wrong, tmp_path / "data")
    bridge = Bridge(configuration(peer), tmp_path / "data")
    with pytest.raises(StoreError, match="in use by another process"):
        Bridge(configuration(peer), tmp_path / "data")
    bridge.stop()


def test_hostile_alert_is_delivered(start, peer):
    """Labels of any kind arrive; nothing of them breaks composing, the queue or the exposition."""
    bridge = start()
    hostile = {
        "number": '"><script>\u202e\x00{{7*7}}',
        "model": "m\n" * 3000,
        "severity": "critical",
    }
    bridge.take(a_payload([an_alert("ML}}{%", starts_at=now(), **hostile)]))
    bridge.take(a_payload([an_alert("MLPerformanceDrop", starts_at=now(), **CRITICAL)]))
    wait_for(lambda: len([text for text in peer.texts() if text.endswith(" firing")]) == 2)
    wait_for(lambda: len(samples_of(bridge, "ml_bridge_firing_alerts")) == 2)
    assert exposed(bridge).count(b"\nml_bridge_firing_alerts{") == 2


def samples_of(bridge, name) -> list[Sample]:
    return [sample for family, sample in bridge.telemetry.samples() if family == name]


def exposed(bridge):
    return Exposition().snapshot(list(bridge.telemetry.samples()), made_at=now()).text


def test_every_family_of_the_bridge_is_filled(start, peer):
    """After some work nothing of the catalogue is missing, and all of it can be exposed."""
    bridge = start(links={"alertmanager": "http://127.0.0.1:9"})
    answers = iter([(500, {}), (429, {"Retry-After": "0"})])
    peer.answer = lambda _: next(answers, (200, {}))
    bridge.take(a_payload([an_alert("MLPerformanceDrop", starts_at=now(), **CRITICAL)]))
    bridge.take(a_payload([an_alert("MLHeartbeat", starts_at=now(), severity="info")]))
    wait_for(peer.bodies)
    wait_for(lambda: samples_of(bridge, "ml_bridge_firing_alerts"))
    families = {name for name in FAMILIES if name.startswith("ml_bridge_") and "_http_" not in name}
    later = {"ml_bridge_template_failures_total"}
    wait_for(lambda: families - later <= {name for name, _ in bridge.telemetry.samples()})
    assert {name for name, _ in bridge.telemetry.samples()} <= families
    text = exposed(bridge).decode()
    assert set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) <= families | {
        "ml_exporter_snapshot_timestamp_seconds"
    }
    assert value(bridge, "ml_bridge_ready") == 1
    assert abs(value(bridge, "ml_bridge_last_heartbeat_timestamp_seconds") - now()) < PATIENCE
    assert all(FAMILIES[name].produced for name in families)


def test_secrets_appear_nowhere(start, peer, tmp_path, caplog, free_port):
    """Tokens in URLs, headers and passwords are in no log, metric, answer or file of the store."""
    caplog.set_level("DEBUG", logger="exporter")
    peer.answer = lambda post: (500, {}) if post.path.startswith("/hook") else (403, {})
    config = parse_bridge_config(
        {
            "channels": {
                "hook": {
                    "type": "webhook",
                    "url": f"{peer.url}/hook/s3cr3t-one?key=s3cr3t-two",
                    "secret": "s3cr3t-three",
                    "headers": {"Authorization": "Bearer s3cr3t-four"},
                },
                "gone": {
                    "type": "webhook",
                    "url": f"http://u:s3cr3t-five@127.0.0.1:{free_port()}/s3cr3t-six",
                },
                "slack": {"type": "slack", "webhook_url": f"{peer.url}/services/s3cr3t-seven"},
                "bot": {"type": "slack", "bot_token": "s3cr3t-eight", "channel": "C1", "api_url": peer.url},
                "mail": {
                    "type": "email",
                    "smtp_server": "127.0.0.1",
                    "smtp_port": free_port(),
                    "tls": "none",
                    "from": "a@example.org",
                    "to": "b@example.org",
                },
            },
            "links": {"exporter": f"http://127.0.0.1:{free_port()}", "token": "s3cr3t-nine"},
        }
    )
    bridge = start()
    bridge.reload(config)
    bridge.take(a_payload([an_alert("MLPerformanceDrop", starts_at=now(), **CRITICAL)]))
    tried = {"hook", "gone", "slack", "bot", "mail"}
    wait_for(lambda: tried <= {one["channel"] for one in deliveries(bridge) if one["error"]})
    for channel in tried:
        with pytest.raises(DeliveryError) as caught:
            bridge.test(channel)
        assert "s3cr3t" not in str(caught.value)
    everything = [str(deliveries(bridge)), exposed(bridge).decode(), caplog.text, str(bridge.config)]
    everything += [str(vars(record)) for record in caplog.records]
    bridge.stop()
    everything += [
        path.read_bytes().decode("latin-1") for path in (tmp_path / "data").iterdir() if path.is_file()
    ]
    assert not [text for text in everything if "s3cr3t" in text]


def deliveries(bridge):
    return [one for kept in bridge.notifications()["notifications"] for one in kept["deliveries"]]
