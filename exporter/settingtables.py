"""Tables of settings, from the models that validate them."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from exporter.durations import format_duration, parse_duration
from exporter.results import Window

Sections = list[tuple[str, type[BaseModel]]]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A table in Markdown."""
    head = list(head)
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return [*lines, ""]


def settings_sections(sections: Sections) -> list[str]:
    """A section for each part of a configuration, and for the parts of those."""
    lines: list[str] = []
    while sections:
        path, settings = sections.pop(0)
        lines += [
            f"## `{path}`{_kind(settings)}",
            "",
            _first_line(settings),
            "",
            *settings_table(settings, path, sections),
        ]
    return lines


def settings_table(settings: type[BaseModel], path: str, sections: Sections) -> list[str]:
    """A row for each key; parts with keys of their own are added to `sections`."""
    rows = []
    documented = _docstrings(settings)
    for name, field in _in_order(settings):
        key = _key(name, field)
        rows.append(
            [
                f"`{key}`",
                _type_text(field.annotation, field.metadata),
                _default(field),
                field.description or documented.get(name, ""),
            ]
        )
        origin = get_origin(_without_none(field.annotation))
        step = {dict: ".<name>", tuple: "[]"}.get(origin, "")
        for inner in _settings_inside(field.annotation):
            place = f"{path}.{key}{step}".removeprefix(".")
            sections.append((place, inner))
    return table(["key", "type", "default", "meaning"], rows)


def _in_order(settings: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """Keys of its own first, then those that it shares with others."""
    own = settings.__annotations__
    return sorted(settings.model_fields.items(), key=lambda item: item[0] not in own)


def _first_line(settings: type[BaseModel]) -> str:
    return (settings.__doc__ or "").strip().splitlines()[0]


def _key(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else name


def _kind(settings: type[BaseModel]) -> str:
    """What tells settings from others at the same place: their `type`, where it has one value."""
    field = settings.model_fields.get("type")
    if field is None or get_origin(field.annotation) is not Literal:
        return ""
    values = get_args(field.annotation)
    return f" of the type `{values[0]}`" if len(values) == 1 else ""


def _docstrings(settings: type[BaseModel]) -> dict[str, str]:
    """What stands below the fields in the source, of the class and those it comes from."""
    found: dict[str, str] = {}
    for owner in reversed(settings.__mro__):
        if owner in (BaseModel, object) or not issubclass(owner, BaseModel):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        for field, text in pairwise(getattr(body, "body", ())):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                found[field.target.id] = " ".join(text.value.value.split())
    return found


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [argument for argument in get_args(annotation) if argument is not type(None)]
        return rest[0] if len(rest) == 1 else annotation
    return annotation


def _settings_inside(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for argument in get_args(annotation) for inner in _settings_inside(argument)]


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "needed" if field.is_required() else ""
    if isinstance(value, BaseModel):
        return ""
    if "Default:" in (field.description or ""):
        return "see there"
    return f"`{_value_text(value, field.metadata)}`" if value not in (None, {}, ()) else ""


def _value_text(value: Any, metadata: list[Any]) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if _is_duration(metadata):
        return format_duration(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_value_text(item, []) for item in value) + "]"
    if isinstance(value, Window):
        return value.name
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _is_duration(metadata: Iterable[Any]) -> bool:
    return any(isinstance(item, BeforeValidator) and item.func is parse_duration for item in metadata)


_NAMES: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    SecretStr: "secret",
    Path: "path",
    date: "date",
    datetime: "time",
    Window: "duration",
}


def _type_text(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type as people say it."""
    if _is_duration(metadata):
        return "duration"
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _type_text(arguments[0], arguments[1:])
    return _composed(get_origin(annotation), arguments) if arguments else _simple(annotation)


def _composed(origin: Any, arguments: tuple[Any, ...]) -> str:
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"list of {_plural(_type_text(arguments[0]))}"
    if origin is dict:
        return f"mapping of {_type_text(arguments[0])} to {_type_text(arguments[1])}"
    parts = [_type_text(argument) for argument in arguments if argument is not type(None)]
    return "value" if len(parts) > 4 else " or ".join(dict.fromkeys(parts))


def _simple(annotation: Any) -> str:
    if issubclass(annotation, Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    return "mapping" if issubclass(annotation, BaseModel) else _NAMES[annotation]


def _plural(text: str) -> str:
    return text if text == "text" or " " in text else f"{text}s"
