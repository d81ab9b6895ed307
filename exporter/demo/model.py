"""The two models of the demo: a champion and its challenger, both trained on January."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from exporter.demo.flights import CATEGORICAL_FEATURES, FEATURES, NUMERIC_FEATURES

CHAMPION = "champion"
CHALLENGER = "challenger"
VERSIONS = (CHAMPION, CHALLENGER)

_TRAINING_MONTH = 1
_SEED = 13


@dataclass(frozen=True)
class Classifiers:
    """One trained classifier a version, and the January rows that none of them has seen.

    Attributes
    ----------
    by_version : dict of str to scikit-learn classifier
    threshold : float
        A flight is predicted delayed when its probability is at least this: the share of delays in training.
    held_out : DataFrame
    """

    by_version: dict[str, Any]
    threshold: float
    held_out: pd.DataFrame

    def answer(self, frame: pd.DataFrame, version: str) -> pa.Table:
        """Return what `version` answers to the flights of `frame`, as the exporter is to receive it.

        Columns: `flight_id`, `scheduled`, the features, `predicted` (boolean) and `probability` (of a delay).
        Missing features are nulls.
        """
        probability = self.by_version[version].predict_proba(frame[list(FEATURES)])[:, 1]
        columns = frame[["flight_id", "scheduled", *FEATURES]]
        answers = columns.assign(predicted=probability >= self.threshold, probability=probability)
        return pa.Table.from_pandas(answers, preserve_index=False).replace_schema_metadata(None)


def arms(flight_ids: pd.Series[str]) -> NDArray[np.bool_]:
    """Say which flights the challenger answers: those whose id has an odd hash, a random half.

    The hash is pandas' SipHash of the text with its fixed key, so that a rerun splits in the same way.
    """
    hashes = pd.util.hash_pandas_object(flight_ids, index=False).to_numpy(dtype=np.uint64)
    return np.asarray(hashes & np.uint64(1), dtype=np.bool_)


def train(flights: pd.DataFrame) -> Classifiers:
    """Train both versions on the odd days of January; the even days are held out for the baseline.

    Whole days are held out, not rows: flights of one day share its weather.
    """
    january = flights[(flights["month"] == _TRAINING_MONTH) & flights["delayed"].notna()]
    odd_day = january["date"].str[-2:].astype(int) % 2 == 1
    training, held_out = january[odd_day], january[~odd_day]
    label = training["delayed"].to_numpy(dtype=bool)
    fitted = {
        version: pipeline.fit(training[list(FEATURES)], label)
        for version, pipeline in ((CHAMPION, _boosted_trees()), (CHALLENGER, _logistic_regression()))
    }
    return Classifiers(fitted, float(label.mean()), held_out.reset_index(drop=True))


def _boosted_trees() -> Any:
    """Gradient-boosted trees, which take missing values as they are."""
    categories = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=50)
    encode = make_column_transformer(
        (categories, list(CATEGORICAL_FEATURES)), ("passthrough", list(NUMERIC_FEATURES))
    )
    trees = HistGradientBoostingClassifier(
        max_iter=60,
        learning_rate=0.05,
        max_leaf_nodes=8,
        min_samples_leaf=100,
        l2_regularization=5.0,
        categorical_features=list(range(len(CATEGORICAL_FEATURES))),
        random_state=_SEED,
    )
    return make_pipeline(encode, trees)


def _logistic_regression() -> Any:
    """Logistic regression on scaled numbers and one-hot categories; medians stand in for missing values."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore", min_frequency=20)
    encode = make_column_transformer(
        (categories, list(CATEGORICAL_FEATURES)), (numbers, list(NUMERIC_FEATURES))
    )
    return make_pipeline(encode, LogisticRegression(max_iter=300))
