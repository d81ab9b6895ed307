"""``ml-exporter serve``: the exporter."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from types import FrameType

import click
from threadpoolctl import threadpool_limits

from exporter.commands.configuration import read_configuration
from exporter.commands.options import listen_option, log_options, storage_option
from exporter.durations import parse_duration
from exporter.web.assembly import Exporter, WebSettings
from exporter.web.limits import WebLimits

logger = logging.getLogger(__name__)


def _seconds(context: click.Context, parameter: click.Parameter, value: str) -> float:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from error


@click.command()
@click.option(
    "--config.file",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Configuration of the models (YAML).",
)
@listen_option()
@storage_option()
@click.option(
    "--web.config.file",
    "web_config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TLS, basic authentication and tokens (YAML, exporter-toolkit's format and tokens).",
)
@click.option(
    "--web.allow-anonymous",
    "allow_anonymous",
    is_flag=True,
    help="Serve an address that other machines reach without authentication.",
)
@click.option(
    "--web.external-url",
    "external_url",
    metavar="URL",
    help="Where users reach the exporter when a proxy stands before it.",
)
@click.option(
    "--web.read-timeout",
    "read_timeout",
    callback=_seconds,
    metavar="DURATION",
    default="1m",
    show_default=True,
    help="Time for the whole body of one request.",
)
@click.option(
    "--web.max-ingestions",
    "max_ingestions",
    type=click.IntRange(1, 256),
    default=WebLimits().ingestions,
    show_default=True,
    help="Requests with a body at once; beyond it 503.",
)
@click.option(
    "--web.drain-timeout",
    "drain_timeout",
    callback=_seconds,
    metavar="DURATION",
    default="30s",
    show_default=True,
    help="Time for running requests to finish at shutdown.",
)
@log_options()
def serve(
    *,
    config_file: Path,
    listen_address: str,
    storage: Path,
    web_config: Path | None,
    allow_anonymous: bool,
    external_url: str | None,
    read_timeout: float,
    max_ingestions: int,
    drain_timeout: float,
) -> None:
    """Run the exporter until SIGTERM or SIGINT; then finish what runs, commit and stop."""
    limits = WebLimits(
        body_seconds=read_timeout,
        ingestions=max_ingestions,
        threads=max_ingestions + WebLimits().threads - WebLimits().ingestions,
    )
    threadpool_limits(1, user_api="blas")  # batches share the cores; its threads would wait for each other
    settings = WebSettings(listen_address, web_config, allow_anonymous, external_url, limits)
    exporter = Exporter(read_configuration(config_file), storage, settings)
    run_until_signal(exporter, drain_timeout)


def run_until_signal(exporter: Exporter, drain_seconds: float) -> None:
    """Start, wait for SIGTERM or SIGINT, and stop; a second signal ends the process at once."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        logger.info("stopping", extra={"signal": signal.Signals(number).name})
        signal.signal(number, signal.SIG_DFL)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    try:
        exporter.start()
        asked.wait()
    finally:
        exporter.stop(drain_seconds)
    logger.info("stopped")
