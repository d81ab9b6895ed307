"""Slack's text format: escaped, linked and cut so that nothing in it means more than it says."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import quote, urlsplit

LONGEST_URL = 3000
LATEST = 4_102_444_800.0
"""2100-01-01; Slack's dates end somewhere, and no alert starts later."""

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
"""Control characters, marks without width, and marks that turn the direction of writing."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_BREAKS = re.compile("\r\n?|[\u0085\u2028\u2029\x0b\x0c]")
_EDGES = re.compile(r"(?<![^\W_])[*_~]+|[*_~]+(?![^\W_])")
"""Where Slack begins or ends bold, italic and struck text: not inside a word."""
_LOOKALIKES = str.maketrans({"*": "\u2217", "_": "\u02cd", "~": "\u223c"})
_GRAVE, _BAR, _QUOTED, _AT = "\u02cb", "\u2223", "\u203a", "\uff20"
_MENTION = re.compile(r"@(?=(?:here|channel|everyone|group)\b)", re.IGNORECASE)
_QUOTE = re.compile(r"^([ \t]*)(?:&gt;)+", re.MULTILINE)
_TOKEN = re.compile(r"<[^<>\n]*>|&(?:amp|lt|gt);|.", re.DOTALL)
_URL_SAFE = "!#$%&'()*+,/:;=?@[]~-._"


def visible(text: Any) -> str:
    r"""The text without what a reader can't see; line breaks are newlines, lone surrogates question marks.

    Examples
    --------
    >>> visible("pay\u202elap\u200b\r\nnow")
    'paylap\nnow'
    """
    whole = "" if text is None else str(text)
    whole = whole.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _UNSEEN.sub("", _BREAKS.sub("\n", whole).replace("\t", " ")).replace("\ufffd", "?")


def escape(text: Any) -> str:
    r"""The text as Slack shows it literally: it links, mentions, quotes and formats nothing.

    `&`, `<` and `>` become entities. For the rest Slack has no escape: backticks, and stars, tildes and
    underscores at the edge of a word, become characters that look alike.

    Examples
    --------
    >>> ascii(escape("<!channel> *a* snake_case & `b`"))
    "'&lt;!channel&gt; \\u2217a\\u2217 snake_case &amp; \\u02cbb\\u02cb'"
    """
    whole = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    whole = _EDGES.sub(lambda match: match[0].translate(_LOOKALIKES), whole.replace("`", _GRAVE))
    return unmentioned(_QUOTE.sub(rf"\1{_QUOTED}", whole))


def unmentioned(text: str) -> str:
    r"""The text with `@here` and its like kept from calling a whole channel.

    Examples
    --------
    >>> ascii(unmentioned("@here a@b.example"))
    "'\\uff20here a@b.example'"
    """
    return _MENTION.sub(_AT, text)


def line(text: Any, limit: int) -> str:
    """Escaped, in one line, of at most `limit` units."""
    return cut(escape(" ".join(visible(str(text)[: 4 * limit]).split())), limit)


def code(text: Any, limit: int = 100) -> str:
    r"""A name in one line of fixed-width text; inside it Slack formats nothing, so names stay as they are.

    Examples
    --------
    >>> code("_id_"), ascii(code("a`b"))
    ('`_id_`', "'`a\\u02cbb`'")
    """
    whole = " ".join(visible(str(text)[: 4 * limit]).split()).replace("`", _GRAVE)
    whole = whole.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"`{unmentioned(cut(whole, max(1, limit - 2)))}`" if whole else ""


def safe_url(url: Any) -> str | None:
    """The URL in characters that end neither a link nor a line; None unless it is one of http or https."""
    whole = str(url).strip()
    if _CONTROL.search(whole):
        return None
    try:
        parts = urlsplit(whole)
        if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
            return None
        encoded = quote(whole.encode("utf-8", "replace"), safe=_URL_SAFE)
    except ValueError:
        return None
    return encoded if len(encoded) <= LONGEST_URL else None


def link(url: Any, text: str) -> str:
    """`<url|text>`, or nothing when the URL is not one of http or https.

    Examples
    --------
    >>> link("http://a.example/?q=a|b&c", "Runbook")
    '<http://a.example/?q=a%7Cb&amp;c|Runbook>'
    >>> link("javascript:alert(1)", "Runbook")
    ''
    """
    safe = safe_url(url)
    if safe is None:
        return ""
    return f"<{safe.replace('&', '&amp;')}|{escape(text).replace('|', _BAR)}>"


def date(seconds: float | None, zone: tzinfo = UTC) -> str:
    """A time that every reader sees in their own zone; in `zone` where Slack can't show that.

    Examples
    --------
    >>> date(1780315200.0)
    '<!date^1780315200^{date_short_pretty} {time}|2026-06-01 12:00 UTC>'
    """
    if seconds is None or not math.isfinite(seconds) or not 0 <= seconds <= LATEST:
        return ""
    otherwise = datetime.fromtimestamp(seconds, zone).strftime("%Y-%m-%d %H:%M %Z").strip()
    return f"<!date^{int(seconds)}^{{date_short_pretty}} {{time}}|{otherwise}>"


def length(text: str) -> int:
    """As JavaScript counts: in units of UTF-16."""
    return len(text) + sum(character > "\uffff" for character in text)


def cut(text: str, limit: int, size: int | None = None) -> str:
    """At most `limit` units (and `size` bytes), ending in an ellipsis where something is missing.

    An entity, a link, a date or a character outside the basic plane is kept whole or left out whole, and a
    fixed-width text that was opened is closed.

    Examples
    --------
    >>> cut("a &amp; b", 5), cut("see <http://a|b> c", 12)
    ('a…', 'see…')
    """
    size = 4 * limit if size is None else size
    if length(text) <= limit and len(text.encode("utf-8", "replace")) <= size:
        return text
    kept: list[str] = []
    units, held = 2, 4  # of the ellipsis and a backtick that closes
    for match in _TOKEN.finditer(text):
        token = match[0]
        units, held = units + length(token), held + len(token.encode("utf-8", "replace"))
        if units > limit or held > size:
            break
        kept.append(token)
    whole = "".join(kept).rstrip()
    return f"{whole}…`" if whole.count("`") % 2 else f"{whole}…"
