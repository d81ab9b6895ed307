"""``ml-exporter backfill``: the history of a model for Prometheus."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
from rich.console import Console
from rich.progress import DownloadColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from exporter.catalog import FAMILIES
from exporter.client import ServerFailureError
from exporter.commands.options import client_options, open_client
from exporter.exposition import END_OF_OPENMETRICS, escape

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_RETRIES = 4


@click.command()
@click.argument("model")
@click.option("--from", "start", metavar="TIME", help="First end of windows; RFC 3339 or Unix seconds.")
@click.option("--to", "end", metavar="TIME", help="Last end of windows.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="File to write; `-` is standard output.",
)
@click.option("--version", help="Version of the model; all versions when left out.")
@click.option("--window", help="Window as configured; all windows when left out.")
@click.option(
    "--segment", help="Segment as column=value; the whole model and all its segments when left out."
)
@click.option(
    "--step",
    metavar="DURATION",
    help="Repeat each value so often until the next one, for example 4m: Prometheus draws a line through "
    "samples that are at most 5 minutes apart.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=VALUE",
    help="Add a label to every series, as a scrape adds job and instance; may be given several times.",
)
@client_options
def backfill(
    *,
    model: str,
    start: str | None,
    end: str | None,
    output: Path,
    version: str | None,
    window: str | None,
    segment: str | None,
    step: str | None,
    labels: tuple[str, ...],
    url: str,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Write the history of a MODEL as OpenMetrics with timestamps.

    `promtool tsdb create-blocks-from openmetrics FILE DIRECTORY` makes blocks of it that Prometheus serves.
    """
    added = label_prefix(labels)
    given = {"version": version, "window": window, "segment": segment, "step": step}
    filters = {name: value for name, value in given.items() if value is not None}
    samples = 0
    bar = ProgressBar(
        SpinnerColumn(),
        TextColumn(model),
        DownloadColumn(),
        TextColumn("{task.fields[samples]:,} samples"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    with open_client(url, token_file, ca_file, retries=_RETRIES) as client, bar, _opened(output) as file:
        task = bar.add_task(model, total=None, samples=0)
        pieces = client.history_openmetrics(model, start=start, end=end, **filters)
        for piece, count in labelled(pieces, added):
            file.write(piece)
            samples += count
            bar.update(task, advance=len(piece), samples=samples)
    click.echo(f"{samples:,} samples", err=True)


def label_prefix(labels: Iterable[str]) -> bytes:
    """The text of labels, to be put before a series' own. Raises :class:`click.UsageError`."""
    given: dict[str, str] = {}
    for label in labels:
        name, equals, value = label.partition("=")
        if not equals or not _LABEL.fullmatch(name) or name.startswith("__"):
            raise click.UsageError(f"expected --label NAME=VALUE with a label's name, got {label!r}")
        if name in given or any(name in family.labels for family in FAMILIES.values()):
            raise click.UsageError(f"the label {name} is there already")
        given[name] = value
    return "".join(f'{name}="{escape(value)}",' for name, value in given.items()).encode()


def labelled(pieces: Iterable[bytes], added: bytes) -> Iterator[tuple[bytes, int]]:
    """Whole lines with the added labels, and how many samples they are.

    Raises :class:`ServerFailureError` when the text does not end as OpenMetrics does.
    """
    rest = b""
    for piece in pieces:
        text, newline, rest = (rest + piece).rpartition(b"\n")
        if not newline:
            continue
        lines = text.split(b"\n")
        done = lines[-1] + b"\n" == END_OF_OPENMETRICS
        samples = [number for number, line in enumerate(lines) if not line.startswith(b"#")]
        for number in samples if added else ():
            lines[number] = lines[number].replace(b"{", b"{" + added, 1)
        yield b"\n".join(lines) + b"\n", len(samples)
        if done and not rest:
            return
    raise ServerFailureError("the history broke off before its end; try again")


@contextmanager
def _opened(output: Path) -> Iterator[BinaryIO]:
    """The file, which is there only when all of it is."""
    if str(output) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    draft = output.with_name(f".{output.name}.part")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)
