"""What Alertmanager knows and does not tell: silences, inhibitions, alerts that were missed or are gone.

Its webhooks say nothing of silences. And what a webhook could not bring (the store was new, or an alert
ended while nothing was taken) is not said again. So Alertmanager is asked now and then. Nothing is believed
at once: an alert that it does not have for some minutes has ended, since it forgets everything when it starts
anew; one that it has for some minutes without telling was missed, since it waits before it tells.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from exporter.alerts.aggregation import read_alerts
from exporter.alerts.alertmanager_api import AlertmanagerApi
from exporter.alerts.config import BridgeConfig
from exporter.alerts.heartbeat import Heartbeat
from exporter.alerts.intake import Intake
from exporter.alerts.lives import ALERTMANAGER, end
from exporter.alerts.marks import Marks
from exporter.alerts.payload import parse_webhook
from exporter.alerts.records import Alert, Severity
from exporter.alerts.routing import Router
from exporter.alerts.store.events import append_event
from exporter.alerts.store.store import AlertStore
from exporter.clock import Clock
from exporter.errors import BadRequestError

log = logging.getLogger(__name__)

ENDED_SECONDS = 300.0
"""An alert that Alertmanager does not have for so long has ended; by then it has all again after a start."""

MISSED_SECONDS = 600.0
"""An alert that it has for so long without telling us was missed: twice its usual `group_interval`."""

AT_ONCE = 1000
_RECEIVER = "receiver:"
_ENDS = {"silenced": "unsilenced", "inhibited": "uninhibited"}


class Reconciled(NamedTuple):
    """What was found."""

    missed: int = 0
    ended: int = 0


class _Known(NamedTuple):
    """An alert as Alertmanager has it, in one group."""

    raw: Mapping[str, Any]
    group_labels: Mapping[str, str]
    receiver: str
    suppressed: str | None
    by: Sequence[str]


class Reconciler:
    """Compares what is held with what Alertmanager has; one thread at a time uses it."""

    def __init__(self, config: BridgeConfig, store: AlertStore, clock: Clock, intake: Intake) -> None:
        links = config.links
        self._api = (
            None if links.alertmanager is None else AlertmanagerApi(links.alertmanager, ca_file=links.ca_file)
        )
        self._router = Router(config)
        self._heartbeat = Heartbeat(config, store, clock)
        self._store = store
        self._clock = clock
        self._intake = intake
        self._gone_since: dict[int, float] = {}
        self._untold_since: dict[str, float] = {}

    @property
    def wanted(self) -> bool:
        """Whether there is an Alertmanager to ask."""
        return self._api is not None

    def reconcile(self) -> Reconciled:
        """Ask, and set right what is held.

        Raises
        ------
        AlertmanagerUnavailableError
            It gave no answer that can be used; nothing is changed then.
        """
        if self._api is None:
            return Reconciled()
        receivers = self._receivers()
        if not receivers:
            return Reconciled()
        asked_at = self._clock.time()
        groups = self._api.groups()
        known = _known(groups, receivers)
        everywhere = {
            str(alert.get("fingerprint")) for group in groups for alert in _mappings(group.get("alerts"))
        }
        silences = (
            {str(silence.get("id")): silence for silence in self._api.silences()}
            if any(alert.suppressed == "silenced" for alert in known.values())
            else {}
        )
        held = self._held()
        self._suppress(known, held, silences)
        ended = self._end({row[0]: row[4] for row in held.values() if row[1] not in everywhere}, asked_at)
        missed = self._miss(
            {key: alert for key, alert in known.items() if alert.suppressed is None and key not in held},
            asked_at,
        )
        return Reconciled(missed, ended)

    def _receivers(self) -> set[str]:
        """Names under which Alertmanager calls us."""
        with self._store.read() as connection:
            rows = connection.execute("SELECT key FROM state WHERE key GLOB ?", (f"{_RECEIVER}*",)).fetchall()
        return {key.removeprefix(_RECEIVER) for (key,) in rows}

    def _held(self) -> dict[str, tuple[int, str, str | None, str | None, float]]:
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT id, fingerprint, suppressed, suppressed_by, last_seen FROM alerts"
                " WHERE firing = 1 AND source = ?",
                (ALERTMANAGER,),
            ).fetchall()
        return {row[1]: row for row in rows}

    # -- silences and inhibitions -------------------------------------------------------------------

    def _suppress(
        self,
        known: Mapping[str, _Known],
        held: Mapping[str, tuple[int, str, str | None, str | None, float]],
        silences: Mapping[str, Mapping[str, Any]],
    ) -> None:
        changed: list[tuple[int, str | None, str | None, str | None]] = []
        for fingerprint, (number, _, state, by, _) in held.items():
            alert = known.get(fingerprint)
            if alert is None:
                continue
            said = None if alert.suppressed is None else _text(_who(alert, silences))
            if (alert.suppressed, said) != (state, by):
                changed.append((number, state, alert.suppressed, said))
        for start in range(0, len(changed), AT_ONCE):
            with self._store.write() as connection:
                for number, before, after, said in changed[start : start + AT_ONCE]:
                    self._note(connection, number, before, after, said)

    def _note(
        self,
        connection: sqlite3.Connection,
        number: int,
        before: str | None,
        after: str | None,
        said: str | None,
    ) -> None:
        updated = connection.execute(
            "UPDATE alerts SET suppressed = ?, suppressed_by = ? WHERE id = ? AND firing = 1",
            (after, said, number),
        )
        if not updated.rowcount or before == after:
            return
        now = self._clock.time()
        if before is not None:
            append_event(connection, (number,), now, _ENDS[before])
        if after is not None:
            append_event(connection, (number,), now, after, orjson.loads(said or "{}"))

    # -- alerts that are gone, or were never told ---------------------------------------------------

    def _end(self, gone: Mapping[int, float], now: float) -> int:
        """End what Alertmanager has not had for long, and was not heard of meanwhile."""
        self._gone_since = {number: self._gone_since.get(number, now) for number in gone}
        over = [
            number
            for number, since in self._gone_since.items()
            if now - max(since, gone[number]) >= ENDED_SECONDS
        ]
        ended = 0
        for start in range(0, len(over), AT_ONCE):
            with self._store.write() as connection:
                marks = Marks(connection, self._router, now=now)
                for number in over[start : start + AT_ONCE]:
                    row = connection.execute("SELECT firing FROM alerts WHERE id = ?", (number,)).fetchone()
                    if row is None or not row[0]:
                        continue
                    alert = read_alerts(connection, (number,))[number]
                    why = "Alertmanager does not have it any more"
                    marks.add([end(connection, number, alert, at=now, why=why)])
                    ended += 1
                marks.finish()
        return ended

    def _miss(self, untold: Mapping[str, _Known], now: float) -> int:
        """Take in what Alertmanager has had for long and did not tell."""
        self._untold_since = {key: self._untold_since.get(key, now) for key in untold}
        late = [untold[key] for key, since in self._untold_since.items() if now - since >= MISSED_SECONDS]
        if not late or self._api is None:
            return 0
        timed = self._api.has_time_intervals()
        taken = 0
        by_group: dict[str, list[_Known]] = {}
        for one in late:
            by_group.setdefault(_text({"labels": one.group_labels, "of": one.receiver}), []).append(one)
        for members in by_group.values():
            alerts = [
                alert
                for alert in _alerts(members)
                if not self._heartbeat.matches(alert)
                # it may be muted at this time of day, which is said nowhere
                and (not timed or alert.severity is Severity.CRITICAL)
            ]
            if alerts:
                self._intake.accept(
                    alerts,
                    receiver=members[0].receiver,
                    group_labels=members[0].group_labels,
                    source=ALERTMANAGER,
                )
                taken += len(alerts)
        return taken


def _known(groups: Sequence[Mapping[str, Any]], receivers: set[str]) -> dict[str, _Known]:
    found: dict[str, _Known] = {}
    for group in groups:
        receiver = str(_mapping(group.get("receiver")).get("name", ""))
        if receiver not in receivers:
            continue
        labels = {str(name): str(text) for name, text in _mapping(group.get("labels")).items()}
        for alert in _mappings(group.get("alerts")):
            status = _mapping(alert.get("status"))
            silenced, inhibited = _texts(status.get("silencedBy")), _texts(status.get("inhibitedBy"))
            suppressed = "silenced" if silenced else "inhibited" if inhibited else None
            by = silenced or inhibited
            found[str(alert.get("fingerprint"))] = _Known(alert, labels, receiver, suppressed, by)
    return found


def _who(alert: _Known, silences: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Who silenced it until when and why, or what inhibits it."""
    if alert.suppressed != "silenced":
        return {"fingerprints": list(alert.by)}
    silence = silences.get(alert.by[0], {})
    return {
        "silence": alert.by[0][:100],
        "by": str(silence.get("createdBy", ""))[:200],
        "until": str(silence.get("endsAt", ""))[:40],
        "comment": str(silence.get("comment", ""))[:1000],
    }


def _alerts(members: Sequence[_Known]) -> tuple[Alert, ...]:
    """Alerts of the API as a webhook would have brought them; what cannot be read is left out."""
    keys = ("labels", "annotations", "startsAt", "generatorURL", "fingerprint")
    body = {
        "version": "4",
        "receiver": members[0].receiver,
        "groupKey": "",
        "groupLabels": dict(members[0].group_labels),
        "alerts": [
            {"status": "firing", "endsAt": "0001-01-01T00:00:00Z"}
            | {key: member.raw[key] for key in keys if key in member.raw}
            for member in members
        ],
    }
    try:
        return parse_webhook(orjson.dumps(body)).alerts
    except BadRequestError as error:
        log.warning("alerts of Alertmanager's API cannot be read", extra={"error": error.message})
        return ()


def _mapping(given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}


def _mappings(given: Any) -> list[Mapping[str, Any]]:
    return [one for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []


def _texts(given: Any) -> list[str]:
    return [str(one)[:100] for one in given[:20]] if isinstance(given, list) else []


def _text(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
