"""Every operation of the notification bridge's HTTP API."""

from __future__ import annotations

from exporter.web.operation import JSON_TYPE, Operation, Parameter, Scope
from exporter.web.process_operations import PROCESS_OPERATIONS
from exporter.web.runbooks import RUNBOOK_OPERATIONS

_PAGE = {
    "limit": Parameter("string", "Most entries in one answer, up to 1000.", "100"),
    "next": Parameter("string", "`next` of the answer before: where this one goes on."),
}
_SPAN = {
    "from": Parameter("string", "Alerts that still fired at this time or later; RFC 3339 or Unix seconds."),
    "to": Parameter("string", "Alerts that began at this time or earlier."),
}
_MODEL = Parameter("string", "Only alerts of this model.")
_ALERTS = {
    "model": _MODEL,
    "severity": Parameter("string", "Only `info`, `warning` or `critical` ones."),
    "state": Parameter("string", "Only `firing`, `resolved`, `silenced` or `inhibited` ones."),
    "name": Parameter("string", "Only alerts of this name (`alertname`)."),
    **_SPAN,
    **_PAGE,
}
_NO_BRIDGE = "There is no such alert, or no bridge runs here and none is asked (`no_bridge`)."

ALERT_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "take_webhook",
        "POST",
        "/alertmanager",
        Scope.ALERTMANAGER,
        "Alertmanager's webhook, version 4 of its payload. Answered once it is durable.",
        None,
        accepts=(JSON_TYPE,),
        answers={
            200: "Kept; `status` is `accepted`, or `duplicate` for an unchanged group that came before.",
            404: "No bridge runs here (`no_bridge`).",
        },
        whole=True,
    ),
    Operation(
        "list_alerts",
        "GET",
        "/api/v1/alerts",
        Scope.READ,
        "Alerts with their state, newest first.",
        _ALERTS,
        answers={200: "`alerts`, and `next` when there are more.", 404: _NO_BRIDGE},
        personal=True,
    ),
    Operation(
        "summarize_alerts",
        "GET",
        "/api/v1/alerts/summary",
        Scope.READ,
        "Alerts counted by model, severity, state and name; with a step also over time.",
        {
            "model": _MODEL,
            **_SPAN,
            "step": Parameter(
                "string",
                "Duration such as `1h`: count what begins, ends and is told in each step from `from` to `to`,"
                " at most 1000.",
            ),
        },
        answers={200: "Counts, and `steps` when a step was asked for.", 404: _NO_BRIDGE},
        personal=True,
    ),
    Operation(
        "show_alert",
        "GET",
        "/api/v1/alerts/{alert}",
        Scope.READ,
        "The whole life of one alert: what happened to it when, and what was told of it where.",
        answers={200: "The alert, its events and its notifications.", 404: _NO_BRIDGE},
        personal=True,
    ),
    Operation(
        "list_notifications",
        "GET",
        "/api/v1/notifications",
        Scope.READ,
        "Notifications with their delivery to each channel, newest first.",
        {
            "model": Parameter("string", "Only notifications of this model."),
            "channel": Parameter("string", "Only deliveries to this channel."),
            "state": Parameter(
                "string",
                "Only those with a `queued`, `leased`, `delivered`, `failed` (a test) or `dead` delivery.",
            ),
            **_PAGE,
        },
        answers={200: "`notifications`, and `next` when there are more.", 404: _NO_BRIDGE},
        personal=True,
    ),
    Operation(
        "retry_notification",
        "POST",
        "/api/v1/notifications/{notification}/retry",
        Scope.ADMIN,
        "Queue the deliveries of a notification that were given up again.",
        {"channel": Parameter("string", "Only the delivery to this channel.")},
        answers={200: "How many deliveries are queued again.", 404: "There is no such notification."},
        whole=True,
    ),
    Operation(
        "test_channel",
        "POST",
        "/api/v1/test/{channel}",
        Scope.ADMIN,
        "Send a test message to one channel at once.",
        answers={
            200: "It was delivered.",
            404: "There is no such channel.",
            502: "The channel did not take it; the message says why.",
        },
        whole=True,
    ),
    Operation(
        "list_rejected",
        "GET",
        "/api/v1/webhooks/rejected",
        Scope.ADMIN,
        "Webhooks that could not be used, newest first, with the reason and what came.",
        answers={200: "`rejected`.", 404: "No bridge runs here (`no_bridge`)."},
        whole=True,
    ),
    Operation(
        "reload",
        "POST",
        "/-/reload",
        Scope.ADMIN,
        "Read the bridge's configuration again; what cannot be used changes nothing.",
        answers={
            200: "It is in force.",
            404: "No bridge runs here (`no_bridge`).",
            422: "It cannot be used; the details name every path.",
        },
        whole=True,
    ),
)

BRIDGE_OPERATIONS = (*ALERT_OPERATIONS, *RUNBOOK_OPERATIONS, *PROCESS_OPERATIONS)
"""All of the bridge's own application."""
