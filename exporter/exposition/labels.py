"""Label values as both exposition formats take them, whatever text they come from."""

from __future__ import annotations

import re
from hashlib import blake2b

MAX_LABEL_CHARACTERS = 256
"""Longer label values are cut to this length, a hash of the whole included."""

_DIGEST_CHARACTERS = 16
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_PLAIN = re.compile(r"[ -!#-\[\]-~]{0,256}")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def presentable(text: str) -> str:
    """`text` where it can be shown as it is, else a readable part of it and a hash of the whole.

    Control characters (other than tab and newline) and lone surrogates become U+FFFD, and text longer than
    `MAX_LABEL_CHARACTERS` is cut; in both cases `~` and 16 hexadecimal digits of BLAKE2b of the whole text
    follow, so that different texts stay different.

    Examples
    --------
    >>> presentable("AA")
    'AA'
    >>> len(presentable("x" * 10_000))
    256
    """
    if len(text) <= MAX_LABEL_CHARACTERS and not _UNSAFE.search(text):
        return text
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_CHARACTERS // 2).hexdigest()
    kept = MAX_LABEL_CHARACTERS - _DIGEST_CHARACTERS - 1
    return f"{_UNSAFE.sub(chr(0xFFFD), text[:kept])}~{digest}"


def escape(text: str) -> str:
    """A presentable label value between double quotes: backslash, quote and newline escaped."""
    if _PLAIN.fullmatch(text):
        return text
    return presentable(text).translate(_ESCAPES)


def label_text(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    """`{a="1",b="2"}`; labels without a value are left out, which is the same to Prometheus.

    Raises
    ------
    ValueError
        There are not as many values as names.
    """
    pairs = [f'{name}="{escape(value)}"' for name, value in zip(names, values, strict=True) if value]
    return "{" + ",".join(pairs) + "}" if pairs else ""
