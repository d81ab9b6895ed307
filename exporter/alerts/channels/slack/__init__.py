"""Slack, by an incoming webhook or as a bot.

`blocks` turns a message into posts within Block Kit's limits, `transport` and `api` speak with Slack,
`webhook` and `bot` deliver, `channel` is what the bridge opens.
"""

from __future__ import annotations

from exporter.alerts.channels.slack.channel import SlackChannel

__all__ = ["SlackChannel"]
