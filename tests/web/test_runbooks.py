"""Runbooks as pages: found by the alert's name, without a token, with nothing in them that acts."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from exporter.alertingrules import shipped_files
from exporter.web.auth import Authenticator, Credentials

NAMES = [path.stem for path in shipped_files("runbooks/*.md").values()]


def test_each_alert_has_a_page(web):
    """The address that alerts carry leads to the page of that alert."""
    for name in NAMES:
        answer = web.ask("GET", f"/runbooks/{name}")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert f"<h1>{name}</h1>" in answer.text
        assert "<h2>How to quiet it rightly</h2>" in answer.text


def test_list_leads_to_every_page(web):
    """The list has each runbook with its first sentence, and its links lead there."""
    page = web.ask("GET", "/runbooks/").text
    targets = re.findall(r'<li><a href="([^"]+)">', page)
    assert sorted(targets) == sorted(NAMES)
    assert "`" not in page
    for target in targets[:3]:
        assert web.ask("GET", f"/runbooks/{target}").status_code == 200


def test_links_between_pages_lead_somewhere(web):
    """A link to another runbook names its page, not the file that it was written in."""
    for name in NAMES:
        page = web.ask("GET", f"/runbooks/{name}").text
        targets = re.findall(r'href="([^"]+)"', page)
        assert set(targets) <= {"./", *NAMES}
    assert web.ask("GET", "/runbooks").url.endswith("/runbooks/")


@pytest.mark.parametrize(
    "name",
    [
        "MLUnknown",
        "mlheartbeat",
        "MLHeartbeat.md",
        "..%2Falertmanager.yml",
        "..%2F..%2FREADME",
        "%00",
        "x" * 5000,
    ],
)
def test_other_names_are_not_found(web, name):
    """Only names of alerts are pages; nothing else of the machine can be read."""
    answer = web.ask("GET", f"/runbooks/{name}")
    assert answer.status_code in {404, 414}
    assert set(answer.json()) == {"error"}
    assert len(answer.text) < 1000


def test_pages_load_nothing_and_their_style_is_the_one_allowed(web):
    """The policy allows the page's own style by its hash and nothing else; raw HTML stays text."""
    for path in ("/runbooks/", *(f"/runbooks/{name}" for name in NAMES)):
        answer = web.ask("GET", path)
        style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert not re.search(r"<script|<link|<img|style=", answer.text)


def test_no_token_is_needed(serve):
    """Whoever is paged at night can read the page; it holds nothing that is secret."""
    locked = Authenticator(lambda: Credentials({"alice": "$2y$04$" + "x" * 53}))
    web = serve(auth=locked)
    assert web.ask("GET", "/api/v1/models").status_code == 401
    assert web.ask("GET", "/runbooks/").status_code == 200
    assert web.ask("GET", "/runbooks/MLExporterDown").status_code == 200


def test_parameters_do_no_harm(web):
    """Links in messages may carry parameters that mail programs add."""
    assert web.ask("GET", "/runbooks/MLHeartbeat?utm_source=mail").status_code == 200
