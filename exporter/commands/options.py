"""Options that several commands share, named in Prometheus' style."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from exporter.client import Client
from exporter.logs import FORMATS, LEVELS, configure_logging
from exporter.web.assembly import DEFAULT_ADDRESS

F = TypeVar("F", bound=Callable[..., Any])

_FORMAT = f"{__name__}.log_format"

DEFAULT_URL = f"http://{DEFAULT_ADDRESS}"


def _remember(context: click.Context, parameter: click.Parameter, value: str) -> str:
    del parameter
    context.meta[_FORMAT] = value
    return value


def _configure(context: click.Context, parameter: click.Parameter, value: str) -> str:
    del parameter
    configure_logging(value, context.meta[_FORMAT])
    return value


def log_options(level: str = "info") -> Callable[[F], F]:
    """``--log.level`` and ``--log.format``; logs go to standard error."""

    def decorate(function: F) -> F:
        function = click.option(
            "--log.format",
            "log_format",
            type=click.Choice(FORMATS),
            default="logfmt",
            show_default=True,
            is_eager=True,
            expose_value=False,
            callback=_remember,
            help="How log lines are written.",
        )(function)
        return click.option(
            "--log.level",
            "log_level",
            type=click.Choice(LEVELS),
            default=level,
            show_default=True,
            expose_value=False,
            callback=_configure,
            help="Only log what is at least this important.",
        )(function)

    return decorate


def listen_option(default: str = DEFAULT_ADDRESS) -> Callable[[F], F]:
    """``--web.listen-address``."""
    return click.option(
        "--web.listen-address",
        "listen_address",
        default=default,
        show_default=True,
        metavar="HOST:PORT",
        help="Address to listen on; port 0 picks a free one and the log says which.",
    )


def storage_option(
    default: str | None = "./data", description: str = "Directory of the store."
) -> Callable[[F], F]:
    """``--storage.path``."""
    return click.option(
        "--storage.path",
        "storage",
        type=click.Path(path_type=Path, file_okay=False),
        default=default,
        show_default=default is not None,
        help=description,
    )


def client_options(function: F) -> F:
    """``--url``, ``--token-file`` and ``--ca-file`` of a running exporter."""
    function = click.option(
        "--ca-file",
        "ca_file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="Certificates of a private authority.",
    )(function)
    function = click.option(
        "--token-file",
        "token_file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="File with a bearer token.",
    )(function)
    return click.option(
        "--url",
        default=DEFAULT_URL,
        show_default=True,
        envvar="ML_EXPORTER_URL",
        show_envvar=True,
        help="Where the exporter runs.",
    )(function)


def open_client(url: str, token_file: Path | None, ca_file: Path | None, *, retries: int = 2) -> Client:
    """A client of the exporter at `url`; white space around the token is no part of it."""
    token = token_file.read_text(encoding="utf-8").strip() if token_file else None
    try:
        return Client(url, token=token, ca_file=ca_file, retries=retries)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
