"""The README's five-minute path, run as it is printed."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
import requests

from exporter.cli import command

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
ADDRESS = "127.0.0.1:10090"


def example(name: str) -> str:
    """Return the code block that follows the comment `<!-- example: name -->`."""
    found = re.search(rf"<!-- example: {re.escape(name)} -->\n```\w+\n(.*?)```", README, flags=re.DOTALL)
    assert found, f"README.md has no example {name}"
    return found[1]


def commands() -> list[list[str]]:
    """Return every `ml-exporter` command that the README names, as words."""
    inline = re.findall(r"`(ml-exporter [^`]+)`", README)
    blocks = re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("ml-exporter ")]
    return [line.split() for line in [*inline, *lines]]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_commands_exist_with_their_flags(words):
    """Each command of the README exists and takes the flags that are shown."""
    found = command.commands.get(words[1])
    assert found is not None
    flags = {option for parameter in found.params for option in parameter.opts}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= flags


@pytest.mark.slow
def test_five_minute_path_ends_in_metrics(running_exporter, requires_program):
    """The configuration, the pushes and the scrape of the README work together as printed."""
    bash, _ = requires_program("bash"), requires_program("curl")
    exporter = running_exporter(example("models.yml"))
    script = example("push").replace(f"http://{ADDRESS}", exporter.url)
    pushed = subprocess.run([bash, "-euc", script], capture_output=True, text=True, check=True)
    assert '"accepted":3' in pushed.stdout.replace(" ", "")
    assert '"matched":2' in pushed.stdout.replace(" ", "")

    deadline = time.monotonic() + 30
    wanted = 'ml_rows_total{model="churn",version="default"} 3'
    while time.monotonic() < deadline:
        text = requests.get(f"{exporter.url}/metrics", timeout=5).text
        if wanted in text.replace(".0\n", "\n"):
            break
        time.sleep(0.2)
    assert wanted in text.replace(".0\n", "\n")
    assert 'ml_undefined{model="churn"' in text


@pytest.mark.prometheus
def test_scrape_configuration_is_one_that_prometheus_takes(requires_program, tmp_path):
    """Prometheus finds no fault with the README's scrape configuration."""
    promtool = requires_program("promtool")
    file = tmp_path / "prometheus.yml"
    file.write_text(example("prometheus.yml"), encoding="utf-8")
    assert ADDRESS in file.read_text(encoding="utf-8")
    subprocess.run([promtool, "check", "config", file], check=True, capture_output=True)


def test_queries_name_families_of_the_catalogue():
    """Each metric that the README names exists."""
    from exporter.catalog import FAMILIES

    named = set(re.findall(r"`(ml_[a-z_]+)", README))
    assert named
    assert named <= set(FAMILIES)
