"""Functions that tests configure as metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from exporter import custom_metric


@custom_metric(unit="eur", columns=["amount"])
def profit(rows: Any) -> Any:
    return np.where(rows["prediction"] == rows["label"], rows["amount"], -rows["amount"])


@custom_metric(unit="ratio", higher_is_better=False, columns=["amount"])
def lost_share(rows: Any) -> dict[str, Any]:
    return {
        "numerator": rows["amount"] * (rows["prediction"] != rows["label"]),
        "denominator": rows["amount"],
    }


def lost_share_of_calls(rows: Any) -> dict[str, float]:
    wrong = rows["prediction"] != rows["label"]
    return {"numerator": float(rows["amount"][wrong].sum()), "denominator": float(rows["amount"].sum())}


def broken(rows: Any) -> Any:
    raise ValueError(f"{len(rows)} rows are too many")


def mean_error(rows: Any) -> float:
    return float((rows["prediction"] != rows["label"]).mean())


def fails_on_negative(rows: Any) -> Any:
    if (rows["amount"] < 0).any():
        raise ValueError("a negative amount")
    return rows["amount"]
