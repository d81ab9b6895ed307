"""Which of the ready forms a scraper asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_OPENMETRICS_VERSIONS = frozenset({None, "0.0.1", "1.0.0"})
_TEXT_VERSIONS = frozenset({None, "0.0.4"})


@dataclass(frozen=True, slots=True)
class Form:
    """The form of an answer: `openmetrics` or text, `gzip` or as it is."""

    openmetrics: bool
    gzip: bool

    @property
    def attribute(self) -> str:
        """The attribute of :class:`exporter.exposition.Snapshot` that holds the bytes."""
        return ("openmetrics" if self.openmetrics else "text") + ("_gzip" if self.gzip else "")

    @property
    def headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": OPENMETRICS_TYPE if self.openmetrics else TEXT_TYPE,
            "Vary": "Accept, Accept-Encoding",
        }
        return {**headers, "Content-Encoding": "gzip"} if self.gzip else headers


def negotiate(accept: str | None, accept_encoding: str | None) -> Form:
    """The form that RFC 9110 gives for these headers.

    OpenMetrics is given only when it is named, in a version that is known, with a quality above 0 and not
    below text's; everything else gets text, also what accepts neither (a scraper that cannot read text
    does not exist, and a person with a browser should see something).

    Examples
    --------
    >>> negotiate("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "gzip").attribute
    'openmetrics_gzip'
    >>> negotiate("*/*", None).attribute
    'text'
    """
    openmetrics = text = 0.0
    exact = -1
    for name, parameters, quality in _items(accept):
        version = parameters.get("version")
        if name == "application/openmetrics-text" and version in _OPENMETRICS_VERSIONS:
            openmetrics = max(openmetrics, quality)
        precision = {"text/plain": 2, "text/*": 1, "*/*": 0}.get(name, -1)
        if precision < 0 or (precision == 2 and version not in _TEXT_VERSIONS):
            continue
        if precision > exact:
            exact, text = precision, quality
        elif precision == exact:
            text = max(text, quality)
    encodings = {name: quality for name, _, quality in _items(accept_encoding)}
    gzip = encodings.get("gzip", encodings.get("x-gzip", encodings.get("*", 0.0)))
    identity = encodings.get("identity", encodings.get("*", 1e-9))
    return Form(openmetrics > 0 and openmetrics >= text, gzip > 0 and gzip >= identity)


def _items(header: str | None) -> list[tuple[str, dict[str, str], float]]:
    """(name, parameters, quality) of each element; an unreadable quality is 0."""
    items = []
    for element in (header or "").split(","):
        name, *rest = (part.strip() for part in element.lower().split(";"))
        if not name:
            continue
        pairs = (part.partition("=") for part in rest)
        parameters = {key.strip(): value.strip().strip('"') for key, _, value in pairs}
        items.append((name, parameters, _quality(parameters.get("q", "1"))))
    return items


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return min(max(quality, 0.0), 1.0) if math.isfinite(quality) else 0.0
