from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from exporter.demo.flights import FEATURES
from exporter.demo.model import CHALLENGER, CHAMPION, VERSIONS, arms, train


def test_held_out_rows_are_january_days_that_no_version_has_seen(flights, classifiers):
    """The baseline comes from even January days, training from odd ones."""
    dates = set(classifiers.held_out["date"])
    assert dates == {f"2013-01-{day:02d}" for day in range(2, 32, 2)}
    assert classifiers.held_out["delayed"].notna().all()
    assert len(classifiers.held_out) > 10_000


def test_both_versions_know_something_on_days_they_have_not_seen(classifiers):
    """On held-out days each version's area under the curve is clearly above chance."""
    held_out = classifiers.held_out
    for version in VERSIONS:
        answers = classifiers.answer(held_out, version)
        auc = roc_auc_score(held_out["delayed"].astype(bool), answers["probability"].to_numpy())
        assert 0.58 < auc < 0.75


def test_answers_hold_ids_features_and_probabilities(flights, classifiers):
    """An answer has one row a flight, missing features as nulls, and a decision by the threshold."""
    some = flights.iloc[100_000:101_000]
    table = classifiers.answer(some, CHAMPION)
    assert table.column_names == ["flight_id", "scheduled", *FEATURES, "predicted", "probability"]
    assert table.num_rows == len(some)
    assert table["plane_age"].null_count == int(some["plane_age"].isna().sum()) > 0
    probability = table["probability"].to_numpy()
    assert ((probability >= 0) & (probability <= 1)).all()
    assert (table["predicted"].to_numpy() == (probability >= classifiers.threshold)).all()


def test_training_twice_answers_the_same(flights, classifiers):
    """A rerun pushes the same bytes, so that idempotency keys recognise it."""
    some = flights.iloc[50_000:50_500]
    again = train(flights)
    for version in VERSIONS:
        assert again.answer(some, version).equals(classifiers.answer(some, version))


def test_arms_split_at_random_and_for_ever(flights):
    """Half of the flights go to the challenger, whatever the carrier, and a flight never changes its arm."""
    challenged = arms(flights["flight_id"])
    share = pd.Series(challenged).groupby(flights["origin"]).mean()
    assert np.allclose(share, 0.5, atol=0.01)
    assert (arms(flights["flight_id"].iloc[:100]) == challenged[:100]).all()
    assert CHALLENGER != CHAMPION
