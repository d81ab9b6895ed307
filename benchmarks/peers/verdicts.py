"""A peer's drift verdicts on tables, run in the peer's own environment.

    python verdicts.py evidently|nannyml|whylogs DIRECTORY

For every `*-baseline.parquet` and `*-current.parquet` in the directory, writes `*-<peer>.json`: column to
whether the peer says that it has drifted, with the peer's defaults.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

import pandas as pd

warnings.simplefilter("ignore")
os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
os.environ["DO_NOT_TRACK"] = "1"

CHUNKS = 10
"""NannyML's default number of chunks of the reference."""


def evidently(baseline: pd.DataFrame, current: pd.DataFrame) -> dict[str, bool]:
    from evidently import Report
    from evidently.presets import DataDriftPreset

    found = {}
    for metric in Report([DataDriftPreset()]).run(current, baseline).dict()["metrics"]:
        config = metric["config"]
        if config["type"].endswith("ValueDrift"):
            value, threshold = float(metric["value"]), float(config["threshold"])
            is_p_value = "p_value" in config["method"]
            found[config["column"]] = value < threshold if is_p_value else value >= threshold
    return found


def nannyml(baseline: pd.DataFrame, current: pd.DataFrame) -> dict[str, bool]:
    import nannyml as nml

    categorical = [name for name in baseline if not pd.api.types.is_numeric_dtype(baseline[name])]
    size = min(len(current), max(1, len(baseline) // CHUNKS))
    calculator = nml.UnivariateDriftCalculator(
        column_names=list(baseline.columns), treat_as_categorical=categorical, chunk_size=size
    )
    calculator.fit(baseline)
    result = calculator.calculate(current).filter(period="analysis").to_df()
    missing = nml.MissingValuesCalculator(column_names=list(baseline.columns), chunk_size=size)
    missing.fit(baseline)
    absent = missing.calculate(current).filter(period="analysis").to_df()
    return {
        name: bool(result[(name, "jensen_shannon", "alert")].any() or absent[(name, "alert")].any())
        for name in baseline.columns
    }


def whylogs(baseline: pd.DataFrame, current: pd.DataFrame) -> dict[str, bool]:
    import whylogs as why
    from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

    scores = calculate_drift_scores(why.log(current).view(), why.log(baseline).view(), with_thresholds=True)
    return {name: score is not None and score["drift_category"] == "DRIFT" for name, score in scores.items()}


def main() -> None:
    peer, directory = sys.argv[1], Path(sys.argv[2])
    judge = {"evidently": evidently, "nannyml": nannyml, "whylogs": whylogs}[peer]
    for path in sorted(directory.glob("*-baseline.parquet")):
        name = path.name.removesuffix("-baseline.parquet")
        baseline, current = pd.read_parquet(path), pd.read_parquet(directory / f"{name}-current.parquet")
        found = judge(baseline, current)
        (directory / f"{name}-{peer}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
