"""The page, the OpenAPI document and the exposition's content types."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from exporter.decoding import Decoder
from exporter.web.app import create_app
from exporter.web.openapi import openapi_document
from exporter.web.operations import OPERATIONS


def test_page_lists_models_and_escapes_their_names(web):
    """Every model is on the page with its state, and a name is text, never markup."""
    page = web.ask("GET", "/").text
    assert "flight_delay" in page
    assert "other &lt;model&gt;" in page
    assert "<model>" not in page
    assert "no baseline yet" in page
    assert 'href="/metrics"' in page


def test_page_loads_nothing_and_its_style_is_the_one_allowed(web):
    """The policy allows the page's own style by its hash and nothing else."""
    answer = web.ask("GET", "/")
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<script|<link|<img|style=|https?://", answer.text)
    assert "color-scheme: light dark" in style


def test_openapi_document_is_valid(web):
    """The document is OpenAPI 3.1."""
    document = web.ask("GET", "/api/v1/openapi.json").json()
    assert document == openapi_document()
    OpenAPIV31SpecValidator(document).validate()


def test_openapi_document_has_every_route_and_no_other(web):
    """What the application routes is what the document says."""
    with Decoder() as decoder:
        app = create_app(web.service, decoder=decoder)
    routed = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD"}
    }
    documented = {
        (method.upper(), path)
        for path, operations in openapi_document()["paths"].items()
        for method in operations
    }
    assert routed == documented


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "application/openmetrics-text; version=1.0.0",
        ),
        ("text/html,*/*;q=0.8", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_metrics_come_as_asked(web, accept, kind, packed):
    """Text or OpenMetrics, gzip or not, with the right content type."""
    encoding = "gzip" if packed else "identity"
    answer = web.ask("GET", "/metrics", headers={"Accept": accept, "Accept-Encoding": encoding}, stream=True)
    body = answer.raw.read(decode_content=False)
    assert answer.headers["Content-Type"].startswith(kind)
    assert (answer.headers.get("Content-Encoding") == "gzip") is packed
    text = gzip.decompress(body) if packed else body
    assert text.startswith(b"# HELP")
    assert text.endswith(b"# EOF\n") == ("openmetrics" in kind)


def test_metrics_ignore_parameters_of_scrape_configurations(web):
    """`params` of a scrape configuration do no harm."""
    assert web.ask("GET", "/metrics?module=x").status_code == 200


def test_reference_page_lists_every_operation():
    """docs/http-api.md has each path with its method and scope, and no other."""
    text = (Path(__file__).parents[2] / "docs" / "http-api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([A-Z]+) (/[^`]*)` \| (\w+) \|", text, flags=re.MULTILINE))
    assert listed == {(o.method, o.path, o.scope.value if o.scope else "none") for o in OPERATIONS}
