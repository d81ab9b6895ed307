"""An alert to its routes, and with a route to its group."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from exporter.alerts.config import BridgeConfig
from exporter.alerts.matchers import Matcher
from exporter.alerts.records import Alert, Group, Severity

EVERYTHING = "everything"
"""Name of the route that there is when the configuration names none."""

REMEMBERED = 4096
"""Answers that are kept; matching regular expressions anew for each alert of a storm would take seconds."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route as it is used.

    Attributes
    ----------
    window : float or None
        Seconds; None for the configuration's.
    group_by : tuple of str or None
        None: the groups are Alertmanager's.
    go_on : bool
        Whether the routes below are tried too.
    """

    name: str
    matchers: tuple[Matcher, ...]
    channels: tuple[str, ...]
    window: float | None = None
    group_by: tuple[str, ...] | None = None
    go_on: bool = False

    def group(self, labels: Mapping[str, str], group_labels: Mapping[str, str]) -> Group:
        """The group of an alert with these labels, which came in a group of Alertmanager's."""
        if self.group_by is not None:
            group_labels = {name: labels[name] for name in self.group_by if name in labels}
        return Group(group_id(self.name, group_labels), self.name, dict(group_labels))


class Router:
    """The routes of a configuration. Holds answers, no state: safe to share between threads."""

    def __init__(self, config: BridgeConfig) -> None:
        routes = [
            Route(
                name=route.name or f"routes[{place}]",
                matchers=route.parsed,
                channels=tuple(dict.fromkeys(route.channels)),
                window=route.aggregation_window,
                group_by=route.group_by,
                go_on=route.go_on,
            )
            for place, route in enumerate(config.routes)
        ] or [Route(EVERYTHING, (), tuple(config.channels))]
        self.routes: Mapping[str, Route] = {route.name: route for route in routes}
        self._window = config.aggregation_window
        self._told = frozenset(Severity.of(name) for name in config.severity_levels)
        self._labels = sorted({matcher.label for route in routes for matcher in route.matchers})
        self._remembered: dict[tuple[str, ...], tuple[Route, ...]] = {}

    def tells_of(self, severity: Severity) -> bool:
        """Whether alerts of this severity are told of at all."""
        return severity in self._told

    def routes_of(self, labels: Mapping[str, str]) -> tuple[Route, ...]:
        """The routes of an alert with these labels, in the configuration's order."""
        key = tuple(labels.get(name, "") for name in self._labels)
        found = self._remembered.get(key)
        if found is None:
            found = tuple(self._matching(labels))
            if len(self._remembered) >= REMEMBERED:
                self._remembered = {}
            self._remembered[key] = found
        return found

    def destinations(self, alert: Alert) -> tuple[Route, ...]:
        """The routes by which an alert is told of; none when its severity is not."""
        return self.routes_of(alert.labels) if self.tells_of(alert.severity) else ()

    def window(self, route: Route, severity: Severity) -> float:
        """Seconds for which changes are collected: the route's, else none for critical alerts."""
        if route.window is not None:
            return route.window
        return 0.0 if severity is Severity.CRITICAL else self._window

    def _matching(self, labels: Mapping[str, str]) -> list[Route]:
        found = []
        for route in self.routes.values():
            if all(matcher.matches(labels) for matcher in route.matchers):
                found.append(route)
                if not route.go_on:
                    break
        return found


def group_id(route: str, labels: Mapping[str, str]) -> str:
    """Short name of a group that lasts as long as its route's name and its labels do.

    Examples
    --------
    >>> group_id("all", {"model": "fraud"}) == group_id("all", {"model": "fraud"})
    True
    """
    content = orjson.dumps([route, dict(labels)], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(content, digest_size=8).hexdigest()
