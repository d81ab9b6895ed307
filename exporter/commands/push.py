"""``ml-exporter push``: files to a running exporter."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from exporter.client import PushReport
from exporter.commands.options import client_options, open_client
from exporter.push import Progress, push_files

_RETRIES = 8
"""Of each request: a long push should outlive a restart of the exporter."""


@click.command()
@click.argument("model")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--labels", is_flag=True, help="The files hold ids and labels.")
@click.option("--baseline", is_flag=True, help="The rows of the files become the model's baseline.")
@click.option("--version", default="default", show_default=True, help="Version of the model.")
@click.option(
    "--backfill",
    is_flag=True,
    help="Past rows: they never move the windows, and are for the history only when older than `lateness`.",
)
@click.option(
    "--chunk-rows", type=click.IntRange(1), default=10_000, show_default=True, help="Rows in one request."
)
@click.option(
    "--no-resume", is_flag=True, help="Send everything again; what the exporter has taken it counts once."
)
@client_options
def push(
    *,
    model: str,
    files: tuple[Path, ...],
    labels: bool,
    baseline: bool,
    version: str,
    backfill: bool,
    chunk_rows: int,
    no_resume: bool,
    url: str,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Send CSV, NDJSON, Arrow, Parquet or profile FILES of a MODEL.

    A rerun after an interruption goes on where it stopped, and sends nothing twice.
    """
    if labels and baseline:
        raise click.UsageError("--labels and --baseline exclude each other")
    console = Console(stderr=True)
    bar = ProgressBar(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
        console=console,
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    with open_client(url, token_file, ca_file, retries=_RETRIES) as client, bar:
        task = bar.add_task(files[0].name, total=None, rows=0)

        def show(progress: Progress) -> None:
            bar.update(
                task,
                description=progress.path.name,
                completed=progress.bytes_read,
                total=progress.bytes_total,
                rows=progress.report.rows,
            )

        report = push_files(
            client,
            model,
            files,
            kind="labels" if labels else "baseline" if baseline else "batches",
            version=version,
            chunk_rows=chunk_rows,
            backfill=backfill,
            on_progress=show,
            resume=not no_resume,
        )
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(summary(report))


def summary(report: PushReport) -> str:
    """One line that accounts for every row."""
    counts = {
        "accepted": report.accepted,
        "rejected": report.rejected,
        "sent before": report.duplicates + report.skipped,
        "matched": report.matched,
        "pending": report.pending,
    }
    parts = [f"{count:,} {name}" for name, count in counts.items() if count]
    return f"{report.rows:,} rows: {', '.join(parts) or 'none'}"
