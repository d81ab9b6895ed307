"""Alerting rules and what goes with them, as they are shipped, and with the addresses of one installation.

In a wheel they lie inside the package, in a checkout beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from exporter.errors import ConfigurationError

RULES = ("recording/*.yml", "alerts/*.yml")
"""What Prometheus loads."""
COMPANIONS = {
    "alertmanager": "alertmanager.yml",
    "bridge": "bridge.yml",
    "prometheus": "prometheus.yml",
    "runbooks": "runbooks/*.md",
}
"""What may be wanted besides, by the name of the part that reads it."""

_SHIPPED = _EXPORTER, _BRIDGE, _ALERTMANAGER, _PROMETHEUS, _GRAFANA = (
    "http://127.0.0.1:10090",
    "http://127.0.0.1:10093",
    "http://127.0.0.1:9093",
    "http://127.0.0.1:9090",
    "http://127.0.0.1:3000",
)
_SAFE_URL = re.compile(r"https?://[A-Za-z0-9._~:/\[\]%-]+")
_SCRAPED = re.compile(
    r"(?P<indent> +)(?P<item>- )?scheme: http\n"
    r" +static_configs: \[\{targets: \[\"(?P<address>[^\"]+)\"\]\}\]"
)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of one installation are; the defaults are those of the shipped files.

    Attributes
    ----------
    exporter, grafana, alertmanager, prometheus : str
        URLs that users open; messages link there.
    bridge : str
        URL at which Alertmanager reaches the bridge.
    exporter_scraped, bridge_scraped, alertmanager_sent : str
        URLs at which Prometheus reaches them, where these are others; empty where not.
    """

    exporter: str = _EXPORTER
    bridge: str = _BRIDGE
    alertmanager: str = _ALERTMANAGER
    prometheus: str = _PROMETHEUS
    grafana: str = _GRAFANA
    exporter_scraped: str = ""
    bridge_scraped: str = ""
    alertmanager_sent: str = ""

    @property
    def opened(self) -> dict[str, str]:
        """Shipped URL -> URL that stands in rules, links and receivers."""
        given = (self.exporter, self.bridge, self.alertmanager, self.prometheus, self.grafana)
        return dict(zip(_SHIPPED, given, strict=True))

    @property
    def reached(self) -> dict[str, str]:
        """Shipped host:port -> URL at which Prometheus reaches it."""
        given = (
            self.exporter_scraped or self.exporter,
            self.bridge_scraped or self.bridge,
            self.alertmanager_sent or self.alertmanager,
            self.prometheus,
        )
        return {url.removeprefix("http://"): to for url, to in zip(_SHIPPED, given, strict=False)}


def shipped_directory() -> Path:
    """The directory of the shipped files. Raises :class:`ConfigurationError` where there is none."""
    package = Path(__file__).parent
    for candidate in (package / "alerting_rules", package.parent / "alerting_rules"):
        if candidate.is_dir():
            return candidate
    raise ConfigurationError(
        f"expected the directory alerting_rules in {package} or beside it; install again"
    )


def shipped_files(*patterns: str) -> dict[str, Path]:
    """Shipped files by their path below the directory, in its order; `patterns` as of :meth:`Path.glob`."""
    root = shipped_directory()
    found = {path for pattern in patterns for path in root.glob(pattern)}
    return {path.relative_to(root).as_posix(): path for path in sorted(found)}


def with_addresses(text: str, addresses: Addresses) -> str:
    """The text of a shipped file with the addresses of an installation in place of the shipped ones."""
    text = _SCRAPED.sub(lambda match: _scraped(match, text, addresses), text)
    places = re.compile("|".join(re.escape(url) + r"(?![0-9])" for url in _SHIPPED))
    return places.sub(lambda match: addresses.opened[match[0]], text)


def _scraped(match: re.Match[str], text: str, addresses: Addresses) -> str:
    url = urlsplit(addresses.reached.get(match["address"], f"http://{match['address']}"))
    indent = match["indent"] + ("  " if match["item"] else "")
    lines = [f"{match['indent']}{match['item'] or ''}scheme: {url.scheme}"]
    if url.path and text[: match.start()].endswith("alertmanagers:\n"):
        lines.append(f"{indent}path_prefix: {url.path}")
    elif url.path:
        lines.append(f"{indent}metrics_path: {url.path}/metrics")
    lines.append(f'{indent}static_configs: [{{targets: ["{url.netloc}"]}}]')
    return "\n".join(lines)


def checked_url(text: str) -> str:
    """`text` without a slash at its end. Raises :class:`ValueError` for what cannot stand in a rule."""
    url = text.rstrip("/")
    if not _SAFE_URL.fullmatch(url) or not urlsplit(url).hostname:
        message = f"expected a URL such as http://host:port or https://host/path, got {text[:200]!r}"
        raise ValueError(message)
    return url
