"""Rows seen together: exact sums, the same however rows are split, against definitions by brute force."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from exporter.errors import UnreadableError
from exporter.profiles import Grid, Profile, build_grid, decode, encode, profile_rows
from exporter.profiles.multivariate import (
    MULTIVARIATE,
    EmbeddingSums,
    MultivariateSums,
    Rows,
    count_embedding,
    embedding_key,
    fit_embedding,
    fit_multivariate,
)
from exporter.profiles.multivariate.embedding import leading_components, steps
from exporter.profiles.multivariate.fitting import correlation_variances, residual_directions
from exporter.profiles.multivariate.frequencies import EXACT, normal_frequencies
from exporter.profiles.multivariate.levels import LevelBuffers, fit_levels


@pytest.fixture(scope="module")
def grid(rows) -> Grid:
    return build_grid(rows.batch(0, 3_000))


def features_of(rng, n: int, d: int = 6) -> dict:
    matrix = rng.normal(size=(n, d))
    matrix[:, 1] += matrix[:, 0]
    columns = {f"x{place}": column for place, column in enumerate(matrix.T)}
    columns["c"] = pa.array(rng.choice(list("abbccc"), n)).dictionary_encode()
    return columns


def fitted(features: dict, n: int):
    numeric = [name for name in features if name != "c"]
    return fit_multivariate(numeric, {"c": ["c", "b", "a"]}, features, n)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 699), max_size=4), st.integers(0, 3))
def test_sums_are_the_same_for_any_split(rows, grid, cuts, seed):
    """Integers exactly, sums of errors to rounding, for a batch and any partition of it, in any order."""
    batch = rows.batch(10 + seed, 700)
    whole = profile_rows(grid, batch)
    pieces = np.split(np.random.default_rng(seed).permutation(700), sorted(cuts))
    merged = Profile.empty(grid)
    for piece in pieces:
        merged.add(profile_rows(grid, rows.take(batch, piece)))
    for key in (MULTIVARIATE, embedding_key("vector")):
        one, other = merged.features.totals[key], whole.features.totals[key]
        np.testing.assert_array_equal(one[:-2], other[:-2])
        np.testing.assert_array_equal(one[:-2], np.rint(one[:-2]))
        np.testing.assert_allclose(one[-2:], other[-2:], rtol=1e-4)


def test_sums_are_the_same_for_any_number_of_threads(rows, grid):
    """Threads share pieces; who did what leaves no trace, in the last bit."""
    batch = rows.batch(3, 70_000)
    one, two = (profile_rows(grid, batch, threads=threads) for threads in (1, 2))
    for key, vector in one.features.totals.items():
        np.testing.assert_array_equal(vector, two.features.totals[key])


def test_sums_survive_the_way_through_bytes(rows, grid):
    """Grid and profile come back bit by bit."""
    again = Grid.from_bytes(grid.to_bytes())
    assert again.id == grid.id
    batch = rows.batch(4, 300)
    profile = profile_rows(grid, batch)
    read = decode(encode(profile), again)
    read.verify()
    assert read.multivariate().n == 300
    for key, vector in profile_rows(again, batch).features.totals.items():
        np.testing.assert_array_equal(read.features.totals[key], vector)


def test_a_grid_without_the_part_reads_and_profiles_as_before(rows):
    """Grids of before have no such member; their ids do not change and nothing is measured together."""
    old = build_grid(rows.batch(0, 500), multivariate=False, embeddings=False)
    document = old.to_dict()
    assert "multivariate" not in document
    assert "embeddings" not in document
    assert Grid.from_dict(document).id == old.id
    profile = profile_rows(old, rows.batch(1, 100))
    assert profile.multivariate() is None
    assert MULTIVARIATE not in profile.features.totals
    assert profile.numeric("vector").n + profile.numeric("vector").missing == 100


def test_nothing_is_measured_together_where_it_is_not_asked_for(rows, grid):
    """Segments leave it out: their profile says so."""
    profile = profile_rows(grid, rows.batch(1, 100), multivariate=False)
    assert profile.multivariate() is None
    assert profile.column("vector").vectors is None


def test_what_rows_add_up_to_is_read_once_until_rows_are_added(rows, grid):
    """The same object, with its moments, as long as nothing has changed; then that of all rows."""
    first, second = (profile_rows(grid, rows.batch(seed, 200)) for seed in (1, 2))
    together, vectors = first.multivariate(), first.column("vector").vectors
    assert first.multivariate() is together
    moments = together.moments
    expected = (first + second).multivariate()
    first.add(second)
    assert first.multivariate().n == expected.n == 400
    np.testing.assert_array_equal(first.multivariate().totals, expected.totals)
    np.testing.assert_array_equal(first.multivariate().moments, expected.moments)
    assert not np.array_equal(first.multivariate().moments, moments)
    assert first.column("vector").vectors.n > vectors.n


@pytest.mark.parametrize("key", ["thresholds", "residual", "numeric", "waves", "founding"])
def test_a_damaged_member_is_unreadable(grid, key):
    """A grid whose multivariate part is cut short is refused, not used."""
    document = grid.to_dict()
    document["multivariate"] = {**document["multivariate"], key: "AAAA"}
    with pytest.raises(UnreadableError):
        Grid.from_dict(document)


def test_levels_are_eight_times_normal_scores():
    """Against ranks by SciPy, within a level for 99 of 100 rows; monotone; 0 where missing."""
    rng = np.random.default_rng(0)
    columns = [
        rng.normal(1e9, 1, 5_000),
        rng.lognormal(0, 3, 5_000),
        rng.random(5_000).astype(np.float32),
        rng.standard_cauchy(5_000),
        np.where(rng.random(5_000) < 0.5, 0.0, -rng.gamma(1, 1, 5_000)),
    ]
    table = fit_levels(columns)
    levels = LevelBuffers(5, 5_000).look_up(table, columns, 0).copy()
    for level, values in zip(levels, columns, strict=True):
        expected = 8 * stats.norm.ppf((stats.rankdata(values) - 0.5) / 5_000)
        assert np.quantile(np.abs(level - np.clip(expected, -24, 24)), 0.99) <= 1
        assert (np.diff(level[np.argsort(values, kind="stable")].astype(int)) >= 0).all()
    special = [np.array([np.nan, np.inf, -np.inf, 1e308, -1e308, -0.0])] * 5
    found = LevelBuffers(5, 6).look_up(table, special, 0)
    assert (found[:, 0] == 0).all()
    assert (found[[0, 1, 3], 1] >= 20).all()
    assert (found[[0, 3], 2] <= -20).all()
    zero = LevelBuffers(1, 2).look_up(fit_levels([columns[4]]), [np.array([0.0, -0.0])], 0)
    assert zero[0, 0] == zero[0, 1]


def test_products_are_those_of_the_levels():
    """Means, covariances and shares against NumPy on the levels themselves."""
    rng = np.random.default_rng(1)
    features = features_of(rng, 2_000)
    features["x3"][:100] = np.nan
    grid = fitted(features, 2_000)
    rows = Rows(grid, features, 2_000)
    sums = MultivariateSums(grid, rows.count(0, 2_000), np.zeros(6, np.int64))
    matrix = rows.matrix(0, 2_000).astype(np.float64)
    levels, indicators = matrix[1:7], matrix[7:]
    np.testing.assert_allclose(sums.covariance, np.cov(levels, bias=True), atol=1e-9)
    np.testing.assert_allclose(np.corrcoef(levels)[0, 1], 0.69, atol=0.04)
    np.testing.assert_array_equal(sums.means, levels.mean(axis=1))
    np.testing.assert_array_equal(sums.shares, indicators.mean(axis=1))
    np.testing.assert_array_equal(indicators.sum(axis=0), 1)
    assert (levels[3, :100] == 0).all()


def test_mean_features_estimate_the_kernel():
    """The distance of mean features is the squared MMD of a Gaussian kernel, here computed pair by pair."""
    rng = np.random.default_rng(2)
    features, others = features_of(rng, 800), features_of(rng, 600)
    others["x0"] = others["x0"] + 1.5
    grid = fitted(features, 800)
    one, other = (
        MultivariateSums(grid, Rows(grid, part, n).count(0, n), np.zeros(6, np.int64))
        for part, n in ((features, 800), (others, 600))
    )
    scale = np.r_[np.full(6, 1 / 8), np.full(4, 1 / np.sqrt(2))]
    x, y = (Rows(grid, part, n).matrix(0, n)[1:].T * scale for part, n in ((features, 800), (others, 600)))
    gamma = 1 / (2 * grid.waves.bandwidth**2)
    kernel = [np.exp(-gamma * cdist(a, b, "sqeuclidean")).mean() for a, b in ((x, x), (y, y), (x, y))]
    difference = one.features - other.features
    assert difference @ difference == pytest.approx(kernel[0] + kernel[1] - 2 * kernel[2], abs=0.02)
    assert grid.waves.bandwidth == pytest.approx(np.median(cdist(x[:400], x[400:])), rel=0.1)


def test_errors_are_those_of_principal_components():
    """Against scikit-learn's PCA of the standardised levels of the rows that chose the components."""
    rng = np.random.default_rng(3)
    features = features_of(rng, 4_000)
    grid = fitted(features, 4_000)
    levels = Rows(grid, features, 4_000).matrix(0, 4_000)[1:7].T.astype(np.float64)
    standard = (levels - grid.means) / grid.deviations
    model = PCA(6 - len(grid.residual)).fit(standard[::4])
    directions = grid.residual.astype(np.float64)
    errors = ((standard @ directions.T) ** 2).sum(axis=1)
    np.testing.assert_allclose(directions @ model.components_.T, 0, atol=0.05)
    np.testing.assert_allclose(directions @ directions.T, np.eye(len(directions)), atol=1e-5)
    total = Rows(grid, features, 4_000).count(0, 4_000)[-2:]
    np.testing.assert_allclose(total, [errors.sum(), (errors**2).sum()], rtol=1e-5)
    held_out = np.delete(errors, np.arange(0, 4_000, 4))
    assert grid.founding.rows == 3_000
    np.testing.assert_allclose(grid.founding.errors, held_out.sum(), rtol=1e-5)


def test_the_baseline_of_the_grid_is_compared_by_what_was_held_out():
    """The same rows, in pieces, give the held-out errors; other rows their own."""
    rng = np.random.default_rng(4)
    features = features_of(rng, 1_000)
    grid = fitted(features, 1_000)
    rows = Rows(grid, features, 1_000)
    merged = rows.count(0, 300) + rows.count(300, 1_000)
    assert MultivariateSums(grid, merged, np.zeros(6, np.int64)).errors.n == 750
    assert MultivariateSums(grid, rows.count(0, 999), np.zeros(6, np.int64)).errors.n == 999


def test_residual_directions_leave_a_fifth_of_the_variance_at_most():
    """Independent columns need most directions; columns that say the same need one."""
    rng = np.random.default_rng(5)
    independent = residual_directions(rng.normal(size=(10, 2_000)))
    assert 1 <= len(independent) <= 2
    same = np.tile(rng.normal(size=2_000), (10, 1))
    assert len(residual_directions(same)) == 9
    assert len(residual_directions(np.zeros((4, 50)))) == 0


def test_variances_of_correlations_are_those_of_simulation():
    """For rows that swing together: uncorrelated, yet their correlation varies more than 1 / n."""
    rng = np.random.default_rng(6)

    def draw(n):
        return rng.normal(size=(2, n)) * np.exp(0.5 * rng.normal(size=n))

    rows = draw(200_000)
    standard = (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)
    variances, kurtosis = correlation_variances(standard)
    simulated = np.var([np.arctanh(np.corrcoef(draw(1_000))[0, 1]) for _ in range(1_500)]) * 1_000
    assert variances[0] == pytest.approx(simulated, rel=0.15)
    assert variances[0] > 1.5
    np.testing.assert_allclose(kurtosis, stats.kurtosis(rows, axis=1, fisher=False), rtol=1e-3)


def test_frequencies_depend_on_nothing_but_their_seed():
    """Standard normal, the same for ever: the first numbers of a seed are written down here."""
    numbers = normal_frequencies(20_251, 50)
    assert stats.kstest(numbers.ravel(), "norm").pvalue > 0.01
    np.testing.assert_allclose(numbers[0, :2], normal_frequencies(20_251, 70).ravel()[:2])
    np.testing.assert_allclose(numbers.ravel()[:3], FIRST, rtol=1e-12)


FIRST = (0.4949385967984017, -0.8297880108645451, 0.25521608076593355)


def test_products_with_frequencies_stay_exact(grid):
    """No row can reach an integer that float32 does not have."""
    integers, _ = grid.multivariate.frequencies
    assert np.abs(integers).sum(axis=1).max() * 24 <= EXACT
    vectors, _ = grid.embeddings["vector"].frequencies
    assert np.abs(vectors).sum(axis=1).max() * 127 <= EXACT


def test_too_little_gives_no_member():
    """One numeric feature, few rows, or vectors that never vary."""
    rng = np.random.default_rng(0)
    assert fit_multivariate(["x0"], {}, features_of(rng, 100), 100) is None
    assert fit_multivariate(["x0", "x1"], {}, features_of(rng, 50), 50) is None
    assert fit_embedding(np.ones((100, 4), np.float32)) is None
    assert fit_embedding(np.full((100, 4), np.nan, np.float32)) is None
    assert fit_embedding(np.zeros((100, 0), np.float32)) is None
    assert fit_embedding(rng.normal(size=(100, 5_000)).astype(np.float32)) is None


def test_only_the_first_columns_are_seen_together():
    """256 numeric features and 128 indicators, in the order of the schema."""
    rng = np.random.default_rng(0)
    features = {f"x{place}": rng.normal(size=80) for place in range(300)}
    texts = {f"c{place}": [str(value) for value in range(9)] for place in range(30)}
    grid = fit_multivariate(list(features), texts, features, 80)
    assert grid.numeric == tuple(f"x{place}" for place in range(256))
    assert grid.indicators == 128
    assert len(grid.categorical) == 16


def test_vectors_are_counted_by_definition():
    """Mean features against the kernel, errors against the projection, missing rows left out."""
    rng = np.random.default_rng(8)
    base = rng.normal(size=(3_000, 12)).astype(np.float32) @ rng.normal(size=(12, 40)).astype(np.float32)
    base[5] = np.nan
    base[7, 3] = np.inf
    grid = fit_embedding(base)
    moved = base[:1_000] + np.float32(0.5)
    one, other = (EmbeddingSums(grid, count_embedding(grid, vectors)) for vectors in (base, moved))
    assert (one.n, other.n) == (2_998, 998)
    known = np.isfinite(base).all(axis=1)
    x, y = steps(grid, base[known]), steps(grid, moved[known[:1_000]])
    gamma = 1 / (2 * grid.waves.bandwidth**2)
    parts = (x[:1_000], x[1_000:2_000], y)
    kernel = [
        np.exp(-gamma * cdist(a, b, "sqeuclidean")).mean()
        for a, b in ((parts[0], parts[1]), (y[:500], y[500:]), (parts[0], y))
    ]
    difference = one.features - other.features
    assert difference @ difference == pytest.approx(kernel[0] + kernel[1] - 2 * kernel[2], abs=0.02)
    error = (x**2).sum(axis=1) - ((x @ grid.components.T) ** 2).sum(axis=1)
    np.testing.assert_allclose(one.totals[-2], error.sum() / grid.length, rtol=1e-3)
    assert one.errors.n < one.n
    assert other.errors.n == other.n


def test_leading_components_are_those_of_pca():
    """Against scikit-learn, with more and with fewer rows than elements."""
    rng = np.random.default_rng(9)
    for shape in ((300, 40), (60, 200)):
        rows = rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1])) * 10 + rng.normal(size=shape)
        rows = (rows - rows.mean(axis=0)).astype(np.float32)
        found, model = leading_components(rows), PCA(3).fit(rows)
        assert len(found) == 16
        np.testing.assert_allclose(np.abs((found[:3] * model.components_).sum(axis=1)), 1, atol=0.01)


def test_vectors_of_another_size_are_left_out(rows, grid):
    """A batch whose embeddings have another length has norms, and no vectors."""
    batch = rows.batch(1, 200)
    odd = {**batch.features, "vector": np.ones((200, 7), np.float32)}
    profile = profile_rows(grid, rows.batch(1, 200, features=odd))
    assert profile.column("vector").n == 200
    assert profile.column("vector").vectors is None


def test_vectors_of_any_size_of_number_are_counted():
    """The largest float32 values overflow nothing."""
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(100, 3)) * 1e38).astype(np.float32)
    grid = fit_embedding(vectors)
    total = count_embedding(grid, vectors * np.float32(0.5)) if grid is not None else np.zeros(1)
    assert np.isfinite(total).all()


def test_totals_that_do_not_fit_the_grid_are_refused(rows, grid):
    """What a stranger sent is looked at before it is merged: a wrong length, or more rows than there are."""
    for change in (lambda vector: vector[:-1], lambda vector: vector + 1_000.0):
        profile = profile_rows(grid, rows.batch(1, 50))
        profile.features.totals[MULTIVARIATE] = change(profile.features.totals[MULTIVARIATE])
        with pytest.raises(UnreadableError):
            profile.verify()
