"""From a channel's settings to the channel; only the kinds that are used are imported."""

from __future__ import annotations

from exporter.alerts.channels import Channel
from exporter.alerts.composing.templates import Templates
from exporter.alerts.config import (
    AppriseSettings,
    BridgeConfig,
    ChannelSettings,
    EmailSettings,
    SlackSettings,
    WebhookSettings,
)
from exporter.errors import ConfigurationError


def open_channel(name: str, settings: ChannelSettings, templates: Templates, config: BridgeConfig) -> Channel:
    """The channel of one entry of `channels`.

    Raises
    ------
    ConfigurationError
        It needs what is not installed, or its settings do not fit together.
    """
    # Each kind brings libraries of its own along.
    zone = config.timezone
    if isinstance(settings, SlackSettings):
        from exporter.alerts.channels.slack import SlackChannel  # noqa: PLC0415

        return SlackChannel(settings, name=name, templates=templates, timezone=zone)
    if isinstance(settings, EmailSettings):
        from exporter.alerts.channels.email import EmailChannel  # noqa: PLC0415

        return EmailChannel(settings, name=name, templates=templates, timezone=zone)
    if isinstance(settings, WebhookSettings):
        from exporter.alerts.channels.webhook import WebhookChannel  # noqa: PLC0415

        return WebhookChannel(settings, name=name, templates=templates, timezone=zone)
    if isinstance(settings, AppriseSettings):
        from exporter.alerts.channels.apprise import AppriseChannel  # noqa: PLC0415

        return AppriseChannel(settings, name=name, templates=templates, timezone=zone)
    kind = type(settings).__name__
    raise ConfigurationError(
        f"channels.{name}: expected the settings of a known type, got {kind}",
        [(f"channels.{name}", f"expected the settings of a known type, got {kind}")],
    )
