"""A message as the bytes of an email, in three forms of which each is smaller than the one before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from email.headerregistry import Address
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP, SMTPUTF8
from enum import Enum
from typing import Any, Protocol

from exporter.alerts.addresses import Mailbox
from exporter.alerts.channels.email.pictures import Picture, changes_of, limits_of, pictures_of
from exporter.alerts.channels.email.presenting import presentable
from exporter.alerts.channels.email.threads import digest, message_id, root_id, state_of, subject_of, topic_of
from exporter.alerts.composing.figures import line
from exporter.alerts.composing.plain import plain_text
from exporter.alerts.records import Delivery, Kind, Message, Severity

PLAIN_LENGTH = 8000
_MOST_NAMES = 5


class Renderer(Protocol):
    """What renders templates by name."""

    def has(self, name: str) -> bool: ...

    def render(self, name: str, **context: Any) -> str: ...


class Form(Enum):
    """How much of a message an email carries."""

    PICTURES = "pictures"
    HTML = "html"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the emails of one channel.

    Parameters
    ----------
    channel : str
        Its name.
    sender : Mailbox
    to, cc : tuple of Mailbox
        For the headers.
    templates : Renderer
    timezone : tzinfo
        Of the times in charts.
    charts : bool
    """

    channel: str
    sender: Mailbox
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    templates: Renderer
    timezone: tzinfo
    charts: bool = True

    def forms(self, message: Message, delivery: Delivery, *, utf8: bool) -> Iterator[tuple[Form, bytes]]:
        """The forms of an email, the fullest first; only the plain one where that is asked for.

        Raises
        ------
        PermanentDeliveryError
            The built-in templates fail; the plain form needs none (`plain_may_work`).
        """
        policy = SMTPUTF8 if utf8 else SMTP
        shown = presentable(message)
        if not delivery.plain:
            pictures = pictures_of(shown, self.timezone) if self.charts else {}
            context = {"limits": limits_of(message), "changes": changes_of(message)}
            text = _text(self.templates.render("email.txt", message=shown))
            for form, charts in ((Form.PICTURES, pictures), (Form.HTML, {})):
                if charts or form is Form.HTML:
                    html = _text(self._html(shown, charts=charts, **context))
                    yield form, self._rich(shown, delivery, text, html, charts).as_bytes(policy=policy)
        plain = self._headed(shown, delivery, EmailMessage())
        plain.set_content(_text(plain_text(shown, PLAIN_LENGTH)), charset="utf-8", cte="quoted-printable")
        yield Form.PLAIN, plain.as_bytes(policy=policy)

    def thread(self, message: Message, delivery: Delivery) -> Mapping[str, Any] | None:
        """What the next messages of the group need to join this one."""
        if message.notification.kind is Kind.TEST:
            return None
        root = root_id(message.notification, delivery.thread, self.sender.domain)
        return {"root": root, "topic": topic_of(presentable(message), delivery.thread)}

    def _html(self, message: Message, **context: Any) -> str:
        return self.templates.render("email.html", message=message, state=state_of(message), **context)

    def _rich(
        self, message: Message, delivery: Delivery, text: str, html: str, pictures: Mapping[int, Picture]
    ) -> EmailMessage:
        mark = digest(message.notification.id, self.channel)
        whole = EmailMessage()
        bodies = _part() if pictures else whole
        bodies["Content-Type"] = "multipart/alternative"
        bodies.set_boundary(f"=_bodies_{mark}")  # no body can hold it: each "=" in one is written as =3D
        for content, subtype in ((text, "plain"), (html, "html")):
            part = _part()
            part.set_content(content, subtype=subtype, charset="utf-8", cte="quoted-printable")
            bodies.attach(part)
        if pictures:
            whole["Content-Type"] = 'multipart/related; type="multipart/alternative"'
            whole.set_boundary(f"=_related_{mark}")
            whole.attach(bodies)
        for number, picture in enumerate(pictures.values(), 1):
            part = _part()
            part.set_content(
                picture.png,
                "image",
                "png",
                cid=f"<{picture.content_id}>",
                disposition="inline",
                filename=f"chart-{number}.png",
            )
            whole.attach(part)
        return self._headed(message, delivery, whole)

    def _headed(self, message: Message, delivery: Delivery, email: EmailMessage) -> EmailMessage:
        email["MIME-Version"] = "1.0"
        for name, value in self._headers(message, delivery):
            email[name] = value
        return email

    def _headers(self, message: Message, delivery: Delivery) -> Iterator[tuple[str, Any]]:
        notification, domain = message.notification, self.sender.domain
        own_title = self.templates.has("title.txt")
        topic = topic_of(message, delivery.thread)
        yield "From", self.sender.header
        yield "To", _listed(self.to)
        if self.cc:
            yield "Cc", _listed(self.cc)
        yield "Subject", line(message.title, 150) if own_title else subject_of(message, topic)
        yield "Date", datetime.fromtimestamp(message.made_at, UTC)
        yield "Message-ID", message_id(notification, self.channel, domain)
        if notification.kind is not Kind.TEST:
            root = root_id(notification, delivery.thread, domain)
            yield "In-Reply-To", root
            yield "References", root
            yield "Thread-Topic", topic
        yield "Auto-Submitted", "auto-generated"
        yield "X-Auto-Response-Suppress", "All"
        yield "List-Id", f"<{_slug(self.channel)}.ml-exporter.{domain.strip('[]').replace(':', '-')}>"
        if message.severity is Severity.CRITICAL and _fires(message):
            yield "Importance", "high"
            yield "X-Priority", "1 (Highest)"
            yield "Priority", "urgent"
        names = list(dict.fromkeys(view.alert.name for view in message.views))
        for name, text in (
            ("X-ML-Severity", message.severity.text),
            ("X-ML-Status", message.status),
            ("X-ML-Kind", notification.kind.value),
            ("X-ML-Model", message.model),
            ("X-ML-Version", message.version),
            ("X-ML-Alerts", ", ".join(line(name, 60) for name in names[:_MOST_NAMES])),
            ("X-ML-Group", notification.group.id),
            ("X-ML-Notification", notification.id),
        ):
            shown = line(text, 200)
            if shown:
                yield name, shown


def _fires(message: Message) -> bool:
    """Whether it tells of something that goes on, not only of what ended."""
    told = any(view.alert.firing for view in message.views) or not message.views
    return message.status == "firing" and told


def _part() -> Any:
    """A part of a message: without the header that only whole ones have."""
    return MIMEPart()


def _listed(boxes: tuple[Mailbox, ...]) -> tuple[Address, ...]:
    return tuple(box.header for box in boxes)


def _text(rendered: str) -> str:
    """Text that UTF-8 can write, with line ends of one kind."""
    whole = rendered.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
    return "\n".join(whole.splitlines()) + "\n"


def _slug(name: str) -> str:
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in name[:40]).strip("-").lower()
    return kept or "mail"
