"""What the rooms of the bridge hand to each other. Times are seconds since the Unix epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any


class Severity(IntEnum):
    """How urgent; the larger, the sooner it is delivered."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    @classmethod
    def of(cls, text: str) -> Severity:
        """Severity of a label's text; what is not known counts as a warning."""
        return cls.__members__.get(text.upper(), cls.WARNING)

    @property
    def text(self) -> str:
        return self.name.lower()


class Change(StrEnum):
    """What happened to an alert since its group was last notified of."""

    FIRING = "firing"
    RESOLVED = "resolved"
    STILL = "still"
    """It fires on; nothing new."""
    PASSED = "passed"
    """It fired and was resolved before anybody was told."""


class Kind(StrEnum):
    """Why a notification is sent."""

    CHANGE = "change"
    REMINDER = "reminder"
    """Alertmanager sent an unchanged group again, after its `repeat_interval`."""
    TEST = "test"
    SILENCE = "silence"
    """The heartbeat stopped: nothing is heard of Prometheus or Alertmanager."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as it came.

    Attributes
    ----------
    fingerprint : str
        Of its labels; with `starts_at` it names one life of an alert.
    firing : bool
    labels, annotations : mapping of str to str
    starts_at : float
    ends_at : float or None
        None while it fires.
    generator_url : str
        Where its rule can be looked at; may be empty.
    """

    fingerprint: str
    firing: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float | None = None
    generator_url: str = ""

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")

    @property
    def model(self) -> str:
        return self.labels.get("model", "")

    @property
    def severity(self) -> Severity:
        return Severity.of(self.labels.get("severity", ""))


@dataclass(frozen=True, slots=True)
class RefusedAlert:
    """An alert of a payload that cannot be read; `raw` is its JSON."""

    reason: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Webhook:
    """One call of Alertmanager, version 4 of its payload.

    Attributes
    ----------
    refused : tuple of RefusedAlert
        Those that cannot be read; the others of the payload are taken all the same.
    cut : int
        Labels and annotations that were shortened or left out.
    """

    receiver: str
    group_key: str
    group_labels: Mapping[str, str]
    alerts: tuple[Alert, ...]
    external_url: str = ""
    truncated_alerts: int = 0
    refused: tuple[RefusedAlert, ...] = ()
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Alerts of one route that are told of together.

    Attributes
    ----------
    id : str
        Of the route's name and the labels: it outlives edits of Alertmanager's routes.
    route : str
    labels : mapping of str to str
        What its alerts have in common by definition.
    """

    id: str
    route: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NotifiedAlert:
    """An alert as one notification tells of it; `alert_id` is its row in the store."""

    alert: Alert
    change: Change
    alert_id: int


@dataclass(frozen=True, slots=True)
class Notification:
    """What is told of one group at one time; one delivery for each channel of its route.

    Attributes
    ----------
    id : str
        Unique and lasting: retries of a delivery carry the same.
    severity : Severity
        The highest of what it tells of.
    alerts : tuple of NotifiedAlert
        Changed ones first, most severe first. At most `MOST_ALERTS`; `omitted` counts the rest.
    firing : int
        Alerts of the group that fire now, those left out included.
    """

    id: str
    created: float
    kind: Kind
    group: Group
    severity: Severity
    alerts: tuple[NotifiedAlert, ...]
    firing: int = 0
    omitted: int = 0
    text: str = ""
    """What it says where it tells of no alert (a test, a missing heartbeat)."""


MOST_ALERTS = 100
"""Alerts that one notification tells of in words."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notification on its way to one channel, leased to one worker.

    Attributes
    ----------
    id : int
    attempt : int
        1 for the first.
    uncertain : bool
        An earlier attempt may have arrived: its process died, or the connection broke.
    plain : bool
        Send the plain form: the rich one was refused.
    first_tried : float or None
        When the first attempt was made.
    thread : mapping or None
        What the channel gave as the reference of this group's open thread; None begins one.
    """

    id: int
    channel: str
    notification: Notification
    attempt: int
    lease: str
    uncertain: bool = False
    plain: bool = False
    first_tried: float | None = None
    thread: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a channel answered.

    Attributes
    ----------
    detail : str
        For the history, such as `message 1700000000.000100 in C024BE91L`.
    thread : mapping or None
        Kept for the next notifications of the group, until all its alerts are resolved.
    plain : bool
        It went in the plain form.
    """

    detail: str = ""
    thread: Mapping[str, Any] | None = None
    plain: bool = False


@dataclass(frozen=True, slots=True)
class WorstColumn:
    """A column that drifted, for the message."""

    column: str
    statistic: float
    critical_value: float
    method: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the exporter knows now of the measure that an alert is about.

    Attributes
    ----------
    current, threshold, baseline, lower, upper : float or None
        `threshold` is of the value that the rule compares (a drop, a ratio, a statistic).
    unit : str
    rows : int or None
        Rows that the current value rests on.
    at : float or None
        Where its window ends.
    undefined : str
        Why there is no current value: a reason of the catalogue, or `unreachable`. Empty when there is one.
    history : tuple of (float, float)
        (time, value), oldest first.
    worst_columns : tuple of WorstColumn
    """

    measure: str = ""
    current: float | None = None
    threshold: float | None = None
    baseline: float | None = None
    lower: float | None = None
    upper: float | None = None
    unit: str = ""
    rows: int | None = None
    at: float | None = None
    undefined: str = ""
    history: tuple[tuple[float, float], ...] = ()
    worst_columns: tuple[WorstColumn, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """One alert ready to be written down.

    Attributes
    ----------
    what : str
        One line: the value, what it was compared with, and by how much.
    ending : str
        On resolve: `recovered`, `no data`, or empty when that is not known.
    links : mapping of {"dashboard", "runbook", "silence", "query"} to URL
        Only those that are known.
    """

    alert: Alert
    change: Change
    summary: str
    description: str
    what: str
    facts: Facts
    ending: str = ""
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """A notification ready to be written down by any channel.

    Attributes
    ----------
    title : str
        One line, at most 150 characters.
    status : {"firing", "resolved"}
        Of the group: firing while any of its alerts is.
    model, version : str
        Empty where its alerts differ.
    links : mapping of {"dashboard", "runbook", "silence", "alertmanager"} to URL
        Of the group.
    """

    notification: Notification
    title: str
    status: str
    severity: Severity
    model: str
    version: str
    views: tuple[View, ...]
    links: Mapping[str, str]
    made_at: float
