"""Block Kit's documented limits, held strictly: what Slack would refuse is named with its place."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

MOST_BLOCKS = 50
LARGEST_MESSAGE = 13_200
"""Characters of all blocks; not documented, but observed (`msg_blocks_too_long`)."""

_ENTITY = re.compile(r"&(?!amp;|lt;|gt;)")
_TOKEN = re.compile(r"<([^<>]*)>")
_DATE = re.compile(r"!date\^\d+\^[^|^]*(?:\^https?://[^|]+)?\|[^|]+")
_LINK = re.compile(r"(?:https?://|mailto:)[^\s|<>]+(?:\|[^|]+)?")
_UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")

Problems = Iterator[str]


def units(text: str) -> int:
    """As JavaScript counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def problems_of(body: dict[str, Any]) -> list[str]:
    """What is wrong with the body of a message; empty when nothing is."""
    found = list(_message(body))
    return found + list(_unseen(body, ""))


def _message(body: dict[str, Any]) -> Problems:
    blocks, text = body.get("blocks"), body.get("text")
    if not blocks and not text:
        yield "no_text"
    if text is not None:
        yield from _marked(text, "/text")
        if units(text) > 4000:
            yield f"/text: {units(text)} characters would become several messages"
    if blocks is None:
        return
    if not isinstance(blocks, list) or len(blocks) > MOST_BLOCKS:
        yield "/blocks: expected a list of at most 50"
        return
    for index, block in enumerate(blocks):
        yield from _block(block, f"/blocks/{index}")
    size = sum(len(json.dumps(block, ensure_ascii=False)) for block in blocks)
    if size > LARGEST_MESSAGE:
        yield f"/blocks: {size} characters (msg_blocks_too_long)"


def _block(block: dict[str, Any], at: str) -> Problems:
    kinds: dict[str, Callable[[dict[str, Any], str], Problems]] = {
        "header": _header,
        "section": _section,
        "context": _context,
        "divider": lambda block, at: _keys(block, at, {"type"}),
        "actions": _actions,
    }
    check = kinds.get(block.get("type", ""))
    if check is None:
        yield f"{at}: unknown type {block.get('type')!r}"
        return
    yield from check(block, at)


def _keys(value: dict[str, Any], at: str, allowed: set[str]) -> Problems:
    for key in set(value) - allowed - {"block_id"}:
        yield f"{at}: unexpected key {key}"


def _text(value: Any, at: str, most: int, *, kinds: tuple[str, ...] = ("mrkdwn", "plain_text")) -> Problems:
    if not isinstance(value, dict) or value.get("type") not in kinds:
        yield f"{at}: expected a text object of {kinds}"
        return
    text = value.get("text")
    if not isinstance(text, str) or not 1 <= units(text) <= most:
        yield f"{at}: expected 1 to {most} characters, got {units(text) if isinstance(text, str) else text!r}"
        return
    if value["type"] == "mrkdwn":
        yield from _keys(value, at, {"type", "text", "verbatim"})
        yield from _marked(text, at)
    else:
        yield from _keys(value, at, {"type", "text", "emoji"})


def _marked(text: str, at: str) -> Problems:
    """Only what we meant is markup: links of http, dates; nothing half cut."""
    if _ENTITY.search(text):
        yield f"{at}: a bare or cut & in {text[-40:]!r}"
    for token in _TOKEN.findall(text):
        if not (_DATE.fullmatch(token) or _LINK.fullmatch(token)):
            yield f"{at}: unexpected <{token[:60]}>"
    rest = _TOKEN.sub("", text)
    if "<" in rest or ">" in rest:
        yield f"{at}: a bare or cut angle bracket in {rest[-60:]!r}"
    if re.search(r"@(here|channel|everyone)\b", rest, re.IGNORECASE):
        yield f"{at}: a mention"
    if rest.count("`") % 2:
        yield f"{at}: a backtick that nothing closes"
    if "```" in rest:
        yield f"{at}: a block of code"


def _header(block: dict[str, Any], at: str) -> Problems:
    yield from _keys(block, at, {"type", "text"})
    yield from _text(block.get("text"), f"{at}/text", 150, kinds=("plain_text",))


def _section(block: dict[str, Any], at: str) -> Problems:
    yield from _keys(block, at, {"type", "text", "fields", "expand"})
    if "text" not in block and "fields" not in block:
        yield f"{at}: expected text or fields"
    if "text" in block:
        yield from _text(block["text"], f"{at}/text", 3000)
    fields = block.get("fields", [])
    if "fields" in block and not 1 <= len(fields) <= 10:
        yield f"{at}/fields: expected 1 to 10"
    for index, field in enumerate(fields):
        yield from _text(field, f"{at}/fields/{index}", 2000)


def _context(block: dict[str, Any], at: str) -> Problems:
    yield from _keys(block, at, {"type", "elements"})
    elements = block.get("elements", [])
    if not 1 <= len(elements) <= 10:
        yield f"{at}/elements: expected 1 to 10"
    for index, element in enumerate(elements):
        yield from _text(element, f"{at}/elements/{index}", 3000)


def _actions(block: dict[str, Any], at: str) -> Problems:
    yield from _keys(block, at, {"type", "elements"})
    elements = block.get("elements", [])
    if not 1 <= len(elements) <= 25:
        yield f"{at}/elements: expected 1 to 25"
    for index, button in enumerate(elements):
        yield from _text(button.get("text"), f"{at}/elements/{index}/text", 75, kinds=("plain_text",))
        if not 1 <= len(button.get("url", "")) <= 3000:
            yield f"{at}/elements/{index}/url: expected 1 to 3000 characters"


def _unseen(value: Any, at: str) -> Problems:
    """Nothing that a reader can't see, and no half of a surrogate pair."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _unseen(inner, f"{at}/{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unseen(inner, f"{at}/{index}")
    elif isinstance(value, str):
        if _UNSEEN.search(value):
            yield f"{at}: characters that nobody sees"
        if any("\ud800" <= character <= "\udfff" for character in value):
            yield f"{at}: half of a surrogate pair"
