"""Alerts to routes and groups."""

from __future__ import annotations

import pytest

from exporter.alerts.config import parse_bridge_config
from exporter.alerts.records import Severity
from exporter.alerts.routing import REMEMBERED, Router, group_id
from exporter.errors import ConfigurationError
from tests.alerts.bridging import HOOK


def router(*routes, **settings):
    return Router(
        parse_bridge_config({"channels": {"a": HOOK, "b": HOOK}, "routes": list(routes)} | settings)
    )


def names(made, **labels):
    return [route.name for route in made.routes_of(labels)]


def test_first_match_wins_unless_it_goes_on():
    """Routes are tried in their order; `continue` tries the ones below too."""
    made = router(
        {"name": "all", "channels": ["a"], "continue": True},
        {"name": "one", "matchers": ["model=fraud"], "channels": ["a"]},
        {"matchers": ['severity=~"warning|info"'], "channels": ["b"]},
    )
    assert names(made, model="fraud", severity="info") == ["all", "one"]
    assert names(made, model="churn", severity="info") == ["all", "routes[2]"]
    assert names(made, severity="critical") == ["all"]


def test_without_routes_everything_goes_to_every_channel():
    """The least configuration tells everybody everything."""
    (route,) = router().routes_of({})
    assert (route.name, route.channels) == ("everything", ("a", "b"))


def test_answers_are_remembered_by_the_labels_that_are_asked_for():
    """Other labels don't matter, and what is remembered stays bounded."""
    made = router({"matchers": ["model=~m.*"], "channels": ["a"]})
    for number in range(REMEMBERED + 10):
        assert names(made, model=f"m{number}", column="x") == ["routes[0]"]
    assert len(made._remembered) <= REMEMBERED
    assert names(made, model="x", column="m1") == []


@pytest.mark.parametrize(
    ("route", "severity", "seconds"),
    [
        ({}, Severity.CRITICAL, 0.0),
        ({}, Severity.WARNING, 3600.0),
        ({"aggregation_window": "5m"}, Severity.CRITICAL, 300.0),
        ({"aggregation_window": "0s"}, Severity.INFO, 0.0),
    ],
)
def test_windows_are_the_routes_else_none_for_critical(route, severity, seconds):
    """A route's own window holds for all of it; without one critical alerts wait for nothing."""
    made = router({"channels": ["a"]} | route)
    assert made.window(made.routes["routes[0]"], severity) == seconds


def test_groups_outlive_the_order_of_labels_but_not_their_values():
    """A group's name depends on its route and labels alone."""
    assert group_id("r", {"a": "1", "b": "2"}) == group_id("r", {"b": "2", "a": "1"})
    assert len({group_id("r", {"a": "1"}), group_id("r", {"a": "2"}), group_id("s", {"a": "1"})}) == 3


def test_two_routes_of_one_name_are_refused():
    """Groups belong to a route by its name, so a name stands for one route."""
    with pytest.raises(ConfigurationError, match=r"routes\[1\].name: .*x is the name of routes\[0\]"):
        router({"name": "x", "channels": ["a"]}, {"name": "x", "channels": ["b"]})


def test_matchers_of_the_heartbeat_are_checked():
    """A matcher that cannot be read is named when the configuration is."""
    with pytest.raises(ConfigurationError, match="expected a matcher"):
        router(heartbeat={"matchers": ["what is this"]})
