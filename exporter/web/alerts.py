"""Requests to the bridge: Alertmanager's webhook, the history of alerts, notifications and their channels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from flask import Response

from exporter.alerts.config import SEVERITIES
from exporter.alerts.questions import DELIVERY_STATES, MOST, STATES
from exporter.errors import BadRequestError, NotFoundError
from exporter.web.answers import json_response
from exporter.web.auth import Caller
from exporter.web.bodies import Bodies
from exporter.web.bridge_protocol import BridgeProtocol
from exporter.web.history import parse_seconds
from exporter.web.limits import MEBIBYTE, WebLimits
from exporter.web.operation import JSON_TYPE, Scope, parse_time

WEBHOOK_BYTES = 8 * MEBIBYTE
_DEFAULT_ENTRIES = 100


class AlertsApi:
    """Handlers of the bridge's operations; its webhooks take no room from what is pushed to the exporter."""

    def __init__(self, bridge: BridgeProtocol, limits: WebLimits) -> None:
        self._bridge = bridge
        self._bodies = Bodies(
            dataclasses.replace(
                limits,
                body_bytes=WEBHOOK_BYTES,
                ingestions=limits.webhooks,
                ingestion_bytes=limits.webhook_bytes,
            )
        )

    def take_webhook(self) -> Response:
        with self._bodies.receive((JSON_TYPE,)) as body:
            return json_response(self._bridge.take(body.plain(WEBHOOK_BYTES)))

    def list_alerts(self, caller: Caller, **asked: str | None) -> Response:
        start, end = _span(asked)
        return json_response(
            self._bridge.alerts(
                model=_visible(caller, asked["model"]),
                severity=_choice("severity", asked["severity"], SEVERITIES),
                state=_choice("state", asked["state"], STATES),
                name=asked["name"],
                start=start,
                end=end,
                limit=_limit(asked["limit"]),
                cursor=asked["next"],
                models=caller.models,
            )
        )

    def show_alert(self, alert: str, caller: Caller) -> Response:
        if not (alert.isascii() and alert.isdigit() and len(alert) < 19):
            raise NotFoundError(f"there is no alert {alert[:80]!r}; ids are whole numbers")
        return json_response(self._bridge.alert(int(alert), models=caller.models))

    def summarize_alerts(self, caller: Caller, **asked: str | None) -> Response:
        start, end = _span(asked)
        return json_response(
            self._bridge.alert_summary(
                model=_visible(caller, asked["model"]),
                start=start,
                end=end,
                step=_step(asked["step"]),
                models=caller.models,
            )
        )

    def list_notifications(self, caller: Caller, **asked: str | None) -> Response:
        return json_response(
            self._bridge.notifications(
                model=_visible(caller, asked["model"]),
                channel=asked["channel"],
                state=_choice("state", asked["state"], DELIVERY_STATES),
                limit=_limit(asked["limit"]),
                cursor=asked["next"],
                models=caller.models,
            )
        )

    def retry_notification(self, notification: str, channel: str | None) -> Response:
        return json_response(self._bridge.retry(notification, channel))

    def test_channel(self, channel: str) -> Response:
        return json_response(self._bridge.test(channel))

    def list_rejected(self) -> Response:
        return json_response(self._bridge.rejected())

    def reload(self) -> Response:
        self._bridge.reload()
        return json_response({"status": "reloaded"})


def _visible(caller: Caller, model: str | None) -> str | None:
    """The model that is asked for. Raises :class:`ForbiddenError` for one that the caller may not see."""
    if model is not None:
        caller.require(Scope.READ, model)
    return model


def _span(asked: Mapping[str, str | None]) -> tuple[float | None, float | None]:
    start, end = (
        None if text is None else parse_time(text, f"the query parameter {name}")
        for name, text in (("from", asked["from"]), ("to", asked["to"]))
    )
    if start is not None and end is not None and start > end:
        raise BadRequestError("expected a time for `from` that is not after `to`", code="bad_time")
    return start, end


def _step(text: str | None) -> float | None:
    if text is None:
        return None
    seconds = parse_seconds(text, "the query parameter step")
    if not 0 < seconds < float("inf"):
        raise BadRequestError(
            f"expected a duration above 0 for the query parameter step, but {text[:80]!r} came",
            code="bad_parameter",
        )
    return seconds


def _choice(name: str, text: str | None, choices: tuple[str, ...]) -> str | None:
    if text is not None and text not in choices:
        raise BadRequestError(
            f"expected one of {', '.join(choices)} for the query parameter {name}, but {text[:80]!r} came",
            code="bad_parameter",
        )
    return text


def _limit(text: str | None) -> int:
    if text is None:
        return _DEFAULT_ENTRIES
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= MOST):
        raise BadRequestError(
            f"expected a whole number from 1 to {MOST} for the query parameter limit, but {text[:80]!r} came",
            code="bad_parameter",
        )
    return int(text)
