"""Groups become notifications: what is told, when, and that a crash costs and repeats nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.alerts.records import MOST_ALERTS, Change, Kind
from tests.alerts.bridging import HOOK, NOW, Rig, an_alert, told

HOUR = 3600.0


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path / "data", aggregation_window="1h")
    yield made
    made.close()


def test_a_notification_has_one_delivery_for_each_channel(tmp_path):
    """Every channel of the route gets the notification once, in the transaction that makes it."""
    routes = [{"name": "r", "channels": ["one", "two", "one"], "aggregation_window": "0s"}]
    rig = Rig(tmp_path, channels={"one": HOOK, "two": HOOK}, routes=routes)
    rig.take(an_alert())
    (notification,) = rig.flush()
    assert (notification.group.route, notification.group.labels) == ("r", {"model": "fraud"})
    rows = rig.rows("SELECT notification, channel, state FROM deliveries ORDER BY channel")
    assert rows == [(notification.id, "one", "queued"), (notification.id, "two", "queued")]
    assert rig.rows("SELECT models FROM notifications") == [('["fraud"]',)]
    rig.close()


def test_what_fires_on_is_named_beside_what_changed(rig):
    """Changes come first, the most severe first; then what still fires."""
    rig.take(an_alert("A"), an_alert("B", severity="critical"), an_alert("C", severity="info"))
    rig.flush()
    rig.clock.advance(2 * HOUR)
    rig.take(an_alert("C", severity="info", ends_at=NOW + 5), an_alert("D", starts_at=NOW + 5))
    rig.clock.advance(HOUR)
    (notification,) = rig.flush()
    assert told(notification) == [("D", "firing"), ("C", "resolved"), ("B", "still"), ("A", "still")]
    assert (notification.severity.text, notification.firing, notification.omitted) == ("warning", 3, 0)
    resolved = notification.alerts[1].alert
    assert (resolved.firing, resolved.ends_at) == (False, NOW + 5)


def test_silenced_alerts_are_not_reminded_of(rig):
    """A reminder leaves out what somebody has silenced; the number that fires counts it."""
    rig.take(an_alert("A"), an_alert("B"))
    rig.clock.advance(HOUR)
    rig.flush()
    with rig.store.write() as connection:
        connection.execute("UPDATE alerts SET suppressed = 'silenced' WHERE name = 'B'")
    rig.clock.advance(HOUR)
    rig.take(an_alert("A"))
    (reminder,) = rig.flush()
    assert (reminder.kind, told(reminder), reminder.firing) == (Kind.REMINDER, [("A", "still")], 2)


def test_a_big_group_is_told_in_words_up_to_a_limit(rig):
    """The rest is counted, and the life of every alert says that it was told of."""
    many = MOST_ALERTS + 250
    alerts = [an_alert(column=f"c{number}") for number in range(many - 1)]
    rig.take(*alerts, an_alert("Worst", severity="critical"))
    (notification,) = rig.flush()
    assert len(notification.alerts) == MOST_ALERTS
    assert told(notification)[0] == ("Worst", "firing")
    assert (notification.omitted, notification.firing) == (250, many)
    assert rig.rows("SELECT count(DISTINCT alert) FROM told_of") == [(many,)]


def test_the_most_severe_groups_are_told_of_first(rig):
    """After a storm the queue holds what is critical before what waited longer."""
    for number in range(150):
        rig.take(an_alert(model=f"m{number}"), group_labels={"model": f"m{number}"})
    rig.clock.advance(HOUR)
    rig.take(an_alert("Worst", model="worst", severity="critical"), group_labels={"model": "worst"})
    notifications = rig.flush()
    assert len(notifications) == 151
    assert told(notifications[0]) == [("Worst", "firing")]
    assert rig.aggregator.next_due() is None


def test_closing_tells_what_still_waits(rig):
    """`flush_all` does not wait for windows."""
    rig.take(an_alert())
    assert rig.aggregator.flush(rig.clock.time()) == 0
    assert rig.aggregator.pending() == 1
    assert rig.aggregator.flush_all() == 1
    assert rig.notifications()[0].created == NOW
    assert rig.aggregator.pending() == 0


def test_what_waits_in_a_removed_route_moves_to_those_that_there_are(tmp_path):
    """Changed settings lose no change: what was told stays known, what waits is told by the new route."""
    old = [{"name": "old", "channels": ["hook"], "aggregation_window": "1h"}]
    new = [{"name": "new", "channels": ["hook"], "aggregation_window": "0s"}]
    rig = Rig(tmp_path, routes=old)
    rig.take(an_alert("A"))
    rig.clock.advance(HOUR)
    rig.flush()
    rig.take(an_alert("B"), an_alert("C"))
    rig.configure(routes=new)
    rig.take(an_alert("A", ends_at=NOW + 1))
    (first,) = rig.flush()
    assert (first.group.route, told(first)) == ("new", [("A", "resolved")])
    rig.clock.advance(HOUR)
    (second,) = rig.flush()
    assert (second.group.route, told(second)) == ("new", [("B", "firing"), ("C", "firing")])
    assert rig.rows("SELECT count(*) FROM members JOIN groups ON id = group_id WHERE route = 'old'") == [(0,)]
    assert "rerouted" in rig.events(2)
    rig.close()


def test_a_new_route_hears_of_what_fires_when_it_is_sent_again(tmp_path):
    """An alert that fires already is news for a route that never heard of it."""
    rig = Rig(tmp_path, routes=[{"name": "a", "channels": ["hook"], "aggregation_window": "0s"}])
    rig.take(an_alert())
    rig.flush()
    more = [{"name": "b", "channels": ["hook"], "aggregation_window": "0s"}]
    rig.configure(routes=[rig.settings["routes"][0] | {"continue": True}, *more])
    assert rig.take(an_alert()).status == "accepted"
    (notification,) = rig.flush()
    assert (notification.group.route, told(notification)) == ("b", [("MLColumnDrift", "firing")])
    rig.close()


# -- crashes ----------------------------------------------------------------------------------------------


class Mortal:
    """A bridge that can be killed between any two statements: what is on disk then is all that remains."""

    def __init__(self, directory: Path, **settings) -> None:
        self.directory = directory
        self.settings = settings
        self.number = 0
        self.rig = Rig(directory / "0", **settings)

    @contextmanager
    def killed_at(self, statement: int | None):
        """Die before the statement of this number, if there are so many; go on with what was on disk."""
        seen = 0
        died = False

        def trace(_: str) -> None:
            nonlocal seen, died
            if seen == statement:
                died = True
                self._save()
            seen += 1

        self.rig.store._writer.set_trace_callback(trace)
        yield lambda: seen
        self.rig.store._writer.set_trace_callback(None)
        if died:
            self._go_on()

    def kill(self) -> None:
        """Die now."""
        self._save()
        self._go_on()

    def _save(self) -> None:
        target = self.directory / str(self.number + 1)
        target.mkdir()
        for name in ("bridge.db", "bridge.db-wal"):
            shutil.copy(self.rig.directory / name, target / name)

    def _go_on(self) -> None:
        old = self.rig
        self.number += 1
        self.rig = Rig(self.directory / str(self.number), now=old.clock.time(), **self.settings)
        old.close()

    def close(self) -> None:
        self.rig.close()


def spoken(rig):
    """Everything that was told, in order, without names that are drawn by chance."""
    rows = rig.rows("SELECT notification, channel FROM deliveries ORDER BY id")
    by_id = {notification.id: notification for notification in rig.notifications()}
    return [(channel, by_id[number].kind.value, told(by_id[number])) for number, channel in rows]


ACTIONS = (
    lambda rig: rig.take(an_alert("A"), an_alert("B", severity="critical")),
    lambda rig: rig.aggregator.flush(rig.clock.time()),
    lambda rig: rig.take(an_alert("A", ends_at=NOW + 1), an_alert("C"), an_alert("A", starts_at=NOW + 2)),
    lambda rig: rig.aggregator.flush_all(),
)


def perform(mortal, *, dying=None, statement=None):
    """Do all actions; die in one before a statement, or after it without an answer, and do that one again."""
    counts = []
    for place, action in enumerate(ACTIONS):
        number = mortal.number
        with mortal.killed_at(statement if place == dying else None) as seen:
            action(mortal.rig)
        if place == dying and statement is None:
            mortal.kill()
        if mortal.number != number:
            action(mortal.rig)  # who got no answer sends again, and the aggregator looks again
        counts.append(seen())
    return counts


def test_a_crash_between_any_two_statements_costs_and_repeats_nothing(tmp_path):
    """Killed before each statement of intake and aggregation in turn, the same is told, once."""
    calm = Mortal(tmp_path / "calm")
    counts = perform(calm)
    expected = spoken(calm.rig)
    calm.close()
    assert len(expected) == 2
    points = [(place, number) for place, count in enumerate(counts) for number in (*range(count), None)]
    assert len(points) > 50
    for place, statement in points:
        mortal = Mortal(tmp_path / f"{place}-{statement}")
        perform(mortal, dying=place, statement=statement)
        assert mortal.number == 1
        assert spoken(mortal.rig) == expected, f"killed in action {place} before statement {statement}"
        mortal.close()


ALERTS = (
    {"alertname": "A", "model": "fraud", "severity": "critical"},
    {"alertname": "B", "model": "fraud", "severity": "warning"},
    {"alertname": "C", "model": "churn", "severity": "info"},
    {"alertname": "D", "model": "churn", "severity": "warning"},
)
ROUTES = [
    {"name": "grouped", "channels": ["one", "two"], "group_by": ["severity"], "continue": True},
    {"name": "fraud", "matchers": ["model=fraud"], "channels": ["one"], "aggregation_window": "5m"},
    {"name": "rest", "channels": ["two"]},
]
TAKERS = {"fraud": {"grouped", "fraud"}, "churn": {"grouped", "rest"}}
STEPS = st.one_of(
    st.tuples(st.just("turn"), st.integers(0, 3)),
    st.tuples(st.just("send"), st.sampled_from(["fraud", "churn"])),
    st.tuples(st.just("again"), st.none()),
    st.tuples(st.just("flush"), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 200.0, 1900.0, 4000.0])),
    st.tuples(st.just("die"), st.integers(0, 60)),
)


class Alertmanager:
    """Sends what it has as Alertmanager does: a group at a time, ended ones until they were answered."""

    def __init__(self) -> None:
        self.firing: dict[int, float] = {}
        self.ended: dict[int, tuple[float, float]] = {}
        self.sent: set[tuple[int, float]] = set()
        self.last: tuple = ()

    def turn(self, number: int, now: float) -> None:
        if number in self.firing:
            self.ended[number] = (self.firing.pop(number), now)
        elif number not in self.ended:
            self.firing[number] = now

    def payload(self, model: str):
        own = [number for number, labels in enumerate(ALERTS) if labels["model"] == model]
        alerts = []
        for number in own:
            name, labels = ALERTS[number]["alertname"], dict(ALERTS[number])
            del labels["alertname"]
            if number in self.firing:
                alerts.append(an_alert(name, starts_at=self.firing[number], **labels))
                self.sent.add((number, self.firing[number]))
            elif number in self.ended:
                start, end = self.ended[number]
                alerts.append(an_alert(name, starts_at=start, ends_at=end, **labels))
                self.sent.add((number, start))
        return alerts

    def answered(self, model: str) -> None:
        self.ended = {number: life for number, life in self.ended.items() if ALERTS[number]["model"] != model}


class Story:
    """One random run of a bridge, its Alertmanager and its crashes."""

    def __init__(self, directory: Path) -> None:
        self.mortal = Mortal(directory, channels={"one": HOOK, "two": HOOK}, routes=ROUTES)
        self.peer = Alertmanager()
        self.dies: int | None = None
        self.last = ""

    def act(self, action) -> None:
        number = self.mortal.number
        with self.mortal.killed_at(self.dies):
            action(self.mortal.rig)
        self.dies = None
        if self.mortal.number != number:
            action(self.mortal.rig)

    def send(self, model: str) -> None:
        alerts = self.peer.payload(model)
        if alerts:
            self.act(lambda rig: rig.take(*alerts, group_labels={"model": model}))
        self.peer.answered(model)
        self.last = model

    def step(self, step: str, value) -> None:
        clock = self.mortal.rig.clock
        if step == "turn":
            self.peer.turn(value, clock.time())
            clock.advance(1)
        elif step == "send":
            self.send(value)
        elif step == "again" and self.last:
            self.send(self.last)
        elif step == "flush":
            self.act(lambda rig: rig.aggregator.flush(rig.clock.time()))
            due_at = self.mortal.rig.aggregator.next_due()
            assert due_at is None or due_at > self.mortal.rig.clock.time()
        elif step == "wait":
            clock.advance(value)
        elif step == "die":
            self.dies = value

    def end(self) -> None:
        for model in TAKERS:
            self.send(model)
        self.mortal.rig.clock.advance(2 * HOUR)
        self.act(lambda rig: rig.aggregator.flush(rig.clock.time()))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=5, max_size=30))
def test_every_change_is_told_once_a_route_whatever_happens(steps):
    """Random webhooks, repetitions, waits, flushes and crashes at random statements: all is told, once."""
    directory = Path(tempfile.mkdtemp())
    story = Story(directory)
    try:
        for step, value in steps:
            story.step(step, value)
        story.end()
        check(story.mortal.rig, story.peer)
    finally:
        story.mortal.close()
        shutil.rmtree(directory)


def check(rig, peer):
    """Hold what was told against what happened."""
    said = defaultdict(list)
    order = defaultdict(list)
    channels = {route["name"]: route["channels"] for route in ROUTES}
    for notification in rig.notifications():
        changes = [one.change for one in notification.alerts]
        assert notification.kind is Kind.REMINDER or set(changes) - {Change.STILL}
        assert notification.kind is Kind.CHANGE or set(changes) == {Change.STILL}
        order[notification.group.id].append(notification.id)
        rows = rig.rows("SELECT channel FROM deliveries WHERE notification = ? ORDER BY id", notification.id)
        assert [channel for (channel,) in rows] == channels[notification.group.route]
        for one in notification.alerts:
            life = (one.alert.labels["alertname"], round(one.alert.starts_at))
            said[notification.group.route, life].append(one.change)
    for group, expected in order.items():
        rows = rig.rows("SELECT notification FROM deliveries WHERE group_id = ? ORDER BY id", group)
        assert list(dict.fromkeys(number for (number,) in rows)) == expected
    lives = {(ALERTS[number]["alertname"], round(start)): number for number, start in peer.sent}
    expected = {(route, life) for life, number in lives.items() for route in TAKERS[ALERTS[number]["model"]]}
    assert set(said) == expected
    for (_, life), changes in said.items():
        news = [change for change in changes if change is not Change.STILL]
        fires = peer.firing.get(lives[life]) is not None and round(peer.firing[lives[life]]) == life[1]
        assert news in ([[Change.FIRING]] if fires else [[Change.FIRING, Change.RESOLVED], [Change.PASSED]])
        assert Change.STILL not in changes[:1]
    assert rig.rows("SELECT count(*) FROM members WHERE change IS NOT NULL") == [(0,)]
    assert rig.rows("SELECT count(*) FROM alerts WHERE firing = 1") == [(len(peer.firing),)]
