"""The channel that the bridge opens: a webhook or a bot, and how a message is written for it."""

from __future__ import annotations

from typing import Any, Final, Protocol

from exporter.alerts.channels.slack.api import Api
from exporter.alerts.channels.slack.blocks import plain_post, posts_of
from exporter.alerts.channels.slack.bot import Bot
from exporter.alerts.channels.slack.pace import Pace
from exporter.alerts.channels.slack.transport import Transport
from exporter.alerts.channels.slack.webhook import Webhook
from exporter.alerts.composing.figures import zone_of
from exporter.alerts.config import SlackSettings
from exporter.alerts.records import Change, Delivery, Message, Receipt, View

SPACING_SECONDS: Final = 1.0
TEMPLATE: Final = "slack_alert.md"
CHART_SIZE: Final = (720, 300)
SHORTEST_HISTORY: Final = 3


class Renderer(Protocol):
    """What renders templates."""

    def render(self, name: str, **context: Any) -> str:
        """The text of a template."""


class SlackChannel:
    """Slack, as its settings say."""

    def __init__(
        self,
        settings: SlackSettings,
        *,
        name: str,
        templates: Renderer,
        timezone: str = "UTC",
        spacing_seconds: float = SPACING_SECONDS,
    ) -> None:
        self.spacing_seconds = spacing_seconds
        self._templates = templates
        self._zone = zone_of(timezone)
        pace = Pace(spacing_seconds)
        if settings.bot_token is not None and settings.channel is not None:
            token = settings.bot_token.get_secret_value().strip()
            self._transport = Transport(settings.timeout, settings.ca_file, (token,))
            api = Api(settings.api_url, token, self._transport)
            self._bot: Bot | None = Bot(api, settings.channel, name=name, pace=pace, chart=self._chart)
            self._webhook: Webhook | None = None
        elif settings.webhook_url is not None:
            url = settings.webhook_url.get_secret_value().strip()
            path = "/" + url.partition("://")[2].partition("/")[2]
            self._transport = Transport(settings.timeout, settings.ca_file, (url, path, path.strip("/")))
            self._bot, self._webhook = None, Webhook(url, self._transport, pace)

    def send(self, message: Message, delivery: Delivery) -> Receipt:
        """Deliver, in the plain form when `delivery.plain`."""
        self._transport.begin()
        if delivery.plain:
            plain = plain_post(message, zone=self._zone)
            posts, root = [plain], plain
        else:
            posts = posts_of(message, self._write, zone=self._zone)
            root = posts[0]
            if delivery.thread:
                note = "updated; what happened is in the thread"
                root = posts_of(message, self._write, zone=self._zone, note=note)[0]
        if self._bot is not None:
            return self._bot.deliver(posts, root, message, delivery)
        assert self._webhook is not None  # noqa: S101  # the settings have one of the two
        return self._webhook.deliver(posts, message, delivery)

    def close(self) -> None:
        self._transport.close()

    def _write(self, message: Message, view: View) -> str:
        return self._templates.render(TEMPLATE, message=message, view=view)

    def _chart(self, message: Message) -> bytes | None:
        """The history of the most severe alert that has one."""
        firing = [view for view in message.views if view.change in {Change.FIRING, Change.STILL}]
        for view in sorted(firing, key=lambda view: -view.alert.severity):
            if len(view.facts.history) >= SHORTEST_HISTORY:
                from exporter.alerts.charts import chart_png  # noqa: PLC0415  # only who draws pays for it

                width, height = CHART_SIZE
                return chart_png(
                    view.facts,
                    title=view.what or message.title,
                    width=width,
                    height=height,
                    timezone=self._zone,
                    subject=view.alert.labels.get("metric", ""),
                )
        return None
