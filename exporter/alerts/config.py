"""The bridge's configuration: channels, routes, links, and how long things are kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator

from exporter.alerts.addresses import parse_mailboxes
from exporter.alerts.matchers import Matcher, parse_matcher
from exporter.errors import ConfigurationError
from exporter.settings import DurationSeconds, Settings, problems_of
from exporter.yamlfile import Problem, expand_environment, path_text, read_file

HOUR = 3600.0
DAY = 24 * HOUR
SeverityName = Literal["info", "warning", "critical"]
SEVERITIES: tuple[SeverityName, ...] = ("info", "warning", "critical")


class ChannelSettings(Settings):
    """What every channel has."""

    timeout: DurationSeconds = Field(10.0, gt=0, le=300)
    """Time that one attempt may take to connect, and to wait for each answer."""
    give_up_after: DurationSeconds = Field(DAY, gt=0)
    """After this long without success a delivery is dead: kept, counted, and sent again when asked for."""
    send_resolved: bool = True
    """Whether to tell that alerts are resolved."""


class SlackSettings(ChannelSettings):
    """Slack: an incoming webhook, or a bot's token and a channel (threads, updates and charts need a bot)."""

    type: Literal["slack"]
    webhook_url: SecretStr | None = None
    """URL of an incoming webhook."""
    bot_token: SecretStr | None = None
    """Of a bot that may `chat:write`; needs `channel`."""
    channel: str | None = None
    """Channel's id or name; needs `bot_token`."""
    api_url: str = "https://slack.com/api"
    """Where the Web API is."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust in place of the system's."""

    @field_validator("webhook_url", "api_url")
    @classmethod
    def _http(cls, url: SecretStr | str | None) -> SecretStr | str | None:
        if url is None:
            return None
        text = (url.get_secret_value() if isinstance(url, SecretStr) else url).strip()
        try:
            usable = text.startswith(("http://", "https://")) and bool(urlsplit(text).hostname)
        except ValueError:
            usable = False
        if not usable:
            raise ValueError("expected a URL that begins with http:// or https://")
        return url

    @model_validator(mode="after")
    def _one_way(self) -> SlackSettings:
        if (self.webhook_url is None) == (self.bot_token is None):
            raise ValueError("expected either webhook_url (or webhook_url_file) or bot_token with channel")
        if (self.bot_token is None) != (self.channel is None):
            raise ValueError("expected bot_token and channel together")
        return self


class EmailSettings(ChannelSettings):
    """Email by SMTP."""

    type: Literal["email"] = "email"
    smtp_server: str = Field(min_length=1)
    """Name or address of the mail server."""
    smtp_port: int = Field(587, ge=1, le=65535)
    """587 for submission, 465 with `tls: implicit`."""
    tls: Literal["starttls", "implicit", "none"] | None = None
    """`starttls` demands it, `implicit` begins with TLS (port 465), `none` never uses it. When left out,
    STARTTLS is used where it is offered; without it nothing is sent to port 25, and never a password."""
    username: str | None = None
    """To log in with; needs `password`."""
    password: SecretStr | None = None
    """To log in with."""
    sender: str = Field(validation_alias=AliasChoices("from", "sender"), min_length=3)
    """Address that the emails are from."""
    to: tuple[str, ...] = Field(min_length=1)
    """Addresses."""
    cc: tuple[str, ...] = ()
    """Addresses that get a copy."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust in place of the system's."""
    charts: bool = True
    """Whether to draw the history as a picture."""

    @field_validator("to", "cc", mode="before")
    @classmethod
    def _one_or_more(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @field_validator("sender", "to", "cc")
    @classmethod
    def _addresses(cls, given: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for text in (given,) if isinstance(given, str) else given:
            parse_mailboxes(text)
        return given

    @model_validator(mode="after")
    def _login(self) -> EmailSettings:
        if (self.username is None) != (self.password is None):
            raise ValueError("expected username and password together")
        return self


class WebhookSettings(ChannelSettings):
    """Any HTTP endpoint; the body is JSON, signed as Standard Webhooks describes when a secret is given."""

    type: Literal["webhook"]
    url: SecretStr
    """Where to post; a secret, since many services put their tokens into it."""
    secret: SecretStr | None = None
    """Key of the signature, as it is or as `whsec_` and base64."""
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """Further headers, such as `Authorization`."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust in place of the system's."""

    @field_validator("url")
    @classmethod
    def _http(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("expected a URL that begins with http:// or https://")
        return url


class AppriseSettings(ChannelSettings):
    """Any service that apprise knows (needs the extra `apprise`)."""

    type: Literal["apprise"]
    url: SecretStr
    """One service in apprise's form, such as `pagerduty://key@integration` or `tgram://token/chat`."""


ChannelConfig = Annotated[
    SlackSettings | EmailSettings | WebhookSettings | AppriseSettings, Field(discriminator="type")
]


class RouteSettings(Settings):
    """Which alerts go to which channels, and how long they are collected."""

    name: str | None = None
    """Its name in the history; by default its place in the list, such as `routes[0]`."""
    matchers: tuple[str, ...] = ()
    """All must match, in Alertmanager's form: `severity="critical"`, `model=~"fraud.*"`. None matches all."""
    channels: tuple[str, ...] = Field(min_length=1)
    """Names of those that are told."""
    aggregation_window: DurationSeconds | None = Field(None, ge=0)
    """How long changes of a group are collected before one message tells of all of them."""
    group_by: tuple[str, ...] | None = None
    """Labels whose values make a group; by default the groups are Alertmanager's."""
    go_on: bool = Field(default=False, validation_alias=AliasChoices("continue", "go_on"))
    """Whether the routes below are tried too."""

    @field_validator("matchers")
    @classmethod
    def _readable(cls, matchers: tuple[str, ...]) -> tuple[str, ...]:
        for text in matchers:
            parse_matcher(text)
        return matchers

    @property
    def parsed(self) -> tuple[Matcher, ...]:
        return tuple(parse_matcher(text) for text in self.matchers)


class TemplateSettings(Settings):
    """Templates of your own, by the names of the built-in ones."""

    directory: Path | None = None
    """Where they are; they are read again when they change."""


class LinkSettings(Settings):
    """Where users reach the other parts. Messages link there; what is not given is not linked."""

    grafana: str | None = None
    """Base of the links to dashboards."""
    alertmanager: str | None = None
    """Base of the links that silence; it is also asked what is silenced and what was missed."""
    exporter: str | None = None
    """Base of the links to runbooks; it is also asked for current values and history."""
    prometheus: str | None = None
    """Base of the links to queries."""
    token: SecretStr | None = None
    """Bearer token with the scope `read` for the exporter, which is asked for current values and history."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust in place of the system's."""

    @field_validator("grafana", "alertmanager", "exporter", "prometheus")
    @classmethod
    def _http(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not url.startswith(("http://", "https://")):
            raise ValueError("expected a URL that begins with http:// or https://")
        return url.rstrip("/")


class HeartbeatSettings(Settings):
    """An alert that always fires, so that its absence says that nothing gets through any more."""

    matchers: tuple[str, ...] = ('alertname="MLHeartbeat"',)
    """Which alert it is: all must match."""
    timeout: DurationSeconds = Field(default=15 * 60.0, ge=60)
    """Silence of this length, once a heartbeat was heard, is told of as critical to the channels below."""
    channels: tuple[str, ...] | None = None
    """By default those of the first route that matches a critical alert."""

    @field_validator("matchers")
    @classmethod
    def _readable(cls, matchers: tuple[str, ...]) -> tuple[str, ...]:
        for text in matchers:
            parse_matcher(text)
        return matchers


class BridgeConfig(Settings):
    """The whole file."""

    channels: dict[str, ChannelConfig] = Field(
        validation_alias=AliasChoices("channels", "notification_channels")
    )
    """By name. An empty mapping tells nobody: alerts are in the history only."""
    routes: tuple[RouteSettings, ...] = ()
    """First match wins unless `continue: true`. When left out, everything goes to every channel."""
    severity_levels: tuple[SeverityName, ...] = SEVERITIES
    """What is told of; alerts of other severities are kept in the history only."""
    aggregation_window: DurationSeconds = Field(HOUR, ge=0)
    """Of routes that name none, for what is not critical; critical alerts are told of at once."""
    templates: TemplateSettings = TemplateSettings()
    """See below."""
    links: LinkSettings = LinkSettings()
    """See below."""
    heartbeat: HeartbeatSettings = HeartbeatSettings()
    """See below."""
    retention: DurationSeconds = Field(90 * DAY, ge=HOUR)
    """How long resolved alerts and finished notifications are kept."""
    deduplicate_for: DurationSeconds = Field(30 * 60.0, ge=0)
    """A group that Alertmanager sends again unchanged within this time is a repetition, later a reminder;
    keep it below the `repeat_interval`s of Alertmanager."""
    reconcile_every: DurationSeconds = Field(60.0, ge=0)
    """How often Alertmanager (`links.alertmanager`) is asked what is silenced and what was missed;
    0: never."""
    timezone: str = "UTC"
    """Of the times in messages."""

    @model_validator(mode="after")
    def _one_route_a_name(self) -> BridgeConfig:
        places: dict[str, str] = {}
        for place, route in enumerate(self.routes):
            here = f"routes[{place}]"
            name = route.name or here
            if name in places:
                raise ValueError(
                    f"{here}.name: expected a name of its own, but {name} is the name of {places[name]}"
                )
            places[name] = here
        return self

    @model_validator(mode="after")
    def _known_channels(self) -> BridgeConfig:
        wanted = [(f"routes[{i}]", route.channels) for i, route in enumerate(self.routes)]
        wanted.append(("heartbeat", self.heartbeat.channels or ()))
        for where, names in wanted:
            for name in names:
                if name not in self.channels:
                    known = ", ".join(sorted(self.channels))
                    raise ValueError(f"{where}.channels: there is no channel {name}; known are {known}")
        return self


def load_bridge_config(path: str | Path, environment: Mapping[str, str] | None = None) -> BridgeConfig:
    """The configuration in a YAML file; raises :class:`ConfigurationError` with every (path, message)."""
    return parse_bridge_config(read_file(path), environment)


def parse_bridge_config(
    mapping: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> BridgeConfig:
    """The configuration in a mapping; raises :class:`ConfigurationError` with every (path, message)."""
    given, unexpanded = expand_environment(dict(mapping), environment)
    problems: list[Problem] = list(unexpanded)
    try:
        config = BridgeConfig.model_validate(given)
    except ValidationError as error:
        known = {location for location, _ in unexpanded}
        problems += [found for found in problems_of(error, BridgeConfig, given) if found[0] not in known]
        config = None
    if problems or config is None:
        pairs = list(dict.fromkeys((path_text(location), message) for location, message in problems))
        first = ": ".join(part for part in pairs[0] if part)
        message = first if len(pairs) == 1 else f"{len(pairs)} problems; the first is {first}"
        raise ConfigurationError(message, pairs)
    return config
