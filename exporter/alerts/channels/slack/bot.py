"""A bot: a thread for each group, whose first message shows the present state.

What changes goes into the thread, and the first message is rewritten. Every post carries the notification's
id as metadata, so that after an attempt of which nobody knows whether it arrived, it is looked for instead
of being sent twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from exporter.alerts.channels.slack.api import Api
from exporter.alerts.channels.slack.blocks import Post
from exporter.alerts.channels.slack.errors import GONE, MENDABLE, SlackError, delivery_error
from exporter.alerts.channels.slack.pace import Pace
from exporter.alerts.channels.slack.progress import Progress, ProgressOf
from exporter.alerts.composing.mrkdwn import visible
from exporter.alerts.records import Change, Delivery, Kind, Message, Receipt, Severity
from exporter.errors import DeliveryError, TemporaryDeliveryError

EVENT_TYPE: Final = "ml_exporter_notification"
CLOCKS_DIFFER_SECONDS: Final = 600.0
"""Slack's clock and ours may differ by so much."""

_ID = re.compile(r"[CDG][A-Z0-9]{6,}")
_UNREADABLE = frozenset({"missing_scope", "not_allowed_token_type", "channel_not_found", "not_in_channel"})

Chart = Callable[[Message], bytes | None]


class Bot:
    """Delivers posts to one channel of a workspace."""

    def __init__(self, api: Api, channel: str, *, name: str, pace: Pace, chart: Chart) -> None:
        self._api = api
        self._channel = channel
        self._id = channel if _ID.fullmatch(channel) else ""
        self._name = name
        self._pace = pace
        self._chart = chart
        self._progress = ProgressOf()
        self._may_upload = True

    def deliver(self, posts: Sequence[Post], root: Post, message: Message, delivery: Delivery) -> Receipt:
        """Send what has not arrived; `root` is how the first message of the thread is to look now."""
        notes: list[str] = []
        number = message.notification.id
        known = self._progress.get(number) or Progress()
        thread = _thread_of(delivery.thread)
        try:
            if delivery.uncertain and not known.begun:
                known = self._found(message, delivery, thread, notes)
            if thread is not None and not self._rewritten(thread, root, notes):
                thread = None
            known = self._posted(posts, message, delivery, known=known, thread=thread, notes=notes)
        except TemporaryDeliveryError as error:
            raise self._unfinished(error, delivery) from None
        except SlackError as refusal:
            meant = delivery_error(refusal.code, refusal.detail)
            if isinstance(meant, TemporaryDeliveryError):
                raise self._unfinished(meant, delivery) from None
            raise meant from None
        self._progress.forget(number)
        detail = f"message {known.root} in {known.channel}"
        return Receipt(
            detail="; ".join([detail, *notes]),
            thread={"channel": known.channel, "ts": known.root} if known.root else None,
            plain=delivery.plain,
        )

    def _unfinished(self, error: TemporaryDeliveryError, delivery: Delivery) -> TemporaryDeliveryError:
        """The error, uncertain also when an earlier attempt was, or when a part of this one arrived."""
        begun = self._progress.get(delivery.notification.id) is not None
        error.uncertain = error.uncertain or delivery.uncertain or begun
        return error

    def _posted(
        self,
        posts: Sequence[Post],
        message: Message,
        delivery: Delivery,
        *,
        known: Progress,
        thread: tuple[str, str] | None,
        notes: list[str],
    ) -> Progress:
        """Post what is missing, in order."""
        fresh = thread is None and not known.root
        broadcast = _urgent(message) and thread is not None
        sent = 0
        for post in posts:
            if known.begun and post.until <= known.until:
                continue
            body = post.body() | {"metadata": self._metadata(message, post)}
            at = thread or ((known.channel, known.root) if known.root else None)
            self._pace.wait()
            try:
                channel, ts = self._post(body, at, broadcast=broadcast and not known.begun)
            except SlackError as refusal:
                if refusal.code not in GONE or at is None:
                    raise
                notes.append("the thread was deleted, a new one begins")
                thread, fresh = None, True
                self._pace.wait()
                channel, ts = self._post(body, None)
                known = replace(known, root="")
            beginning = thread is None and not known.root
            known = Progress(
                begun=True, until=post.until, channel=channel, root=ts if beginning else known.root
            )
            if thread is not None:
                known = replace(known, channel=thread[0], root=thread[1])
            self._progress.keep(message.notification.id, known)
            self._id, sent = channel, sent + 1
        if sent and known.root and not delivery.plain and (fresh or _news(message)):
            self._illustrate(message, known.channel, known.root, notes)
        return known

    def _post(
        self, body: Mapping[str, Any], thread: tuple[str, str] | None, *, broadcast: bool = False
    ) -> tuple[str, str]:
        if thread is None:
            return self._api.post_message(self._channel, body)
        more: dict[str, Any] = {"thread_ts": thread[1]}
        if broadcast:
            more["reply_broadcast"] = True
        return self._api.post_message(thread[0], body, **more)

    def _metadata(self, message: Message, post: Post) -> dict[str, Any]:
        return {
            "event_type": EVENT_TYPE,
            "event_payload": {
                "notification": message.notification.id,
                "channel": self._name,
                "group": message.notification.group.id,
                "until": post.until,
            },
        }

    def _rewritten(self, thread: tuple[str, str], root: Post, notes: list[str]) -> bool:
        """Let the first message show the present state; False when it is no more."""
        try:
            self._api.update(*thread, root.text, root.blocks)
        except SlackError as refusal:
            if refusal.code in GONE:
                notes.append("the thread was deleted, a new one begins")
                return False
            if refusal.code in MENDABLE:
                raise
            error = delivery_error(refusal.code, refusal.detail)
            if isinstance(error, TemporaryDeliveryError):
                raise
            notes.append(f"the first message was not updated ({refusal.code})")
        return True

    def _found(
        self, message: Message, delivery: Delivery, thread: tuple[str, str] | None, notes: list[str]
    ) -> Progress:
        """Look for what earlier attempts may have posted."""
        since = (delivery.first_tried or message.notification.created) - CLOCKS_DIFFER_SECONDS
        channel = thread[0] if thread else self._id
        if not channel:
            notes.append(
                "perhaps sent twice: the channel is configured by name, so its history can't be read"
            )
            return Progress()
        try:
            known = self._searched(channel, message, since, thread[1] if thread else None)
        except SlackError as refusal:
            if refusal.code not in _UNREADABLE:
                raise
            notes.append(f"perhaps sent twice: the history can't be read ({refusal.code})")
            return Progress()
        if known.begun:
            notes.append("recognised from an earlier attempt")
            self._progress.keep(message.notification.id, known)
        return known

    def _searched(self, channel: str, message: Message, since: float, thread: str | None) -> Progress:
        """What is in the thread; without one, or where it was deleted, what is in the channel."""
        if thread is not None:
            try:
                return self._search(channel, message, since, thread)
            except SlackError as refusal:
                if refusal.code not in GONE:
                    raise
        known = self._search(channel, message, since, None)
        if not known.root:
            return known
        replies = self._search(channel, message, since, known.root)
        return replace(known, until=max(known.until, replies.until))

    def _search(self, channel: str, message: Message, since: float, thread: str | None) -> Progress:
        known = Progress()
        for found in self._api.messages(channel, since, thread):
            payload = _payload(found)
            if payload.get("notification") != message.notification.id or payload.get("channel") != self._name:
                continue
            ts, at = str(found.get("ts") or ""), found.get("thread_ts")
            until = payload.get("until")
            known = Progress(
                begun=True,
                until=max(known.until, until if isinstance(until, int) else 0),
                channel=channel,
                root=thread or (str(at) if at else ts),
            )
        return known

    def _illustrate(self, message: Message, channel: str, thread: str, notes: list[str]) -> None:
        """A chart in the thread, where there is one; the message has arrived whatever comes of it."""
        if not self._may_upload:
            return
        try:
            picture = self._chart(message)
            if picture:
                title = visible(message.title)[:150]
                self._api.upload(
                    channel, thread, picture, filename="history.png", title=title, alt=f"History: {title}"
                )
        except SlackError as refusal:
            self._may_upload = refusal.code not in MENDABLE
            notes.append(f"without its chart ({refusal.code})")
        except DeliveryError as error:
            notes.append(f"without its chart ({error.message})")
        except Exception as error:  # noqa: BLE001  # drawing may fail in any way
            notes.append(f"without its chart ({type(error).__name__})")


def _thread_of(kept: Mapping[str, Any] | None) -> tuple[str, str] | None:
    if not kept or not kept.get("channel") or not kept.get("ts"):
        return None
    return str(kept["channel"]), str(kept["ts"])


def _payload(found: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = found.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("event_type") != EVENT_TYPE:
        return {}
    payload = metadata.get("event_payload")
    return payload if isinstance(payload, dict) else {}


def _news(message: Message) -> bool:
    return any(view.change is Change.FIRING for view in message.views)


def _urgent(message: Message) -> bool:
    """Whether a reply in a thread must reach those who don't follow it."""
    if message.notification.kind is Kind.REMINDER:
        return message.severity is Severity.CRITICAL and message.status == "firing"
    return any(
        view.change is Change.FIRING and view.alert.severity is Severity.CRITICAL for view in message.views
    )
