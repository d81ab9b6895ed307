"""Options of every command that serves HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from exporter.commands.options import listen_option
from exporter.durations import parse_duration
from exporter.web.front import DEFAULT_ADDRESS

F = TypeVar("F", bound=Callable[..., Any])


def seconds(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """Seconds of a duration; a callback of options."""
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from error


def file_option(flag: str, name: str, description: str, *, required: bool = False) -> Callable[[F], F]:
    """An option that names a file."""
    return click.option(
        flag,
        name,
        type=click.Path(path_type=Path, dir_okay=False),
        required=required,
        help=description,
    )


def web_options(default: str = DEFAULT_ADDRESS) -> Callable[[F], F]:
    """``--web.*``: where, with which authentication, and how patient."""

    def decorate(function: F) -> F:
        for option in reversed(
            (
                listen_option(default),
                file_option(
                    "--web.config.file",
                    "web_config",
                    "TLS, basic authentication and tokens (YAML, exporter-toolkit's format and tokens).",
                ),
                click.option(
                    "--web.allow-anonymous",
                    "allow_anonymous",
                    is_flag=True,
                    help="Serve an address that other machines reach without authentication.",
                ),
                click.option(
                    "--web.external-url",
                    "external_url",
                    metavar="URL",
                    help="Where users reach it when a proxy stands before it.",
                ),
                click.option(
                    "--web.read-timeout",
                    "read_timeout",
                    callback=seconds,
                    metavar="DURATION",
                    default="1m",
                    show_default=True,
                    help="Time for the whole body of one request.",
                ),
                click.option(
                    "--web.drain-timeout",
                    "drain_timeout",
                    callback=seconds,
                    metavar="DURATION",
                    default="30s",
                    show_default=True,
                    help="Time for running requests to finish at shutdown.",
                ),
            )
        ):
            function = option(function)
        return function

    return decorate
