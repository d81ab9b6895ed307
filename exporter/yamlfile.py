"""Configuration files: YAML to mappings, with duplicate keys refused and `${ENV}` expanded.

Scalars follow YAML 1.2 where 1.1 surprises: `NO`, `on` and `y` are strings (only `true` and `false` are
booleans), and `12:30` is no number. A key `null` is that word: no setting is named by nothing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from exporter.errors import ConfigurationError

Location = tuple[str | int, ...]
Problem = tuple[Location, str]

_MOST_VALUES = 1_000_000

_VARIABLE = re.compile(r"\$(\$?)\{([^}]*)\}")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


def path_text(location: Location) -> str:
    """`("models", "a b", "windows", 1)` as `models["a b"].windows[1]`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


class _Loader(yaml.SafeLoader):
    """A safe loader that reports duplicate keys and knows YAML 1.2's booleans and numbers."""

    duplicates: list[str]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if key_node.tag == "tag:yaml.org,2002:null" and key_node.value == "null":
                key_node.tag = "tag:yaml.org,2002:str"
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if isinstance(key, Hashable) and key in seen:
                self.duplicates.append(f"line {line}: the key {key!r} was given before, in line {seen[key]}")
            elif isinstance(key, Hashable):
                seen[key] = line
        return super().construct_mapping(node, deep=deep)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    boolean, integer, floating = (f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float"))
    replaced = (boolean, integer, floating)
    kept = {
        first: [(tag, pattern) for tag, pattern in entries if tag not in replaced]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    numbers = "-+0123456789."
    for first in "tTfF":
        kept.setdefault(first, []).append((boolean, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")))
    for first in numbers:
        entries = kept.setdefault(first, [])
        entries.append((integer, re.compile(r"^[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+)$")))
        entries.append(
            (
                floating,
                re.compile(
                    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?"
                    r"|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
                ),
            )
        )
    return kept


_Loader.yaml_implicit_resolvers = _resolvers()


def read_mapping(text: str) -> dict[str, Any]:
    """The mapping at the top of a YAML document.

    Raises
    ------
    ConfigurationError
        The text is no YAML, is no mapping, or gives a key twice (all such keys are listed).
    """
    try:
        loader = _Loader(text)
        loader.duplicates = []
        document = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the file"
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise _one_problem(place, f"this is no YAML: {problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _one_problem("", f"this is no YAML: {str(error).splitlines()[0]}") from error
    if loader.duplicates:
        problems = [tuple(line.split(": ", 1)) for line in loader.duplicates]
        pairs = [(where, what) for where, what in problems]
        raise ConfigurationError("; ".join(loader.duplicates), pairs)
    _check_size(document)
    if not isinstance(document, dict):
        what = "nothing" if document is None else type(document).__name__
        raise _one_problem("", f"expected a mapping of settings at the top, got {what}")
    return document


def _check_size(document: Any) -> None:
    """Refuse aliases that refer to themselves, or multiply without end."""
    waiting, values = [document], 0
    while waiting:
        value = waiting.pop()
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        values += len(inner)
        if values > _MOST_VALUES:
            raise _one_problem("", f"expected at most {_MOST_VALUES} values with all aliases, but more came")
        waiting.extend(inner)


def _one_problem(path: str, message: str) -> ConfigurationError:
    return ConfigurationError(f"{path}: {message}" if path else message, [(path, message)])


def read_file(path: str | Path) -> dict[str, Any]:
    """`read_mapping` of a file; what cannot be opened or is not UTF-8 is a ConfigurationError too."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _one_problem("", f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise _one_problem("", f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    return read_mapping(text)


def expand_environment(value: Any, environment: Mapping[str, str] | None = None) -> tuple[Any, list[Problem]]:
    """`value` with `${NAME}` and `${NAME:-default}` replaced in every string, and the problems met.

    The result of an expansion stays a string and cannot add keys. `$${` stands for `${`.
    """
    variables = os.environ if environment is None else environment
    problems: list[Problem] = []
    return _map_strings(value, (), lambda text, at: _expand(text, at, variables, problems)), problems


def _map_strings(value: Any, location: Location, change: Callable[[str, Location], str]) -> Any:
    if isinstance(value, str):
        return change(value, location)
    if isinstance(value, dict):
        return {key: _map_strings(item, (*location, str(key)), change) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_strings(item, (*location, index), change) for index, item in enumerate(value)]
    return value


def _expand(text: str, location: Location, variables: Mapping[str, str], problems: list[Problem]) -> str:
    def replace(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        name = _NAME.fullmatch(match[2])
        if name is None:
            problems.append((location, f"{match[0]} is no variable; write $${{ for a literal ${{"))
            return ""
        value = variables.get(name[1], name[2])
        if value is None:
            problems.append((location, f"the environment variable {name[1]} is not set"))
            return ""
        return value

    return _VARIABLE.sub(replace, text)
