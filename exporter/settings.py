"""What all configuration models share: strictness, secrets from files, and readable problems."""

from __future__ import annotations

import difflib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from exporter.durations import parse_duration
from exporter.yamlfile import Location, Problem

DurationSeconds = Annotated[float, BeforeValidator(parse_duration)]
"""A duration such as `1h30m`, kept as seconds."""


class Settings(BaseModel):
    """A frozen part of a configuration. Unknown keys are errors, and each secret `x` may come as `x_file`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        values = dict(given)
        for name, field in cls.model_fields.items():
            source = f"{name}_file"
            if source not in values or not _mentions(field.annotation, SecretStr):
                continue
            if name in values:
                raise _problem(f"give either {name} or {source}, not both")
            path = values.pop(source)
            try:
                values[name] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, TypeError, UnicodeDecodeError) as error:
                raise _problem(f"{source}: cannot read {path}: {error}") from error
        return values


def _problem(message: str) -> PydanticCustomError:
    return PydanticCustomError("setting", "{text}", {"text": message})


def _mentions(annotation: Any, wanted: type) -> bool:
    return annotation is wanted or any(_mentions(argument, wanted) for argument in get_args(annotation))


def suggestion(name: str, known: list[str]) -> str:
    """`; did you mean x?` for the nearest known name, or the list of all when nothing is near."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"


def problems_of(error: ValidationError, model: type[BaseModel], given: object) -> list[Problem]:
    """Every problem of validating `given`, with its location below `model`."""
    found: dict[Location, str] = {}
    alternatives: dict[Location, str] = {}
    details = error.errors(include_url=False)
    for detail in details:
        if detail["type"] == "too_short" and any(other["loc"][:-1] == detail["loc"] for other in details):
            continue  # it is short because its elements were refused
        location, inside_union = _written(detail["loc"], given, missing=detail["type"] == "missing")
        text = _sentence(detail["type"], detail["msg"], location, model, given)
        target = alternatives if inside_union else found
        target[location] = (
            f"{target[location]}, or {text.removeprefix('expected ')}" if location in target else text
        )
    deepest = {
        location: text
        for location, text in alternatives.items()
        if not any(other != location and other[: len(location)] == location for other in alternatives)
    }
    return [*found.items(), *deepest.items()]


def _written(parts: tuple[int | str, ...], given: object, *, missing: bool) -> tuple[Location, bool]:
    """What of pydantic's location stands in the file, and whether names of types were left out."""
    location: list[str | int] = []
    inside_union = False
    here: Any = given
    for index, part in enumerate(parts):
        if _holds(here, part):
            here = here[part]
        elif not (missing and index == len(parts) - 1):
            inside_union = inside_union or part != "[key]"
            continue
        location.append(part)
    return tuple(location), inside_union


def _holds(value: object, part: int | str) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, list | tuple) and isinstance(part, int) and part < len(value)


def _sentence(kind: str, message: str, location: Location, model: type[BaseModel], given: object) -> str:
    if kind == "extra_forbidden":
        return "unknown key" + suggestion(str(location[-1]), _keys_at(model, location[:-1], given))
    if kind == "missing":
        return "this key is needed"
    if kind == "model_type":
        return "expected a mapping"
    if kind == "union_tag_not_found":
        return f"the key {message.rpartition(' ')[2]} is needed: it says which settings these are"
    if kind == "union_tag_invalid":
        return f"expected a type of {message.rpartition('expected tags: ')[2]}"
    message = message.removeprefix("Value error, ")
    begin = "Input should be "
    return "expected " + message.removeprefix(begin) if message.startswith(begin) else message


def _keys_at(model: type[BaseModel], location: Location, given: object) -> list[str]:
    """Keys that are known where `location` points to."""
    here: Any = model
    value: Any = given
    for part in location:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(part))
            here = field.annotation if field else None
        elif get_args(here):
            here = get_args(here)[-1]
        value = value[part] if _holds(value, part) else None
        here = _inner(here, value)
    if not (isinstance(here, type) and issubclass(here, BaseModel)):
        return []
    names = [_key(name, field) for name, field in here.model_fields.items()]
    secrets = [name for name, field in here.model_fields.items() if _mentions(field.annotation, SecretStr)]
    return names + [f"{name}_file" for name in secrets]


def _key(name: str, field: FieldInfo) -> str:
    """The key that stands in a file for a field."""
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else name


def _inner(annotation: Any, value: object) -> Any:
    """The one class of settings inside Annotated and Optional, else the annotation itself.

    Of several classes it is the one whose `type` the value has.
    """
    if get_origin(annotation) is Annotated:
        return _inner(get_args(annotation)[0], value)
    if get_origin(annotation) in (Union, types.UnionType):
        classes = [_inner(argument, value) for argument in get_args(annotation)]
        models = [c for c in classes if isinstance(c, type) and issubclass(c, BaseModel)]
        kind = value.get("type") if isinstance(value, Mapping) else None
        named = [c for c in models if kind is not None and kind in _types(c)]
        return (named or models or [annotation])[0]
    return annotation


def _types(model: type[BaseModel]) -> tuple[Any, ...]:
    """The values that `type` may have in a class of settings."""
    field = model.model_fields.get("type")
    return get_args(field.annotation) if field else ()
