"""The shipped configurations: checked by their own programs, and proved with a real Alertmanager."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from exporter.alerts.config import BridgeConfig, load_bridge_config
from tests.alertmanager import running_alertmanager
from tests.scripted_server import Reply, ScriptedServer, Seen

RULES = Path(__file__).parent.parent / "alerting_rules"
CONFIGURATION = RULES / "alertmanager.yml"
SOURCE = CONFIGURATION.read_text(encoding="utf-8")


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.prometheus
def test_amtool_accepts_the_configuration(requires_program):
    """Alertmanager loads the file as it is shipped."""
    assert "SUCCESS" in run(requires_program("amtool"), "check-config", CONFIGURATION)


ROUTES = [
    ({"alertname": "MLPerformanceDrop", "model": "churn", "severity": "critical"}, "bridge", "severity"),
    ({"alertname": "MLColumnDrift", "model": "churn", "severity": "warning"}, "bridge", "severity"),
    ({"alertname": "MLBaselineOld", "model": "churn", "severity": "info"}, "bridge", "severity"),
    ({"alertname": "MLPerformanceDrop", "model": "fraud", "severity": "critical"}, "bridge", "severity"),
    ({"alertname": "MLColumnDrift", "model": "fraud_eu", "severity": "warning"}, "bridge", "severity"),
    ({"alertname": "MLBaselineOld", "model": "payments-v2", "severity": "info"}, "bridge", "model"),
    ({"alertname": "MLColumnDrift", "model": "fraudulent", "severity": "info"}, "bridge", "severity"),
    ({"alertname": "MLHeartbeat", "severity": "info"}, "heartbeat", "alertname"),
    ({"alertname": "MLBridgeDown", "severity": "critical"}, "fallback", "alertname"),
    ({"alertname": "MLBridgeDeadLetters", "severity": "warning"}, "fallback", "alertname"),
    ({"alertname": "MLBridgeNoHeartbeat", "severity": "critical"}, "fallback", "alertname"),
    ({"alertname": "MLExporterDown", "severity": "critical"}, "fallback,bridge", "severity"),
    ({"alertname": "MLExporterErrors", "severity": "warning"}, "bridge", "severity"),
    ({"alertname": "DiskFull"}, "bridge", "default-route"),
]


@pytest.mark.prometheus
@pytest.mark.parametrize(("labels", "receivers", "by"), ROUTES)
def test_alerts_are_routed(requires_program, labels, receivers, by):
    """Each alert reaches its receivers, by the route that is meant for it."""
    pairs = [f"{name}={value}" for name, value in labels.items()]
    amtool = requires_program("amtool")
    run(
        amtool,
        "config",
        "routes",
        "test",
        f"--config.file={CONFIGURATION}",
        f"--verify.receivers={receivers}",
        *pairs,
    )
    tree = run(amtool, "config", "routes", "test", f"--config.file={CONFIGURATION}", "--tree", *pairs)
    routes = re.findall(r"── (default-route|\{\w+)", tree)
    assert routes[-1].lstrip("{") == by, tree


def test_whatever_tells_of_the_bridge_goes_around_it():
    """No alert of the bridge has a route to a receiver that is the bridge."""
    configuration = yaml.safe_load(SOURCE)
    fallback = next(each for each in configuration["receivers"] if each["name"] == "fallback")
    assert set(fallback) == {"name", "email_configs"}
    (route,) = (each for each in configuration["route"]["routes"] if "MLBridge" in each["matchers"][0])
    assert route["receiver"] == "fallback"
    assert "continue" not in route


def test_critical_alerts_hurry_and_reminders_are_no_repetitions():
    """Waits fall with the severity; repetitions come late enough to be reminders, not duplicates."""
    deduplicated = load_bridge_config(RULES / "bridge.yml", {}).deduplicate_for
    by_severity = {
        each["matchers"][0]: each
        for each in yaml.safe_load(SOURCE)["route"]["routes"]
        if each["matchers"][0].startswith("severity")
    }
    order = [by_severity[f'severity="{name}"'] for name in ("critical", "warning", "info")]
    for key in ("group_wait", "group_interval", "repeat_interval"):
        waits = [seconds(each[key]) for each in order]
        assert waits == sorted(waits)
        assert len(set(waits)) == 3
    assert all(seconds(each["repeat_interval"]) > deduplicated for each in order)


def seconds(duration: str) -> float:
    number, unit = re.fullmatch(r"(\d+)([smhd])", duration).groups()
    return float(number) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


def test_alerts_that_are_named_exist():
    """Every name in routes and inhibition is that of a rule, so a renamed alert is not silently unrouted."""
    alerts = {
        rule["alert"]
        for path in RULES.glob("alerts/*.yml")
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    named = set(re.findall(r"\bML[A-Z]\w+\b(?!\.)", re.sub(r"#.*", "", SOURCE)))
    assert named <= alerts
    tested = {labels["alertname"] for labels, _, _ in ROUTES} | {
        each["alertname"] for pair in [*MUTED, *HEARD] for each in pair
    }
    assert tested - {"DiskFull"} <= alerts


@pytest.mark.prometheus
def test_promtool_accepts_the_prometheus_configuration(requires_program):
    """Prometheus loads the file with all the rules beside it."""
    out = run(requires_program("promtool"), "check", "config", RULES / "prometheus.yml")
    assert "SUCCESS" in out
    rules = [*RULES.glob("recording/*.yml"), *RULES.glob("alerts/*.yml")]
    assert all(path.name in out for path in rules)


def test_bridge_example_works_as_it_is():
    """Nothing has to be filled in to try it on one machine."""
    config = load_bridge_config(RULES / "bridge.yml", {})
    assert set(config.channels) == {"mail"}
    assert config.links.exporter == "http://127.0.0.1:10090"


def test_bridge_example_works_with_everything_switched_on(tmp_path):
    """Every setting that is switched off in the example is one that the bridge knows."""
    secrets = dict.fromkeys(("smtp", "slack-bot", "tickets", "bridge-reads-exporter"), "secret")
    secrets["slack-webhook"] = "https://hooks.slack.example/services/T0/B0/x"
    secrets["pager"] = "pagerduty://key@integration"
    for name, secret in secrets.items():
        (tmp_path / name).write_text(f"{secret}\n", encoding="utf-8")
    complete = tmp_path / "bridge.yml"
    complete.write_text(switched_on((RULES / "bridge.yml").read_text(encoding="utf-8")), encoding="utf-8")
    config = load_bridge_config(complete, {"ML_SECRETS": str(tmp_path)})
    assert {channel.type for channel in config.channels.values()} == {"slack", "email", "webhook", "apprise"}
    assert {name for route in config.routes for name in route.channels} <= set(config.channels)
    assert config.templates.directory
    left_out = set(BridgeConfig.model_fields) - config.model_fields_set
    assert not left_out, f"the example does not show {left_out}"


def switched_on(text):
    """Return a configuration with what is commented out, and has no space after the sign, in force."""
    return re.sub(r"^( *)#(?=[^ #])|^( +)#(?=  )", r"\1\2", text, flags=re.MULTILINE)


HERE = {"job": "ml-exporter", "instance": "a:10090"}
PART = {**HERE, "model": "m", "version": "v1", "window": "1d"}
COLUMN = {**PART, "column": "age", "role": "feature"}
METRIC = {**PART, "metric": "f1"}
SEGMENT = {**METRIC, "segment": "origin", "value": "JFK"}
MODEL = {**HERE, "model": "m", "version": "v1"}
ARMS = {**HERE, "model": "m", "champion": "v1", "challenger": "v2"}


def alert(name, severity, labels, **others):
    return {"alertname": name, "severity": severity, **labels, **others}


MUTED = [
    (alert("MLPerformanceDrop", "critical", METRIC), alert("MLPerformanceDrop", "warning", METRIC)),
    (alert("MLLabelsStale", "warning", MODEL), alert("MLLabelsStale", "info", MODEL)),
    (alert("MLExporterDown", "critical", HERE), alert("MLColumnDrift", "warning", COLUMN)),
    (alert("MLExporterDown", "critical", HERE), alert("MLPerformanceDrop", "critical", METRIC)),
    (alert("MLExporterDown", "critical", HERE), alert("MLExporterNotReady", "warning", HERE)),
    (alert("MLExporterNotReady", "warning", HERE), alert("MLBatchesStale", "warning", MODEL)),
    (alert("MLDatasetDrift", "warning", PART), alert("MLColumnDrift", "warning", COLUMN)),
    (alert("MLDatasetDrift", "warning", PART), alert("MLColumnDriftStrong", "warning", COLUMN)),
    (alert("MLColumnDriftStrong", "warning", COLUMN), alert("MLColumnDrift", "info", COLUMN)),
    (alert("MLPerformanceDrop", "warning", METRIC), alert("MLEstimatedPerformanceDrop", "warning", METRIC)),
    (alert("MLPerformanceDrop", "warning", METRIC), alert("MLSegmentPerformanceDrop", "warning", SEGMENT)),
    (alert("MLBatchesStale", "critical", MODEL), alert("MLVolumeLow", "warning", MODEL, span="1d")),
    (alert("MLBatchesStale", "warning", MODEL), alert("MLLabelsStale", "warning", MODEL, version="v2")),
    (alert("MLLabelsStale", "warning", MODEL), alert("MLLabelCoverageLow", "warning", PART)),
    (alert("MLCompletenessLow", "warning", COLUMN), alert("MLQualityScoreLow", "warning", PART)),
    (alert("MLBaselineRefreshBlocked", "info", MODEL), alert("MLBaselineOld", "info", MODEL)),
    (alert("MLSampleRatioMismatch", "warning", ARMS), alert("MLComparisonDecided", "info", ARMS)),
    (alert("MLBridgeDown", "critical", HERE), alert("MLBridgeQueueStuck", "critical", HERE)),
]
HEARD = [
    (
        alert("MLPerformanceDrop", "critical", METRIC),
        alert("MLPerformanceDrop", "warning", METRIC, metric="mcc"),
    ),
    (
        alert("MLPerformanceDrop", "critical", METRIC),
        alert("MLPerformanceDrop", "warning", METRIC, version="v2"),
    ),
    (
        alert("MLPerformanceDrop", "critical", METRIC),
        alert("MLPerformanceDrop", "warning", METRIC, window="7d"),
    ),
    (alert("MLExporterDown", "critical", HERE), alert("MLColumnDrift", "warning", COLUMN, instance="b:1")),
    (alert("MLExporterDown", "critical", HERE), alert("MLHeartbeat", "info", {})),
    (alert("MLExporterDown", "critical", HERE), alert("MLBridgeDown", "critical", HERE)),
    (alert("MLDatasetDrift", "warning", PART), alert("MLColumnDrift", "warning", COLUMN, version="v2")),
    (alert("MLDatasetDrift", "warning", PART), alert("MLPredictionDrift", "warning", COLUMN)),
    (alert("MLColumnDriftStrong", "warning", COLUMN), alert("MLColumnDrift", "info", COLUMN, column="sex")),
    (alert("MLPerformanceDrop", "warning", METRIC), alert("MLSegmentPerformanceDrop", "critical", SEGMENT)),
    (alert("MLEstimatedPerformanceDrop", "warning", METRIC), alert("MLPerformanceDrop", "warning", METRIC)),
    (alert("MLBatchesStale", "warning", MODEL), alert("MLVolumeLow", "warning", MODEL, model="other")),
    (alert("MLLabelsStale", "warning", MODEL), alert("MLBatchesStale", "warning", MODEL)),
    (alert("MLBridgeQueueStuck", "critical", HERE), alert("MLBridgeDeadLetters", "warning", HERE)),
]


@pytest.mark.prometheus
def test_alerts_mute_their_consequences_and_nothing_else(requires_program, tmp_path, free_port):
    """A real Alertmanager finds each consequence muted, and each bystander not."""
    cases = list(enumerate([*MUTED, *HEARD]))
    with running_alertmanager(requires_program("alertmanager"), tmp_path, SOURCE, free_port()) as server:
        for case, (source, target) in cases:
            server.post(placed(source, case), placed(target, case))

        def wrong():
            muted = {frozenset(labels.items()) for labels in server.inhibited()}
            found = [frozenset(placed(target, case).items()) in muted for case, (_, target) in cases]
            return [pair for case, pair in cases if found[case] != (case < len(MUTED))]

        deadline = time.monotonic() + 20
        while (left := wrong()) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert not left


def placed(labels, case):
    """Return the labels in an environment of the case's own, so that cases do not mute each other."""
    own = f"case-{case}"
    return {**labels, "job": own} | ({"model": own + labels["model"]} if "model" in labels else {})


class Bridge(ScriptedServer):
    """Takes whatever Alertmanager sends."""

    def accept(self, seen: Seen) -> Reply:
        assert seen.method == "POST"
        return Reply(200)


@pytest.mark.prometheus
def test_groups_reach_the_bridge(requires_program, tmp_path, free_port):
    """The webhook comes to the bridge's path with whole groups of one alert, model and severity."""
    bridge = Bridge()
    text = fast(SOURCE, bridge.url)
    drifted = [alert("MLColumnDrift", "warning", COLUMN, column=f"c{i}") for i in range(150)]
    others = [
        alert("MLColumnDrift", "warning", COLUMN, model="other"),
        alert("MLPerformanceDrop", "critical", METRIC),
        alert("MLPerformanceDrop", "warning", METRIC),
        alert("MLHeartbeat", "info", {}),
    ]
    try:
        with running_alertmanager(requires_program("alertmanager"), tmp_path, text, free_port()) as server:
            server.post(*drifted, *others)
            groups = wait_for_groups(bridge, {"firing": 4})
            server.post(*drifted, minutes=0)
            wait_for_groups(bridge, {"firing": 4, "resolved": 1})
    finally:
        bridge.close()
    assert {frozenset(group["groupLabels"].items()) for group in groups.values()} == {
        frozenset({"alertname": "MLColumnDrift", "model": "m", "severity": "warning"}.items()),
        frozenset({"alertname": "MLColumnDrift", "model": "other", "severity": "warning"}.items()),
        frozenset({"alertname": "MLPerformanceDrop", "model": "m", "severity": "critical"}.items()),
        frozenset({"alertname": "MLHeartbeat"}.items()),
    }
    whole = next(group for group in groups.values() if group["groupLabels"].get("model") == "m"
                 and group["groupLabels"]["severity"] == "warning")  # fmt: skip
    assert len(whole["alerts"]) == 150
    assert whole["truncatedAlerts"] == 0
    assert whole["version"] == "4"
    assert {request.path for request in bridge.requests} == {"/alertmanager"}


@pytest.mark.prometheus
def test_token_of_the_bridge_is_sent(requires_program, tmp_path, free_port):
    """With the token switched on, every webhook carries what the file holds."""
    bridge = Bridge()
    token = tmp_path / "bridge.token"
    token.write_text("wine-dark-sea\n", encoding="utf-8")
    text = switched_on(fast(SOURCE, bridge.url)).replace("/etc/alertmanager/bridge.token", str(token))
    try:
        with running_alertmanager(requires_program("alertmanager"), tmp_path, text, free_port()) as server:
            server.post(alert("MLHeartbeat", "info", {}), alert("MLPerformanceDrop", "critical", METRIC))
            wait_for_groups(bridge, {"firing": 2})
    finally:
        bridge.close()
    assert {request.headers["authorization"] for request in bridge.requests} == {"Bearer wine-dark-sea"}


@pytest.mark.prometheus
@pytest.mark.parametrize("hours", ["now", "another year"])
def test_info_waits_for_business_hours(requires_program, tmp_path, free_port, hours):
    """Outside of business hours info is kept back; a team with rhythms of its own hears it always."""
    bridge = Bridge()
    years = "2000:2100" if hours == "now" else "1999"
    interval = re.search(r"      - weekdays: .*\n +times: .*\n +location: .*\n", SOURCE)[0]
    text = fast(SOURCE, bridge.url).replace(interval, f'      - years: ["{years}"]\n')
    drifted = [alert("MLColumnDrift", "warning", COLUMN, column=f"c{i}") for i in range(4)]
    notes = [alert("MLBaselineOld", "info", MODEL, model=name) for name in ("churn", "fraud_eu")]
    heard = {"churn", "fraud_eu"} if hours == "now" else {"fraud_eu"}
    try:
        with running_alertmanager(requires_program("alertmanager"), tmp_path, text, free_port()) as server:
            server.post(*notes)
            for count in range(1, len(drifted) + 1):  # each in a flush of its own: info had time for several
                server.post(drifted[count - 1])
                wait_until(lambda wanted=count: len(alerts_of(bridge, "MLColumnDrift")) >= wanted)
            wait_until(lambda: heard <= {each["model"] for each in alerts_of(bridge, "MLBaselineOld")})
    finally:
        bridge.close()
    assert {each["model"] for each in alerts_of(bridge, "MLBaselineOld")} == heard


def fast(text, bridge):
    """Return the configuration with short waits and the address of a bridge."""
    text = re.sub(r"(group_wait|group_interval): \S+", r"\1: 200ms", text)
    return text.replace("http://127.0.0.1:10093", bridge)


def alerts_of(bridge, name):
    """Return the labels of all alerts of a name that came."""
    sent = [json.loads(request.body) for request in list(bridge.requests)]
    found = {frozenset(each["labels"].items()) for group in sent for each in group["alerts"]}
    return [dict(labels) for labels in found if dict(labels)["alertname"] == name]


def wait_until(condition, within=30.0):
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_groups(bridge, wanted, within=30.0):
    """Return the newest webhook of each group once so many groups came with each status."""
    deadline = time.monotonic() + within
    while True:
        sent = [json.loads(request.body) for request in list(bridge.requests)]
        found = {status: {each["groupKey"] for each in sent if each["status"] == status} for status in wanted}
        if all(len(found[status]) >= count for status, count in wanted.items()):
            return {each["groupKey"]: each for each in sent}
        assert time.monotonic() < deadline, {status: len(keys) for status, keys in found.items()}
        time.sleep(0.05)
