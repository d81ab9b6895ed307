"""Links of messages: to dashboard, runbook, the rule's query, and a silence that is filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from exporter.alerts.config import LinkSettings
from exporter.alerts.records import Alert

GRAFANA: Final = "http://127.0.0.1:3000"
EXPORTER: Final = "http://127.0.0.1:10090"
PROMETHEUS: Final = "http://127.0.0.1:9090"
"""The bases that our rules are written with."""
MOST_CHARACTERS: Final = 2000

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_DASHBOARDS = ("dashboard_url", "dashboard", "dashboardURL", "grafana_url")
_RUNBOOKS = ("runbook_url", "runbook", "runbookURL")
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f<>\"`\\^{|}\u200b-\u206f\ufeff\ud800-\udfff]")


def links_of(alert: Alert, settings: LinkSettings) -> dict[str, str]:
    """The links of one alert; those that are not known, or not http(s), are left out."""
    annotations = alert.annotations
    links = {
        "dashboard": _rebased(_annotated(annotations, _DASHBOARDS), GRAFANA, settings.grafana),
        "runbook": _rebased(_annotated(annotations, _RUNBOOKS), EXPORTER, settings.exporter),
        "silence": silence_link(alert.labels, settings),
        "query": _query(alert.generator_url, settings),
    }
    return {name: url for name, url in links.items() if url}


def common_links(
    links: list[Mapping[str, str]], labels: list[Mapping[str, str]], settings: LinkSettings
) -> dict[str, str]:
    """The links of a group: what all alerts share, a silence of their common labels, Alertmanager."""
    made: dict[str, str] = {}
    for name in ("dashboard", "runbook", "query"):
        urls = {one.get(name, "") for one in links}
        if len(urls) == 1 and (url := urls.pop()):
            made[name] = url
    if labels:
        shared = {
            name: value for name, value in labels[0].items() if all(one.get(name) == value for one in labels)
        }
        if "alertname" in shared or "model" in shared:  # fewer would silence too much
            made["silence"] = silence_link(shared, settings)
    made["alertmanager"] = safe_url(settings.alertmanager or "")
    return {name: url for name, url in made.items() if url}


def silence_link(labels: Mapping[str, str], settings: LinkSettings) -> str:
    """Alertmanager's form for a new silence with matchers for these labels; empty where there is none.

    The web page of Alertmanager reads `{name="value", ...}` with values as JSON texts.
    """
    if settings.alertmanager is None or sum(map(len, labels.values())) > MOST_CHARACTERS:
        return ""
    matchers = [
        f"{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in sorted(labels.items(), key=lambda item: (item[0] != "alertname", item[0]))
        if _LABEL.fullmatch(name) and name != "severity"
    ]
    if not matchers:
        return ""
    wanted = quote("{" + ", ".join(matchers) + "}", safe="", errors="replace")
    return _bounded(f"{settings.alertmanager}/#/silences/new?filter={wanted}")


def safe_url(text: str) -> str:
    """An http(s) URL with a host and without login, or nothing.

    Examples
    --------
    >>> safe_url("javascript:alert(1)"), safe_url(" https://example.org/a ")
    ('', 'https://example.org/a')
    """
    url = text[: 2 * MOST_CHARACTERS].strip()
    if not url or len(url) > MOST_CHARACTERS:
        return ""
    try:
        parts = urlsplit(url)
        hosted = bool(parts.hostname) and "@" not in parts.netloc
        _ = parts.port
    except ValueError:
        return ""
    if parts.scheme.lower() not in ("http", "https") or not hosted or _UNSAFE.search(parts.netloc):
        return ""
    escaped = _UNSAFE.sub(lambda found: quote(found.group(), safe="", errors="replace"), url)
    return _bounded(escaped)


def _annotated(annotations: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((url for name in names if (url := safe_url(annotations.get(name, "")))), "")


def _rebased(url: str, usual: str, base: str | None) -> str:
    """The URL below `base` where it is below the base that our rules are written with."""
    if not url or not (url == usual or url.startswith((usual + "/", usual + "?"))):
        return url
    return url if base is None else _bounded(base + url.removeprefix(usual))


def _query(url: str, settings: LinkSettings) -> str:
    """Prometheus may name itself by a host that readers do not reach: `links.prometheus` comes first."""
    safe = safe_url(url)
    if not safe or settings.prometheus is None:
        return safe
    parts = urlsplit(safe)
    rest = parts.path[parts.path.rfind("/graph") :] if "/graph" in parts.path else parts.path
    return _bounded(f"{settings.prometheus}{rest}{'?' + parts.query if parts.query else ''}")


def _bounded(url: str) -> str:
    return url if len(url) <= MOST_CHARACTERS else ""
