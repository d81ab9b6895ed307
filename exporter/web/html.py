"""What our pages share: one style, allowed by its hash and nothing else, and every value escaped."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from typing import Any

from flask import Response, render_template_string

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 1.5rem 0 .25rem; }
table { border-collapse: collapse; width: 100%; margin: 1.5rem 0; }
th, td { text-align: left; padding: .5rem .75rem; vertical-align: top; overflow-wrap: break-word;
  border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
th { font-weight: 600; white-space: nowrap; }
code { font-size: .9em; }
.quiet { opacity: .7; }
.scroll { overflow-x: auto; }
"""

_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(template: str, **values: Any) -> Response:
    """The page of a template (Jinja2, in which every value is escaped); it finds our style as `style`."""
    return Response(
        render_template_string(template, style=_STYLE, **values),
        content_type="text/html; charset=utf-8",
        headers={"Content-Security-Policy": _POLICY},
    )


def moment_text(seconds: float | None, *, none: str = "none yet") -> str:
    """A time for people, in UTC; `none` where there is none."""
    if seconds is None:
        return none
    return (
        datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", " UTC")
    )
