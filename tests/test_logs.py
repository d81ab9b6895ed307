"""Structured log lines in both formats."""

from __future__ import annotations

import io
import json
import logging

import pytest

from exporter.logs import configure_logging


@pytest.fixture
def restored():
    """Put the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    root.setLevel(level)


def lines(log_format, level="info"):
    stream = io.StringIO()
    configure_logging(level, log_format, stream)
    logger = logging.getLogger("exporter.test")
    logger.debug("not shown")
    logger.info(
        "batch stored", extra={"model": 'a "b"\n=c', "rows": 3, "empty": "", "none": None, "yes": True}
    )
    try:
        int("boom")
    except ValueError:
        logger.exception("failed: %s", "x")
    return stream.getvalue().splitlines()


@pytest.mark.usefixtures("restored")
def test_logfmt_lines_are_one_line_each_and_quote_what_needs_it():
    """Spaces, quotes, equal signs and line ends are escaped; a traceback stays on its line."""
    first, second = lines("logfmt")
    assert first.startswith("time=20")
    assert 'level=info source=exporter.test msg="batch stored"' in first
    assert r'model="a \"b\"\n=c" rows=3 empty="" none=null yes=true' in first
    assert 'msg="failed: x"' in second
    assert "ValueError: invalid literal" in second


@pytest.mark.usefixtures("restored")
def test_json_lines_are_objects():
    """Each line is one JSON object with the same fields."""
    first, second = map(json.loads, lines("json"))
    assert first["level"] == "info"
    assert first["model"] == 'a "b"\n=c'
    assert first["rows"] == 3
    assert "ValueError: invalid literal" in second["traceback"]


@pytest.mark.usefixtures("restored")
def test_level_leaves_out_what_is_below_it():
    """At error only errors are written."""
    assert len(lines("logfmt", "error")) == 1
    assert len(lines("logfmt", "debug")) == 3
