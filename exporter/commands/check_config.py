"""``ml-exporter check-config``: validate a configuration."""

from __future__ import annotations

from pathlib import Path

import click

from exporter.alerts.bridge import check_bridge
from exporter.alerts.config import load_bridge_config
from exporter.commands.configuration import read_configuration
from exporter.errors import ConfigurationError
from exporter.yamlfile import read_file


@click.command("check-config")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_context
def check_config(context: click.Context, file: Path) -> int:
    """Validate a configuration, of models or of the bridge: every error with its path in the file."""
    try:
        found = bridge_contents(file) if is_bridge_file(file) else models_contents(file)
    except ConfigurationError as error:
        for path, message in error.problems or [("", error.message)]:
            click.echo(f"{file}: {path}: {message}" if path else f"{file}: {message}", err=True)
        context.exit(2)
    click.echo(f"{file}: ok, {found}")
    return 0


def is_bridge_file(file: Path) -> bool:
    """Whether it configures the bridge: it has channels."""
    return not {"channels", "notification_channels"}.isdisjoint(read_file(file))


def bridge_contents(file: Path) -> str:
    """What a bridge's file configures; each channel and template in it was opened."""
    config = load_bridge_config(file)
    check_bridge(config)
    channels, routes = len(config.channels), len(config.routes)
    return f"{_counted(channels, 'channel')}, {_counted(routes, 'route')}"


def models_contents(file: Path) -> str:
    """What a file of models configures; the rules in it were compiled."""
    return _counted(len(read_configuration(file).models), "model")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
