"""A file or a mapping to a `Config`, with every problem and the place where it was written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from exporter.config.misfits import misfits
from exporter.config.model import ModelConfig, name_problem
from exporter.errors import ConfigurationError
from exporter.settings import Settings, problems_of, suggestion
from exporter.yamlfile import Location, Problem, expand_environment, path_text, read_file


class Config(Settings):
    """The whole file."""

    models: dict[str, ModelConfig]


def load_config(path: str | Path, environment: Mapping[str, str] | None = None) -> Config:
    """The configuration in a YAML file.

    Raises
    ------
    ConfigurationError
        `problems` lists every (path, message) found.
    """
    return parse_config(read_file(path), environment)


def parse_config(mapping: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Config:
    """The configuration in a mapping, `defaults` merged into each model; raises ConfigurationError.

    Examples
    --------
    >>> parse_config({"models": {"m": {"task": "binary", "windows": ["1h"]}}}).models["m"].resolution
    150.0
    """
    given, problems = expand_environment(dict(mapping), environment)
    unexpanded = {location for location, _ in problems}
    for key in given:
        if key not in ("models", "defaults"):
            problems.append(((str(key),), "unknown key" + suggestion(str(key), ["models", "defaults"])))
    defaults = given.get("defaults") or {}
    if not isinstance(defaults, dict):
        problems.append((("defaults",), "expected a mapping"))
        defaults = {}
    known = list(ModelConfig.model_fields)
    for key in defaults:
        if key not in known:
            problems.append((("defaults", str(key)), "unknown key" + suggestion(str(key), known)))
    models = given.get("models")
    if not isinstance(models, dict) or not models:
        problems.append((("models",), "expected a mapping of at least one model"))
        models = {}
    usable_defaults = {key: value for key, value in defaults.items() if key in known}
    parsed = {}
    for name, settings in models.items():
        model, found = _parse_model(name, settings, usable_defaults)
        problems.extend(problem for problem in found if problem[0] not in unexpanded)
        if model is not None:
            parsed[name] = model
    if problems:
        raise _configuration_error(problems)
    return Config(models=parsed)


def _configuration_error(problems: list[Problem]) -> ConfigurationError:
    pairs = list(dict.fromkeys((path_text(location), message) for location, message in problems))
    first = ": ".join(part for part in pairs[0] if part)
    message = first if len(pairs) == 1 else f"{len(pairs)} problems; the first is {first}"
    return ConfigurationError(message, pairs)


def _parse_model(
    name: object, settings: object, defaults: dict[str, Any]
) -> tuple[ModelConfig | None, list[Problem]]:
    at = ("models", str(name))
    wrong_name = name_problem(name)
    problems: list[Problem] = [(at, wrong_name)] if wrong_name else []
    if not isinstance(settings, dict):
        return None, [*problems, (at, "expected a mapping of settings")]
    merged = _merge(defaults, settings)
    try:
        model = ModelConfig.model_validate(merged)
    except ValidationError as error:
        found = problems_of(error, ModelConfig, merged)
        problems += [(_origin(at, location, settings, defaults), text) for location, text in found]
        wrong = {location[0] for location, _ in found if location}
        rest = _without(merged, wrong)
        if rest is not None:
            mixed = [problem for problem in misfits(rest) if problem[0][0] not in wrong]
            problems += [(_origin(at, location, settings, defaults), text) for location, text in mixed]
        return None, problems
    problems += [(_origin(at, location, settings, defaults), text) for location, text in misfits(model)]
    return model, problems


def _without(merged: dict[str, Any], wrong: set[str | int]) -> ModelConfig | None:
    """The model without its wrong settings, so that what remains can be checked against each other."""
    try:
        return ModelConfig.model_validate({key: value for key, value in merged.items() if key not in wrong})
    except ValidationError:
        return None


def _merge(defaults: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(defaults)
    for key, value in settings.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _origin(at: tuple[str, str], location: Location, settings: Any, defaults: Any) -> Location:
    """Where a setting was written: in the model, or else in `defaults`."""
    if _has(defaults, location) and not _has(settings, location):
        return ("defaults", *location)
    return (*at, *location)


def _has(value: Any, location: Location) -> bool:
    for part in location:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return False
    return bool(location)
