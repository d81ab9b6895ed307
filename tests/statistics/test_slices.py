"""The search for weak segments: its tests, its false discoveries, its power."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from exporter.statistics.slices import SliceSearch, weak_slices, worse

LEVELS = 5


def tables_of(codes: np.ndarray, loss: np.ndarray, levels: int = LEVELS) -> dict[tuple[str, str], np.ndarray]:
    """Rows, loss and squared loss by the levels of each pair of columns."""
    tables = {}
    for a in range(len(codes)):
        for b in range(a + 1, len(codes)):
            cell = codes[a] * levels + codes[b]
            sums = [
                np.bincount(cell, weight, levels * levels) for weight in (loss * 0 + 1, loss, loss * loss)
            ]
            tables[f"c{a}", f"c{b}"] = np.stack(sums, axis=-1).reshape(levels, levels, 3)
    return tables


def search(codes: np.ndarray, loss: np.ndarray, **options: object) -> SliceSearch:
    names = {f"c{a}": tuple(f"v{level}" for level in range(LEVELS)) for a in range(len(codes))}
    binary = bool(np.isin(loss, (0.0, 1.0)).all())
    return weak_slices(tables_of(codes, loss), names, binary=binary, **options)


def errors(generator: np.random.Generator, codes: np.ndarray, weak: np.ndarray, rates: tuple[float, float]):
    return (generator.uniform(size=codes.shape[1]) < np.where(weak, rates[1], rates[0])).astype(float)


def test_welch_agrees_with_scipy() -> None:
    """One-sided p-values of means of unequal variances are SciPy's."""
    generator = np.random.default_rng(1)
    for _ in range(20):
        a, b = generator.exponential(1.2, 30), generator.normal(1, 3, 200)
        cells = [np.array([[x.size, x.sum(), (x * x).sum()]]) for x in (a, b)]
        expected = stats.ttest_ind(a, b, equal_var=False, alternative="greater").pvalue
        assert worse(*cells, binary=False)[0] == pytest.approx(expected, rel=1e-6)


def test_binary_p_values_are_at_least_those_of_fishers_exact_test() -> None:
    """The binomial tail is conservative, and near the hypergeometric one where a small share is sampled."""
    generator = np.random.default_rng(2)
    for _ in range(200):
        n, m = generator.integers(20, 300), generator.integers(20, 20_000)
        x, y = generator.binomial(n, 0.12), generator.binomial(m, 0.1)
        cells = np.array([[n, x, x]], float), np.array([[m, y, y]], float)
        p_value = worse(*cells, binary=True)[0]
        exact = stats.hypergeom.sf(x - 1, n + m, x + y, n)
        assert p_value >= min(exact, 0.5) * 0.98
        if n < 0.02 * m and exact > 1e-6:
            assert p_value <= exact * 1.3 + 1e-3


def test_no_loss_and_all_loss_are_told_apart() -> None:
    """Slices without spread have p-values too."""
    right, wrong = np.array([[200.0, 0, 0]]), np.array([[200.0, 200, 200]])
    assert worse(right, wrong, binary=True)[0] == 1.0
    assert worse(wrong, right, binary=True)[0] < 1e-50
    assert worse(right, right, binary=True)[0] == 1.0
    assert worse(right, right, binary=False)[0] == 1.0


@pytest.mark.parametrize(
    ("weak", "expected"),
    [
        (lambda c: c[0] == 3, [("c0", "v3")]),
        (lambda c: (c[0] == 3) & (c[1] == 4), [("c0", "v3"), ("c1", "v4")]),
    ],
)
def test_a_weak_slice_is_found_and_nothing_that_it_explains(
    weak: Callable[[np.ndarray], np.ndarray], expected: list[tuple[str, str]]
) -> None:
    """Neither the pairs inside a weak value nor the values around a weak pair are named."""
    generator = np.random.default_rng(3)
    codes = generator.integers(0, LEVELS, (4, 20_000))
    mask = weak(codes)
    loss = errors(generator, codes, mask, (0.1, 0.3))
    found = search(codes, loss)
    assert [list(one.conditions) for one in found.slices] == [expected]
    (one,) = found.slices
    assert one.rows == mask.sum()
    assert one.loss == pytest.approx(loss[mask].mean())
    assert one.rest_loss == pytest.approx(loss[~mask].mean())
    assert 0 < one.lower < one.difference == pytest.approx(one.loss - one.rest_loss)
    assert found.loss == pytest.approx(loss.mean())
    assert found.rows == 20_000


def test_losses_of_any_size_are_searched() -> None:
    """Absolute errors of a regression are compared by Welch's test."""
    generator = np.random.default_rng(4)
    codes = generator.integers(0, LEVELS, (3, 10_000))
    loss = np.abs(generator.normal(size=10_000))
    loss[codes[2] == 0] *= 1.5
    found = search(codes, loss)
    assert [one.conditions for one in found.slices] == [(("c2", "v0"),)]


def test_small_slices_are_not_tested() -> None:
    """Below the smallest number of rows nothing is tested, and too few rows in all are a reason."""
    generator = np.random.default_rng(5)
    codes = generator.integers(0, LEVELS, (2, 1_000))
    found = search(codes, np.ones(1_000), minimum_rows=100)
    assert (found.tested, found.slices) == (10, ())
    assert search(codes[:, :150], np.ones(150)).reason == "insufficient_labels"
    assert weak_slices({}, {}).reason == "empty"


def test_single_columns_alone_may_be_searched() -> None:
    """Tables of one column give slices of one column, worst first, with the baseline's loss."""
    table = np.array([[1000.0, 100, 100], [1000, 200, 200], [1000, 400, 400]])
    before = np.array([[500.0, 50, 50], [0, 0, 0], [500, 100, 100]])
    levels = {"a": ("x", "y", "z")}
    found = weak_slices({("a",): table}, levels, binary=True, baseline={("a",): before})
    assert [one.conditions for one in found.slices] == [(("a", "z"),)]
    assert found.slices[0].baseline_loss == 0.2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rare", "common", "lognormal"])
def test_false_discoveries_stay_below_their_rate(kind: str) -> None:
    """Where no slice is weak, some slice is named in at most 5 % of searches."""
    generator = np.random.default_rng(6)
    named = 0
    for _ in range(300):
        codes = generator.integers(0, LEVELS, (4, 3_000))
        if kind == "lognormal":
            loss = generator.lognormal(size=3_000)
        else:
            loss = (generator.uniform(size=3_000) < (0.01 if kind == "rare" else 0.3)).astype(float)
        named += bool(search(codes, loss).slices)
    assert named <= 0.05 * 300 + 3 * np.sqrt(0.05 * 0.95 * 300)


@pytest.mark.slow
def test_the_power_grows_with_the_rows() -> None:
    """Ten points more errors in one value of five are found every time at 5,000 rows."""
    generator = np.random.default_rng(7)
    for _ in range(20):
        codes = generator.integers(0, LEVELS, (5, 5_000))
        loss = errors(generator, codes, codes[0] == 3, (0.1, 0.2))
        assert (("c0", "v3"),) in [one.conditions for one in search(codes, loss).slices]
