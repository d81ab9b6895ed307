"""Every operation of the exporter's HTTP API."""

from __future__ import annotations

from exporter.baseline import BASELINE_TYPE
from exporter.profilefile import PROFILE_TYPE
from exporter.web.bridge_operations import ALERT_OPERATIONS
from exporter.web.operation import JSON_TYPE, METRICS_TYPES, Operation, Parameter, Scope
from exporter.web.process_operations import PROCESS_OPERATIONS
from exporter.web.runbooks import RUNBOOK_OPERATIONS

ROW_TYPES = (
    JSON_TYPE,
    "application/x-ndjson",
    "text/csv",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.parquet",
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

MODEL_OPERATIONS: tuple[Operation, ...] = (
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
    Operation(
        "list_models",
        "GET",
        "/api/v1/models",
        Scope.READ,
        "All models that the caller may see.",
        personal=True,
    ),
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
)

OPERATIONS = (*MODEL_OPERATIONS, *ALERT_OPERATIONS, *RUNBOOK_OPERATIONS, *PROCESS_OPERATIONS)
"""All of the exporter's application, the bridge's in the same process included."""
