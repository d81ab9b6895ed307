"""NannyML's data and what NannyML estimates of it, run in NannyML's own environment.

    python estimates.py DIRECTORY

Writes `<data set>-reference.parquet`, `<data set>-analysis.parquet` (with the labels) and `nannyml.json`:
data set to metric to the estimates of each chunk of 5,000 rows. The data are in NannyML's package: nothing is
fetched.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
os.environ["DO_NOT_TRACK"] = "1"

CHUNK_ROWS = 5_000


def car_loan():
    """Binary: whether a loan is repaid."""
    import nannyml as nml

    reference, analysis, truth = nml.load_synthetic_car_loan_dataset()
    metrics = ["roc_auc", "f1", "precision", "recall", "specificity", "accuracy"]
    estimator = nml.CBPE(
        y_pred_proba="y_pred_proba", y_pred="y_pred", y_true="repaid", problem_type="classification_binary",
        metrics=metrics, chunk_size=CHUNK_ROWS)  # fmt: skip
    return reference, analysis.merge(truth, on="id"), analysis, estimator, metrics


def credit_card():
    """Multiclass: which of three cards a customer gets."""
    import nannyml as nml

    reference, analysis, truth = nml.load_synthetic_multiclass_classification_dataset()
    classes = ("prepaid_card", "highstreet_card", "upmarket_card")
    metrics = ["roc_auc", "f1", "precision", "recall", "specificity", "accuracy"]
    estimator = nml.CBPE(
        y_pred_proba={name: f"y_pred_proba_{name}" for name in classes}, y_pred="y_pred", y_true="y_true",
        problem_type="classification_multiclass", metrics=metrics, chunk_size=CHUNK_ROWS)  # fmt: skip
    return reference, analysis.merge(truth, on="id"), analysis, estimator, metrics


def car_price():
    """Regression: what a used car is sold for."""
    import nannyml as nml

    reference, analysis, truth = nml.load_synthetic_car_price_dataset()
    names = ["car_age", "km_driven", "price_new", "accident_count", "door_count", "fuel", "transmission"]
    metrics = ["mae", "rmse", "mape"]
    estimator = nml.DLE(
        feature_column_names=names, y_pred="y_pred", y_true="y_true", metrics=metrics, chunk_size=CHUNK_ROWS
    )
    labelled = analysis.merge(truth, on="id") if "id" in truth else analysis.join(truth)
    return reference, labelled, analysis, estimator, metrics


def main() -> None:
    directory = Path(sys.argv[1])
    found = {}
    for made in (car_loan, credit_card, car_price):
        reference, labelled, analysis, estimator, metrics = made()
        start = time.perf_counter()
        result = estimator.fit(reference).estimate(analysis).filter(period="analysis").to_df()
        seconds = time.perf_counter() - start
        found[made.__name__] = {metric: result[(metric, "value")].tolist() for metric in metrics}
        found[made.__name__]["seconds"] = seconds
        reference.to_parquet(directory / f"{made.__name__}-reference.parquet")
        labelled.to_parquet(directory / f"{made.__name__}-analysis.parquet")
    (directory / "nannyml.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
