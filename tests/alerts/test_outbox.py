"""The queues lose nothing, keep the order of a group, and know whose turn it is without looking at all."""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections import defaultdict

import pytest

from exporter.alerts.config import SlackSettings
from exporter.alerts.delivery.targets import note_targets
from exporter.alerts.records import Change, Kind, Receipt, Severity
from exporter.alerts.store.content import dump_notification
from exporter.alerts.store.outbox import CRASHES_BEFORE_PLAIN
from exporter.alerts.store.store import AlertStore
from exporter.clock import ManualClock
from tests.alerts.queues import notification, queue

CRITICAL, WARNING, INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
DONE = Receipt("done")


@pytest.fixture
def store(tmp_path):
    with AlertStore.open(tmp_path, clock=ManualClock(0.0)) as opened:
        yield opened


def take(store, now=10.0, channel="chat"):
    return store.outbox.lease(channel, now=now, lease_seconds=60.0)


def drain(store, now=10.0):
    """Deliver all that can be leased now; gives the notifications' ids in order."""
    order = []
    while (delivery := take(store, now)) is not None:
        assert store.outbox.acknowledge(delivery, DONE, now)
        order.append(delivery.notification.id)
    return order


def column(store, name):
    with store.read() as connection:
        rows = connection.execute(f"SELECT notification, {name} FROM deliveries").fetchall()
    return dict(rows)


def events(store):
    with store.read() as connection:
        return connection.execute("SELECT alert, kind, detail FROM events ORDER BY id").fetchall()


def test_leased_delivery_carries_the_notification_as_it_was_queued(store):
    """What is leased is the whole notification, at its first attempt."""
    one = notification(1, severity=CRITICAL)
    queue(store, one)
    delivery = take(store)
    assert delivery.notification == one
    assert (delivery.attempt, delivery.uncertain, delivery.plain, delivery.first_tried) == (
        1,
        False,
        False,
        10.0,
    )
    assert delivery.thread is None


def test_most_urgent_comes_first_and_then_the_oldest(store):
    """Critical before warning before info; among equals the one that was queued first."""
    for number, severity in enumerate([INFO, WARNING, CRITICAL, WARNING, CRITICAL, INFO]):
        queue(store, notification(number, f"g{number}", severity=severity))
    assert drain(store) == ["n2", "n4", "n1", "n3", "n0", "n5"]


def test_group_is_told_of_in_order(store):
    """While one of a group is on its way no other of the group is leased, on that channel."""
    for number in range(3):
        queue(store, notification(number, "same"), "chat", "mail")
    first = take(store)
    assert take(store) is None
    assert take(store, channel="mail").notification.id == "n0"
    store.outbox.acknowledge(first, DONE, 10.0)
    assert drain(store) == ["n1", "n2"]


def test_what_an_urgent_one_stands_behind_becomes_urgent(store):
    """A critical notification does not wait until its group's earlier warning has its turn."""
    queue(store, notification("old", "calm"))
    queue(store, notification("first", "worse"))
    queue(store, notification("urgent", "worse", severity=CRITICAL))
    queue(store, notification("info", "worse", severity=INFO))
    assert drain(store) == ["nfirst", "nurgent", "nold", "ninfo"]
    assert column(store, "severity")["nfirst"] == WARNING


def test_postponed_one_waits_and_holds_back_its_group_only(store):
    """Until `next_at` the rest of the queue goes on without it."""
    for number, group in enumerate(["a", "a", "b"]):
        queue(store, notification(number, group))
    delivery = take(store)
    assert store.outbox.postpone(delivery, 50.0, "busy", uncertain=True)
    assert drain(store) == ["n2"]
    assert store.outbox.next_at("chat") == 50.0
    again = take(store, now=50.0)
    assert (again.notification.id, again.attempt, again.uncertain, again.first_tried) == ("n0", 2, True, 10.0)
    assert not again.plain


def test_lease_that_runs_out_is_given_again_and_the_old_token_is_void(store):
    """Who lost a lease cannot acknowledge, postpone, bury or release; the next one is warned."""
    queue(store, notification(1))
    late = take(store, now=0.0)
    assert take(store, now=59.0) is None
    assert store.outbox.next_at("chat") == 60.0
    second = take(store, now=60.0)
    assert second.uncertain
    assert second.attempt == 2
    assert not store.outbox.acknowledge(late, DONE, 61.0)
    assert not store.outbox.postpone(late, 99.0, "no")
    assert not store.outbox.bury(late, "no", 61.0)
    assert not store.outbox.release(late)
    assert not store.outbox.renew(late, 500.0)
    assert not store.outbox.skip(late, "no", 61.0)
    assert column(store, "state") == {"n1": "leased"}
    assert events(store) == []
    assert store.outbox.renew(second, 500.0)
    assert take(store, now=499.0) is None
    assert store.outbox.acknowledge(second, DONE, 499.0)
    assert not store.outbox.acknowledge(second, DONE, 499.0)


def test_next_process_takes_leases_back_at_once(store, tmp_path):
    """After a crash nothing waits for its lease to run out, and each such delivery is uncertain."""
    queue(store, notification(1))
    queue(store, notification(2, "other"))
    take(store)
    store.close()
    with AlertStore.open(tmp_path, clock=ManualClock(0.0)) as reopened:
        assert reopened.outbox.recover() == 1
        first, second = take(reopened), take(reopened)
        assert (first.notification.id, first.uncertain, first.attempt) == ("n1", True, 2)
        assert (second.notification.id, second.uncertain, second.attempt) == ("n2", False, 1)


def test_released_lease_leaves_no_trace(store):
    """A worker that stops before it sends gives its delivery back untouched."""
    queue(store, notification(1))
    assert store.outbox.release(take(store, now=5.0))
    again = take(store, now=20.0)
    assert (again.attempt, again.uncertain, again.first_tried) == (1, False, 20.0)


def test_delivery_that_ended_the_process_often_goes_in_the_plain_form(store):
    """What takes the process down again and again is sent without charts and templates."""
    queue(store, notification(1))
    for attempt in range(CRASHES_BEFORE_PLAIN):
        delivery = take(store)
        assert delivery.attempt == attempt + 1
        assert not delivery.plain
        store.outbox.recover()
    assert take(store).plain


def test_buried_one_frees_its_group_and_can_be_queued_again(store):
    """A dead letter is counted, kept, and starts anew when it is asked for."""
    queue(store, notification(1, "same"), "chat", "mail")
    queue(store, notification(2, "same"))
    delivery = take(store)
    assert store.outbox.postpone(delivery, 20.0, "x", plain=True, crashed=True)
    assert store.outbox.crashes(delivery) == 1
    assert store.outbox.bury(take(store, now=20.0), "no such channel", 20.0)
    assert store.outbox.counts()["chat"] == (1, 0.0, 1)
    assert drain(store) == ["n2"]
    assert store.outbox.retry("n1", "mail", now=30.0) == 0
    assert store.outbox.retry("n1", now=30.0) == 1
    again = take(store, now=30.0)
    assert (again.notification.id, again.attempt, again.plain, again.first_tried) == ("n1", 1, False, 30.0)
    assert [kind for _, kind, _ in events(store)] == ["undelivered", "notified"]


def test_retried_one_waits_for_the_one_of_its_group_that_is_on_its_way(store):
    """There is never more than one of a group at the head."""
    queue(store, notification(1, "same"))
    store.outbox.bury(take(store), "no", 10.0)
    queue(store, notification(2, "same"))
    running = take(store)
    assert store.outbox.retry("n1", now=20.0) == 1
    assert take(store, now=20.0) is None
    store.outbox.acknowledge(running, DONE, 20.0)
    assert take(store, now=20.0).notification.id == "n1"


def test_thread_is_kept_until_the_group_is_over(store):
    """The channel's reference comes with each delivery of the group, until all its alerts are resolved."""
    for number, firing in enumerate([2, 1, 0, 1]):
        queue(store, notification(number, firing=firing))
    seen = []
    for receipt in (Receipt("a", {"ts": "1"}), Receipt("b"), Receipt("c", {"ts": "1"}), Receipt("d")):
        delivery = take(store)
        seen.append(delivery.thread)
        store.outbox.acknowledge(delivery, receipt, 10.0)
    assert seen == [None, {"ts": "1"}, {"ts": "1"}, None]


def test_threads_of_a_channel_that_leads_elsewhere_are_forgotten(store):
    """At a new place a group begins a new thread; a new token or timeout changes nothing."""

    def slack(channel, token="xoxb-1", timeout="10s"):
        return {
            "chat": SlackSettings(type="slack", bot_token=token, channel=channel, timeout=timeout),
        }

    queue(store, notification(1))
    assert note_targets(store, slack("C1")) == []
    store.outbox.acknowledge(take(store), Receipt("a", {"ts": "1"}), 10.0)
    assert note_targets(store, slack("C1", token="xoxb-2", timeout="5s")) == []
    queue(store, notification(2))
    delivery = take(store)
    assert delivery.thread == {"ts": "1"}
    store.outbox.release(delivery)
    assert note_targets(store, slack("C2")) == ["chat"]
    assert take(store).thread is None


def test_skipped_one_is_finished_and_ends_the_thread(store):
    """What is not to be sent leaves the queue; nobody was told."""
    queue(store, notification(1))
    store.outbox.acknowledge(take(store), Receipt("a", {"ts": "1"}), 10.0)
    queue(store, notification(2, firing=0, changes=[Change.RESOLVED]))
    delivery = take(store)
    assert delivery.thread == {"ts": "1"}
    assert store.outbox.skip(delivery, "not sent", 10.0)
    queue(store, notification(3))
    assert take(store).thread is None
    assert len(events(store)) == 1


def test_every_alert_told_of_remembers_it(store):
    """Acknowledging writes into the history of all alerts of the notification, with the channel."""
    queue(store, notification(1, changes=[Change.FIRING, Change.RESOLVED, Change.STILL]))
    store.outbox.acknowledge(take(store), Receipt("message 17 in C1"), 10.0)
    found = events(store)
    assert [(alert, kind) for alert, kind, _ in found] == [(1, "notified"), (2, "notified"), (3, "notified")]
    assert all("chat" in detail and "message 17 in C1" in detail for _, _, detail in found)


def test_notification_that_cannot_be_read_does_not_block_the_queue(store):
    """Damaged content is put aside as dead; the next one goes out."""
    queue(store, notification(1, severity=CRITICAL))
    queue(store, notification(2, "other"))
    with store.write() as connection:
        connection.execute("UPDATE notifications SET content = x'00' WHERE id = 'n1'")
    assert take(store) is None
    assert take(store).notification.id == "n2"
    assert column(store, "state")["n1"] == "dead"


def test_old_ones_of_a_channel_can_be_given_up_together(store):
    """Those queued before a time die with the reason; groups go on with what is younger."""
    for number, created in enumerate([1.0, 2.0, 30.0]):
        queue(store, notification(number, "same", created=created))
    queue(store, notification(3, "other", kind=Kind.REMINDER, created=1.0), "mail")
    assert store.outbox.bury_older("chat", 10.0, "the channel is gone", 40.0) == 2
    assert column(store, "state") == {"n0": "dead", "n1": "dead", "n2": "queued", "n3": "queued"}
    assert column(store, "error")["n0"] == "the channel is gone"
    assert take(store, now=40.0).notification.id == "n2"


def test_hastened_channel_tries_everything_now(store):
    """When a channel works again nothing waits for its backoff."""
    queue(store, notification(1))
    store.outbox.postpone(take(store), 500.0, "down")
    store.outbox.hasten("chat")
    assert store.outbox.next_at("chat") == 0.0
    assert take(store).attempt == 2


def test_same_notification_is_queued_once_a_channel(store):
    """Adding it again changes nothing."""
    queue(store, notification(1))
    with store.write() as connection:
        store.outbox.add(connection, "n1", "g", "chat", WARNING, 0.0)
    assert store.outbox.counts() == {"chat": (1, 0.0, 0)}


def test_many_threads_never_hold_the_same_delivery(store):
    """Each delivery is leased once, and each group in order, whoever leases."""
    for number in range(60):
        queue(store, notification(number, f"g{number % 12}"))
    order, lock = defaultdict(list), threading.Lock()

    def work():
        while store.outbox.counts().get("chat", (0,))[0]:
            delivery = take(store)
            if delivery is not None:
                with lock:
                    order[delivery.notification.group.id].append(int(delivery.notification.id[1:]))
                assert store.outbox.acknowledge(delivery, DONE, 10.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(number for group in order.values() for number in group) == list(range(60))
    assert all(group == sorted(group) for group in order.values())


@pytest.mark.parametrize("seed", range(4))
def test_random_histories_keep_every_rule(store, seed):
    """Whatever happens, nothing is lost, groups stay in order and the most urgent head is leased."""
    chance = random.Random(seed)
    unfinished, severity_of, held, now, made = defaultdict(list), {}, {}, 0.0, 0
    later, finished = {}, []
    for _ in range(250):
        now += chance.random()
        step = chance.random()
        if step < 0.4:
            group, severity = f"g{chance.randrange(6)}", chance.choice(list(Severity))
            queue(store, notification(f"{made:04d}", group, severity=severity, created=now))
            unfinished[group].append(f"n{made:04d}")
            severity_of[f"n{made:04d}"] = severity
            made += 1
        elif step < 0.7:
            delivery = store.outbox.lease("chat", now=now, lease_seconds=1e9)
            heads = {group: names[0] for group, names in unfinished.items() if names}
            free = [
                (-max(severity_of[name] for name in unfinished[group]), head)
                for group, head in heads.items()
                if head not in held and later.get(head, 0.0) <= now
            ]
            assert (delivery is None) == (not free)
            if delivery is not None:
                assert delivery.notification.id == min(free)[1]
                held[delivery.notification.id] = delivery
        elif held:
            name = chance.choice(list(held))
            delivery = held.pop(name)
            fate = chance.random()
            if fate < 0.5:
                assert store.outbox.acknowledge(delivery, DONE, now)
            elif fate < 0.6:
                assert store.outbox.bury(delivery, "no", now)
            else:
                later[name] = now + chance.random() * 5
                assert store.outbox.postpone(delivery, later[name], "later")
                continue
            unfinished[delivery.notification.group.id].remove(name)
            finished.append(name)
    states = column(store, "state")
    assert len(states) == made
    waiting = {name for name, state in states.items() if state in ("queued", "leased")}
    assert waiting == {name for names in unfinished.values() for name in names}
    assert set(finished) == set(states) - waiting


def test_lease_takes_no_longer_when_many_wait(store):
    """With 50,000 waiting, ready or not, every question is a look into an index and takes under 2 ms."""
    chance = random.Random(1)
    statements: list[str] = []
    with store.write() as connection:
        for i in range(50_000):
            group, severity = f"g{chance.randrange(500)}", chance.choice(list(Severity))
            store.outbox.add(connection, f"n{i}", group, "chat", severity, float(i))
        connection.execute(
            "INSERT INTO notifications (id, group_id, created, kind, severity, models, content)"
            " SELECT notification, group_id, created, 'change', severity, '', ? FROM deliveries",
            (dump_notification(notification(0)),),
        )
    with store.write() as connection:
        connection.set_trace_callback(statements.append)
    with store._writing:
        store._writer.execute("PRAGMA synchronous = OFF")  # the disk's time is not the query's
    seconds = defaultdict(list)

    def timed(name, call):
        started = time.perf_counter()
        result = call()
        seconds[name].append(time.perf_counter() - started)
        return result

    for turn in range(200):
        delivery = timed("lease", lambda: take(store, now=1e6))
        if turn % 2:
            timed("acknowledge", lambda d=delivery: store.outbox.acknowledge(d, DONE, 1e6))
        else:
            timed("postpone", lambda d=delivery: store.outbox.postpone(d, 2e6, "busy"))
        timed("next_at", lambda: store.outbox.next_at("chat"))
    assert {name: statistics.median(taken) for name, taken in seconds.items()} == {
        name: pytest.approx(0.0, abs=0.002) for name in ("lease", "acknowledge", "postpone", "next_at")
    }
    with store.write() as connection:
        connection.set_trace_callback(None)
        for statement in {
            text for text in statements if text.split()[0] not in ("BEGIN", "COMMIT", "PRAGMA")
        }:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            assert not [step for step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step], statement
