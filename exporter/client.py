"""A client of the exporter's HTTP API.

::

    client = Client("http://127.0.0.1:10090", token="...")
    client.push("flight_delay", frame, version="v2")
    client.push_labels("flight_delay", labels)
    client.drift("flight_delay", window="1d")

Rows go out as Arrow streams in batches. Every POST carries an ``Idempotency-Key``, so it is repeated without
fear after a lost connection, 408, 429, 5xx, or 409 while the first attempt is still in progress: with
exponential back-off, full jitter, ``Retry-After`` honoured, up to `retries` times and `deadline` seconds. The
key of rows is a hash of the endpoint, the position of the batch in what is pushed, and the rows: pushing the
same rows again counts nothing twice, and says so.

Errors::

    ClientError                status, code, message and details of the server's answer
    ├── UnreachableError       no answer (status None)
    ├── AuthenticationError    401, 403
    ├── MissingError           404
    ├── OutdatedError          409
    ├── RefusedError           any other 4xx; repeating it changes nothing
    ├── OverloadedError        429, 503 until retries or deadline ran out
    └── ServerFailureError     any other answer
"""

from __future__ import annotations

import gzip
import hashlib
import random
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from urllib.parse import quote, urlencode

import orjson
import pyarrow as pa
import requests
import zstandard
from requests.auth import AuthBase, HTTPBasicAuth

from exporter.columns import text_of
from exporter.errors import ExporterError

ARROW_TYPE = "application/vnd.apache.arrow.stream"
BASELINE_TYPE = "application/vnd.ml-exporter.baseline"
JSON_TYPE = "application/json"
PROFILE_TYPE = "application/vnd.ml-exporter.profile"

KEY_REUSED = "idempotency_key_reused"
_IN_PROGRESS = "idempotency_key_in_progress"
_BATCH_BYTES = 16 * 2**20
_FIRST_DELAY_SECONDS = 0.25
_LONGEST_DELAY_SECONDS = 20.0


class ClientError(ExporterError):
    """What the server refused, or why it could not be asked."""

    code: ClassVar[str] = "client_error"

    def __init__(
        self, message: str, *, status: int | None = None, code: str | None = None, details: Sequence[Any] = ()
    ) -> None:
        super().__init__(message, details=details, code=code)
        self.status: int | None = status  # type: ignore[misc,assignment]  # of the answer, not of the class


class UnreachableError(ClientError):
    code = "unreachable"


class AuthenticationError(ClientError):
    code = "unauthorized"


class MissingError(ClientError):
    code = "not_found"


class OutdatedError(ClientError):
    code = "conflict"


class RefusedError(ClientError):
    code = "refused"


class OverloadedError(ClientError):
    code = "busy"


class ServerFailureError(ClientError):
    code = "server_failure"


_ERRORS: Mapping[int, type[ClientError]] = {
    401: AuthenticationError,
    403: AuthenticationError,
    404: MissingError,
    409: OutdatedError,
    429: OverloadedError,
    503: OverloadedError,
}


@dataclass(frozen=True, slots=True)
class PushReport:
    """What became of pushed rows: `rows` = `accepted` + `rejected` + `duplicates` + `skipped`.

    Attributes
    ----------
    duplicates : int
        Rows of batches that the server had taken before.
    batches : int
        Requests that were answered.
    skipped : int
        Rows that were not sent, because a journal says they had been taken.
    matched, pending : int
        Labels that met their prediction, and that wait for it.
    warnings : tuple of str
        Each distinct warning of the server.
    """

    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    batches: int = 0
    skipped: int = 0
    matched: int = 0
    pending: int = 0
    warnings: tuple[str, ...] = ()

    def __add__(self, other: PushReport) -> PushReport:
        counts = {
            name: getattr(self, name) + getattr(other, name) for name in self.__slots__ if name != "warnings"
        }
        return PushReport(**counts, warnings=tuple(dict.fromkeys(self.warnings + other.warnings)))

    @classmethod
    def of(cls, answer: Mapping[str, Any], rows: int) -> PushReport:
        """Read the answer to one batch of `rows` rows."""
        warnings = tuple(str(warning) for warning in answer.get("warnings") or ())
        if answer.get("duplicate"):
            return cls(rows=rows, duplicates=rows, batches=1, warnings=warnings)
        rejected = int(answer.get("rejected", 0))
        return cls(
            rows=rows,
            accepted=int(answer.get("accepted", rows - rejected)),
            rejected=rejected,
            batches=1,
            matched=int(answer.get("matched", 0)),
            pending=int(answer.get("pending", 0)),
            warnings=warnings,
        )


class _BearerAuth(AuthBase):
    """A token; as an auth object, because a bare header would lose to an entry in ~/.netrc."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


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
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"expected an http:// or https:// URL, got {url!r}")
        if token is not None and username is not None:
            raise ValueError("expected a token or a username, got both")
        if compression not in ("zstd", "gzip", None):
            raise ValueError(f"expected compression zstd, gzip or None, got {compression!r}")
        if batch_rows < 1:
            raise ValueError(f"expected batch_rows of at least 1, got {batch_rows}")
        self.url = url.rstrip("/")
        self.batch_rows = batch_rows
        self._auth: AuthBase | None = None
        if token is not None:
            self._auth = _BearerAuth(token)
        elif username is not None:
            self._auth = HTTPBasicAuth(username, password or "")
        self._timeout = timeout
        self._retries = retries
        self._deadline = deadline
        self._compression = compression
        self._verify: bool | str = True if ca_file is None else str(ca_file)
        self._owns_session = session is None
        self._session = session or requests.Session()
        self._sleep = sleep
        self._jitter = random.SystemRandom()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._owns_session:
            self._session.close()

    # -- pushing ------------------------------------------------------------------------------------

    def push(self, model: str, data: Any, *, version: str = "default", backfill: bool = False) -> PushReport:
        """Push rows with predictions, labels optional, and wait until they are durable.

        Parameters
        ----------
        data : pandas.DataFrame, pyarrow.Table, mapping of name to values, or sequence of mappings
            A column whose values have several types goes out as text.
        backfill : bool
            Rows older than the model's `lateness` go to the history instead of being dropped.

        Raises
        ------
        ClientError
        """
        return self._push_table(model, "batches", as_table(data), _batch_query(version, backfill))

    def push_labels(self, model: str, data: Any) -> PushReport:
        """Push rows of id and label; the report's `matched` and `pending` say what they met."""
        return self._push_table(model, "labels", as_table(data), {})

    def push_profile(self, model: str, profile: Any, *, version: str = "default") -> Mapping[str, Any]:
        """Push a :class:`exporter.profiles.Profile` or the bytes of one, made against the current grid."""
        if not isinstance(profile, (bytes, bytearray, memoryview)):
            from exporter.profiles import encode  # noqa: PLC0415  # only who makes profiles needs it

            profile = encode(profile)
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
            response = self._request(
                "POST", path, query=query, body=body, content_type=content_type, key=key or content_key
            )
        except RefusedError as error:
            if key is None and error.code == KEY_REUSED:
                return {"duplicate": True}, content_key
            raise
        return _json(response), key or content_key

    def _push_table(self, model: str, endpoint: str, table: pa.Table, query: Mapping[str, str]) -> PushReport:
        report = PushReport()
        step = _rows_per_batch(table, self.batch_rows)
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
    ) -> Mapping[str, Any]:
        """Create a baseline from rows, from a past window (from, to), or from an exported artifact."""
        if sum(source is not None for source in (data, period, artifact)) != 1:
            raise ValueError("expected one of data, period and artifact")
        query = {"activate": "true" if activate else "false"}
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
        return self._request("GET", f"{_baseline_path(model, baseline)}/artifact").content

    def activate_baseline(self, model: str, baseline: str) -> Mapping[str, Any]:
        path = f"{_baseline_path(model, baseline)}/activate"
        return _json(self._request("POST", path, key=uuid.uuid4().hex))

    def delete_baseline(self, model: str, baseline: str) -> None:
        self._request("DELETE", _baseline_path(model, baseline))

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

    def quality(self, model: str, **view: str) -> Mapping[str, Any]:
        return self._get(f"{model_path(model)}/quality", view)

    def status(self, model: str) -> Mapping[str, Any]:
        return self._get(f"{model_path(model)}/status")

    def distributions(self, model: str, column: str, **view: str) -> Mapping[str, Any]:
        return self._get(f"{model_path(model)}/distributions", {"column": column, **view})

    def grid(self, model: str) -> Mapping[str, Any]:
        """Return what a remote profiler needs."""
        return self._get(f"{model_path(model)}/grid")

    def delete_data(self, model: str) -> None:
        """Forget a model's data; its configuration stays."""
        self._request("DELETE", f"{model_path(model)}/data")

    def delete_version(self, model: str, version: str) -> None:
        self._request("DELETE", f"{model_path(model)}/versions/{quote(version, safe='')}")

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        return _json(self._request("GET", path, query=query))

    # -- one request, repeated until it is answered -------------------------------------------------

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str | None = None,
        key: str | None = None,
    ) -> requests.Response:
        headers = {"Accept": JSON_TYPE, "User-Agent": "ml-exporter-client"}
        if key is not None:
            headers["Idempotency-Key"] = key
        if body is not None and content_type is not None:
            headers["Content-Type"] = content_type
            if self._compression is not None and content_type != JSON_TYPE:
                body = compressed(body, self._compression)
                headers["Content-Encoding"] = self._compression
        give_up = time.monotonic() + self._deadline
        attempt = 0
        while True:
            answer = self._attempt(method, path, query, body, headers)
            if isinstance(answer, requests.Response):
                if answer.ok and not answer.is_redirect:
                    return answer
                if method == "DELETE" and attempt and answer.status_code == 404:
                    return answer  # an earlier attempt had done it
                error, asked = _error(answer), _retry_after(answer)
                if not _is_worth_repeating(answer, error):
                    raise error
            else:
                error, asked = answer, 0.0
            delay = max(asked, self._back_off(attempt))
            if attempt >= self._retries or time.monotonic() + delay > give_up:
                raise error
            self._sleep(delay)
            attempt += 1

    def _attempt(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> requests.Response | UnreachableError:
        """Send it once; an error that a repetition may cure is returned."""
        try:
            return self._session.request(
                method,
                f"{self.url}{path}",
                params=dict(query or {}),
                data=body,
                headers=dict(headers),
                auth=self._auth,
                timeout=self._timeout,
                verify=self._verify,
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as error:
            raise UnreachableError(f"no secure connection to {self.url}: {error}") from error
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            unreachable = UnreachableError(f"no answer from {self.url}: {error}")
            unreachable.__cause__ = error
            return unreachable
        except requests.RequestException as error:
            raise UnreachableError(f"{self.url} cannot be asked: {error}") from error

    def _back_off(self, attempt: int) -> float:
        """Full jitter: anything up to the exponential delay."""
        longest = min(_LONGEST_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2 ** min(attempt, 16))
        return self._jitter.uniform(0.0, longest)


def as_table(data: Any) -> pa.Table:
    """Columns of any accepted kind of rows; values of several types in one column become text."""
    pandas = sys.modules.get("pandas")
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        return data
    if pandas is not None and isinstance(data, pandas.DataFrame):
        columns = {str(name): data.iloc[:, i] for i, name in enumerate(data.columns)}
        if len(columns) != data.shape[1]:
            raise ValueError("expected distinct column names")
    elif isinstance(data, Mapping):
        columns = {str(name): values for name, values in data.items()}
    elif hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    elif isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        if not all(isinstance(row, Mapping) for row in data):
            raise TypeError("expected a sequence of mappings, one a row")
        names = dict.fromkeys(name for row in data for name in row)
        columns = {str(name): [row.get(name) for row in data] for name in names}
    else:
        raise TypeError(f"expected a DataFrame, a Table, a mapping or rows, got {type(data).__name__}")
    return pa.table({name: _array(values) for name, values in columns.items()})


def _array(values: Any) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    try:
        return text_of(value)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return str(value)


def arrow_bytes(table: pa.Table) -> bytes:
    """Serialise rows as an Arrow stream whose bytes depend on them alone, not on how they were sliced."""
    table = table.replace_schema_metadata(None).combine_chunks()
    if any(column.num_chunks and column.chunk(0).offset for column in table.columns):
        table = table.take(pa.array(range(table.num_rows), pa.int64())).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def compressed(body: bytes, encoding: str) -> bytes:
    """Compress; the same body always gives the same bytes."""
    if encoding == "gzip":
        return gzip.compress(body, compresslevel=5, mtime=0)
    return zstandard.ZstdCompressor(level=3).compress(body)


def idempotency_key(path: str, query: Mapping[str, str], position: int | str, content: bytes) -> str:
    """SHA-256 over where the content goes, its position in what is pushed, and the content (uncompressed)."""
    digest = hashlib.sha256()
    for part in (path, urlencode(sorted(query.items())), str(position)):
        digest.update(part.encode() + b"\0")
    digest.update(content)
    return digest.hexdigest()


def _rows_per_batch(table: pa.Table, batch_rows: int) -> int:
    width = table.nbytes / max(1, table.num_rows)
    return int(max(1, min(batch_rows, _BATCH_BYTES // max(1.0, width))))


def _batch_query(version: str, backfill: bool) -> dict[str, str]:
    return {"version": version} | ({"backfill": "true"} if backfill else {})


def model_path(model: str) -> str:
    """Return the path of one model, with whatever its name contains escaped."""
    return f"/api/v1/models/{quote(model, safe='')}"


def _baseline_path(model: str, baseline: str) -> str:
    return f"{model_path(model)}/baselines/{quote(str(baseline), safe='')}"


def _moment(moment: float | str | datetime) -> float | str:
    return moment.isoformat() if isinstance(moment, datetime) else moment


def _json(response: requests.Response) -> Mapping[str, Any]:
    if not response.content:
        return {}
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise ServerFailureError(
            f"expected a JSON object from {response.url}, got {response.headers.get('Content-Type')!r}; "
            "is this an ml-exporter?",
            status=response.status_code,
        )
    return answer


def _error(response: requests.Response) -> ClientError:
    """Read the server's error shape; anything else, from a proxy say, is named by its status."""
    status = response.status_code
    try:
        shape = orjson.loads(response.content)["error"]
        code, message, details = str(shape["code"]), str(shape["message"]), list(shape.get("details") or ())
    except (orjson.JSONDecodeError, KeyError, TypeError):
        code, message, details = None, f"{response.request.method} {response.url} answered {status}", []
        if response.is_redirect:
            message += f", a redirect to {response.headers.get('Location')!r}; use that URL"
    kind = _ERRORS.get(status, RefusedError if 400 <= status < 500 else ServerFailureError)
    return kind(message, status=status, code=code, details=details)


def _is_worth_repeating(response: requests.Response, error: ClientError) -> bool:
    status = response.status_code
    if status == 409:
        return error.code == _IN_PROGRESS
    return status in (408, 429) or (status >= 500 and status not in (501, 505))


def _retry_after(response: requests.Response) -> float:
    """Seconds that the server asks to wait; 0 when it does not, or not readably."""
    text = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
