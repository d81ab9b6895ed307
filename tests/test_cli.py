"""The command line: exit codes, one line for each error, and a server that drains."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests

from exporter.cli import command, run

CONFIGURATION = """
models:
  churn:
    task: binary
    columns: {id: customer, prediction: predicted, score: probability, label: churned}
    features: {age: numeric, plan: categorical}
    windows: [1d]
"""
ROWS = "customer,age,plan,predicted,probability\n" + "".join(
    f"c{i},{20 + i % 50},basic,{'true' if i % 2 else 'false'},{(i % 10) / 10}\n" for i in range(1000)
)


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "models.yml"
    file.write_text(CONFIGURATION, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve"],
        ["serve", "--config.file=none.yml"],
        ["serve", "--nothing"],
        ["unknown"],
        ["push", "churn"],
        ["push", "churn", "no-such-file.csv"],
        ["push", "--labels", "--baseline", "churn", __file__],
        ["push", "--url", "ftp://x", "churn", __file__],
        ["baseline", "create", "churn"],
        ["baseline", "create", "churn", "--from", "1"],
        ["demo", "--speed", "fast"],
        ["demo", "--days", "0"],
        ["serve", "--config.file=x", "--log.level=loud"],
        ["serve", "--config.file=x", "--web.read-timeout=5"],
        ["serve", "--config.file=x", "--bridge.config.file=y", "--bridge.url=http://z"],
        ["serve", "--config.file=x", "--bridge.token.file=y"],
        ["bridge"],
        ["bridge", "--config.file=none.yml"],
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments, capsys):
    """Usage and configuration errors say what is wrong in one line."""
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("ml-exporter: error: ")


def test_failed_work_is_one_line_and_exit_1(tmp_path, capsys):
    """Work that fails, for want of a server here, is exit 1."""
    file = tmp_path / "rows.csv"
    file.write_text(ROWS, encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert run(["baseline", "list", "churn", "--url", f"http://127.0.0.1:{port}/\n"]) in {1, 2}
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["serve", "bridge", "push", "baseline", "check-config", "demo"])
def test_every_command_has_help(name, capsys):
    """`--help` prints a usage and exits 0."""
    assert run([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: ml-exporter {name}")
    assert name in command.commands


def test_check_config_names_every_problem(tmp_path, config, capsys):
    """Each error has the file and its path in it; a good file is said to be good."""
    assert run(["check-config", str(config)]) == 0
    assert "ok, 1 model" in capsys.readouterr().out
    bad = tmp_path / "bad.yml"
    bad.write_text(CONFIGURATION.replace("task: binary", "task: bynary\n    windws: [1d]"), encoding="utf-8")
    assert run(["check-config", str(bad)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert any(line.startswith(f"{bad}: models.churn.task: ") for line in err)
    assert any(line.startswith(f"{bad}: models.churn.windws: ") for line in err)


def test_check_config_also_takes_the_bridges_file(tmp_path, capsys):
    """A file with channels is the bridge's; what cannot be opened is named by its path too."""
    good = tmp_path / "bridge.yml"
    hook = "hook: {type: webhook, url: 'https://example.org/s3cr3t'}"
    good.write_text(f"channels: {{{hook}}}\nroutes: [{{channels: [hook]}}]\n", encoding="utf-8")
    assert run(["check-config", str(good)]) == 0
    assert "ok, 1 channel, 1 route" in capsys.readouterr().out
    bad = tmp_path / "bad.yml"
    bad.write_text(f"notification_channels: {{{hook}}}\nretention: soon\nroute: []\n", encoding="utf-8")
    assert run(["check-config", str(bad)]) == 2
    said = capsys.readouterr().err
    assert "retention: expected a duration" in said
    assert "route: unknown key; did you mean routes?" in said
    bad.write_text(f"channels: {{{hook}}}\ntemplates: {{directory: {tmp_path / 'none'}}}\n", encoding="utf-8")
    assert run(["check-config", str(bad)]) == 2
    assert "s3cr3t" not in said + capsys.readouterr().err


def test_python_m_exporter_is_the_command():
    """`python -m exporter --version` works."""
    result = subprocess.run(
        [sys.executable, "-m", "exporter", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("ml-exporter, version ")


def test_address_of_others_needs_authentication(config, tmp_path, capsys):
    """A non-loopback address without authentication is refused, and nothing is created."""
    storage = tmp_path / "data"
    arguments = ["serve", f"--config.file={config}", f"--storage.path={storage}"]
    assert run([*arguments, "--web.listen-address=0.0.0.0:0"]) == 2
    assert run([*arguments, "--web.listen-address=:0"]) == 2
    assert "--web.allow-anonymous" in capsys.readouterr().err
    assert run([*arguments, "--web.listen-address=nonsense"]) == 2
    assert not storage.exists()


def test_bridge_on_an_address_of_others_needs_authentication(tmp_path, capsys):
    """The bridge is as careful as the exporter."""
    file = tmp_path / "bridge.yml"
    file.write_text("channels: {}\n", encoding="utf-8")
    storage = tmp_path / "data"
    arguments = ["bridge", f"--config.file={file}", f"--storage.path={storage}"]
    assert run([*arguments, "--web.listen-address=0.0.0.0:0"]) == 2
    assert "--web.allow-anonymous" in capsys.readouterr().err
    assert not storage.exists()


def test_bridge_configuration_names_every_problem(tmp_path, config, capsys):
    """Each error of a bridge's file has its path in it, for the bridge alone and with the exporter."""
    bad = tmp_path / "bridge.yml"
    bad.write_text("channels: {chat: {type: slack, webhok_url: x}}\nretenton: 1d\n", encoding="utf-8")
    with_exporter = ["serve", f"--config.file={config}", f"--bridge.config.file={bad}"]
    for arguments in (["bridge", f"--config.file={bad}"], with_exporter):
        assert run([*arguments, f"--storage.path={tmp_path / 'data'}"]) == 2
        err = capsys.readouterr().err
        assert "channels.chat.webhok_url: unknown key" in err
        assert "retenton: unknown key" in err
    assert not (tmp_path / "data").exists()


def test_corrupt_store_is_refused_and_kept(config, tmp_path, capsys):
    """A store that is no store stops the start with a sentence, and is not overwritten."""
    storage = tmp_path / "data"
    storage.mkdir()
    (storage / "exporter.db").write_bytes(b"not a database" * 1000)
    arguments = ["serve", f"--config.file={config}", f"--storage.path={storage}"]
    assert run([*arguments, "--web.listen-address=127.0.0.1:0"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert (storage / "exporter.db").read_bytes() == b"not a database" * 1000


def test_taken_port_is_one_line(config, tmp_path, capsys):
    """A port that somebody else listens on is exit 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = ["serve", f"--config.file={config}", f"--storage.path={tmp_path / 'data'}"]
        assert run([*arguments, f"--web.listen-address={address}", "--log.level=error"]) == 1
        assert address in capsys.readouterr().err
        bridge = tmp_path / "bridge.yml"
        bridge.write_text("channels: {}\n", encoding="utf-8")
        storage = f"--storage.path={tmp_path / 'other'}"
        for more in (
            ["bridge", f"--config.file={bridge}"],
            ["serve", f"--config.file={config}", f"--bridge.config.file={bridge}"],
        ):
            assert run([*more, storage, f"--web.listen-address={address}", "--log.level=error"]) == 1
            assert address in capsys.readouterr().err


@pytest.fixture
def served(config, tmp_path):
    """Give (process, URL) of a server on a port of its choice, its logs in JSON."""
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "exporter", "serve", f"--config.file={config}", "--log.format=json"),
                *(
                    "--web.listen-address=127.0.0.1:0",
                    f"--storage.path={tmp_path / 'data'}",
                    "--log.level=debug",
                ),
            ],
            stderr=output,
        )
    deadline = time.monotonic() + 60
    found = None
    while not found and time.monotonic() < deadline:
        time.sleep(0.05)
        found = re.search(r'"msg":"ready","url":"(http://127.0.0.1:[1-9][0-9]*)"', log.read_text())
    assert found, log.read_text()
    yield process, found[1], log
    if process.poll() is None:
        process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_drain(served, number):
    """A request that runs when the signal comes is answered, and what it brought is stored."""
    process, url, log = served
    body = ROWS.encode()
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.putrequest("POST", "/api/v1/models/churn/batches")
    connection.putheader("Content-Type", "text/csv")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:1000])
    time.sleep(0.3)
    process.send_signal(number)
    time.sleep(0.5)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/-/healthy", timeout=5)
    connection.send(body[1000:])
    answer = connection.getresponse()
    assert answer.status == 202
    assert json.loads(answer.read())["accepted"] == 1000
    connection.close()
    assert process.wait(30) == 0
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert entries[-1]["msg"] == "stopped"
    assert any(entry["msg"] == "request" and entry.get("status") == 202 for entry in entries)


def test_push_and_baseline_commands(served, tmp_path, monkeypatch, capsys):
    """Rows, labels and baselines go to a running exporter; a rerun sends nothing twice."""
    _, url, _ = served
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    rows = tmp_path / "rows.csv"
    rows.write_text(ROWS, encoding="utf-8")
    labels = tmp_path / "labels.ndjson"
    labels.write_text('{"customer": "c1", "churned": true}\n', encoding="utf-8")
    assert run(["push", "churn", str(rows), "--url", url]) == 0
    assert "1,000 accepted" in capsys.readouterr().out
    assert run(["push", "churn", str(rows), "--url", url]) == 0
    assert "1,000 sent before" in capsys.readouterr().out
    assert run(["push", "churn", str(labels), "--labels", "--url", url]) == 0
    assert "1 matched" in capsys.readouterr().out
    assert run(["baseline", "create", "churn", str(rows), "--url", url, "--no-activate"]) == 0
    made = json.loads(capsys.readouterr().out)["id"]
    artifact = tmp_path / "baseline.bin"
    assert run(["baseline", "show", "churn", made, "-o", str(artifact), "--url", url]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 1000
    assert run(["baseline", "activate", "churn", made, "--url", url]) == 0
    assert run(["baseline", "create", "churn", "--artifact", str(artifact), "--url", url]) == 0
    capsys.readouterr()
    assert run(["baseline", "list", "churn", "--url", url]) == 0
    assert capsys.readouterr().out.count("1000 rows") == 2
    assert run(["baseline", "rollback", "churn", "--url", url]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == made
    other = next(line.split()[0] for line in _listed(url, capsys) if made not in line)
    assert run(["baseline", "diff", "churn", other, "--url", url]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["with"], found["drift"]["detected_columns"]) == (made, [])
    assert run(["baseline", "refresh", "churn", "--url", url]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == "refresh"
    assert run(["baseline", "delete", "churn", "nothing", "--url", url]) == 1
    assert run(["push", "unknown", str(rows), "--url", url]) == 1
    assert capsys.readouterr().err.count("\n") == 2


def _listed(url, capsys):
    assert run(["baseline", "list", "churn", "--url", url]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def started(tmp_path):
    """Give a function (*arguments) -> (process, URL, log) that runs a command until it is ready."""
    processes = []

    def start(*arguments):
        log = tmp_path / f"log-{len(processes)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "exporter", *arguments, "--log.format=json"),
                    *("--web.listen-address=127.0.0.1:0", f"--storage.path={tmp_path / 'data'}"),
                ],
                stderr=output,
            )
        processes.append(process)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = re.search(r'"msg":"ready","url":"(http://127.0.0.1:[1-9][0-9]*)"', log.read_text())
            if found:
                return process, found[1], log
            time.sleep(0.05)
        raise AssertionError(log.read_text())

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


@pytest.mark.parametrize("with_exporter", [False, True])
def test_bridge_reloads_on_sighup_and_drains_on_sigterm(started, config, tmp_path, with_exporter):
    """SIGHUP reads the configuration again, a wrong one is logged and counted; SIGTERM ends it with 0."""
    file = tmp_path / "bridge.yml"
    hook = {"type": "webhook", "url": "http://127.0.0.1:9/"}
    file.write_text(json.dumps({"channels": {"first": hook}}), encoding="utf-8")
    if with_exporter:
        process, url, log = started("serve", f"--config.file={config}", f"--bridge.config.file={file}")
    else:
        process, url, log = started("bridge", f"--config.file={file}")

    def page():
        return requests.get(f"{url}/metrics", timeout=5).text

    wait_for(lambda: 'ml_bridge_queue{channel="first"}' in page())
    file.write_text(json.dumps({"channels": {"first": hook, "second": hook}}), encoding="utf-8")
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: 'ml_bridge_queue{channel="second"}' in page())
    file.write_text("channels: [", encoding="utf-8")
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: "ml_bridge_config_last_reload_successful 0.0" in page())
    assert requests.get(f"{url}/-/ready", timeout=5).ok
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    messages = [json.loads(line)["msg"] for line in log.read_text().splitlines()]
    assert messages[-1] == "stopped"
    assert "bridge configuration re-read" in messages
    assert "bridge configuration not re-read; the old one stays in force" in messages
