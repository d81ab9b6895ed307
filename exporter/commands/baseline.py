"""``ml-exporter baseline``: what the windows of a running exporter are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import orjson

from exporter.client import Client
from exporter.commands.options import client_options, open_client
from exporter.push import FileReader

_ANY_ROWS = 2**62


@click.group()
def baseline() -> None:
    """Baselines of a running exporter."""


@baseline.command("create")
@click.argument("model")
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--from", "start", metavar="TIME", help="Start of a past window; RFC 3339 or Unix seconds.")
@click.option("--to", "end", metavar="TIME", help="End of the past window.")
@click.option(
    "--artifact",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A baseline that was exported.",
)
@click.option("--version", help="Version of the model; all versions without one of their own when left out.")
@click.option("--activate/--no-activate", default=True, show_default=True, help="Compare with it at once.")
@client_options
def create(
    *,
    model: str,
    file: Path | None,
    start: str | None,
    end: str | None,
    artifact: Path | None,
    version: str | None,
    activate: bool,
    url: str,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Make a baseline of a MODEL from the rows of a FILE, from a past window or from an artifact."""
    if (start is None) != (end is None):
        raise click.UsageError("--from and --to go together")
    if sum(source is not None for source in (file, start, artifact)) != 1:
        raise click.UsageError("expected one of FILE, --from with --to, and --artifact")
    with open_client(url, token_file, ca_file) as client:
        if file is not None:
            made = _from_rows(client, model, file, version=version, activate=activate)
        elif artifact is not None:
            made = client.create_baseline(
                model, artifact=artifact.read_bytes(), version=version, activate=activate
            )
        else:
            period = (_moment(start or ""), _moment(end or ""))
            made = client.create_baseline(model, period=period, version=version, activate=activate)
    _print(made)


@baseline.command("list")
@click.argument("model")
@client_options
def list_baselines(model: str, url: str, token_file: Path | None, ca_file: Path | None) -> None:
    """List the baselines of a MODEL, the newest last."""
    with open_client(url, token_file, ca_file) as client:
        for each in client.baselines(model):
            flags = [name for name in ("active", "provisional") if each.get(name)]
            click.echo(
                f"{each.get('id')}  {_time(each.get('created'))}  {each.get('rows')} rows  "
                f"version {each.get('version') or 'any'}  {', '.join(flags)}".rstrip()
            )


@baseline.command("show")
@click.argument("model")
@click.argument("baseline_id", metavar="ID")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the artifact to a file."
)
@client_options
def show(
    *,
    model: str,
    baseline_id: str,
    output: Path | None,
    url: str,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Show the baseline ID of a MODEL as JSON; with -o also export it."""
    with open_client(url, token_file, ca_file) as client:
        if output is not None:
            output.write_bytes(client.baseline_artifact(model, baseline_id))
        _print(client.baseline(model, baseline_id))


@baseline.command("activate")
@click.argument("model")
@click.argument("baseline_id", metavar="ID")
@client_options
def activate_baseline(
    model: str, baseline_id: str, url: str, token_file: Path | None, ca_file: Path | None
) -> None:
    """Compare a MODEL with its baseline ID from now on."""
    with open_client(url, token_file, ca_file) as client:
        _print(client.activate_baseline(model, baseline_id))


@baseline.command("refresh")
@click.argument("model")
@click.option("--version", help="Version whose own baseline is meant; that of all versions when left out.")
@click.option("--force", is_flag=True, help="Even from a window that has drifted or is of poor quality.")
@client_options
def refresh(
    *, model: str, version: str | None, force: bool, url: str, token_file: Path | None, ca_file: Path | None
) -> None:
    """Promote the newest window of a MODEL in place of its active baseline."""
    with open_client(url, token_file, ca_file) as client:
        _print(client.refresh_baseline(model, version=version, force=force))


@baseline.command("rollback")
@click.argument("model")
@click.option("--version", help="Version whose own baseline is meant; that of all versions when left out.")
@client_options
def rollback(
    model: str, version: str | None, url: str, token_file: Path | None, ca_file: Path | None
) -> None:
    """Compare a MODEL with the baseline that was active before."""
    with open_client(url, token_file, ca_file) as client:
        _print(client.roll_back_baseline(model, version=version))


@baseline.command("diff")
@click.argument("model")
@click.argument("baseline_id", metavar="ID")
@click.argument("other_id", metavar="[OTHER]", required=False)
@client_options
def diff(
    *,
    model: str,
    baseline_id: str,
    other_id: str | None,
    url: str,
    token_file: Path | None,
    ca_file: Path | None,
) -> None:
    """Show what changed from the baseline OTHER of a MODEL (the active one when left out) to ID."""
    with open_client(url, token_file, ca_file) as client:
        _print(client.compare_baselines(model, baseline_id, other_id))


@baseline.command("delete")
@click.argument("model")
@click.argument("baseline_id", metavar="ID")
@client_options
def delete(model: str, baseline_id: str, url: str, token_file: Path | None, ca_file: Path | None) -> None:
    """Delete the baseline ID of a MODEL."""
    with open_client(url, token_file, ca_file) as client:
        client.delete_baseline(model, baseline_id)
    click.echo(f"deleted {baseline_id}")


def _from_rows(
    client: Client, model: str, file: Path, *, version: str | None, activate: bool
) -> Mapping[str, Any]:
    with FileReader(file) as reader:
        chunks = list(reader.chunks(lambda _offset: _ANY_ROWS))
    if len(chunks) != 1:
        raise click.UsageError(f"expected a baseline of one request, but {file} makes {len(chunks)}")
    query = {"activate": "true" if activate else "false"} | ({} if version is None else {"version": version})
    answer, _ = client.send(model, "baselines", chunks[0].body, chunks[0].content_type, query=query)
    return answer


def _moment(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _time(value: Any) -> str:
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    return str(value)


def _print(value: Mapping[str, Any]) -> None:
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
