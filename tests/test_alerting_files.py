"""`ml-exporter rules`, and the files that it finds in a checkout and in a wheel."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import zipfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests
import yaml

from exporter.alertingrules import COMPANIONS, RULES, Addresses, checked_url, shipped_files, with_addresses
from exporter.cli import run
from tests.alertmanager import running_alertmanager
from tests.scripted_server import Reply, ScriptedServer

ROOT = Path(__file__).parent.parent
URLS = {
    "exporter": "https://ml.example.org/monitor",
    "grafana": "https://grafana.example.org",
    "alertmanager": "https://example.org/alerts",
    "prometheus": "http://[::1]:9091",
    "bridge": "http://bridge:10093",
}


def written(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def write(directory, *flags):
    return run(["rules", "-o", str(directory), *flags])


def flags(**urls):
    return [f"--{name}.url={url}" for name, url in urls.items()]


def test_addresses_of_the_defaults_change_nothing():
    """With the default addresses the shipped files stay what they are."""
    for name, path in shipped_files(*RULES, *COMPANIONS.values()).items():
        text = path.read_text(encoding="utf-8")
        assert with_addresses(text, Addresses()) == text, name


def test_rules_are_written_with_the_users_addresses(tmp_path):
    """Every link of a rule leads to the user's exporter and Grafana, and none to a loopback address."""
    assert write(tmp_path, *flags(**URLS)) == 0
    files = written(tmp_path)
    assert set(files) == set(shipped_files(*RULES))
    assert files
    for name, text in files.items():
        assert "127.0.0.1" not in text, name
        for group in yaml.safe_load(text)["groups"]:
            for rule in group["rules"]:
                annotations = rule.get("annotations", {})
                if "alert" in rule:
                    expected = f"{URLS['exporter']}/runbooks/{rule['alert']}"
                    assert annotations["runbook_url"] == expected
                if "dashboard_url" in annotations:
                    assert annotations["dashboard_url"].startswith(f"{URLS['grafana']}/d/")


@pytest.mark.prometheus
def test_companions_are_written_with_the_users_addresses(tmp_path, requires_program):
    """Prometheus, Alertmanager and bridge are given each other's addresses, scheme and path included."""
    assert write(tmp_path, "--with=all", *flags(**URLS)) == 0
    prometheus = yaml.safe_load((tmp_path / "prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"]: job for job in prometheus["scrape_configs"]}
    assert jobs["ml-exporter"]["scheme"] == "https"
    assert jobs["ml-exporter"]["metrics_path"] == "/monitor/metrics"
    assert jobs["ml-exporter"]["static_configs"] == [{"targets": ["ml.example.org"]}]
    assert jobs["ml-bridge"]["static_configs"] == [{"targets": ["bridge:10093"]}]
    assert jobs["prometheus"]["static_configs"] == [{"targets": ["[::1]:9091"]}]
    (told,) = prometheus["alerting"]["alertmanagers"]
    assert (told["scheme"], told["path_prefix"]) == ("https", "/alerts")
    alertmanager = (tmp_path / "alertmanager.yml").read_text(encoding="utf-8")
    assert "http://bridge:10093/alertmanager\n" in alertmanager
    assert "127.0.0.1:10093" not in alertmanager
    links = yaml.safe_load((tmp_path / "bridge.yml").read_text(encoding="utf-8"))["links"]
    assert [URLS[name] in url for name, url in links.items()] == [True] * 4
    for command in (
        ["promtool", "check", "config", tmp_path / "prometheus.yml"],
        ["amtool", "check-config", tmp_path / "alertmanager.yml"],
    ):
        subprocess.run([requires_program(command[0]), *command[1:]], check=True, capture_output=True)


def test_prometheus_may_reach_the_parts_elsewhere(tmp_path):
    """What Prometheus connects to need not be what users open."""
    elsewhere = [
        "--exporter.scrape-url=http://exporter:10090",
        "--bridge.scrape-url=http://bridge:1",
        "--alertmanager.send-url=http://alertmanager:9093",
    ]
    assert write(tmp_path, "--with=prometheus", "--with=bridge", *flags(**URLS), *elsewhere) == 0
    text = (tmp_path / "prometheus.yml").read_text(encoding="utf-8")
    for target in ("exporter:10090", "bridge:1", "alertmanager:9093"):
        assert f'scheme: http\n    static_configs: [{{targets: ["{target}"]}}]' in text.replace(
            "  " * 3, "    "
        )
    assert URLS["exporter"] in (tmp_path / "bridge.yml").read_text(encoding="utf-8")


def test_files_of_its_own_are_replaced(tmp_path):
    """A second run, with other addresses, replaces what the first wrote."""
    assert write(tmp_path, "--with=all") == 0
    assert write(tmp_path, "--with=all", *flags(**URLS)) == 0
    assert "bridge:10093" in (tmp_path / "alertmanager.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("foreign", ["changed", "written by hand", "a directory"])
def test_foreign_files_are_kept(tmp_path, capsys, foreign):
    """A file that the user wrote or changed is named and kept, and then nothing at all is written."""
    assert write(tmp_path, "--with=alertmanager") == 0
    file = tmp_path / "alertmanager.yml"
    if foreign == "changed":
        file.write_text(file.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    elif foreign == "written by hand":
        file.write_text("route: {}\n", encoding="utf-8")
    else:
        file.unlink()
        file.mkdir()
    before = written(tmp_path)
    capsys.readouterr()
    assert write(tmp_path, "--with=all", *flags(**URLS)) == 2
    error = capsys.readouterr().err
    assert "alertmanager.yml" in error
    assert error.count("\n") == 1
    assert written(tmp_path) == before


def test_force_overwrites(tmp_path):
    """With --force changed files are written anew."""
    (tmp_path / "bridge.yml").write_text("mine", encoding="utf-8")
    assert write(tmp_path, "--with=bridge", "--force") == 0
    assert "channels:" in (tmp_path / "bridge.yml").read_text(encoding="utf-8")


def test_rules_that_are_no_longer_shipped_are_named(tmp_path, capsys):
    """What an earlier version wrote stays, but is named, since Prometheus would load it."""
    assert write(tmp_path) == 0
    directory = tmp_path / "alerts"
    newest = next(path for path in sorted(directory.iterdir()))
    newest.rename(directory / "old.yml")
    (directory / "own.yml").write_text("groups: []\n", encoding="utf-8")
    capsys.readouterr()
    assert write(tmp_path) == 0
    error = capsys.readouterr().err
    assert "old.yml" in error
    assert "own.yml" not in error


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "http://",
        "grafana:3000",
        "http://a/{{ $value }}",
        'http://a/"',
        "http://a b",
        "http://a?x=1",
        "http://a#b",
        "http://u:p@a",
        "http://a/${X}",
        "http://a/\nb",
    ],
)
def test_addresses_that_cannot_stand_in_a_rule_are_refused(tmp_path, capsys, url):
    """An address is scheme, host, port and path; anything else could change what a rule or a file says."""
    with pytest.raises(ValueError, match="expected a URL"):
        checked_url(url)
    assert write(tmp_path, f"--exporter.url={url}") == 2
    assert "expected a URL" in capsys.readouterr().err
    assert not written(tmp_path)


@pytest.mark.slow
@pytest.mark.prometheus
def test_written_files_work_together(tmp_path, requires_program, free_port):
    """Two Prometheus servers with the written files give Alertmanager one alert, and it tells the bridge."""
    port = free_port()
    bridge = Bridge()
    urls = {"bridge": bridge.url, "alertmanager": f"http://127.0.0.1:{port}", "exporter": bridge.url}
    for replica in ("a", "b"):
        directory = tmp_path / replica
        assert write(directory, "--with=all", *flags(**urls)) == 0
        config = directory / "prometheus.yml"
        text = config.read_text(encoding="utf-8").replace("replica: a", f"replica: {replica}")
        config.write_text(text.replace("_interval: 15s", "_interval: 1s"), encoding="utf-8")
    configuration = (tmp_path / "a" / "alertmanager.yml").read_text(encoding="utf-8")
    with ExitStack() as stack:
        stack.callback(bridge.close)
        server = stack.enter_context(
            running_alertmanager(requires_program("alertmanager"), tmp_path / "am", configuration, port)
        )
        told = [
            stack.enter_context(prometheus(requires_program("prometheus"), tmp_path / replica, free_port()))
            for replica in ("a", "b")
        ]
        wait_until(lambda: all(sent(url) > 0 for url in told) and bridge.alerts())
        alerts = server.alerts()
    beats = [alert["labels"] for alert in alerts if alert["labels"]["alertname"] == "MLHeartbeat"]
    assert beats == [{"alertname": "MLHeartbeat", "severity": "info"}]
    (heard,) = {each["annotations"]["runbook_url"] for each in bridge.alerts()}
    assert heard == f"{bridge.url}/runbooks/MLHeartbeat"


class Bridge(ScriptedServer):
    """Takes what comes."""

    def accept(self, seen):
        return Reply(200, {"path": seen.path})

    def alerts(self):
        webhooks = [json.loads(each.body) for each in list(self.requests) if each.path == "/alertmanager"]
        return [alert for webhook in webhooks for alert in webhook["alerts"]]


@contextmanager
def prometheus(program, directory, port):
    """Run Prometheus with the files of a directory; give its URL."""
    command = [
        program,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--rules.alert.resend-delay=1s",  # its first alerts come before it has found Alertmanager
    ]
    with (directory / "log").open("wb") as output, subprocess.Popen(command, stderr=output) as process:
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def sent(url):
    """Return how many alerts Prometheus has handed over without an error."""
    try:
        text = requests.get(f"{url}/metrics", timeout=5).text
    except requests.ConnectionError:
        return 0
    counts = dict(
        re.findall(r"^prometheus_notifications_(sent|errors)_total\{.*\} (\d+)", text, re.MULTILINE)
    )
    return int(counts.get("sent", 0)) - int(counts.get("errors", 0))


def wait_until(condition, within=60.0):
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_wheel_holds_the_files_and_finds_them(tmp_path):
    """What pip installs can write the rules, and show the runbooks, without a checkout."""
    build = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    subprocess.run(
        [*build, "--no-build-isolation", "--wheel-dir", tmp_path, ROOT],
        check=True,
        env={**os.environ, "PIP_NO_INDEX": "1"},
    )
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    program = (
        "import sys; from exporter.alertingrules import shipped_files; from exporter.cli import run; "
        "sys.path.clear(); print(*shipped_files('**/*.*').values(), sep='\\n')"
    )
    out = tmp_path / "out"
    listed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    places = {Path(place).relative_to(installed / "exporter" / "alerting_rules") for place in listed}
    assert {place.as_posix() for place in places} == set(shipped_files("**/*.*"))
    subprocess.run(
        [sys.executable, "-m", "exporter", "rules", "-o", out, "--with=all"],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        check=True,
    )
    assert set(written(out)) == set(shipped_files(*RULES, *COMPANIONS.values()))
