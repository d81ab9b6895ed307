"""Runbooks: one for each alert, and what they tell people to type is right."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import requests
import yaml
from markdown_it import MarkdownIt

from exporter.alertingrules import shipped_files
from exporter.catalog import FAMILIES
from exporter.cli import command
from exporter.config import parse_config
from exporter.web.bridge_operations import BRIDGE_OPERATIONS
from exporter.web.operations import OPERATIONS
from exporter.yamlfile import read_mapping
from tests.alertmanager import running_alertmanager

ROOT = Path(__file__).parent.parent
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in shipped_files("runbooks/*.md").values()}
SECTIONS = ["Meaning", "Impact", "What to look at", "How to quiet it rightly"]
MODEL = {
    "task": "binary",
    "columns": {"id": "i", "timestamp": "t", "prediction": "p", "score": "s", "label": "y"},
    "features": {
        "C": "numeric",
        "D": "numeric",
        "arrived": "datetime",
        "departed": "datetime",
        "cancelled": "boolean",
    },
    "windows": ["6h", "1d", "7d"],
    "champion": "v1",
}
QUERY = re.compile(
    r"^(ml_|column:|metric:|alertmanager_|prometheus_|process_|ALERTS|up\b|sum |(topk|rate|increase|time)\()"
)


def rules():
    return [
        rule
        for path in shipped_files("alerts/*.yml", "recording/*.yml").values()
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


def code(text):
    """Return the inline code of a page, on one line each."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    return [" ".join(child.content.split()) for child in inline if child.type == "code_inline"]


@pytest.fixture(params=sorted(PAGES))
def page(request):
    return PAGES[request.param]


def test_each_alert_has_a_runbook_and_no_other_thing():
    """Whoever is paged finds a page, and no page speaks of an alert that is gone."""
    assert {rule["alert"] for rule in rules() if "alert" in rule} == set(PAGES)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_runbook_answers_the_four_questions(name):
    """A page begins with one sentence, then has its four sections, and is short."""
    text = PAGES[name]
    title, sentence, *_ = text.split("\n\n")
    assert title == f"# {name}"
    assert sentence.endswith((".", "mistake."))
    assert "\n" not in sentence
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == SECTIONS
    assert len(text) < 5000


def test_links_lead_to_other_runbooks(page):
    """Links between runbooks are those of files that exist."""
    for target in re.findall(r"\]\(([^)]*)\)", page):
        assert target.removesuffix(".md") in PAGES


@pytest.mark.prometheus
def test_queries_are_promql(requires_program, tmp_path):
    """Prometheus can read every query that a page gives."""
    found = [(name, text) for name in PAGES for text in code(PAGES[name]) if QUERY.match(text)]
    assert len(found) > 100
    file = tmp_path / "queries.yml"
    recorded = [{"record": f"runbook:query:{i}", "expr": text} for i, (_, text) in enumerate(found)]
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}), encoding="utf-8")
    done = subprocess.run(
        [requires_program("promtool"), "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_metrics_exist(page):
    """Every family that a page names is in the catalogue, with the labels that it is asked by."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for text in code(page):
        for name, matchers in re.findall(r"(?<![\w:])(ml_\w+)(?:\{([^}]*)\})?", text):
            family = FAMILIES.get(re.sub(r"_(sum|count|bucket)$", "", name)) or FAMILIES.get(name)
            assert family, f"{name} in {text}"
            labels = {
                label for label in re.findall(r"(\w+)\s*[=!]", matchers) if label not in ("__name__", "job")
            }
            assert labels <= set(family.labels), text
        for name in re.findall(r"\b(?:model|column|metric):ml_\w+:\w+", text):
            assert name in recorded


def test_paths_of_the_api_exist(page):
    """Every request that a page gives is an operation, with parameters that it knows."""
    operations = {(each.method, each.path): each for each in (*OPERATIONS, *BRIDGE_OPERATIONS)}
    for text in code(page):
        for method, path, query in re.findall(
            r"(?:^|-X )(GET|POST|DELETE) (?:http://\w+:\d+)?(/[\w/.-]+|\.\.\./[\w/]+)(?:\?(\S+))?", text
        ):
            known = [
                each for each in operations.values() if each.method == method and matches(each.path, path)
            ]
            assert known, text
            for name in re.findall(r"(?:^|&)(\w+)=", query):
                assert any(name in (each.query or {}) for each in known), text


def matches(template, path):
    pattern = re.sub(r"\{\w+\}", "[^/]+", template)
    if path.startswith("..."):
        return re.fullmatch(f".*{re.escape(path.removeprefix('...'))}", template) is not None
    return re.fullmatch(pattern, path) is not None


def test_settings_exist(page):
    """Every setting that a page gives is one that the configuration takes."""
    for text in code(page):
        if not re.match(r"[a-z_]+: [\[{\w]", text):
            continue
        given = read_mapping(re.sub(r"<[^>]*>", "2026-01-01", text))
        if given.keys() <= {"continue", "for"}:
            continue
        model = {**MODEL, **given}
        parse_config({"models": {"M": model}})


def test_settings_named_by_a_path_exist(page):
    """Dotted names are settings of a model, or of the bridge's configuration."""
    reference = "".join(
        (ROOT / "docs" / name).read_text(encoding="utf-8")
        for name in ("configuration.md", "configuration-bridge.md")
        if (ROOT / "docs" / name).exists()
    )
    for text in code(page):
        named = re.fullmatch(r"(alerts|quality|drift|baseline|comparison|history|columns)\.([a-z_.]+)", text)
        if named and not named[2].startswith(("md", "yml")):
            for part in named[2].split(".")[:1]:
                assert f"| `{part}` |" in reference, text


@pytest.mark.prometheus
def test_silences_can_be_typed_as_they_are(requires_program, tmp_path, free_port):
    """Alertmanager takes each silence that a page gives, for the alert of that page, by labels that exist."""
    known = {"alertname", "instance", *(label for family in FAMILIES.values() for label in family.labels)}
    silences = {(n, text) for n in PAGES for text in code(PAGES[n]) if text.startswith("amtool silence add")}
    assert len(silences) > 30
    configuration = "{route: {receiver: nobody}, receivers: [{name: nobody}]}"
    amtool, port = requires_program("amtool"), free_port()
    with running_alertmanager(requires_program("alertmanager"), tmp_path, configuration, port) as server:
        for _, text in sorted(silences):
            command = [amtool, *shlex.split(text)[1:], f"--alertmanager.url={server.url}", "--author=test"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{text}: {done.stderr}"
        made = requests.get(f"{server.url}/api/v2/silences", timeout=10).json()
    assert len(made) == len({text for _, text in silences})
    for silence in made:
        matchers = {matcher["name"]: matcher["value"] for matcher in silence["matchers"]}
        assert set(matchers) <= known
        assert "model" in matchers or matchers["alertname"].startswith(("MLBridge", "MLExporter"))
    for name, text in silences:
        alertname = re.search(r'alertname=~?"?([^" ]+)', text)[1]
        assert re.fullmatch(alertname, name), f"{name}: {text}"


def test_commands_exist(page):
    """Commands of ours that a page gives have the subcommands and flags that they name."""
    for text in code(page):
        if not text.startswith("ml-exporter "):
            continue
        found, words = command, text.split()[1:]
        while words and hasattr(found, "commands"):
            found = found.commands[words.pop(0)]
        flags = {flag for parameter in found.params for flag in parameter.opts}
        for flag in (word for word in words if word.startswith("--")):
            assert flag in flags, text
