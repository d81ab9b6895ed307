"""The methods of the client, one an operation of the API."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

import orjson
import pyarrow as pa
import requests

from exporter.client.answers import PushReport, RefusedError, UnreachableError, json_object
from exporter.client.encoding import (
    ARROW_TYPE,
    BASELINE_TYPE,
    JSON_TYPE,
    PROFILE_TYPE,
    arrow_bytes,
    as_table,
    idempotency_key,
    rows_per_batch,
)
from exporter.client.transport import Transport

KEY_REUSED = "idempotency_key_reused"
_POINTS = 10_000
_PIECE_BYTES = 1 << 16


class Client:
    """Pushes to and asks one exporter. Not safe to share between threads: give each its own.

    Parameters
    ----------
    url : str
        Of the exporter, without ``/api``.
    token : str, optional
        Bearer token; or `username` and `password`.
    timeout : float
        Seconds to connect, and seconds without a byte of the answer.
    retries : int
        Repetitions of one request.
    deadline : float
        Seconds after which a request is not repeated any more.
    compression : {"zstd", "gzip", None}
        Of request bodies.
    ca_file : path, optional
        Certificates of a private authority.
    session : requests.Session, optional
        To be used and left open; otherwise the client has its own, see `close`.
    batch_rows : int
        Largest number of rows in one request.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        username: str | None = None,
        password: str | None = None,
        timeout: float = 30.0,
        retries: int = 8,
        deadline: float = 300.0,
        compression: Literal["zstd", "gzip"] | None = "zstd",
        ca_file: str | Path | None = None,
        session: requests.Session | None = None,
        batch_rows: int = 10_000,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if batch_rows < 1:
            raise ValueError(f"expected batch_rows of at least 1, got {batch_rows}")
        self._transport = Transport(
            url,
            token=token,
            username=username,
            password=password,
            timeout=timeout,
            retries=retries,
            deadline=deadline,
            compression=compression,
            ca_file=ca_file,
            session=session,
            sleep=sleep,
        )
        self.url = self._transport.url
        self.batch_rows = batch_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    # -- pushing ------------------------------------------------------------------------------------

    def push(self, model: str, data: Any, *, version: str = "default", backfill: bool = False) -> PushReport:
        """Push rows with predictions, labels optional, and wait until they are durable.

        Parameters
        ----------
        data : pandas.DataFrame, pyarrow.Table, mapping of name to values, or sequence of mappings
            A column whose values have several types goes out as text.
        backfill : bool
            Past rows: they never move the windows. Those older than the model's `lateness` are taken for the
            history only.

        Raises
        ------
        ClientError
        """
        return self._push_table(model, "batches", as_table(data), _batch_query(version, backfill))

    def push_labels(self, model: str, data: Any) -> PushReport:
        """Push rows of id and label; the report's `matched` and `pending` say what they met."""
        return self._push_table(model, "labels", as_table(data), {})

    def push_profile(
        self,
        model: str,
        profile: Any,
        *,
        version: str = "default",
        event_time: float | datetime | None = None,
    ) -> Mapping[str, Any]:
        """Push what a set of rows adds up to, instead of the rows.

        Parameters
        ----------
        profile : bytes or exporter.profiles.Profile
            A profile file by time bucket (`ModelMonitor.profile_file`), or one profile of rows of one time
            (`ModelMonitor.profile`), made on the exporter's current grid.
        event_time : float (seconds since the epoch) or datetime, optional
            When the rows of a Profile happened; default now. They all count in the bucket of that time. A
            profile pushed twice counts twice, unless it is pushed with the same `event_time`.

        Raises
        ------
        OutdatedError
            It was made on another grid than the model's current one; nothing was counted.
        """
        if not isinstance(profile, (bytes, bytearray, memoryview)):
            from exporter.profilefile import write_profiles  # noqa: PLC0415  # only who makes profiles needs it

            moment = event_time.timestamp() if isinstance(event_time, datetime) else event_time
            newest = time.time() if moment is None else float(moment)
            width = float(self.grid(model)["resolution"])
            bucket = int(newest // width * width)
            profile = write_profiles(profile.grid, [(bucket, profile)], newest_event=newest, resolution=width)
        elif event_time is not None:
            raise ValueError("a profile file carries its own times; expected no event_time with it")
        answer, _ = self.send(model, "profiles", bytes(profile), PROFILE_TYPE, query={"version": version})
        return answer

    def send(
        self,
        model: str,
        endpoint: str,
        body: bytes,
        content_type: str,
        *,
        query: Mapping[str, str] | None = None,
        position: int | str = 0,
        key: str | None = None,
    ) -> tuple[Mapping[str, Any], str]:
        """POST one body to an endpoint of a model; return the answer and the idempotency key.

        The key is a hash of the content unless it is given, so a server that knows it with another encoding
        of the same content (by an older compressor, say) has taken it: that is an answer, not an error.
        """
        path = f"{model_path(model)}/{endpoint}"
        content_key = idempotency_key(path, query or {}, position, body)
        try:
            response = self._transport.request(
                "POST", path, query=query, body=body, content_type=content_type, key=key or content_key
            )
        except RefusedError as error:
            if key is None and error.code == KEY_REUSED:
                return {"duplicate": True}, content_key
            raise
        return json_object(response), key or content_key

    def _push_table(self, model: str, endpoint: str, table: pa.Table, query: Mapping[str, str]) -> PushReport:
        report = PushReport()
        step = rows_per_batch(table, self.batch_rows)
        for start in range(0, table.num_rows, step):
            part = table.slice(start, step)
            answer, _ = self.send(model, endpoint, arrow_bytes(part), ARROW_TYPE, query=query, position=start)
            report += PushReport.of(answer, part.num_rows)
        return report

    # -- baselines ----------------------------------------------------------------------------------

    def create_baseline(
        self,
        model: str,
        data: Any = None,
        *,
        period: tuple[float | str | datetime, float | str | datetime] | None = None,
        artifact: bytes | None = None,
        version: str | None = None,
        activate: bool = True,
        regrid: bool = False,
    ) -> Mapping[str, Any]:
        """Create a baseline from rows, from a past window (from, to), or from an exported artifact.

        With `regrid` the model moves to the grid of the new baseline and its windows start anew.
        """
        if sum(source is not None for source in (data, period, artifact)) != 1:
            raise ValueError("expected one of data, period and artifact")
        query = {"activate": "true" if activate else "false"} | ({"regrid": "true"} if regrid else {})
        if version is not None:
            query["version"] = version
        if period is not None:
            start, end = (_moment(moment) for moment in period)
            body = orjson.dumps({"from": start, "to": end})
            key = uuid.uuid4().hex  # the same period later is another window
            return self.send(model, "baselines", body, JSON_TYPE, query=query, key=key)[0]
        if artifact is not None:
            return self.send(model, "baselines", artifact, BASELINE_TYPE, query=query)[0]
        return self.send(model, "baselines", arrow_bytes(as_table(data)), ARROW_TYPE, query=query)[0]

    def baselines(self, model: str) -> list[Mapping[str, Any]]:
        answer = self._get(f"{model_path(model)}/baselines")
        listed: list[Mapping[str, Any]] = answer.get("baselines", [])
        return listed

    def baseline(self, model: str, baseline: str) -> Mapping[str, Any]:
        return self._get(_baseline_path(model, baseline))

    def baseline_artifact(self, model: str, baseline: str) -> bytes:
        """Export a baseline; `create_baseline(model, artifact=...)` takes it back."""
        return self._transport.request("GET", f"{_baseline_path(model, baseline)}/artifact").content

    def activate_baseline(self, model: str, baseline: str) -> Mapping[str, Any]:
        path = f"{_baseline_path(model, baseline)}/activate"
        return json_object(self._transport.request("POST", path, key=uuid.uuid4().hex))

    def refresh_baseline(
        self, model: str, *, version: str | None = None, force: bool = False
    ) -> Mapping[str, Any]:
        """Promote the newest window in place of the active baseline; with `force` even an unhealthy one."""
        query = {"force": "true" if force else "false"} | ({} if version is None else {"version": version})
        path = f"{model_path(model)}/baselines/refresh"
        return json_object(self._transport.request("POST", path, query=query))

    def roll_back_baseline(self, model: str, *, version: str | None = None) -> Mapping[str, Any]:
        """Compare with the baseline that was active before; ValueError when none was.

        It activates the `previous` of the active one, so a request that is repeated changes nothing more.
        """
        listed = self.baselines(model)
        active = [one for one in listed if one.get("active") and one.get("version") == version]
        earlier = active[0].get("previous") if active else None
        if earlier is None:
            raise ValueError("no other baseline was active before, on the grid in use")
        return self.activate_baseline(model, earlier)

    def compare_baselines(self, model: str, baseline: str, other: str | None = None) -> Mapping[str, Any]:
        """What changed from `other` (the active baseline when left out) to `baseline`."""
        query = {} if other is None else {"with": other}
        return self._get(f"{_baseline_path(model, baseline)}/diff", query)

    def delete_baseline(self, model: str, baseline: str) -> None:
        self._transport.request("DELETE", _baseline_path(model, baseline))

    # -- asking -------------------------------------------------------------------------------------

    def models(self) -> list[Mapping[str, Any]]:
        answer = self._get("/api/v1/models")
        listed: list[Mapping[str, Any]] = answer.get("models", [])
        return listed

    def model(self, model: str) -> Mapping[str, Any]:
        return self._get(model_path(model))

    def performance(self, model: str, **view: str) -> Mapping[str, Any]:
        """Return the latest performance; `window`, `version` and `segment` choose which."""
        return self._get(f"{model_path(model)}/performance", view)

    def drift(self, model: str, **view: str) -> Mapping[str, Any]:
        return self._get(f"{model_path(model)}/drift", view)

    def comparisons(self, model: str) -> Mapping[str, Any]:
        """Every challenger against the champion."""
        return self._get(f"{model_path(model)}/comparisons", {})

    def quality(self, model: str, **view: str) -> Mapping[str, Any]:
        return self._get(f"{model_path(model)}/quality", view)

    def status(self, model: str, **view: str) -> Mapping[str, Any]:
        """Return how fresh values are and why one is missing; `window`, `version`, `segment` choose which."""
        return self._get(f"{model_path(model)}/status", view)

    def distributions(self, model: str, column: str, **view: str) -> Mapping[str, Any]:
        return self._get(f"{model_path(model)}/distributions", {"column": column, **view})

    def curves(self, model: str, curve: str = "roc", **view: str) -> Mapping[str, Any]:
        """Return a curve over all thresholds: `roc`, `pr`, `calibration`, `gain` or `thresholds`.

        `class` (by `**{"class": name}`), `window`, `version` and `segment` choose of what.
        """
        return self._get(f"{model_path(model)}/curves", {"curve": curve, **view})

    def history(
        self,
        model: str,
        measure: str = "performance",
        *,
        start: float | str | datetime | None = None,
        end: float | str | datetime | None = None,
        **filters: str,
    ) -> list[Mapping[str, Any]]:
        """Return what earlier evaluations said, all points by time.

        Parameters
        ----------
        measure : str
            `performance`, `performance_estimate`, `class_performance`, `drift`, `multivariate`, `quality`,
            `window`, or a windowed family by its name.
        start, end : times, optional
            Windows that end between the two.
        filters : str
            `metric`, `column`, `method`, `window`, `version`, `segment`.
        """
        query = {"measure": measure, "limit": str(_POINTS), **_span(start, end), **filters}
        points: list[Mapping[str, Any]] = []
        while True:
            page = self._get(f"{model_path(model)}/history", query)
            points += page.get("points", [])
            if not page.get("next"):
                return points
            query["next"] = str(page["next"])

    def history_openmetrics(
        self,
        model: str,
        *,
        start: float | str | datetime | None = None,
        end: float | str | datetime | None = None,
        **filters: str,
    ) -> Iterator[bytes]:
        """Yield the history as OpenMetrics with timestamps, piece by piece.

        `window`, `version` and `segment` choose a part of it; `step` repeats values.
        """
        path = f"{model_path(model)}/history/openmetrics"
        query = {**_span(start, end), **filters}
        with closing(self._transport.request("GET", path, query=query, stream=True)) as response:
            try:
                yield from response.iter_content(_PIECE_BYTES)
            except requests.RequestException as error:
                raise UnreachableError(f"the answer of {response.url} broke off: {error}") from error

    def grid(self, model: str) -> Mapping[str, Any]:
        """Return what a remote profiler needs."""
        return self._get(f"{model_path(model)}/grid")

    def delete_data(self, model: str) -> None:
        """Forget a model's data; its configuration stays."""
        self._transport.request("DELETE", f"{model_path(model)}/data")

    def delete_version(self, model: str, version: str) -> None:
        self._transport.request("DELETE", f"{model_path(model)}/versions/{quote(version, safe='')}")

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        return json_object(self._transport.request("GET", path, query=query))


def _batch_query(version: str, backfill: bool) -> dict[str, str]:
    return {"version": version} | ({"backfill": "true"} if backfill else {})


def model_path(model: str) -> str:
    """Return the path of one model, with whatever its name contains escaped."""
    return f"/api/v1/models/{quote(model, safe='')}"


def _baseline_path(model: str, baseline: str) -> str:
    return f"{model_path(model)}/baselines/{quote(str(baseline), safe='')}"


def _span(start: float | str | datetime | None, end: float | str | datetime | None) -> dict[str, str]:
    given = {"from": start, "to": end}
    return {name: str(_moment(moment)) for name, moment in given.items() if moment is not None}


def _moment(moment: float | str | datetime) -> float | str:
    return moment.isoformat() if isinstance(moment, datetime) else moment
