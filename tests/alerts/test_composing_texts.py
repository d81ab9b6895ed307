"""Texts of messages word by word: golden files, one line on every kind of alert, links, the plain form."""

# ruff: noqa: E501  # texts stand on one line, as in messages

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from exporter.alerts.composing.body import body_of
from exporter.alerts.composing.composer import Composer
from exporter.alerts.composing.facts import InProcessFacts
from exporter.alerts.composing.links import links_of, safe_url, silence_link
from exporter.alerts.composing.plain import plain_message, plain_text
from exporter.alerts.composing.templates import Templates
from exporter.alerts.config import BridgeConfig, LinkSettings, parse_bridge_config
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
from exporter.catalog import QUALITY_CHECKS
from exporter.clock import ManualClock

from . import examples

GOLDEN = Path(__file__).parent / "golden"
MESSAGES: dict[str, Callable[[], Message]] = {
    "performance_drop": examples.performance_drop,
    "column_drift": lambda: examples.column_drift(3),
    "resolved": examples.resolved,
    "no_data": examples.no_data,
    "hostile": lambda: plain_message(examples.hostile().notification, examples.NOW),
    "test": examples.test_message,
    "silence": examples.missing_heartbeat,
}


def compare(name: str, text: str) -> None:
    """Compare with a golden file; `UPDATE_GOLDEN=1` writes it."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MESSAGES)
def test_texts_are_the_golden_ones(name: str) -> None:
    """Title, apprise text, plain text and webhook body of every example, character by character."""
    message, failures = MESSAGES[name](), []
    templates = Templates(None, on_failure=failures.append)
    text = [f"title: {templates.render('title.txt', message=message)}"]
    text.append(templates.render("apprise.txt", message=message))
    text.append(plain_text(plain_message(message.notification, examples.NOW)))
    body = body_of(message)
    for alert in body["alerts"]:
        if alert["facts"]:
            alert["facts"]["history"] = alert["facts"]["history"][-2:]
    text.append(json.dumps(body, indent=1, ensure_ascii=False))
    compare(f"composing_{name}.txt", "\n\n----\n\n".join(text) + "\n")
    assert failures == []


# -- one line ------------------------------------------------------------------------------------------

OF_WINDOW = {"version": "v3", "window": "1d", "end": 1000.0, "rows": 4210}
RESULTS: Mapping[str, Any] = {
    "performance": {
        "metrics": {
            "f1": {"value": 0.7069, "lower": 0.689, "upper": 0.725, "baseline": 0.86, "drop": 0.1531, "n": 4210,
                   "degraded": True},
            "mae": {"value": 12.5, "lower": 12.1, "upper": 12.9, "baseline": 10.0, "drop": 0.25, "n": 4210,
                    "degraded": True},
            "recall": {"value": 0.8, "baseline": 0.8, "drop": 0.0, "n": 4210, "degraded": False},
            "custom": {"value": 5.0, "n": 10},
            "roc_auc": {"value": None, "reason": "single_class"},
        },
        "class_performance": {"late": {"f1": 0.5}},
        "threshold": 0.1,
        "estimated": {"f1": {"value": 0.62, "lower": 0.6, "upper": 0.64, "rows": 4210}},
    },
    "drift": {
        "columns": {
            "distance": {"role": "feature", "method": "ks", "detected": True, "statistic": 0.31,
                         "critical_value": 0.021,
                         "methods": {"ks": {"statistic": 0.31, "critical_value": 0.021, "detected": True}}},
            "hour": {"role": "feature", "method": "ks", "detected": False, "statistic": 0.01,
                     "critical_value": 0.02,
                     "methods": {"ks": {"statistic": 0.01, "critical_value": 0.02, "detected": False}}},
            "error": {"role": "error", "method": "adwin", "detected": True, "statistic": 12.0,
                      "critical_value": 2.7,
                      "methods": {"adwin": {"statistic": 12.0, "critical_value": 2.7, "detected": True}}},
            "void": {"role": "feature", "method": None, "detected": None, "methods": {}, "reason": "empty"},
        },
        "ratio": 0.5,
        "multivariate": {"rows": 4210, "methods": {
            "mmd": {"statistic": 0.06, "critical_value": 0.0004, "detected": True}}},
    },
    "quality": {
        "completeness": {"distance": 0.85}, "uniqueness": {"id": 0.9}, "type_valid": {"distance": 0.9},
        "in_range": {"distance": 0.9}, "known_category": {"carrier": 0.9},
        "validity": {"distance": {"max": 0.95}}, "consistency": {"arrives": 0.9}, "duplicate": 0.02,
        "timeliness": 0.9, "score": 0.9, "outliers": {"distance": {"ratio": 0.03, "baseline_ratio": 0.001}},
        "schema_changes": [{"change": "added", "column": "gate"}, {"change": "removed", "column": "tail"}],
        "undefined": [["quality_uniqueness_ratio", "hour", "not_comparable"]],
        "volume": {"spans": {"1h": {"rows": 12, "expected": 163.6, "lower": 113, "upper": 221,
                                    "detected": "low", "end": 1000.0}}},
    },
}  # fmt: skip
COMPARISON = {
    "challenger": "v4",
    "end": 1000.0,
    "metrics": {
        "f1": {"difference": 0.021, "lower": 0.004, "upper": 0.038, "decided": True, "champion_value": 0.86,
               "challenger_value": 0.881, "challenger_rows": 5000}},
    "sample_ratio": {"champion_rows": 9000, "challenger_rows": 1200, "p_value": 0.0001, "mismatch": True},
}  # fmt: skip


def answer(path: str, params: Mapping[str, str]) -> Any:
    """Answer as the exporter's API does; the real one is asked in test_composer.py."""
    part = path.rpartition("/")[2]
    if part in RESULTS:
        return {"results": [{**RESULTS[part], **OF_WINDOW}], "evaluated": 3000.0}
    if part == "comparisons":
        return {"results": [COMPARISON]}
    if part == "history":
        value = {"ml_labeled_ratio": 0.4, "ml_quality_constant_columns": 2.0}.get(params["measure"])
        return {"points": [{"time": 1000.0, "value": value}] if value else [], "next": None}
    return {
        "configuration": {"quality": {"thresholds": {"completeness": 0.99}}},
        "versions": {"v3": {"last_batch": 3600.0, "last_label": 1000.0}},
    }


def config(**links: str) -> BridgeConfig:
    channels = {"hook": {"type": "webhook", "url": "http://127.0.0.1:9/x"}}
    return parse_bridge_config({"channels": channels, "links": links})


def view(name: str, *, firing: bool = True, said: Mapping[str, str] | None = None, **labels: str) -> View:
    """Give one alert of our rules as a message shows it, with the answers of above."""
    of_model = {"alertname": name, "model": "flights", "version": "v3", "window": "1d"}
    one = Alert("f", firing, {**of_model, **labels}, {"summary": "s", **(said or {})}, 0.0)
    told = (NotifiedAlert(one, Change.FIRING if firing else Change.RESOLVED, 1),)
    composer = Composer(config(), source=InProcessFacts(answer), clock=ManualClock(7200.0))
    group = Group("g", "r", {})
    return composer.compose(Notification("n", 0.0, Kind.CHANGE, group, Severity.INFO, told)).views[0]


LINES: list[tuple[str, dict[str, Any], str]] = [
    ("MLPerformanceDrop", {"metric": "f1"},
     "f1 is 0.707, down 0.153 from the baseline's 0.86 (alerts at 0.1); 95 % bounds 0.689 to 0.725 on 4,210 rows"),
    ("MLPerformanceDrop", {"metric": "mae"},
     "mae is 12.5, 25 % worse than the baseline's 10 (alerts at 10 %); 95 % bounds 12.1 to 12.9 on 4,210 rows"),
    ("MLPerformanceDrop", {"metric": "recall"}, "recall is 0.8, as the baseline's 0.8 (alerts at 0.1); on 4,210 rows"),
    ("MLPerformanceDrop", {"metric": "custom"}, "custom is 5; on 10 rows"),
    ("MLPerformanceDrop", {"metric": "roc_auc"}, "roc_auc has no current value: only one class occurs (single_class)"),
    ("MLPerformanceDrop", {"metric": "f1", "class": "late"}, "f1 of class late is 0.5"),
    ("MLEstimatedPerformanceDrop", {"metric": "f1"},
     "estimated f1 is 0.62, down 0.24 from the baseline's 0.86 (alerts at 0.1); 95 % bounds 0.6 to 0.64 on 4,210 rows"),
    ("MLColumnDrift", {"column": "distance"}, "distance drifted: ks 0.31, critical 0.021; on 4,210 rows"),
    ("MLColumnDrift", {"column": "hour"},
     "hour no longer differs from the baseline: ks 0.01, critical 0.02; on 4,210 rows"),
    ("MLColumnDrift", {"column": "void"},
     "the drift of void has no current value: there are no data of it (empty)"),
    ("MLConceptDrift", {"column": "error"},
     "the error changed with the same features: adwin 12, critical 2.7; on 4,210 rows"),
    ("MLDatasetDrift", {"said": {"threshold": "0.3"}},
     "1 of 2 columns drifted (50 %), alerts at 30 %; worst: distance"),
    ("MLMultivariateDrift", {"method": "mmd"}, "all columns together drifted: mmd 0.06, critical 0.0004"),
    ("MLCompletenessLow", {"column": "distance"}, "distance is 85 % complete, needs 99 %; of 4,210 rows"),
    ("MLUniquenessLow", {"column": "id"}, "90 % of id are distinct values, needs 0 %; of 4,210 rows"),
    ("MLUniquenessLow", {"column": "hour"},
     "uniqueness of hour has no current value: window and baseline do not fit each other (not_comparable)"),
    ("MLTypeInvalid", {"column": "distance"}, "90 % of distance have the right type, needs 99 %; of 4,210 rows"),
    ("MLOutOfRange", {"column": "distance"}, "90 % of distance are in the baseline's range, needs 95 %; of 4,210 rows"),
    ("MLUnknownCategories", {"column": "carrier"},
     "90 % of carrier are known categories, needs 95 %; of 4,210 rows"),
    ("MLValidationRuleFailing", {"column": "distance", "rule": "max"},
     "95 % of distance pass the rule max, needs 99 %; of 4,210 rows"),
    ("MLConsistencyRuleFailing", {"rule": "arrives"}, "90 % of rows pass the rule arrives, needs 99 %; of 4,210 rows"),
    ("MLTimelinessLow", {}, "90 % of rows came in time, needs 95 %; of 4,210 rows"),
    ("MLDuplicatesHigh", {}, "2 % of rows are repeated, at most 1 %; of 4,210 rows"),
    ("MLOutliersHigh", {"column": "distance"},
     "3 % of distance are outliers, at most 1 %; in the baseline 0.1 %; of 4,210 rows"),
    ("MLQualityScoreLow", {}, "the quality score is 90 %, needs 95 %; of 4,210 rows"),
    ("MLSchemaChanged", {"change": "added", "said": {"threshold": "0"}}, "1 column added: gate"),
    ("MLSchemaChanged", {"change": "retyped"}, "no column is retyped any more"),
    ("MLColumnConstant", {"change": "constant", "said": {"measure": "ml_quality_constant_columns"}},
     "the number of columns that have become constant is 2"),
    ("MLLabelCoverageLow", {"said": {"threshold": "0.5"}}, "the share of labelled rows is 40 %, alerts at 50 %"),
    ("MLVolumeLow", {"span": "1h"}, "12 rows in 1h, expected 164 (113 to 221)"),
    ("MLBatchesStale", {"said": {"threshold": "1800"}}, "the last rows came 1h ago, alerts at 30m"),
    ("MLLabelsStale", {}, "the last labels came 1h 43m ago"),
    ("MLEvaluationStale", {}, "the last evaluation came 1h 10m ago"),
    ("MLComparisonDecided", {"metric": "f1", "challenger": "v4"},
     "f1 of v4 is 0.021 better than the champion's 0.86; bounds 0.004 to 0.038"),
    ("MLSampleRatioMismatch", {"challenger": "v4"},
     "9,000 rows of the champion, 1,200 of v4: not as configured (p-value 0.0001)"),
    ("MLRowsRejected", {"said": {"value": "0.25", "threshold": "0.01"}}, "value 0.25 (alerts at 0.01)"),
    ("MLExporterDown", {"said": {"value": "0", "description": "It does not answer."}}, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "given", "line"), LINES, ids=[f"{name}-{i}" for i, (name, _, _) in enumerate(LINES)]
)
def test_line_says_value_comparison_and_difference(name: str, given: dict[str, Any], line: str) -> None:
    """One line for every alert of our rules."""
    assert view(name, **given).what == line


@pytest.mark.parametrize("check", QUALITY_CHECKS)
def test_every_quality_check_has_words(check: str) -> None:
    """No check of the catalogue is told of by its bare name."""
    said = {"measure": "ml_quality_score" if check == "score" else f"ml_quality_{check}_ratio"}
    column = {"known_category": "carrier", "uniqueness": "id"}.get(check, "distance")
    rule = "arrives" if check == "consistency" else "max"
    assert re.search(r"needs|at most", view("x", said=said, column=column, rule=rule).what)


@pytest.mark.parametrize(
    ("name", "given", "ending"),
    [
        ("MLPerformanceDrop", {"metric": "f1"}, ""),
        ("MLPerformanceDrop", {"metric": "f1", "said": {"threshold": "0.2"}}, "recovered"),
        ("MLPerformanceDrop", {"metric": "recall"}, "recovered"),
        ("MLPerformanceDrop", {"metric": "roc_auc"}, "no data"),
        ("MLEstimatedPerformanceDrop", {"metric": "f1"}, ""),
        ("MLColumnDrift", {"column": "hour"}, "recovered"),
        ("MLColumnDrift", {"column": "void"}, "no data"),
        ("MLDatasetDrift", {"said": {"threshold": "0.6"}}, "recovered"),
        ("MLDuplicatesHigh", {"said": {"threshold": "0.05"}}, "recovered"),
        ("MLDuplicatesHigh", {}, ""),
        ("MLSchemaChanged", {"change": "added", "said": {"threshold": "0"}}, ""),
        ("MLSchemaChanged", {"change": "retyped", "said": {"threshold": "0"}}, "recovered"),
        ("MLLabelCoverageLow", {"said": {"threshold": "0.3"}}, "recovered"),
        ("MLColumnConstant", {"said": {"threshold": "0"}}, ""),
        ("MLBatchesStale", {"said": {"threshold": "7200"}}, "recovered"),
        ("MLVolumeLow", {"span": "1h"}, ""),
        ("MLComparisonDecided", {"metric": "f1", "challenger": "v4"}, ""),
        ("MLExporterDown", {}, ""),
    ],
)
def test_resolved_alert_says_how_it_ended(name: str, given: dict[str, Any], ending: str) -> None:
    """Recovered only with a current value on the good side; no data where there is none; else nothing."""
    assert view(name, firing=False, **given).ending == ending


# -- links ---------------------------------------------------------------------------------------------

LINKS = LinkSettings(
    grafana="https://grafana.example.org/g",
    exporter="https://ml.example.org",
    alertmanager="https://am.example.org/am",
    prometheus="https://prom.example.org",
)


def linked(
    url: str = "http://prometheus-0:9090/graph?g0.expr=up&g0.tab=1", **annotations: str
) -> dict[str, str]:
    labels = {
        "alertname": "MLColumnDrift",
        "severity": "warning",
        "column": 'a "b" \\ c, d}',
        "model": "ü & x",
    }
    return links_of(Alert("f", True, labels, annotations, 0.0, generator_url=url), LINKS)


def test_addresses_of_the_shipped_rules_become_those_of_the_configuration() -> None:
    """The rules' own bases are replaced, other addresses are left as they are."""
    links = linked(
        dashboard_url="http://127.0.0.1:3000/d/ml-drift?var-model=a%20b&var-column=c",
        runbook_url="http://127.0.0.1:10090/runbooks/MLColumnDrift",
    )
    assert links["dashboard"] == "https://grafana.example.org/g/d/ml-drift?var-model=a%20b&var-column=c"
    assert links["runbook"] == "https://ml.example.org/runbooks/MLColumnDrift"
    assert links["query"] == "https://prom.example.org/graph?g0.expr=up&g0.tab=1"
    other = linked(dashboard_url="http://127.0.0.1:30001/d/x", runbook_url="https://wiki.example.org/x")
    assert other["dashboard"] == "http://127.0.0.1:30001/d/x"
    assert other["runbook"] == "https://wiki.example.org/x"


def test_silence_link_has_the_matchers_that_the_page_reads() -> None:
    """Alertmanager's page reads `{name="json text", ...}`: the labels come back, without severity."""
    begin, _, wanted = linked()["silence"].partition("filter=")
    assert begin == "https://am.example.org/am/#/silences/new?"
    assert not set(wanted) & set(' "{}&#+<>')
    text = unquote(wanted)
    assert text.startswith("{alertname=")
    read, place = {}, 1
    decoder = json.JSONDecoder()
    while text[place - 1] != "}":
        name, _, _ = text[place:].partition("=")
        value, place = decoder.raw_decode(text, place + len(name) + 1)
        read[name.strip()] = value
        place += 1
    assert read == {"alertname": "MLColumnDrift", "column": 'a "b" \\ c, d}', "model": "ü & x"}
    assert silence_link({"alertname": "x" * 5000}, LINKS) == ""
    assert silence_link({"severity": "info"}, LINKS) == ""
    assert silence_link({"alertname": "x"}, LinkSettings()) == ""


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", " JaVaScRiPt:alert(1)", "data:text/html,x", "file:///etc/passwd", "//example.org/x",
     "http://", "http:///x", "https://user:password@example.org/", "http://exa mple.org/", "http://[::1/x",
     "http://example.org:port/", "x" * 10, "http://a/" + "b" * 5000, "ftp://example.org", "http://\u202eexample.org"],
)  # fmt: skip
def test_hostile_address_is_dropped(url: str) -> None:
    """Only http and https, with a host, without a login, of bounded length."""
    assert safe_url(url) == ""
    assert {"dashboard", "runbook", "query"} & set(linked(url, dashboard_url=url, runbook_url=url)) == set()


def test_address_cannot_leave_its_place() -> None:
    """Quotes, brackets, spaces and control characters in an address are escaped."""
    assert safe_url('https://example.org/a b<c>"d\n|e`') == "https://example.org/a%20b%3Cc%3E%22d%0A%7Ce%60"


# -- the plain form ------------------------------------------------------------------------------------


def test_plain_form_is_bounded_and_tells_what_it_leaves_out() -> None:
    """100 huge alerts become a text of the length that is asked for, of whole alerts, and a count."""
    message = plain_message(examples.column_drift(100).notification, examples.NOW)
    text = plain_text(message, 3000)
    assert len(text) <= 3000
    told = text.count("MLColumnDrift [")
    assert 1 < told < 100
    assert text.endswith(f"... and {100 - told} more")


def test_heartbeat_that_is_back_is_no_silence_any_more() -> None:
    """The message on a missing heartbeat fires, the one on its return is resolved."""
    group, composer = (
        Group("heartbeat", "heartbeat", {}),
        Composer(config(), source=None, clock=ManualClock()),
    )
    told = [
        composer.compose(
            Notification("n", 0.0, Kind.SILENCE, group, Severity.CRITICAL, (), firing, text=text)
        )
        for firing, text in ((1, "Nothing is heard."), (0, "It is heard again."))
    ]
    assert [message.status for message in told] == ["firing", "resolved"]
    assert [message.title for message in told] == [
        "Silence: Nothing is heard.",
        "Resolved: It is heard again.",
    ]


def test_plain_form_of_hostile_content_is_printable() -> None:
    """No control characters, no marks that turn the writing, nothing endless."""
    message = plain_message(examples.hostile("\x00\x1b[31m\u202e" + "x" * 10**6).notification, examples.NOW)
    assert len(message.title) <= 150
    text = plain_text(message)
    assert len(text) <= 4000
    assert all(character.isprintable() or character == "\n" for character in text)
    assert sum(len(value) for view in message.views for value in view.alert.labels.values()) < 10_000
