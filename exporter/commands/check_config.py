"""``ml-exporter check-config``: validate a configuration."""

from __future__ import annotations

from pathlib import Path

import click

from exporter.commands.configuration import read_configuration
from exporter.errors import ConfigurationError


@click.command("check-config")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_context
def check_config(context: click.Context, file: Path) -> int:
    """Validate a configuration: every error with its path in the file."""
    try:
        config = read_configuration(file)
    except ConfigurationError as error:
        for path, message in error.problems or [("", error.message)]:
            click.echo(f"{file}: {path}: {message}" if path else f"{file}: {message}", err=True)
        context.exit(2)
    models = len(config.models)
    click.echo(f"{file}: ok, {models} model{'' if models == 1 else 's'}")
    return 0
