"""Curves through the service: windows, baselines, segments, classes, and what cannot be drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as sk

from exporter.errors import BadRequestError, NotFoundError

from .conftest import HOUR, NOW, Bench

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]


def labelled(table: pa.Table, seed: int = 5) -> pa.Table:
    score = table["score"].to_numpy()
    return table.append_column("truth", pa.array(np.random.default_rng(seed).random(len(score)) < score))


def test_a_window_has_a_curve_beside_its_baseline(bench: Make, rows: Rows) -> None:
    """Rows, area and ends are those of the window's labels; the baseline has its own."""
    b = bench()
    b.service.create_baseline("m", table=labelled(rows(3000)))
    table = labelled(rows(2000), 6)
    b.push(table)
    answer = b.service.curves("m", "roc", window="6h")
    assert answer["rows"] == 2000
    assert answer["baseline"]["rows"] == 3000
    points = answer["points"]
    assert len(points) <= 200
    assert points[-1]["true_positive_rate"] == points[-1]["false_positive_rate"] == 1
    area = sk.roc_auc_score(table["truth"].to_numpy(), table["score"].to_numpy())
    assert answer["metrics"]["roc_auc"]["value"] == pytest.approx(area, abs=1e-3)
    for curve in ("pr", "calibration", "gain", "thresholds"):
        assert b.service.curves("m", curve)["points"], curve


def test_a_segment_has_a_curve_of_its_rows(bench: Make, rows: Rows) -> None:
    """`segment=column=value` chooses them; an unknown one is not found."""
    b = bench()
    b.service.create_baseline("m", table=labelled(rows(1000)))
    table = labelled(rows(900), 6)
    b.push(table)
    part = b.service.curves("m", segment="carrier=AA", window="6h")
    assert part["rows"] == table["carrier"].to_pylist().count("AA")
    with pytest.raises(NotFoundError):
        b.service.curves("m", segment="carrier=ZZ")


def test_what_cannot_be_drawn_has_a_reason(bench: Make, rows: Rows) -> None:
    """No labels is a reason; an unknown curve, class or window is refused."""
    b = bench()
    b.service.create_baseline("m", table=rows(1000))
    b.push(rows(100))
    answer = b.service.curves("m")
    assert (answer["points"], answer["reason"]) == ([], "insufficient_labels")
    assert answer["baseline"]["reason"] == "empty"
    with pytest.raises(BadRequestError, match="roc, pr"):
        b.service.curves("m", "rok")
    with pytest.raises(BadRequestError, match="class"):
        b.service.curves("m", of_class="a")
    with pytest.raises(NotFoundError):
        b.service.curves("m", window="9d")


def test_a_class_has_a_curve_against_the_rest(bench: Make) -> None:
    """Multiclass models say which class; without scores there is none."""
    generator = np.random.default_rng(3)
    shares = generator.dirichlet((1, 1, 1), 600)
    truth = [generator.choice(list("abc"), p=row) for row in shares]
    table = pa.table(
        {
            "id": [str(row) for row in range(600)],
            "at": NOW - generator.uniform(0, HOUR, 600),
            "answer": [list("abc")[row] for row in shares.argmax(axis=1)],
            **{f"p_{name}": shares[:, place] for place, name in enumerate("abc")},
            "truth": truth,
            "distance": generator.normal(size=600),
        }
    )
    columns = {"id": "id", "timestamp": "at", "prediction": "answer", "label": "truth"}
    changes = {"task": "multiclass", "features": {"distance": "numeric"}, "segments": []}
    b = bench(**changes, columns={**columns, "score": {name: f"p_{name}" for name in "abc"}})
    b.service.create_baseline("m", table=table)
    b.push(table)
    answer = b.service.curves("m", of_class="b", window="6h")
    expected = sk.roc_auc_score(np.array(truth) == "b", shares[:, 1])
    assert answer["metrics"]["roc_auc"]["value"] == pytest.approx(expected, abs=2e-3)
    with pytest.raises(BadRequestError, match="a, b, c"):
        b.service.curves("m")
    bare = bench(**changes, columns=columns)
    with pytest.raises(BadRequestError, match="score"):
        bare.service.curves("m")
