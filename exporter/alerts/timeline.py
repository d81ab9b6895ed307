"""Alerts and notifications over time, for panels: so many began and ended, in each step of a span."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from exporter.alerts.composing.figures import rfc3339
from exporter.alerts.records import Severity
from exporter.errors import BadRequestError

MOST_STEPS = 1000

_STEP = "min(CAST(({time} - :start) / :step AS INTEGER), :last)"
_SEEN = "(:models IS NULL OR model IN (SELECT value FROM json_each(:models)))"


def steps(
    connection: sqlite3.Connection,
    *,
    start: float,
    end: float,
    step: float,
    models: Collection[str] | None = None,
) -> list[dict[str, Any]]:
    """What happened in each step from `start` up to `end`.

    Each has `at`, its begin; `begun`, alerts first seen, by severity; `resolved`, alerts that ended;
    `mean_seconds`, how long these had fired (None when none ended); `notifications`, of these models alone.

    Raises
    ------
    BadRequestError
        There would be more than `MOST_STEPS`.
    """
    count = -(-(end - start) // step) if step > 0 else float("inf")
    if count > MOST_STEPS:
        raise BadRequestError(
            f"step: expected at most {MOST_STEPS} steps from `from` to `to`, but {count:g} came",
            code="bad_parameter",
        )
    found = [
        {
            "at": rfc3339(start + place * step),
            "begun": {severity.text: 0 for severity in Severity},
            "resolved": 0,
            "mean_seconds": None,
            "notifications": 0,
        }
        for place in range(max(0, int(count)))
    ]
    values = {
        "start": start,
        "end": end,
        "step": step,
        "last": len(found) - 1,
        "models": None if models is None else orjson.dumps(sorted(models)).decode(),
    }
    begun = connection.execute(
        f"SELECT {_STEP.format(time='first_seen')}, severity, count(*) FROM alerts"  # noqa: S608
        f" WHERE first_seen >= :start AND first_seen < :end AND {_SEEN} GROUP BY 1, 2",
        values,
    )
    for place, severity, number in begun:
        found[place]["begun"][Severity(severity).text] = number
    resolved = connection.execute(
        f"SELECT {_STEP.format(time='resolved_at')}, count(*), avg(resolved_at - starts_at) FROM alerts"  # noqa: S608
        f" WHERE firing = 0 AND resolved_at >= :start AND resolved_at < :end AND {_SEEN} GROUP BY 1",
        values,
    )
    for place, number, mean in resolved:
        found[place].update(resolved=number, mean_seconds=round(mean, 3))
    told = connection.execute(
        f"SELECT {_STEP.format(time='created')}, count(*) FROM notifications"  # noqa: S608
        " WHERE created >= :start AND created < :end AND kind <> 'test' AND (:models IS NULL"
        " OR models <> '[]' AND NOT EXISTS (SELECT 1 FROM json_each(notifications.models) m"
        " WHERE m.value NOT IN (SELECT value FROM json_each(:models)))) GROUP BY 1",
        values,
    )
    for place, number in told:
        found[place]["notifications"] = number
    return found


def added_steps(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The steps of two sets of models as one, when they are of the same span."""
    return [_added(left, right) for left, right in zip(one, other, strict=True)]


def _added(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    resolved = one["resolved"] + other["resolved"]
    seconds = sum((part["mean_seconds"] or 0.0) * part["resolved"] for part in (one, other))
    return {
        "at": one["at"],
        "begun": {name: one["begun"][name] + other["begun"][name] for name in one["begun"]},
        "resolved": resolved,
        "mean_seconds": round(seconds / resolved, 3) if resolved else None,
        "notifications": one["notifications"] + other["notifications"],
    }
