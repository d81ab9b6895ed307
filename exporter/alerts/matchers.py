"""Matchers in Alertmanager's form: `severity="critical"`, `model=~"fraud.*"`, `team!=risk`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

_FORM = re.compile(r"""\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|[^"\s,{}]*)\s*""")


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; a label that is absent is the empty text."""

    label: str
    operator: str
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        text = labels.get(self.label, "")
        if self.operator in ("=", "!="):
            return (text == self.value) == (self.operator == "=")
        found = pc.match_substring_regex(pa.scalar(text), f"^(?:{self.value})$").as_py()
        return bool(found) == (self.operator == "=~")


def parse_matcher(text: str) -> Matcher:
    """The matcher of a text. Regular expressions are RE2's, anchored at both ends, as in Alertmanager.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> parse_matcher('severity=~"warning|info"').matches({"severity": "info"})
    True
    """
    match = _FORM.fullmatch(text)
    if match is None:
        message = f'expected a matcher such as severity="critical" or model=~"fraud.*", got {text!r}'
        raise ValueError(message)
    label, operator, value = match.groups()
    if value.startswith('"'):
        try:
            value = json.loads(value)
        except ValueError as error:
            message = f"expected a quoted text with known escapes in {text!r}"
            raise ValueError(message) from error
    matcher = Matcher(label, operator, value)
    if operator in ("=~", "!~"):
        try:
            matcher.matches({})
        except pa.ArrowInvalid as error:
            message = f"expected a regular expression in RE2's form in {text!r}: {error}"
            raise ValueError(message) from error
    return matcher
