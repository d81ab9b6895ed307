"""The history over HTTP: what a request may ask, and how it is refused."""

from __future__ import annotations

import pytest

from .conftest import MODEL

HISTORY = f"/api/v1/models/{MODEL}/history"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 200, None),
        ("?measure=drift&from=2026-01-01&to=1790000000&limit=5&window=7d", 200, None),
        ("?measure=ml_window_rows", 200, None),
        ("?measure=magic", 404, "not_found"),
        ("?measure=ml_rows_total", 404, "not_found"),
        ("?metric=f2", 404, "not_found"),
        ("?window=2d", 404, "not_found"),
        ("?version=v9", 404, "not_found"),
        ("?segment=planet%3Dearth", 404, "not_found"),
        ("?from=yesterday", 400, "bad_time"),
        ("?from=2026-02-01&to=2026-01-01", 400, "bad_time"),
        ("?from=nan", 400, "bad_time"),
        ("?limit=many", 400, "bad_parameter"),
        ("?limit=0", 400, "bad_parameter"),
        ("?limit=99999", 400, "bad_parameter"),
        ("?next=nonsense", 400, "bad_parameter"),
        ("?colour=red", 400, "unknown_parameter"),
        ("/openmetrics", 200, None),
        ("/openmetrics?step=4m", 200, None),
        ("/openmetrics?step=1s", 400, "bad_parameter"),
        ("/openmetrics?step=often", 400, "bad_parameter"),
        ("/openmetrics?version=v9", 404, "not_found"),
        ("/openmetrics?metric=f1", 400, "unknown_parameter"),
    ],
)
def test_questions_are_checked(serve, query, status, code):
    """Names that do not exist are 404, what cannot be read is 400, and an empty history is an answer."""
    answer = serve().ask("GET", HISTORY + query)
    assert answer.status_code == status, answer.text
    if code is not None:
        assert answer.json()["error"]["code"] == code
    elif "openmetrics" in query:
        assert answer.text == "# EOF\n"
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    else:
        assert (answer.json()["points"], answer.json()["next"]) == ([], None)
