"""Runbooks as pages: alerts link to them, and whoever is paged can read them without a token."""

from __future__ import annotations

from pathlib import Path

from flask import Response
from markdown_it import MarkdownIt

from exporter.alertingrules import shipped_files
from exporter.errors import ConfigurationError, NotFoundError
from exporter.web.html import page
from exporter.web.operation import Operation

RUNBOOK_OPERATIONS: tuple[Operation, ...] = (
    Operation("runbooks", "GET", "/runbooks/", None, "All runbooks.", None, produces=("text/html",)),
    Operation(
        "runbook",
        "GET",
        "/runbooks/{runbook}",
        None,
        "What an alert means, what to look at, how to quiet it rightly.",
        None,
        answers={200: "The page.", 404: "No alert of ours has this name."},
        produces=("text/html",),
    ),
)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style|safe }}</style>
</head>
<body>
<main>
{% if text %}
<p><a href="./">All runbooks</a></p>
{{ text|safe }}
{% else %}
<h1>{{ title }}</h1>
<ul>
{% for name, sentence in entries %}
<li><a href="{{ name }}">{{ name }}</a> <span class="quiet">{{ sentence|safe }}</span></li>
{% endfor %}
</ul>
{% endif %}
</main>
</body>
</html>
"""


class Runbooks:
    """Handlers of the runbooks; they hold nothing secret and need no scope."""

    def runbooks(self) -> Response:
        entries = [(name, _first_sentence(path)) for name, path in _found().items()]
        return page(_PAGE, title="Runbooks", entries=entries)

    def runbook(self, runbook: str) -> Response:
        path = _found().get(runbook)
        if path is None:
            raise NotFoundError(
                f"there is no runbook {runbook[:100]!r}; /runbooks/ lists all", code="unknown_runbook"
            )
        return page(_PAGE, title=runbook, text=_rendered(path))


def _found() -> dict[str, Path]:
    """Runbooks by the name of their alert; none where they were not installed."""
    try:
        return {path.stem: path for path in shipped_files("runbooks/*.md").values()}
    except ConfigurationError:
        return {}


def _rendered(path: Path) -> str:
    """A runbook as HTML; links to its neighbours lead to their pages."""
    markdown = _markdown()
    tokens = markdown.parse(path.read_text(encoding="utf-8"))
    for token in (child for block in tokens for child in block.children or ()):
        target = str(token.attrGet("href") or "")
        if "/" not in target and target.endswith(".md"):
            token.attrSet("href", target.removesuffix(".md"))
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def _first_sentence(path: Path) -> str:
    """What stands below the title, as HTML."""
    paragraphs = path.read_text(encoding="utf-8").split("\n\n")
    return str(_markdown().renderInline(paragraphs[1])) if len(paragraphs) > 1 else ""


def _markdown() -> MarkdownIt:
    """Markdown in which raw HTML stays text."""
    return MarkdownIt("commonmark", {"html": False}).enable("table")
