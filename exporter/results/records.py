"""Frozen dataclasses that are also mappings, and their values in the types of JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, ClassVar


def plain(value: object) -> Any:
    """`value` in the types of JSON: mappings as dicts with text keys, sequences as lists, enums by value."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    item = getattr(value, "item", None)  # NumPy scalars, without knowing NumPy
    return item() if callable(item) else value


class Record(Mapping[str, Any]):
    """A frozen dataclass whose fields are also the keys of a mapping."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __getitem__(self, key: str) -> Any:
        if key not in self.__dataclass_fields__:
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dataclass_fields__)

    def __len__(self) -> int:
        return len(self.__dataclass_fields__)

    def to_dict(self) -> dict[str, Any]:
        """The fields in plain JSON types, nested records included."""
        return {entry.name: plain(getattr(self, entry.name)) for entry in fields(self)}
