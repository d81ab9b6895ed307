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

from exporter.client.answers import (
    AuthenticationError,
    ClientError,
    MissingError,
    OutdatedError,
    OverloadedError,
    PushReport,
    RefusedError,
    ServerFailureError,
    UnreachableError,
)
from exporter.client.api import Client, model_path
from exporter.client.encoding import (
    ARROW_TYPE,
    BASELINE_TYPE,
    JSON_TYPE,
    PROFILE_TYPE,
    arrow_bytes,
    as_table,
    compressed,
    idempotency_key,
)

__all__ = [
    "ARROW_TYPE",
    "BASELINE_TYPE",
    "JSON_TYPE",
    "PROFILE_TYPE",
    "AuthenticationError",
    "Client",
    "ClientError",
    "MissingError",
    "OutdatedError",
    "OverloadedError",
    "PushReport",
    "RefusedError",
    "ServerFailureError",
    "UnreachableError",
    "arrow_bytes",
    "as_table",
    "compressed",
    "idempotency_key",
    "model_path",
]
