"""A worker gets everything through that can get through, and no fault of one channel or message stops it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from itertools import pairwise

import pytest

from exporter.alerts.composing.plain import plain_message
from exporter.alerts.config import SlackSettings, WebhookSettings
from exporter.alerts.delivery.backoff import Backoff
from exporter.alerts.delivery.circuit import FAILURES_TO_OPEN, LONGEST_PAUSE_SECONDS, Circuit
from exporter.alerts.delivery.dispatcher import Dispatcher, prepare
from exporter.alerts.delivery.pacing import Pacer
from exporter.alerts.delivery.redaction import Redactor
from exporter.alerts.delivery.timing import Timing
from exporter.alerts.delivery.worker import OpenChannel, Trial, Worker
from exporter.alerts.records import Change, Kind, Receipt, Severity
from exporter.alerts.store.outbox import CRASHES_BEFORE_PLAIN
from exporter.alerts.store.store import AlertStore
from exporter.alerts.telemetry import BridgeTelemetry
from exporter.clock import ManualClock
from exporter.errors import (
    ConfigurationError,
    DeliveryError,
    NotFoundError,
    PermanentDeliveryError,
    TemporaryDeliveryError,
)
from tests.alerts.queues import notification, queue

PATIENCE = 20.0


def wait_for(condition, clock=None, step=0.0):
    """Wait until a condition holds; the clock goes on by `step` seconds at every look."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        if clock is not None:
            clock.advance(step)
        time.sleep(0.002)


class ListedChannel:
    """A channel that keeps what it is given; `answer` may raise, or return a receipt."""

    spacing_seconds = 0.0

    def __init__(self, clock, answer=None):
        self.clock = clock
        self.answer = answer or (lambda _: Receipt("ok"))
        self.tried = []
        self.taken = []
        self.messages = []
        self.closed = False

    def send(self, message, delivery):
        self.tried.append((self.clock.time(), delivery))
        receipt = self.answer(delivery)
        self.taken.append(delivery.notification.id)
        self.messages.append(message)
        return receipt

    def close(self):
        self.closed = True


class Bench:
    """A store, a clock that is moved by hand, and workers on them."""

    def __init__(self, store):
        self.store = store
        self.clock = ManualClock(1000.0)
        self.telemetry = BridgeTelemetry(1000.0)
        self.compose = lambda one: plain_message(one, self.clock.time())
        self.workers = []
        self.longest_attempt = 300.0

    def settings(self, **given):
        return WebhookSettings(type="webhook", url="https://example.org/hook/s3cr3t-p4th", **given)

    def worker(self, channel, name="chat", **settings):
        opened = OpenChannel(name, self.settings(**settings), channel)
        return self.new_worker(opened)

    def new_worker(self, opened):
        made = Worker(
            opened,
            outbox=self.store.outbox,
            compose=lambda one: self.compose(one),  # noqa: PLW0108  # it may be changed later
            clock=self.clock,
            telemetry=self.telemetry,
            longest_attempt=lambda _settings: self.longest_attempt,
            timing=Timing(longest_sleep=0.005),
        )
        self.workers.append(made)
        return made

    def queue(self, *numbers, group=None, channel="chat", **given):
        for number in numbers:
            one = notification(number, group or f"g{number}", created=self.clock.time(), **given)
            queue(self.store, one, channel)

    def states(self):
        with self.store.read() as connection:
            return dict(connection.execute("SELECT notification, state FROM deliveries").fetchall())

    def error(self, name):
        with self.store.read() as connection:
            return connection.execute(
                "SELECT error FROM deliveries WHERE notification = ?", (name,)
            ).fetchone()[0]

    def done(self, state="delivered"):
        return Counter(self.states().values())[state]

    def value(self, name, **labels):
        return self.telemetry.registry.get_sample_value(name, labels)


@pytest.fixture
def bench(tmp_path):
    with AlertStore.open(tmp_path, clock=ManualClock(0.0)) as store:
        made = Bench(store)
        yield made
        for worker in made.workers:
            worker.stop()
        for worker in made.workers:
            worker.join(PATIENCE)


def failing_times(times, error):
    """Answer with an error so many times, then take everything."""
    left = [times]

    def answer(delivery):
        if left[0] > 0:
            left[0] -= 1
            raise error
        return Receipt("ok")

    return answer


# -- the parts ------------------------------------------------------------------------------------------


def test_backoff_doubles_up_to_its_longest_and_never_waits_longer_than_its_bound():
    """The bounds are 5, 10, 20, ... 600 seconds; waits are spread over them."""
    backoff = Backoff(random.Random(3))
    assert [backoff.bound(n) for n in (1, 2, 3, 7, 8, 9, 5000)] == [5, 10, 20, 320, 600, 600, 600]
    for failures in (1, 4, 20):
        waits = [backoff.seconds(failures) for _ in range(300)]
        bound = backoff.bound(failures)
        assert all(0.1 * bound <= wait <= bound for wait in waits)
        assert max(waits) - min(waits) > 0.7 * bound


def test_pacer_spaces_sends_and_forgives_a_clock_that_goes_back():
    """After a send the next one waits out the spacing, no longer."""
    pacer = Pacer(1.5)
    assert pacer.wait(10.0) == 0
    pacer.sent(10.0)
    assert pacer.wait(10.5) == 1.0
    assert pacer.wait(11.5) == 0
    assert pacer.wait(3.0) == 0


def test_circuit_opens_after_different_failures_in_a_row_and_closes_at_a_success():
    """One message that fails again and again is the message's fault, three messages are the channel's."""
    circuit = Circuit(Backoff(random.Random(1)))
    for _ in range(10):
        circuit.failed(1, 0.0, whole_channel=False)
    assert circuit.opened_at is None
    assert circuit.wait(0.0) == 0
    circuit.failed(2, 5.0, whole_channel=False)
    circuit.failed(3, 6.0, whole_channel=False)
    assert FAILURES_TO_OPEN == 3
    assert circuit.opened_at == 6.0
    assert 0 < circuit.wait(6.0) <= 5.0
    assert circuit.succeeded()
    assert circuit.wait(6.0) == 0
    assert not circuit.succeeded()
    circuit.failed(9, 7.0, whole_channel=True)
    assert circuit.opened_at == 7.0
    assert circuit.wait(6.9) == 0  # the clock was set back
    circuit.throttled(8.0, 60.0)
    assert circuit.succeeded()
    assert circuit.wait(8.0) == 60.0


def test_redactor_hides_secrets_whole_and_in_their_parts():
    """A library that names only the path of a secret URL, or quotes it, gives nothing away."""
    url = "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/xyzXYZ123456"
    redact = Redactor(SlackSettings(type="slack", webhook_url=url))
    for text in (url, "/services/T0AAAAAAA/B0BBBBBBB/xyzXYZ123456", "xyzXYZ123456", "path=T0AAAAAAA"):
        assert "xyzXYZ123456" not in redact(text)
        assert "T0AAAAAAA" not in redact(text)
        assert "***" in redact(text)
    assert redact("services at hooks.slack.com are down") == "services at hooks.slack.com are down"
    hook = WebhookSettings(
        type="webhook",
        url="https://us%65r:p%40ssw0rd@example.org/a?token=q/w+e12345",
        secret="whsec_1",
        headers={"X": "h3ader-value"},
    )
    said = Redactor(hook)("p@ssw0rd p%40ssw0rd q/w+e12345 q%2Fw%2Be12345 whsec_1 h3ader-value example.org")
    assert said == "*** *** *** *** *** *** example.org"
    assert (
        Redactor(WebhookSettings(type="webhook", url="http://example.org/api"))("api is down")
        == "api is down"
    )


# -- one worker -----------------------------------------------------------------------------------------


def test_worker_delivers_what_waits_and_what_comes_later(bench):
    """The most urgent first; a new one is sent as soon as the worker is woken."""
    channel = ListedChannel(bench.clock)
    bench.queue(1, 2)
    bench.queue(3, severity=Severity.CRITICAL)
    worker = bench.worker(channel)
    worker.start()
    wait_for(lambda: bench.done() == 3)
    bench.queue(4)
    worker.wake()
    wait_for(lambda: bench.done() == 4)
    assert channel.taken == ["n3", "n1", "n2", "n4"]
    wait_for(lambda: bench.value("ml_bridge_notifications_total", channel="chat", outcome="delivered") == 4)
    wait_for(lambda: bench.value("ml_bridge_delivery_seconds_count", channel="chat") == 4)
    wait_for(lambda: bench.value("ml_bridge_last_delivery_timestamp_seconds", channel="chat") == 1000.0)


def test_temporary_failure_is_tried_again_after_a_growing_wait(bench):
    """Attempts come with full jitter below 5, 10, 20, ... seconds, knowing of the earlier ones."""
    channel = ListedChannel(bench.clock, failing_times(4, TemporaryDeliveryError("busy", uncertain=True)))
    bench.queue(1)
    bench.worker(channel).start()
    wait_for(lambda: bench.done() == 1, bench.clock, 0.05)
    times = [at for at, _ in channel.tried]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert all(0.5 <= wait <= bound + 1 for wait, bound in zip(waits, (5, 10, 20, 40), strict=True))
    assert [delivery.attempt for _, delivery in channel.tried] == [1, 2, 3, 4, 5]
    assert [delivery.uncertain for _, delivery in channel.tried] == [False, True, True, True, True]
    wait_for(lambda: bench.value("ml_bridge_notifications_total", channel="chat", outcome="retried") == 4)


def test_retry_after_is_kept_to_and_pauses_the_whole_channel(bench):
    """Told to come again in 90 seconds, nothing at all is sent before, and then at once."""
    channel = ListedChannel(
        bench.clock, failing_times(1, TemporaryDeliveryError("slow down", retry_after_seconds=90.0))
    )
    bench.queue(1, 2, 3)
    bench.worker(channel).start()
    wait_for(lambda: len(channel.tried) == 1)
    bench.clock.set(1089.9)
    time.sleep(0.05)
    assert len(channel.tried) == 1
    bench.clock.set(1090.0)
    wait_for(lambda: bench.done() == 3)
    assert {at for at, _ in channel.tried} == {1000.0, 1090.0}
    wait_for(lambda: bench.value("ml_bridge_throttled_total", channel="chat") == 1)


def test_retry_after_of_a_whole_channel_is_not_made_longer(bench):
    """Where the other side says when to come again, that is the pause, however often it says so."""
    error = TemporaryDeliveryError("429", retry_after_seconds=1.0, whole_channel=True)
    channel = ListedChannel(bench.clock, failing_times(4, error))
    bench.queue(1)
    bench.worker(channel).start()
    wait_for(lambda: bench.done() == 1, bench.clock, 0.05)
    times = [at for at, _ in channel.tried]
    assert all(1.0 <= later - earlier < 1.6 for earlier, later in pairwise(times))


def test_channel_that_is_down_for_an_hour_is_probed_not_hammered(bench):
    """While nothing gets through one message a minute tries; nothing is given up; then all goes at once."""
    down = [True]

    def answer(delivery):
        if down[0]:
            raise PermanentDeliveryError("the token is revoked", whole_channel=True)
        return Receipt("ok")

    channel = ListedChannel(bench.clock, answer)
    bench.queue(*range(40))
    bench.worker(channel).start()
    wait_for(lambda: bench.clock.time() >= 4600.0, bench.clock, 5.0)
    assert bench.done("dead") == 0
    assert 30 <= len(channel.tried) <= 140
    down[0] = False
    restored = bench.clock.time()
    wait_for(lambda: bench.done() == 40, bench.clock, 0.5)
    assert bench.clock.time() - restored < 3 * LONGEST_PAUSE_SECONDS
    assert sorted(channel.taken) == sorted(f"n{number}" for number in range(40))


def test_other_channels_do_not_notice_one_that_is_down(bench):
    """A channel that fails and one that hangs leave a third one's queue alone."""
    release = threading.Event()
    hanging = ListedChannel(bench.clock, lambda _: release.wait(PATIENCE) and Receipt("late"))
    failing = ListedChannel(bench.clock, failing_times(10**6, TemporaryDeliveryError("500")))
    working = ListedChannel(bench.clock)
    for name, channel in (("hanging", hanging), ("failing", failing), ("working", working)):
        bench.queue(*(f"{name}{i}" for i in range(20)), channel=name)
        bench.worker(channel, name).start()
    wait_for(lambda: len(working.taken) == 20)
    wait_for(lambda: len(hanging.tried) == 1)
    assert hanging.taken == failing.taken == []
    release.set()


def test_refused_message_does_not_block_the_next(bench):
    """What is never taken dies with its reason; the rest of the queue and of its group goes on."""

    def answer(delivery):
        if delivery.notification.id == "n1":
            raise PermanentDeliveryError("too large")
        return Receipt("ok")

    channel = ListedChannel(bench.clock, answer)
    bench.queue(1, 2, group="same")
    bench.queue(3)
    bench.worker(channel).start()
    wait_for(lambda: bench.done() == 2)
    assert bench.states()["n1"] == "dead"
    assert bench.error("n1") == "too large"
    wait_for(lambda: bench.value("ml_bridge_notifications_total", channel="chat", outcome="dead") == 1)


def test_refused_form_is_tried_once_in_the_plain_form(bench):
    """A receiver that refuses the form gets the plain one at once; when it refuses that too, it is over."""

    def answer(delivery):
        if not delivery.plain or delivery.notification.id == "n2":
            raise PermanentDeliveryError("invalid_blocks", plain_may_work=True)
        return Receipt("ok", plain=True)

    channel = ListedChannel(bench.clock, answer)
    bench.queue(1, 2)
    bench.worker(channel).start()
    wait_for(lambda: bench.states() == {"n1": "delivered", "n2": "dead"})
    assert [delivery.plain for _, delivery in channel.tried if delivery.notification.id == "n1"] == [
        False,
        True,
    ]
    assert len(channel.tried) == 4
    wait_for(
        lambda: bench.value("ml_bridge_notifications_total", channel="chat", outcome="delivered_plain") == 1
    )


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3), MemoryError()])
def test_crash_in_a_channels_code_is_temporary_then_plain_then_dead(bench, error):
    """Whatever is raised, the worker lives; the message is poisoned after five crashes, dead after ten."""

    def answer(delivery):
        if delivery.notification.id == "n1":
            raise error
        return Receipt("ok")

    channel = ListedChannel(bench.clock, answer)
    bench.queue(1, 2)
    bench.worker(channel).start()
    wait_for(lambda: bench.states() == {"n1": "dead", "n2": "delivered"}, bench.clock, 2.0)
    plain = [delivery.plain for _, delivery in channel.tried if delivery.notification.id == "n1"]
    assert plain == [False] * CRASHES_BEFORE_PLAIN + [True] * CRASHES_BEFORE_PLAIN
    wait_for(lambda: bench.value("ml_bridge_errors_total", operation="send") == 2 * CRASHES_BEFORE_PLAIN)
    assert type(error).__name__ in bench.error("n1")


def test_crash_that_plain_form_survives_is_delivered_plain(bench):
    """A message that its templates or charts make fail still arrives."""

    def answer(delivery):
        if not delivery.plain:
            raise RuntimeError("font cache")
        return Receipt("ok")

    channel = ListedChannel(bench.clock, answer)
    bench.queue(1)
    bench.worker(channel).start()
    wait_for(lambda: bench.done() == 1, bench.clock, 2.0)
    wait_for(
        lambda: bench.value("ml_bridge_notifications_total", channel="chat", outcome="delivered_plain") == 1
    )


def test_composer_that_fails_gives_the_plain_message(bench):
    """Nothing that composing raises costs a notification or a try."""

    def compose(one):
        raise ZeroDivisionError

    bench.compose = compose
    channel = ListedChannel(bench.clock)
    bench.queue(1)
    bench.worker(channel).start()
    wait_for(lambda: bench.done() == 1)
    assert channel.messages[0].title
    assert len(channel.tried) == 1
    wait_for(lambda: bench.value("ml_bridge_errors_total", operation="compose") == 1)


def test_delivery_is_given_up_after_its_time(bench):
    """After `give_up_after` without success it is dead, with the last reason."""
    channel = ListedChannel(bench.clock, failing_times(10**6, TemporaryDeliveryError("still 500")))
    bench.queue(1)
    bench.worker(channel, give_up_after="2m").start()
    wait_for(lambda: bench.done("dead") == 1, bench.clock, 0.5)
    assert 120.0 <= bench.clock.time() - 1000.0 < 140.0
    assert "still 500" in bench.error("n1")
    assert "given up after" in bench.error("n1")


def test_what_waits_behind_a_broken_channel_is_given_up_too_but_not_at_first(bench):
    """Each delivery's time runs while the channel is down; a short fault after a long stop kills nothing."""
    channel = ListedChannel(
        bench.clock, failing_times(10**6, TemporaryDeliveryError("refused", whole_channel=True))
    )
    bench.queue(*range(10))
    bench.clock.advance(7200.0)  # as if the process had not run
    bench.worker(channel, give_up_after="1h").start()
    wait_for(lambda: len(channel.tried) >= 2, bench.clock, 0.5)
    assert bench.done("dead") == 0
    wait_for(lambda: bench.done("dead") == 10, bench.clock, 5.0)
    wait_for(lambda: bench.value("ml_bridge_notifications_total", channel="chat", outcome="dead") == 10)


def test_hostile_retry_after_does_not_outlive_the_deliverys_time(bench):
    """Told to come again in ten years, the worker tries once more when the delivery's time ends."""
    channel = ListedChannel(
        bench.clock, failing_times(1, TemporaryDeliveryError("later", retry_after_seconds=3e8))
    )
    bench.queue(1)
    bench.worker(channel, give_up_after="10m").start()
    wait_for(lambda: bench.done() == 1, bench.clock, 2.0)
    assert bench.clock.time() - 1000.0 < 700.0


def test_channel_that_limits_its_rate_is_paced(bench):
    """Sends are at least `spacing_seconds` apart."""
    channel = ListedChannel(bench.clock)
    channel.spacing_seconds = 1.0
    bench.queue(*range(5))
    bench.worker(channel).start()
    wait_for(lambda: bench.done() == 5, bench.clock, 0.05)
    times = [at for at, _ in channel.tried]
    assert all(later - earlier >= 1.0 - 1e-9 for earlier, later in pairwise(times))


def test_ends_are_not_told_where_nobody_wants_them(bench):
    """With `send_resolved: false` a notification of ends only is finished without being sent; others go."""
    channel = ListedChannel(bench.clock)
    bench.queue(1, group="a", firing=0, changes=[Change.RESOLVED])
    bench.queue(2, group="b", firing=1, changes=[Change.RESOLVED, Change.STILL])
    bench.queue(3, group="c", firing=1, changes=[Change.RESOLVED, Change.FIRING])
    bench.queue(4, group="d", firing=0, changes=[Change.PASSED])
    bench.queue(5, group="e", firing=1, changes=[Change.STILL], kind=Kind.REMINDER)
    bench.worker(channel, send_resolved=False).start()
    wait_for(lambda: bench.done() == 5)
    assert channel.taken == ["n3", "n4", "n5"]


def test_stop_finishes_the_message_that_is_sent_and_keeps_the_rest(bench):
    """A graceful stop acknowledges what went out and leaves the queue as it is."""
    started, release = threading.Event(), threading.Event()

    def answer(delivery):
        started.set()
        assert release.wait(PATIENCE)
        return Receipt("ok")

    channel = ListedChannel(bench.clock, answer)
    bench.queue(1, 2)
    worker = bench.worker(channel)
    worker.start()
    assert started.wait(PATIENCE)
    assert worker.sending
    worker.stop()
    assert not worker.join(0.02)
    release.set()
    assert worker.join(PATIENCE)
    assert channel.closed
    assert bench.states() == {"n1": "delivered", "n2": "queued"}


def test_secrets_never_reach_the_store_or_the_logs(bench, caplog):
    """An error that names the secret URL is kept and logged without it."""

    def answer(delivery):
        raise (RuntimeError if delivery.notification.id == "n2" else TemporaryDeliveryError)(
            "no route to /hook/s3cr3t-p4th"
        )

    channel = ListedChannel(bench.clock, answer)
    bench.queue(1, 2)
    bench.worker(channel).start()
    wait_for(lambda: len(channel.tried) >= 2 and bench.error("n1") and bench.error("n2"))
    everything = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert "s3cr3t" not in everything + bench.error("n1") + bench.error("n2")
    assert bench.error("n1") == "no route to /hook/***" or "***" in bench.error("n1")


def test_replaced_channel_takes_over_between_two_messages(bench):
    """A reload changes the channel without losing a message; the old one is closed."""
    old = ListedChannel(bench.clock, failing_times(10**6, PermanentDeliveryError("401", whole_channel=True)))
    new = ListedChannel(bench.clock)
    bench.queue(1, 2, 3)
    worker = bench.worker(old)
    worker.start()
    wait_for(lambda: len(old.tried) == 1)
    worker.replace(OpenChannel("chat", bench.settings(), new))
    wait_for(lambda: bench.done() == 3)
    assert sorted(new.taken) == ["n1", "n2", "n3"]
    assert old.closed


def test_test_message_goes_at_once_even_when_the_channel_is_paused(bench):
    """Whoever tests a channel learns what it says now, and the queue is not touched."""
    channel = ListedChannel(
        bench.clock, failing_times(1, TemporaryDeliveryError("slow down", retry_after_seconds=900.0))
    )
    bench.queue(1)
    worker = bench.worker(channel)
    worker.start()
    wait_for(lambda: len(channel.tried) == 1)
    job = Trial(notification("test", kind=Kind.TEST))
    worker.submit(job)
    assert job.outcome.result(PATIENCE).detail == "ok"
    assert bench.states() == {"n1": "queued"}


def test_test_message_that_gets_through_ends_the_pause(bench):
    """Whoever mends a channel and tests it need not wait for the next probe."""
    channel = ListedChannel(
        bench.clock, failing_times(1, PermanentDeliveryError("wrong password", whole_channel=True))
    )
    bench.queue(1)
    worker = bench.worker(channel)
    worker.start()
    wait_for(lambda: len(channel.tried) == 1)
    job = Trial(notification("test", kind=Kind.TEST))
    worker.submit(job)
    assert job.outcome.result(PATIENCE).detail == "ok"
    wait_for(lambda: bench.done() == 1)


# -- all workers ----------------------------------------------------------------------------------------


def dispatcher_of(bench, channels, hung):
    made = Dispatcher(bench.new_worker, on_hung=lambda: hung.append(1))
    opened = prepare(dict.fromkeys(channels, bench.settings()), lambda name, _: channels[name])
    made.use(opened, lambda name, _: channels[name])
    return made


def test_worker_that_hangs_is_replaced_and_its_message_sent_again(bench):
    """When an attempt takes too long another worker goes on, and the late one changes nothing."""
    bench.longest_attempt = 0.05
    release, channels, hung = threading.Event(), {}, []
    first = ListedChannel(bench.clock, lambda _: release.wait(PATIENCE) and Receipt("late"))
    channels["chat"] = first
    dispatcher = dispatcher_of(bench, channels, hung)
    bench.queue(1, 2)
    dispatcher.start()
    wait_for(lambda: len(first.tried) == 1)
    second = channels["chat"] = ListedChannel(bench.clock)
    wait_for(lambda: dispatcher.supervise() or hung)
    bench.clock.advance(1.0)
    wait_for(lambda: bench.done() == 2)
    release.set()
    dispatcher.stop(PATIENCE)
    known = {delivery.notification.id: delivery.uncertain for _, delivery in second.tried}
    assert known == {"n1": True, "n2": False}


def test_removed_channels_queue_stays(bench):
    """A channel that leaves the configuration keeps its queue, and goes on with it when it comes back."""
    blocked, working = ListedChannel(bench.clock), ListedChannel(bench.clock)
    channels = {"chat": working, "mail": blocked}
    dispatcher = dispatcher_of(bench, channels, [])
    dispatcher.start()

    def open_one(name, settings):
        return channels[name]

    dispatcher.use(prepare({"chat": bench.settings()}, open_one), open_one)
    assert list(dispatcher.channels) == ["chat"]
    assert blocked.closed
    bench.queue(1, channel="mail")
    dispatcher.wake()
    channels["mail"] = ListedChannel(bench.clock)
    dispatcher.use(prepare(dict.fromkeys(channels, bench.settings()), open_one), open_one)
    wait_for(lambda: bench.done() == 1)
    dispatcher.stop(PATIENCE)


def test_channel_that_cannot_be_opened_closes_those_that_were(bench):
    """Preparing is all or nothing."""
    good = ListedChannel(bench.clock)

    def open_one(name, settings):
        if name == "bad":
            raise ConfigurationError("no such certificate")
        return good

    with pytest.raises(ConfigurationError, match="no such certificate"):
        prepare({"good": bench.settings(), "bad": bench.settings()}, open_one)
    assert good.closed


def test_test_of_a_channel_answers_within_its_time(bench):
    """Delivered, refused, busy with another message, or unknown: the one who asks is told."""
    release = threading.Event()
    said = {}

    def answer(delivery):
        if delivery.notification.id == "n1":
            assert release.wait(PATIENCE)
        if delivery.notification.id in said:
            raise said[delivery.notification.id]
        return Receipt("message 7")

    dispatcher = dispatcher_of(bench, {"chat": ListedChannel(bench.clock, answer)}, [])
    dispatcher.start()
    assert dispatcher.test("chat", notification("t1", kind=Kind.TEST)).detail == "message 7"
    said["nt2"] = PermanentDeliveryError("channel_not_found")
    with pytest.raises(DeliveryError, match="channel_not_found"):
        dispatcher.test("chat", notification("t2", kind=Kind.TEST))
    said["nt3"] = RuntimeError("s3cr3t-p4th")
    with pytest.raises(DeliveryError, match="RuntimeError"):
        dispatcher.test("chat", notification("t3", kind=Kind.TEST))
    with pytest.raises(NotFoundError, match="there is no channel nowhere; known are chat"):
        dispatcher.test("nowhere", notification("t4", kind=Kind.TEST))
    bench.queue(1)
    dispatcher.wake()
    wait_for(lambda: not dispatcher.idle)
    with pytest.raises(DeliveryError, match="busy with another message"):
        dispatcher.test("chat", notification("t5", kind=Kind.TEST), 0.05)
    release.set()
    dispatcher.stop(PATIENCE)
