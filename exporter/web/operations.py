"""Every operation of the HTTP API: its path, who may use it, and what it takes.

The application's routes and the OpenAPI document are both made from this list, so neither knows an
operation that the other does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from exporter.baseline import BASELINE_TYPE
from exporter.errors import BadRequestError
from exporter.profilefile import PROFILE_TYPE

ROW_TYPES = (
    "application/json",
    "application/x-ndjson",
    "text/csv",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.parquet",
)
JSON_TYPE = "application/json"
METRICS_TYPES = ("text/plain", "application/openmetrics-text")


class Scope(StrEnum):
    """What a token may do."""

    METRICS = "metrics"
    READ = "read"
    PUSH = "push"
    ADMIN = "admin"
    ALERTMANAGER = "alertmanager"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter; `kind` is ``string`` or ``boolean``."""

    kind: str
    description: str
    default: Any = None

    def parse(self, name: str, text: str) -> Any:
        """The value of the text. Raises :class:`BadRequestError` (400)."""
        if self.kind == "boolean":
            if text.lower() not in ("true", "false", "1", "0"):
                raise BadRequestError(
                    f"expected true or false for the query parameter {name}, but {text[:80]!r} came",
                    code="bad_parameter",
                )
            return text.lower() in ("true", "1")
        if not text or len(text) > 1000:
            raise BadRequestError(
                f"expected 1 to 1000 characters for the query parameter {name}, but {len(text)} came",
                code="bad_parameter",
            )
        return text


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path.

    Attributes
    ----------
    name : the handler's name and the OpenAPI ``operationId``
    scope : what the caller needs; None lets everybody in
    query : the parameters that are known; others are refused, unless `query` is None
    accepts : content types of the request's body; none when it has no body
    answers : status code -> what it means, errors that any operation can give left out
    produces : content types of the answer
    """

    name: str
    method: str
    path: str
    scope: Scope | None
    summary: str
    query: Mapping[str, Parameter] | None = field(default_factory=dict)
    accepts: tuple[str, ...] = ()
    answers: Mapping[int, str] = field(default_factory=lambda: {200: "What was asked for."})
    produces: tuple[str, ...] = (JSON_TYPE,)
    keyed: bool = False

    def parse_query(self, arguments: Mapping[str, list[str]]) -> dict[str, Any]:
        """Values of the query parameters, defaults included. Raises :class:`BadRequestError` (400)."""
        if self.query is None:
            return {}
        values = {name: parameter.default for name, parameter in self.query.items()}
        for name, texts in arguments.items():
            parameter = self.query.get(name)
            if parameter is None:
                known = ", ".join(self.query) or "none"
                raise BadRequestError(
                    f"unknown query parameter {name[:80]!r}; known here: {known}", code="unknown_parameter"
                )
            if len(texts) > 1:
                raise BadRequestError(
                    f"expected the query parameter {name} once, but it came {len(texts)} times",
                    code="bad_parameter",
                )
            values[name] = parameter.parse(name, texts[0])
        return values


def parse_time(value: object, what: str) -> float:
    """Seconds since the Unix epoch of an RFC 3339 text (UTC where it names no zone) or of a number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12:
        return float(value)
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            try:
                return parse_time(float(value), what)
            except ValueError:
                pass
        else:
            zoned = moment if moment.tzinfo else moment.fromisoformat(f"{moment.isoformat()}+00:00")
            return zoned.timestamp()
    raise BadRequestError(
        f"expected {what} as an RFC 3339 time or Unix seconds, but {str(value)[:80]!r} came", code="bad_time"
    )


_MODEL = "/api/v1/models/{model}"
_VERSION = Parameter("string", "Version of the model.", "default")
_VIEW = {
    "window": Parameter("string", "Window as configured, for example `1d`; the first one when left out."),
    "version": Parameter("string", "Version of the model; all versions when left out."),
    "segment": Parameter("string", "Segment as `column=value`; the whole model when left out."),
}
_PART = {
    "window": Parameter("string", "Window as configured; all windows when left out."),
    "version": _VIEW["version"],
    "segment": Parameter("string", "Segment as `column=value`; everything when left out."),
}
_SPAN = {
    "from": Parameter("string", "Windows that end at this time or later; RFC 3339 or Unix seconds."),
    "to": Parameter("string", "Windows that end at this time or earlier."),
    "window": _PART["window"],
    "version": _PART["version"],
}
_HISTORY = {
    "measure": Parameter(
        "string",
        "`performance`, `performance_estimate`, `class_performance`, `drift`, `multivariate`, `quality`, "
        "`window`, or a windowed family of `/metrics` by its name.",
        "performance",
    ),
    "metric": Parameter("string", "Only this metric."),
    "column": Parameter("string", "Only this column."),
    "method": Parameter("string", "Only this drift method."),
    **_SPAN,
    "segment": Parameter("string", "Segment as `column=value`; the whole when left out."),
    "limit": Parameter("string", "Most points in one answer, up to 10000.", "1000"),
    "next": Parameter("string", "`next` of the answer before: where this one goes on."),
}
_OPENMETRICS = {
    **_SPAN,
    "segment": Parameter("string", "Segment as `column=value`; the whole and all segments when left out."),
    "step": Parameter("string", "Repeat each value every so often until the next one, for example `4m`."),
}
_ACTIVATE = Parameter("boolean", "Compare with the new baseline at once.", default=True)
_SCOPE = Parameter("string", "Version whose own baseline is meant; that of all versions when left out.")
_REGRID = Parameter(
    "boolean", "Move the model to the new baseline's grid; its windows start anew.", default=False
)
_BACKFILL = Parameter(
    "boolean",
    "Past rows: they never move the windows. Those older than `lateness` are taken for the history only.",
    default=False,
)
_STORED = {202: "Stored durably.", 200: "A repeat of an idempotency key: the first answer again."}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "push_batch",
        "POST",
        f"{_MODEL}/batches",
        Scope.PUSH,
        "Push rows with predictions, labels optional.",
        {"version": _VERSION, "backfill": _BACKFILL},
        ROW_TYPES,
        _STORED,
        keyed=True,
    ),
    Operation(
        "push_labels",
        "POST",
        f"{_MODEL}/labels",
        Scope.PUSH,
        "Push labels by id.",
        {},
        ROW_TYPES,
        _STORED,
        keyed=True,
    ),
    Operation(
        "push_profile",
        "POST",
        f"{_MODEL}/profiles",
        Scope.PUSH,
        "Push a profile made against the current grid.",
        {"version": _VERSION},
        (PROFILE_TYPE,),
        {**_STORED, 409: "The grid is stale; the answer names the current one."},
        keyed=True,
    ),
    Operation(
        "show_grid", "GET", f"{_MODEL}/grid", Scope.READ, "The current grid: what a remote profiler needs."
    ),
    Operation(
        "create_baseline",
        "POST",
        f"{_MODEL}/baselines",
        Scope.ADMIN,
        "Make a baseline from rows, from a past window (`from`, `to`) or from an exported artifact.",
        {
            "version": Parameter(
                "string", "Version; all versions without a baseline of their own when left out."
            ),
            "activate": _ACTIVATE,
            "regrid": _REGRID,
        },
        (*ROW_TYPES, BASELINE_TYPE),
        {201: "The baseline.", 200: "A repeat of an idempotency key: the first answer again."},
        keyed=True,
    ),
    Operation("list_baselines", "GET", f"{_MODEL}/baselines", Scope.READ, "All baselines of a model."),
    Operation("show_baseline", "GET", f"{_MODEL}/baselines/{{baseline}}", Scope.READ, "One baseline."),
    Operation(
        "export_baseline",
        "GET",
        f"{_MODEL}/baselines/{{baseline}}/artifact",
        Scope.READ,
        "One baseline as a file that another exporter imports.",
        produces=(BASELINE_TYPE,),
    ),
    Operation(
        "activate_baseline",
        "POST",
        f"{_MODEL}/baselines/{{baseline}}/activate",
        Scope.ADMIN,
        "Compare with this baseline from now on.",
    ),
    Operation(
        "delete_baseline", "DELETE", f"{_MODEL}/baselines/{{baseline}}", Scope.ADMIN, "Delete one baseline."
    ),
    Operation(
        "compare_baselines",
        "GET",
        f"{_MODEL}/baselines/{{baseline}}/diff",
        Scope.READ,
        "What changed from another baseline to this one: drift, performance, rows, categories.",
        {"with": Parameter("string", "Id of the other baseline; the active one when left out.")},
    ),
    Operation(
        "refresh_baseline",
        "POST",
        f"{_MODEL}/baselines/refresh",
        Scope.ADMIN,
        "Promote the newest window in place of the active baseline, if it is healthy.",
        {"version": _SCOPE, "force": Parameter("boolean", "Even from an unhealthy window.", default=False)},
        answers={201: "The new baseline.", 409: "The window is not healthy; the details say why."},
    ),
    Operation(
        "roll_back_baseline",
        "POST",
        f"{_MODEL}/baselines/rollback",
        Scope.ADMIN,
        "Compare with the baseline that was active before, from now on.",
        {"version": _SCOPE},
        answers={200: "The baseline.", 409: "None was active before, on the grid in use."},
    ),
    Operation("list_models", "GET", "/api/v1/models", Scope.READ, "All models that the caller may see."),
    Operation(
        "show_model",
        "GET",
        _MODEL,
        Scope.READ,
        "Configuration, versions, windows, baseline and last batch.",
    ),
    Operation("performance", "GET", f"{_MODEL}/performance", Scope.READ, "Latest performance.", _VIEW),
    Operation("drift", "GET", f"{_MODEL}/drift", Scope.READ, "Latest drift verdicts.", _VIEW),
    Operation("quality", "GET", f"{_MODEL}/quality", Scope.READ, "Latest data quality.", _VIEW),
    Operation(
        "comparisons",
        "GET",
        f"{_MODEL}/comparisons",
        Scope.READ,
        "Every challenger against the champion, since their comparison began.",
    ),
    Operation("status", "GET", f"{_MODEL}/status", Scope.READ, "What is known, missing and why.", _PART),
    Operation(
        "segments",
        "GET",
        f"{_MODEL}/segments",
        Scope.READ,
        "Segments of a window, worst first, and the weak ones that the search found.",
        {
            "window": _VIEW["window"],
            "version": _VIEW["version"],
            "metric": Parameter(
                "string", "What they are ranked by; the first metric with a value when left out."
            ),
            "limit": Parameter("string", "Most segments in one answer, up to 1000.", "100"),
            "next": Parameter("string", "`next` of the answer before: where this one goes on."),
        },
    ),
    Operation(
        "curves",
        "GET",
        f"{_MODEL}/curves",
        Scope.READ,
        "A curve over all thresholds, of a window and of its baseline.",
        {
            "curve": Parameter(
                "string", "`roc`, `pr`, `calibration`, `gain`, or `thresholds` for a table.", "roc"
            ),
            "class": Parameter("string", "Class against the rest; required in multiclass."),
            "window": _VIEW["window"],
            "version": Parameter("string", "Version of the model; the first by name when left out."),
            "segment": _VIEW["segment"],
        },
    ),
    Operation(
        "distributions",
        "GET",
        f"{_MODEL}/distributions",
        Scope.READ,
        "Histograms of baseline and window.",
        {
            "column": Parameter("string", "Column; required."),
            "window": _VIEW["window"],
            "version": _VIEW["version"],
        },
    ),
    Operation(
        "history", "GET", f"{_MODEL}/history", Scope.READ, "What earlier evaluations said, by time.", _HISTORY
    ),
    Operation(
        "export_history",
        "GET",
        f"{_MODEL}/history/openmetrics",
        Scope.READ,
        "The history as OpenMetrics with timestamps, for `promtool tsdb create-blocks-from openmetrics`.",
        _OPENMETRICS,
        produces=METRICS_TYPES[1:],
    ),
    Operation(
        "delete_data",
        "DELETE",
        f"{_MODEL}/data",
        Scope.ADMIN,
        "Forget a model's data; configuration stays.",
    ),
    Operation(
        "delete_version",
        "DELETE",
        f"{_MODEL}/versions/{{version}}",
        Scope.ADMIN,
        "Forget one version's data.",
    ),
    Operation("openapi", "GET", "/api/v1/openapi.json", Scope.READ, "This document."),
    Operation(
        "metrics",
        "GET",
        "/metrics",
        Scope.METRICS,
        "The exposition, as text or OpenMetrics.",
        None,
        produces=METRICS_TYPES,
    ),
    Operation(
        "healthy", "GET", "/-/healthy", None, "200 while the process lives.", None, produces=("text/plain",)
    ),
    Operation(
        "ready",
        "GET",
        "/-/ready",
        None,
        "200 once the store is recovered.",
        None,
        answers={200: "Ready.", 503: "Recovering or stopping."},
        produces=("text/plain",),
    ),
    Operation("overview", "GET", "/", Scope.READ, "The web page.", None, produces=("text/html",)),
)
