"""A message as posts of Slack's Block Kit, within its limits.

Limits are Slack's documented ones, and for a whole message what it was seen to refuse (`msg_blocks_too_long`
at about 13,200 characters). Links are links in the text: a button, even one that only opens a page, makes
Slack call the app back, and shows a warning to whoever clicks when nothing answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, Final

from exporter.alerts.composing import mrkdwn
from exporter.alerts.records import Change, Kind, Message, Severity, View

MOST_BLOCKS: Final = 45
"""Of one post; Slack takes 50."""
SECTION_LENGTH: Final = 2900
"""Of the text of a section; Slack takes 3,000."""
SECTION_SIZE: Final = 6000
"""The same in bytes of UTF-8."""
HEADER_LENGTH: Final = 150
POST_SIZE: Final = 12_000
"""Bytes of all blocks of a post as JSON; Slack refuses about 13,200 characters."""
FALLBACK_LENGTH: Final = 1500
PLAIN_LENGTH: Final = 3500
"""Slack cuts longer texts into several messages."""
FULL_ALERTS: Final = 5
"""Up to so many alerts have a section and links of their own; more are told of in a line each."""
LINE_LENGTH: Final = 700
"""Of an alert in one line, its invisible parts (the date) included."""
HEADER_SIZE: Final = 1000
"""More than a header takes."""

Block = dict[str, Any]
Writer = Callable[[Message, View], str]
"""Writes one alert in mrkdwn."""

_SEVERITIES = {
    Severity.CRITICAL: ("🔴", "Critical"),
    Severity.WARNING: ("🟠", "Warning"),
    Severity.INFO: ("🔵", "Info"),
}
_RESOLVED = ("✅", "Resolved")
_NO_DATA = ("⚪", "No data")
_LINKS = {
    "dashboard": "Dashboard",
    "runbook": "Runbook",
    "silence": "Silence",
    "alertmanager": "Alertmanager",
}
_COMMON = {"alertname", "severity", "window", "method", "role", "instance", "job"}
"""Labels that do not tell one alert of a message from another."""
_BETWEEN = re.compile(r"[\s:,;()]+")
_BLOCK_OVERHEAD = 64


@dataclass(frozen=True, slots=True)
class Post:
    """One call of Slack.

    Attributes
    ----------
    text : str
        What notifications and screen readers say; all there is in the plain form.
    blocks : tuple of dict
    until : int
        Alerts that are told of by this post and those before it.
    """

    text: str
    blocks: tuple[Block, ...] = ()
    until: int = 0

    def body(self) -> dict[str, Any]:
        """The part of the call's body that says what is shown."""
        body: dict[str, Any] = {"text": self.text, "unfurl_links": False, "unfurl_media": False}
        return body | ({"blocks": list(self.blocks)} if self.blocks else {"mrkdwn": False})


def posts_of(message: Message, write: Writer, *, zone: tzinfo = UTC, note: str = "") -> list[Post]:
    """The message in as many posts as it needs, each of whole alerts; `note` ends the first one."""
    groups = _alert_groups(message, write)
    first = [_header(message, ""), *_fields(message), *_text_blocks(message)]
    last = [*_links_block(message), _footer(message, zone, note)]
    pages = _pages(groups, size_of(first) + size_of(last), len(first) + len(last))
    text = mrkdwn.cut(_fallback(message), FALLBACK_LENGTH)
    posts: list[Post] = []
    for index, page in enumerate(pages):
        of = f" ({index + 1}/{len(pages)})" if len(pages) > 1 else ""
        inner = [block for group in page for block in group.blocks]
        if index == 0:
            inner = [*first[1:], *inner, *last]
        elif inner and inner[0]["type"] == "divider":
            inner = inner[1:]
        until = sum(group.alerts for group in page) + (posts[-1].until if posts else 0)
        said = text if index == 0 else heading(message) + of
        posts.append(Post(said, (_header(message, of), *inner), until))
    return posts


def plain_post(message: Message, *, zone: tzinfo = UTC) -> Post:
    """The message as text without any form, in one post; what does not fit is counted."""
    notification = message.notification
    lines = [heading(message)]
    if notification.text and notification.text not in message.title:
        lines.append(mrkdwn.line(notification.text, 500))
    used, told = sum(mrkdwn.length(line) + 1 for line in lines), 0
    for view in message.views:
        alert = view.alert
        since = mrkdwn.date(alert.starts_at, zone).rpartition("|")[2].rstrip(">")
        what = view.what or view.summary or alert.name
        ending = f", {view.ending}" if view.ending else ""
        about = _subject(message, view)
        state = f"({alert.severity.text}, {view.change.value}{ending})"
        said = f"- {alert.name}{f' {about}' if about else ''} {state}: {what}, since {since}"
        line = mrkdwn.line(said, 600)
        if used + mrkdwn.length(line) + 1 > PLAIN_LENGTH - 100:
            break
        lines.append(line)
        used, told = used + mrkdwn.length(line) + 1, told + 1
    left_out = len(message.views) - told + notification.omitted
    if left_out:
        lines.append(f"... and {left_out} more")
    return Post(mrkdwn.cut("\n".join(lines), PLAIN_LENGTH))


def heading(message: Message, limit: int = HEADER_LENGTH) -> str:
    """Sign, word and title in one line of escaped text."""
    return mrkdwn.line(_title(message), limit)


def size_of(blocks: Sequence[Block]) -> int:
    """Bytes as JSON, and what Slack adds to each."""
    return sum(
        len(json.dumps(block, ensure_ascii=False).encode("utf-8", "replace")) + _BLOCK_OVERHEAD
        for block in blocks
    )


def _state(message: Message) -> tuple[str, str]:
    """Sign and word; never the colour alone."""
    if message.notification.kind is Kind.TEST:
        return ("🧪", "Test")
    if message.status != "resolved":
        return _SEVERITIES[message.severity]
    endings = {view.ending for view in message.views}
    return _NO_DATA if "no data" in endings else _RESOLVED


def _title(message: Message) -> str:
    """Sign, word and title; the word only once."""
    sign, word = _state(message)
    title = " ".join(mrkdwn.visible(message.title[:1000]).split())
    if not title:
        return f"{sign} {word}"
    said = title.startswith("[") or (
        message.status == "resolved"
        and title.casefold().startswith((word.casefold(), "resolved", "recovered", "no data"))
    )
    return f"{sign} {title}" if said else f"{sign} {word}: {title}"


def _header(message: Message, of: str) -> Block:
    text = _cut_plain(mrkdwn.unmentioned(_title(message)), HEADER_LENGTH - len(of)) + of
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": True}}


def _cut_plain(text: str, limit: int) -> str:
    if mrkdwn.length(text) <= limit:
        return text
    kept, units = [], 1
    for character in text:
        units += mrkdwn.length(character)
        if units > limit:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "…"


def _fields(message: Message) -> list[Block]:
    """Model, version and counts, in two columns."""
    notification = message.notification
    fields = []
    if message.model:
        fields.append(f"*Model*\n{mrkdwn.code(message.model)}")
    if message.version:
        fields.append(f"*Version*\n{mrkdwn.code(message.version)}")
    if message.views or notification.omitted:
        over = sum(view.change in {Change.RESOLVED, Change.PASSED} for view in message.views)
        fields.append(f"*Firing now*\n{notification.firing:,}")
        fields.append(f"*Resolved now*\n{over:,}")
    return [{"type": "section", "fields": [_mrkdwn(field) for field in fields]}] if fields else []


def _text_blocks(message: Message) -> list[Block]:
    """What a message without alerts says."""
    text = mrkdwn.cut(mrkdwn.escape(message.notification.text[:4000]).strip(), 1000)
    return [_section(text)] if text and not message.views else []


@dataclass(frozen=True, slots=True)
class _Group:
    """Blocks that stay together, and how many alerts they tell of."""

    blocks: tuple[Block, ...]
    alerts: int


def _alert_groups(message: Message, write: Writer) -> list[_Group]:
    full = len(message.views) <= FULL_ALERTS
    texts = []
    for view in message.views:
        text = written(write(message, view)) or mrkdwn.line(view.summary or view.alert.name or "alert", 300)
        own = {name: url for name, url in view.links.items() if message.links.get(name) != url}
        links = _links_of(own, 900) if full and len(message.views) > 1 else ""
        room = SECTION_LENGTH - mrkdwn.length(links) - 1 if full else LINE_LENGTH
        text = mrkdwn.cut(text, room, SECTION_SIZE - 1000)
        texts.append(f"{text}\n{links}" if links else text)
    if not full:
        return [_Group((_section(text),), alerts) for text, alerts in _joined(texts)]
    divider: Block = {"type": "divider"}
    return [
        _Group((divider, _section(text)) if index else (_section(text),), 1)
        for index, text in enumerate(texts)
    ]


def written(text: str) -> str:
    """What a template wrote, without empty lines and what nobody can see."""
    lines = (line.strip() for line in mrkdwn.visible(text).split("\n"))
    return mrkdwn.unmentioned("\n".join(line for line in lines if line))


def _joined(texts: Sequence[str]) -> list[tuple[str, int]]:
    """As few texts as they fit in, none cut, and how many are in each."""
    made: list[tuple[str, int]] = []
    for text in texts:
        if made:
            longer = f"{made[-1][0]}\n{text}"
            if mrkdwn.length(longer) <= SECTION_LENGTH and len(longer.encode()) <= SECTION_SIZE:
                made[-1] = (longer, made[-1][1] + 1)
                continue
        made.append((text, 1))
    return made


def _pages(groups: Sequence[_Group], used: int, blocks: int) -> list[list[_Group]]:
    """Groups on pages; `used` bytes and `blocks` of the first one are taken already."""
    pages: list[list[_Group]] = [[]]
    for group in groups:
        more = size_of(group.blocks)
        if pages[-1] and (used + more > POST_SIZE or blocks + len(group.blocks) > MOST_BLOCKS):
            pages.append([])
            used, blocks = HEADER_SIZE, 1
        pages[-1].append(group)
        used, blocks = used + more, blocks + len(group.blocks)
    return pages


def _links_of(links: Mapping[str, str], limit: int) -> str:
    """Links in one line, as many as fit."""
    line = ""
    for name, text in _LINKS.items():
        made = mrkdwn.link(links[name], text) if links.get(name) else ""
        if made and mrkdwn.length(line) + mrkdwn.length(made) + 3 <= limit:
            line += f" · {made}" if line else made
    return line


def _links_block(message: Message) -> list[Block]:
    links = dict(message.views[0].links) | dict(message.links) if len(message.views) == 1 else message.links
    line = _links_of(links, 2000)
    return [_section(line)] if line else []


def _footer(message: Message, zone: tzinfo, note: str) -> Block:
    notification = message.notification
    parts = [f"Notification {mrkdwn.code(notification.id, 60)}", mrkdwn.date(message.made_at, zone)]
    if notification.omitted:
        parts.insert(0, f"{notification.omitted:,} more alerts are not listed")
    if note:
        parts.append(note)
    return _context(" · ".join(part for part in parts if part))


def _fallback(message: Message) -> str:
    """What a notification on a phone and a screen reader say: the title, and what changed."""
    lines = [heading(message)]
    if message.notification.text and not message.views:
        lines.append(mrkdwn.line(message.notification.text, 500))
    for view in message.views[:FULL_ALERTS]:
        ending = f" ({mrkdwn.line(view.ending, 40)})" if view.ending else ""
        about = _subject(message, view)
        what = f"{about}: {view.what or view.summary}" if about else view.what or view.summary
        lines.append(f"{mrkdwn.line(what, 250)}{ending}")
    return "\n".join(line for line in lines if line)


def _subject(message: Message, view: View) -> str:
    """What distinguishes the alert from others of its kind, where that is not said already."""
    words = set(_BETWEEN.split(view.what or view.summary))
    known = _COMMON | ({"model"} if message.model else set()) | ({"version"} if message.version else set())
    found = [
        f"{name[:40]}={value[:60]}"
        for name, value in view.alert.labels.items()
        if value and name not in known and (len(value) < 2 or value not in words)
    ]
    return ", ".join(found[:4])


def _section(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text)}


def _context(text: str) -> Block:
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _mrkdwn(text: str) -> Block:
    """Text that Slack formats, but in which it finds no names, addresses or mentions by itself."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}
