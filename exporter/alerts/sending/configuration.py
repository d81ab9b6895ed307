"""Arguments of :class:`exporter.alerts.alert_manager.AlertManager` to the bridge's configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.alerts.config import BridgeConfig, parse_bridge_config
from exporter.errors import ConfigurationError
from exporter.yamlfile import read_file

_EMAIL, _SLACK = "email", "slack"
_ARGUMENTS = {f"channels.{_EMAIL}": "email_config", f"channels.{_SLACK}": "slack_webhook"}


def manager_config(
    config: Mapping[str, Any] | str | Path | None = None,
    *,
    email_config: Mapping[str, Any] | None = None,
    slack_webhook: str | Mapping[str, Any] | None = None,
    aggregation_window: float | str | None = None,
    severity_levels: Sequence[str] | None = None,
) -> BridgeConfig:
    """The configuration; raises :class:`ConfigurationError` whose paths are names of arguments."""
    if config is not None and (email_config is not None or slack_webhook is not None):
        problem = "give either config or email_config and slack_webhook: config has channels of its own"
        raise ConfigurationError(problem, [("config", problem)])
    settings: dict[str, Any] = {"channels": _channels(email_config, slack_webhook)}
    if config is not None:
        settings = _whole(config)
    if aggregation_window is not None:
        settings["aggregation_window"] = duration_text(aggregation_window)
    if severity_levels is not None:
        if isinstance(severity_levels, str):
            problem = f"expected a list of severities, got {severity_levels!r}"
            raise ConfigurationError(f"severity_levels: {problem}", [("severity_levels", problem)])
        settings["severity_levels"] = list(severity_levels)
    try:
        return parse_bridge_config(settings)
    except ConfigurationError as error:
        if config is not None:
            raise
        problems = [(_argument(path), message) for path, message in error.problems]
        text = "; ".join(f"{path}: {message}" if path else message for path, message in problems)
        raise ConfigurationError(text, problems) from None


def _whole(config: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    if isinstance(config, str | Path):
        return read_file(config)
    if not isinstance(config, Mapping):
        problem = f"expected a mapping or the path of a file, got {type(config).__name__}"
        raise ConfigurationError(f"config: {problem}", [("config", problem)])
    return dict(config)


def _channels(
    email_config: Mapping[str, Any] | None, slack_webhook: str | Mapping[str, Any] | None
) -> dict[str, Any]:
    channels: dict[str, Any] = {}
    if email_config is not None:
        channels[_EMAIL] = _settings(email_config, "email_config", "email")
    if slack_webhook is not None:
        given = {"webhook_url": slack_webhook} if isinstance(slack_webhook, str) else slack_webhook
        channels[_SLACK] = _settings(given, "slack_webhook", "slack")
    return channels


def _settings(given: Mapping[str, Any], argument: str, kind: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        problem = f"expected a mapping with the keys of the {kind} channel, got {type(given).__name__}"
        raise ConfigurationError(f"{argument}: {problem}", [(argument, problem)])
    if given.get("type", kind) != kind:
        problem = f"expected the type {kind}, which may be left out, got {given['type']!r}"
        raise ConfigurationError(f"{argument}.type: {problem}", [(f"{argument}.type", problem)])
    return {**given, "type": kind}


def duration_text(given: float | str) -> float | str:
    """A number of seconds in the form that the configuration takes; anything else as it is."""
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < 1e6:
        return f"{round(given * 1000)}ms"
    return given


def _argument(path: str) -> str:
    """The path in the arguments of a path in the configuration."""
    for inner, argument in _ARGUMENTS.items():
        if path == inner or path.startswith((f"{inner}.", f"{inner}[")):
            return argument + path[len(inner) :]
    return path
