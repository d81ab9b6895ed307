"""``ml-exporter bridge``: the notification bridge alone."""

from __future__ import annotations

from pathlib import Path

import click

from exporter.commands.options import log_options, storage_option
from exporter.commands.running import run_until_signal
from exporter.commands.web_options import file_option, web_options
from exporter.web.bridge_assembly import DEFAULT_BRIDGE_ADDRESS, BridgeServer, bridge_limits
from exporter.web.front import WebSettings
from exporter.web.local_bridge import BridgeFile


@click.command()
@file_option("--config.file", "config_file", "Channels, routes and links (YAML).", required=True)
@web_options(DEFAULT_BRIDGE_ADDRESS)
@storage_option()
@log_options()
def bridge(
    *,
    config_file: Path,
    listen_address: str,
    storage: Path,
    web_config: Path | None,
    allow_anonymous: bool,
    external_url: str | None,
    read_timeout: float,
    drain_timeout: float,
) -> None:
    """Run the notification bridge until SIGTERM or SIGINT; SIGHUP reads the configuration again.

    Alertmanager's webhooks go to /alertmanager. What is queued when it stops is sent after the next start.
    """
    settings = WebSettings(
        listen_address, web_config, allow_anonymous, external_url, bridge_limits(body_seconds=read_timeout)
    )
    run_until_signal(BridgeServer(BridgeFile(config_file), storage, settings), drain_timeout, reloads=True)
