"""The composer: what it says of real values of a real exporter, and that nothing stops or delays it."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.alerts.composing.composer import Composer
from exporter.alerts.composing.facts import FactsSource, FactsUnavailableError, HttpFacts, InProcessFacts
from exporter.alerts.composing.templates import Templates
from exporter.alerts.config import BridgeConfig, parse_bridge_config
from exporter.alerts.records import (
    Alert,
    Change,
    Group,
    Kind,
    Message,
    Notification,
    NotifiedAlert,
    Severity,
    View,
)
from exporter.client import Client
from exporter.clock import ManualClock, SystemClock
from exporter.errors import NotFoundError
from tests.conftest import RunningExporter
from tests.scripted_server import Reply, ScriptedServer

from . import examples

Run = Callable[..., RunningExporter]
DAY = 86400.0

CONFIGURATION = """
models:
  flights:
    task: binary
    columns: {id: id, timestamp: at, prediction: answer, score: score, label: truth}
    features: {distance: numeric, carrier: categorical, hour: numeric}
    segments: [carrier]
    metrics: [accuracy, f1, roc_auc]
    windows: [1d]
    champion: default
    evaluation_interval: 200ms
    quality:
      validation_rules: {distance: {max: 3}}
      consistency_rules: {scored: "score IS NOT NULL"}
  empty:
    task: binary
    columns: {prediction: answer, label: truth}
    windows: [1d]
"""


def config(**links: str) -> BridgeConfig:
    channels = {"hook": {"type": "webhook", "url": "http://127.0.0.1:9/x"}}
    return parse_bridge_config({"channels": channels, "links": links})


def alert(
    name: str, *, firing: bool = True, annotations: Mapping[str, str] | None = None, **labels: str
) -> Alert:
    """One alert on the model `flights`, as our rules make them."""
    of_model = {"model": "flights", "version": "default", "window": "1d", "severity": "warning"}
    given_annotations = {"summary": f"{name} on flights", **(annotations or {})}
    all_labels = {"alertname": name, **of_model, **labels}
    return Alert("f1", firing, all_labels, given_annotations, 1000.0, None if firing else 2000.0)


def notification(*alerts: Alert, **changes: Any) -> Notification:
    told = tuple(
        NotifiedAlert(one, Change.FIRING if one.firing else Change.RESOLVED, place)
        for place, one in enumerate(alerts)
    )
    group = Group("g1", "routes[0]", {"model": "flights"})
    firing = sum(one.firing for one in alerts)
    fields = {"severity": Severity.WARNING, "alerts": told, "firing": firing, **changes}
    return Notification("n1", 1000.0, Kind.CHANGE, group, **fields)


def frame(count: int, end: float, *, seed: int, shift: float = 0.0, wrong: float = 0.0) -> pd.DataFrame:
    """One day of rows; a share `wrong` of the answers is."""
    generator = np.random.default_rng(seed)
    score = generator.uniform(size=count)
    truth = score > 0.5
    turned = generator.uniform(size=count) < wrong
    return pd.DataFrame(
        {
            "id": [f"{seed}-{place}" for place in range(count)],
            "at": end - generator.uniform(1, DAY, count),
            "answer": truth,
            "truth": np.where(turned, ~truth, truth),
            "score": score,
            "distance": generator.normal(size=count) + shift,
            "carrier": generator.choice(["AA", "UA"], count),
            "hour": generator.uniform(0, 24, count),
        }
    )


def wait_until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError("waited in vain")


@pytest.mark.slow
def test_messages_say_what_the_exporter_knows_now(running_exporter: Run) -> None:  # noqa: PLR0915
    """Values, bounds, thresholds, worst columns, history and endings come from a running exporter's API."""
    exporter = running_exporter(CONFIGURATION)
    client = Client(exporter.url)
    now = math.floor(time.time() / DAY) * DAY
    client.create_baseline("flights", frame(2000, now - 9 * DAY, seed=1))
    for day in range(4):
        bad = {"shift": 1.0, "wrong": 0.25} if day >= 2 else {}
        client.push("flights", frame(2000, now - (3 - day) * DAY, seed=2 + day, **bad))
        wait_until(lambda day=day: len(client.history("flights", "performance", metric="f1")) > day)
    source = HttpFacts(exporter.url)
    composer = Composer(config(exporter=exporter.url), source=source, clock=SystemClock())

    def view(*args: Any, **labels: Any) -> View:
        return composer.compose(notification(alert(*args, **labels))).views[0]

    drop = view("MLPerformanceDrop", metric="f1", annotations={"measure": "performance"})
    assert drop.what.startswith("f1 is 0.7")
    assert "from the baseline's 1 (alerts at 0.1); 95 % bounds 0." in drop.what
    assert drop.what.endswith("on 2,000 rows")
    assert drop.facts.current == drop.facts.history[-1][1]
    assert [moment for moment, _ in drop.facts.history] == sorted(moment for moment, _ in drop.facts.history)
    assert len(drop.facts.history) >= 4
    assert [column.column for column in drop.facts.worst_columns] == ["distance"]
    assert drop.ending == ""

    still_bad = view("MLPerformanceDrop", firing=False, metric="f1", annotations={"value": "0.3"})
    assert still_bad.ending == ""
    assert still_bad.what.endswith("last alerted at a drop of 0.3")
    assert view("MLPerformanceDrop", firing=False, metric="roc_auc").ending in ("recovered", "")
    recovered = view("MLColumnDrift", firing=False, column="hour", role="feature", method="ks")
    assert recovered.ending == "recovered"
    assert recovered.what.startswith("hour no longer differs from the baseline: ks 0.")

    drift = view("MLColumnDrift", column="distance", role="feature", annotations={"measure": "drift"})
    assert drift.what.startswith("distance drifted: ks 0.")
    assert drift.facts.threshold is not None
    assert drift.facts.current is not None
    assert drift.facts.current > drift.facts.threshold
    share = view("MLDatasetDrift", annotations={"threshold": "0.3"})
    assert share.what == "1 of 3 columns drifted (33.3 %), alerts at 30 %; worst: distance"
    together = view("MLMultivariateDrift")
    assert together.what.startswith("all columns together drifted: ")
    segment = view("MLSegmentPerformanceDrop", metric="f1", segment="carrier", value="AA")
    assert segment.what.endswith("(where carrier=AA)")
    assert segment.facts.rows is not None
    assert segment.facts.rows < 2000
    assert len(segment.facts.history) >= 1

    rule = view("MLValidationRuleFailing", column="distance", rule="max")
    assert "of distance pass the rule max, needs 99 %; of 2,000 rows" in rule.what
    assert view("MLConsistencyRuleFailing", firing=False, rule="scored").ending == "recovered"
    assert "the baseline's range, needs 95 %" in view("MLOutOfRange", column="distance").what
    assert view("MLCompletenessLow", column="hour", firing=False).ending == "recovered"
    assert view("MLDuplicatesHigh", firing=False).ending == "recovered"
    assert "are outliers, at most 1 %" in view("MLOutliersHigh", column="distance").what
    assert "ago, alerts at 1h" in view("MLBatchesStale", annotations={"threshold": "3600"}).what
    assert view("MLLabelsStale", firing=False, annotations={"threshold": "3600"}).ending == "recovered"
    assert (
        "rows in 1d" in view("MLVolumeLow", span="1d").what or view("MLVolumeLow", span="1d").facts.undefined
    )
    coverage = view("MLLabelCoverageLow", annotations={"measure": "ml_labeled_ratio"})
    assert coverage.what == "the share of labelled rows is 100 %"
    assert len(coverage.facts.history) >= 4

    gone = {
        "version": view("MLPerformanceDrop", firing=False, metric="f1", version="v9"),
        "model": view("MLPerformanceDrop", firing=False, metric="f1", model="none"),
        "metric": view("MLPerformanceDrop", firing=False, metric="mcc"),
        "rows": view("MLPerformanceDrop", firing=False, metric="f1", model="empty"),
    }
    assert {name: one.ending for name, one in gone.items()} == dict.fromkeys(gone, "no data")
    assert "(no_baseline)" in gone["rows"].what

    began = time.monotonic()
    many = [alert("MLColumnDrift", column="distance", metric=f"m{place}") for place in range(100)]
    assert len(composer.compose(notification(*many)).views) == 100
    assert time.monotonic() - began < 2.0

    exporter.kill()
    after = Composer(config(exporter=exporter.url), source=source, clock=SystemClock())
    lost = after.compose(notification(alert("MLPerformanceDrop", firing=False, metric="f1"))).views[0]
    assert lost.facts.undefined == "unreachable"
    assert lost.what == "f1 has no known current value: the exporter did not answer"
    assert lost.ending == ""


@pytest.fixture
def peer() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


def test_exporter_that_fails_is_left_alone(peer: ScriptedServer) -> None:
    """After one failure it is not asked for a while; messages go out with what the alerts say."""
    peer.script.append(Reply(500))
    composer = Composer(config(), source=HttpFacts(peer.url, token="secret-token"), clock=SystemClock())
    one = alert(
        "MLPerformanceDrop",
        metric="f1",
        annotations={"measure": "performance", "value": "0.153", "threshold": "0.1"},
    )
    for _ in range(20):
        message = composer.compose(notification(one))
        assert message.views[0].what == "a drop of 0.153 (alerts at 0.1)"
        assert message.views[0].facts.undefined == "unreachable"
    assert len(peer.requests) == 1
    assert peer.requests[0].headers["authorization"] == "Bearer secret-token"


def test_storm_of_messages_asks_once(peer: ScriptedServer) -> None:
    """Answers, refusals too, are kept for seconds: 500 messages on one model ask a few times."""
    answers = {"performance": {"results": []}, "drift": {"results": []}}
    peer.accept = lambda seen: Reply(200, answers[seen.path.rsplit("/", 1)[1]])  # type: ignore[method-assign]
    composer = Composer(config(), source=HttpFacts(peer.url), clock=SystemClock())
    for _ in range(250):
        composer.compose(notification(alert("MLPerformanceDrop", metric="f1")))
        composer.compose(notification(alert("MLColumnDrift", column="a")))
    assert 2 <= len(peer.requests) <= 8


def test_slow_exporter_delays_a_message_by_two_seconds_at_most() -> None:
    """One that takes connections and never answers costs one wait, then nothing for a while."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        composer = Composer(config(), source=HttpFacts(url), clock=SystemClock())
        alerts = [alert("MLColumnDrift", column=f"c{place}", window=f"{place + 1}d") for place in range(50)]
        for limit in (2.5, 0.5):
            began = time.monotonic()
            message = composer.compose(notification(*alerts))
            assert time.monotonic() - began < limit
            assert len(message.views) == 50


def test_answers_that_are_slow_ration_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that takes long for every answer costs a storm of messages a quarter of the time at most."""
    monkeypatch.setattr("exporter.alerts.composing.facts.PATIENCE_SECONDS", 0.5)
    asked = 0

    def slow(path: str, params: Mapping[str, str]) -> Any:
        nonlocal asked
        asked += 1
        time.sleep(0.1)
        return {"results": []}

    composer = Composer(config(), source=InProcessFacts(slow), clock=ManualClock())
    began = time.monotonic()
    for place in range(200):
        composer.compose(notification(alert("MLColumnDrift", column="a", window=f"{place + 1}d")))
    assert time.monotonic() - began < 3.0
    assert 5 <= asked < 50


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b"{}", b'{"results": 5}', b'{"results": [{"metrics": {"f1": 7}}]}', b"null", b"\xff",
     b'{"results": [{"metrics": {"f1": {"value": "1e999", "baseline": {}, "n": "x"}}}]}'],
)  # fmt: skip
def test_strange_answers_do_no_harm(peer: ScriptedServer, body: bytes) -> None:
    """An answer that is not the exporter's leaves the message without a current value."""
    peer.accept = lambda _: Reply(200, body)  # type: ignore[method-assign]
    composer = Composer(config(), source=HttpFacts(peer.url), clock=SystemClock())
    message = composer.compose(notification(alert("MLPerformanceDrop", metric="f1", version="")))
    assert message.views[0].facts.current is None


def test_exporter_of_the_same_process_is_asked_by_call() -> None:
    """The same paths go to a function; what it does not know is no data, what it fails with is unknown."""

    def answer(path: str, params: Mapping[str, str]) -> Any:
        if "none" in path:
            raise NotFoundError("no model")
        if "broken" in path:
            raise RuntimeError
        metrics = {"f1": {"value": 0.5, "baseline": 0.8, "drop": 0.3, "degraded": True, "n": 10}}
        return {
            "results": [
                {"metrics": metrics, "threshold": 0.1, "window": params["window"], "version": "default"}
            ]
        }

    composer = Composer(config(), source=InProcessFacts(answer), clock=ManualClock(5000.0))
    of = {
        model: composer.compose(
            notification(alert("MLPerformanceDrop", firing=False, metric="f1", model=model))
        )
        for model in ("flights", "none", "broken")
    }
    assert (
        of["flights"].views[0].what
        == "f1 is 0.5, down 0.3 from the baseline's 0.8 (alerts at 0.1); on 10 rows"
    )
    assert [of[name].views[0].ending for name in of] == ["", "no data", ""]
    assert of["flights"].made_at == 5000.0


def test_foreign_alerts_say_what_their_annotations_say() -> None:
    """An alert that is not ours shows summary, first line of the description, or value."""
    composer = Composer(config(), source=None, clock=ManualClock())

    def what(**annotations: str) -> str:
        foreign = Alert("f", True, {"alertname": "DiskFull", "instance": "db1"}, annotations, 0.0)
        return composer.compose(notification(foreign)).views[0].what

    assert (
        what(summary="Disk full", description="The disk of db1 is full.\nDo something.")
        == "The disk of db1 is full."
    )
    assert what(summary="Disk full", value="97") == "value 97"
    assert what(summary="Disk full", value="97", threshold="90") == "value 97 (alerts at 90)"
    assert what(description="One line, which is shown below.", value="97") == ""
    assert what(value="97 %") == "97 %"
    assert what() == ""


def test_mixed_group_names_what_is_common() -> None:
    """A group over models names none; the title counts, what was left out included."""
    templates = Templates(None, on_failure=lambda _: None)
    composer = Composer(config(), source=None, clock=ManualClock(), templates=templates)
    told = notification(
        alert("MLColumnDrift", column="a"), alert("MLColumnDrift", column="b", model="other", version="v2"),
        omitted=7, firing=9, severity=Severity.CRITICAL,
    )  # fmt: skip
    message = composer.compose(told)
    assert (message.model, message.version, message.status) == ("", "", "firing")
    assert message.title == "MLColumnDrift on flights (9 alerts)"
    assert message.severity is Severity.CRITICAL


def test_title_that_fails_is_the_plain_one(tmp_path: Any) -> None:
    """A title template that fails twice over still gives a title."""
    (tmp_path / "title.txt").write_text("{{ nothing.at.all }}{{ 1 / 0 }}")
    failures: list[str] = []
    templates = Templates(tmp_path, on_failure=failures.append)
    composer = Composer(config(), source=None, clock=ManualClock(), templates=templates)
    assert composer.compose(notification(alert("MLColumnDrift"))).title == "MLColumnDrift on flights"
    assert failures == ["title.txt"]


_texts = st.text(max_size=60) | st.text(st.characters(categories=["Cs", "Cc", "Zs"]), max_size=10)
_maps = st.dictionaries(_texts, _texts, max_size=6)
MEASURES = ("", "performance", "quality", "ml_x")
_numbers = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def notifications(draw: st.DrawFn) -> Notification:
    """Draw a notification with any content."""
    names = st.sampled_from(["MLPerformanceDrop", "MLColumnDrift", "MLOutOfRange", "MLBatchesStale", "", "x"])
    alerts = tuple(
        Alert(
            draw(_texts),
            draw(st.booleans()),
            draw(_maps) | {"alertname": draw(names), "model": "m", "window": draw(_texts)},
            draw(_maps)
            | {
                "measure": draw(st.sampled_from(MEASURES)),
                "value": draw(_texts),
            },
            draw(_numbers),
            draw(_numbers | st.none()),
            draw(_texts),
        )
        for _ in range(draw(st.integers(0, 3)))
    )
    told = tuple(NotifiedAlert(one, draw(st.sampled_from(Change)), 1) for one in alerts)
    return Notification(
        draw(_texts), draw(_numbers), draw(st.sampled_from(Kind)),
        Group(draw(_texts), draw(_texts), draw(_maps)),
        draw(st.sampled_from(Severity)), told, draw(st.integers(0, 5)), draw(st.integers(0, 5)), draw(_texts),
    )  # fmt: skip


class AnyJson:
    """A source that answers anything."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def get(self, path: str, params: Mapping[str, str]) -> Any:
        if self.answer is None:
            raise FactsUnavailableError(f"{path} {params}")
        return self.answer


_keys = st.sampled_from(
    ["results", "metrics", "f1", "columns", "value", "version", "points", "quality", "time"]
)
_json = st.recursive(
    st.none() | st.booleans() | _numbers | st.integers() | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys | _texts, inner, max_size=4),
    max_leaves=12,
)


@given(told=notifications(), answer=_json)
@settings(max_examples=150, deadline=None)
def test_composer_never_raises(told: Notification, answer: Any) -> None:
    """Whatever a notification holds and the exporter answers, there is a bounded, printable message."""
    source: FactsSource = AnyJson(answer)
    composer = Composer(config(alertmanager="http://am"), source=source, clock=ManualClock(1.0))
    message = composer.compose(told)
    _check(message)
    assert len(message.views) == len(told.alerts)


def _check(message: Message) -> None:
    assert len(message.title) <= 150
    assert "\n" not in message.title
    for view in message.views:
        for text in (view.what, view.summary, view.description, *view.alert.labels.values()):
            assert len(text) <= 1000
            text.encode("utf-8")
            assert not {"\x00", "\x1b", "\u202e"} & set(text)
        assert all(url.startswith("http") for url in view.links.values())
        for value in (view.facts.current, view.facts.threshold):
            assert value is None or math.isfinite(value)


def test_huge_notification_is_cut_and_quick() -> None:
    """100 alerts with megabytes of labels make a message of bounded size within a second."""
    big = Alert(
        "f",
        True,
        {f"label_{place}": "x" * 20_000 for place in range(50)},
        {"description": "y" * 500_000},
        0.0,
    )
    composer = Composer(config(alertmanager="http://am"), source=None, clock=ManualClock())
    began = time.monotonic()
    message = composer.compose(notification(*[big] * 100))
    assert time.monotonic() - began < 2.0
    _check(message)
    assert sum(len(text) for view in message.views for text in view.alert.labels.values()) < 2_000_000


def test_messages_are_composed_by_many_threads_at_once() -> None:
    """Workers share one composer and its templates; budgets of rendering are per thread."""
    templates = Templates(None, on_failure=lambda _: None)
    composer = Composer(config(), source=None, clock=ManualClock(), templates=templates)
    titles: list[str] = []

    def work() -> None:
        for _ in range(30):
            titles.append(composer.compose(examples.column_drift(20).notification).title)  # noqa: PERF401

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(titles) == {"Columns of flight_delay drifted (20 alerts)"}
    assert len(titles) == 120
