"""``ml-exporter rules``: the alerting rules, with your addresses in them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import click

from exporter.alertingrules import (
    COMPANIONS,
    RULES,
    Addresses,
    checked_url,
    shipped_files,
    with_addresses,
)

_DEFAULTS = Addresses()
_HEADER = re.compile(r"(?:# |<!-- )Written by ml-exporter \S+; sha256 of the rest: ([0-9a-f]{64})(?: -->)?\n")


class _Url(click.ParamType[str]):
    name = "URL"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return checked_url(value) if value else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


_URL = _Url()


@click.command("rules")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory to write to; it is made where it does not exist.",
)
@click.option(
    "--with",
    "companions",
    multiple=True,
    type=click.Choice([*COMPANIONS, "all"]),
    help="Also write an example of that part's configuration, or the runbooks; may be given several times.",
)
@click.option(
    "--exporter.url",
    "exporter",
    type=_URL,
    default=_DEFAULTS.exporter,
    show_default=True,
    help="Where users reach the exporter: runbooks are there.",
)
@click.option(
    "--grafana.url",
    "grafana",
    type=_URL,
    default=_DEFAULTS.grafana,
    show_default=True,
    help="Where users reach Grafana: dashboards are there.",
)
@click.option(
    "--alertmanager.url",
    "alertmanager",
    type=_URL,
    default=_DEFAULTS.alertmanager,
    show_default=True,
    help="Where users, the bridge and Prometheus reach Alertmanager.",
)
@click.option(
    "--prometheus.url",
    "prometheus",
    type=_URL,
    default=_DEFAULTS.prometheus,
    show_default=True,
    help="Where users reach Prometheus.",
)
@click.option(
    "--bridge.url",
    "bridge",
    type=_URL,
    default=_DEFAULTS.bridge,
    show_default=True,
    help="Where Alertmanager and Prometheus reach the bridge.",
)
@click.option(
    "--exporter.scrape-url",
    "exporter_scraped",
    type=_URL,
    default="",
    help="Where Prometheus scrapes the exporter, when it is not where users reach it.",
)
@click.option(
    "--bridge.scrape-url",
    "bridge_scraped",
    type=_URL,
    default="",
    help="Where Prometheus scrapes the bridge, when it is not where Alertmanager reaches it.",
)
@click.option(
    "--alertmanager.send-url",
    "alertmanager_sent",
    type=_URL,
    default="",
    help="Where Prometheus sends alerts, when it is not where users reach Alertmanager.",
)
@click.option("--force", is_flag=True, help="Overwrite files of the same names that were changed by hand.")
def rules(*, output: Path, companions: tuple[str, ...], force: bool, **addresses: str) -> None:
    """Write the alerting rules, with your addresses in them.

    Recording and alerting rules for Prometheus go to recording/ and alerts/ of the directory. Run it again
    after an upgrade: files that it wrote are replaced, others only with --force.
    """
    wanted = COMPANIONS if "all" in companions else {name: COMPANIONS[name] for name in companions}
    files = {
        name: _signed(name, with_addresses(path.read_text(encoding="utf-8"), Addresses(**addresses)))
        for name, path in shipped_files(*RULES, *wanted.values()).items()
    }
    foreign = [name for name in files if (output / name).exists() and not _is_ours(output / name)]
    if foreign and not force:
        raise click.UsageError(
            f"{', '.join(foreign)} in {output}: changed by hand, or not written by this command; "
            "move them away, or give --force"
        )
    for name, text in files.items():
        _write(output / name, text)
    click.echo(f"{output}: wrote {len(files)} files")
    for name in _left_over(output, files):
        click.echo(f"{output / name}: no longer shipped; delete it", err=True)


def _signed(name: str, text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    line = f"Written by ml-exporter {version('ml-exporter')}; sha256 of the rest: {digest}"
    return f"<!-- {line} -->\n{text}" if name.endswith(".md") else f"# {line}\n{text}"


def _is_ours(path: Path) -> bool:
    """Whether this command wrote the file and nobody changed it since."""
    if not path.is_file():
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    header = _HEADER.match(text)
    return header is not None and hashlib.sha256(text[header.end() :].encode()).hexdigest() == header[1]


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole: Prometheus may read it at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _left_over(output: Path, written: Mapping[str, str]) -> list[str]:
    present = {
        path.relative_to(output).as_posix(): path for pattern in RULES for path in output.glob(pattern)
    }
    return [name for name, path in sorted(present.items()) if name not in written and _is_ours(path)]
