"""Keeps secrets out of what channels and libraries say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, SecretStr

HIDDEN = "***"
SHORTEST = 6
"""Parts of a secret URL that are shorter than this are not taken for secrets: they are words."""

_WORDS = re.compile(r"[a-z_.-]{1,16}|[0-9]{1,5}")
"""Parts of a path such as `services` or `api` that hide nothing."""


class Redactor:
    """Replaces every secret of some settings, whole or in its parts, by `***`."""

    def __init__(self, *settings: BaseModel) -> None:
        texts = {text for one in settings for secret in _secrets(one) for text in _forms(secret)}
        ordered = sorted(texts, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(text) for text in ordered)) if ordered else None

    def __call__(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _secrets(inner)


def _forms(secret: str) -> Iterator[str]:
    """The secret and what of it may stand alone: parts of a URL, and how they are quoted."""
    for text in (secret, *_parts(secret)):
        for form in (text, quote(text, safe=""), quote(text), unquote(text)):
            if form and (form == secret or len(form) >= SHORTEST):
                yield form


def _parts(secret: str) -> Iterable[str]:
    if "://" not in secret:
        return ()
    try:
        url = urlsplit(secret)
        parts = [url.username, url.password, url.path, url.query, *url.path.split("/")]
        if url.scheme not in ("http", "https"):
            parts.append(url.hostname)  # apprise keeps tokens where others keep hosts
    except ValueError:
        return ()
    parts += [pair.partition("=")[2] for pair in url.query.split("&")]
    return [part for part in parts if part and part != "/" and not _WORDS.fullmatch(part)]
