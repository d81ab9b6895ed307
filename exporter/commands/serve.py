"""``ml-exporter serve``: the exporter."""

from __future__ import annotations

from pathlib import Path

import click
from threadpoolctl import threadpool_limits

from exporter.commands.configuration import read_configuration
from exporter.commands.options import log_options, storage_option
from exporter.commands.running import run_until_signal
from exporter.commands.web_options import file_option, web_options
from exporter.web.assembly import Exporter
from exporter.web.front import WebSettings
from exporter.web.limits import WebLimits
from exporter.web.local_bridge import BridgeFile
from exporter.web.remote_bridge import BridgeAddress

_WEBHOOKS = 32
"""Of Alertmanager, at once: many groups come at the same moment."""


@click.command()
@file_option("--config.file", "config_file", "Configuration of the models (YAML).", required=True)
@web_options()
@storage_option()
@click.option(
    "--web.max-ingestions",
    "max_ingestions",
    type=click.IntRange(1, 256),
    default=WebLimits().ingestions,
    show_default=True,
    help="Requests with a body at once; beyond it 503.",
)
@file_option(
    "--bridge.config.file",
    "bridge_config",
    "Also run the notification bridge in this process, with this configuration (YAML).",
)
@click.option(
    "--bridge.url", "bridge_url", metavar="URL", help="Ask the bridge there for alerts and notifications."
)
@file_option(
    "--bridge.token.file",
    "bridge_token",
    "File with a bearer token for that bridge (scope read, all models).",
)
@file_option("--bridge.ca.file", "bridge_ca", "Certificates of a private authority for that bridge.")
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
    drain_timeout: float,
    max_ingestions: int,
    bridge_config: Path | None,
    bridge_url: str | None,
    bridge_token: Path | None,
    bridge_ca: Path | None,
) -> None:
    """Run the exporter until SIGTERM or SIGINT; then finish what runs, commit and stop.

    With --bridge.config.file SIGHUP reads the bridge's configuration again.
    """
    bridge = _bridge(bridge_config, bridge_url, bridge_token, bridge_ca)
    usual = WebLimits()
    webhooks = _WEBHOOKS if isinstance(bridge, BridgeFile) else usual.webhooks
    limits = WebLimits(
        body_seconds=read_timeout,
        ingestions=max_ingestions,
        webhooks=webhooks,
        threads=usual.threads + max_ingestions - usual.ingestions + webhooks - usual.webhooks,
    )
    threadpool_limits(1, user_api="blas")  # batches share the cores; its threads would wait for each other
    settings = WebSettings(listen_address, web_config, allow_anonymous, external_url, limits)
    exporter = Exporter(read_configuration(config_file), storage, settings, bridge=bridge)
    run_until_signal(exporter, drain_timeout, reloads=isinstance(bridge, BridgeFile))


def _bridge(
    config_file: Path | None, url: str | None, token_file: Path | None, ca_file: Path | None
) -> BridgeFile | BridgeAddress | None:
    if config_file is not None and url is not None:
        raise click.UsageError(
            "give --bridge.config.file (a bridge here) or --bridge.url (one elsewhere), not both"
        )
    if url is None and (token_file or ca_file):
        raise click.UsageError(
            "--bridge.token.file and --bridge.ca.file are for --bridge.url, which is missing"
        )
    if config_file is not None:
        return BridgeFile(config_file)
    return BridgeAddress(url, token_file, ca_file) if url is not None else None
