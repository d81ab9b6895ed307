"""Which of the ready expositions a scraper asked for."""

from __future__ import annotations

from exporter.web.protocol import SnapshotProtocol

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def negotiate(
    snapshot: SnapshotProtocol, accept: str | None, accept_encoding: str | None
) -> tuple[bytes, dict[str, str]]:
    """The bytes and their headers."""
    openmetrics = (
        _quality(accept, "application/openmetrics-text") > _quality(accept, "text/plain", wild=True) - 1e-9
    )
    openmetrics = openmetrics and _quality(accept, "application/openmetrics-text") > 0
    gzip = _quality(accept_encoding, "gzip") > 0
    headers = {
        "Content-Type": OPENMETRICS_TYPE if openmetrics else TEXT_TYPE,
        "Vary": "Accept, Accept-Encoding",
    }
    if gzip:
        headers["Content-Encoding"] = "gzip"
        return (snapshot.openmetrics_gzip if openmetrics else snapshot.text_gzip), headers
    return (snapshot.openmetrics if openmetrics else snapshot.text), headers


def _quality(header: str | None, name: str, *, wild: bool = False) -> float:
    best = 0.0
    for item in (header or "").split(","):
        token, *parameters = (part.strip().lower() for part in item.split(";"))
        if token != name and not (wild and token in ("*/*", "*")):
            continue
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        best = max(best, quality)
    return best
