"""Comparisons of versions that are looked at all the time: false decisions, time to decide, sample ratios.

Two arms of equal quality are compared while their rows come, and an experiment counts as a false decision
when the bounds exclude 0 at any look. The simulation computes what `exporter.statistics.comparison` computes
for all experiments and looks at once; the last look of some experiments is checked against that package.

    python -m benchmarks.comparison [--experiments 1000] [--seed 1]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import special

from exporter.statistics.comparison.confidence_sequences import half_width
from exporter.statistics.comparison.measures import (
    AREA,
    BINARY_RATES,
    ERROR_SCALE,
    MACRO_CLASSES,
    MULTICLASS_RATES,
    RATE,
    SHARE,
    measure_area,
    measure_mean,
    measure_rate,
)
from exporter.statistics.comparison.measures import macro_f1 as macro_f1_of
from exporter.statistics.comparison.report import MINIMUM_ROWS
from exporter.statistics.comparison.sample_ratio import CONCENTRATION, log_bayes_factor

ALPHA = 0.05
FIXED = 1.959964
ROWS = 20_000
"""Rows an arm at the last look of balanced arms; unbalanced arms share the same total."""
AT_ONCE = 100
"""Experiments simulated at once."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Looks:
    """What is seen at each look, (experiments, looks): the difference, its variance, and `t`.

    The variance is NaN where an arm has too few rows for bounds.
    """

    difference: Floats
    variance: Floats
    scale: Floats | float


Simulation = Callable[[np.random.Generator, int, int], Looks]
"""(generator, experiments, looks)."""


def half_widths(variance: Floats, scale: Floats | float) -> Floats:
    """`half_width` of arrays."""
    squared = np.square(scale)
    total = variance + squared
    return np.sqrt(variance * total / squared * np.log(total / (variance * ALPHA**2)))


def sizes(looks: int, share: float = 0.5) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of both arms at each look; `share` is the second arm's."""
    total = np.linspace(2 * ROWS / looks, 2 * ROWS, looks)
    return np.rint(total * (1 - share)).astype(np.int64), np.rint(total * share).astype(np.int64)


def cells_at(
    rng: np.random.Generator, experiments: int, rows: NDArray[np.int64], shares: list[float]
) -> NDArray[np.int64]:
    """Counts of cells at each look, (experiments, looks, cells)."""
    steps = np.diff(rows, prepend=0)
    drawn = rng.multinomial(np.broadcast_to(steps, (experiments, len(steps))), shares)
    return np.cumsum(drawn, axis=1)


def proportion(p: float, q: float | None = None, *, share: float = 0.5) -> Simulation:
    """Accuracy or conversion: shares `p` and `q` (the same) of independent rows."""

    def simulate(rng: np.random.Generator, experiments: int, looks: int) -> Looks:
        values, variances, enough = [], [], []
        for rows, right in zip(sizes(looks, share), (p, p if q is None else q), strict=True):
            hits = cells_at(rng, experiments, rows, [right, 1 - right])[..., 0]
            smooth = (hits + 1) / (rows + 2)
            values.append(hits / rows)
            variances.append(smooth * (1 - smooth))
            enough.append(np.broadcast_to(rows >= MINIMUM_ROWS, hits.shape))
        check_rate("accuracy", hits[0, -1], rows[-1], variances[-1][0, -1])
        variance, _ = combined(variances, list(sizes(looks, share)))
        return Looks(values[1] - values[0], masked(variance, enough), SHARE)

    return simulate


def check_rate(metric: str, hits: int, rows: int, variance: float) -> None:
    """The package finds the same variance of an accuracy."""
    confusion = np.array(
        [[hits // 2, (rows - hits) // 2], [rows - hits - (rows - hits) // 2, hits - hits // 2]]
    )
    measured = measure_rate(BINARY_RATES[metric], confusion)
    assert math.isclose(measured.row_variance, variance, rel_tol=1e-9)


def combined(row_variances: list[Floats], rows: list[NDArray[np.int64]]) -> tuple[Floats, Floats]:
    """Variance of a difference, and the pooled one of a row, below which no arm counts."""
    pooled = (row_variances[0] * rows[0] + row_variances[1] * rows[1]) / (rows[0] + rows[1])
    first, second = (np.maximum(own, pooled) / n for own, n in zip(row_variances, rows, strict=True))
    return first + second, pooled


def masked(variance: Floats, enough: list[NDArray[np.bool_]]) -> Floats:
    return np.where(enough[0] & enough[1], variance, np.nan)


def paired_accuracy(discordant: float, gain: float = 0.0) -> Simulation:
    """Two versions on the same rows, of which one alone is right on a share of them."""

    def simulate(rng: np.random.Generator, experiments: int, looks: int) -> Looks:
        rows, _ = sizes(looks)
        only = [(discordant - gain) / 2, (discordant + gain) / 2]
        cells = cells_at(rng, experiments, rows, [*only, 0.9 - only[0], 1 - 0.9 - only[1]])
        first, second = cells[..., 0], cells[..., 1]
        # the table by actual class smooths four cells of discordant pairs by 0.5 each
        shares = [(count + 1) / (rows + 4) for count in (first, second)]
        gap = shares[1] - shares[0]
        variance = (shares[0] + shares[1] - gap**2) / rows
        enough = np.broadcast_to(rows >= MINIMUM_ROWS, first.shape)
        return Looks((second - first) / rows, masked(variance, [enough, enough]), SHARE)

    return simulate


def f1(prevalence: float, recall: float, precision: float, *, share: float = 0.5) -> Simulation:
    """F1 of independent rows, by the delta method."""
    hit = prevalence * recall
    shares = [hit, hit * (1 / precision - 1), prevalence - hit]
    shares.append(1 - sum(shares))

    def simulate(rng: np.random.Generator, experiments: int, looks: int) -> Looks:
        values, variances, enough = [], [], []
        for rows in sizes(looks, share):
            cells = cells_at(rng, experiments, rows, shares)
            involved = cells[..., :3].sum(axis=-1)
            tp, fp, fn, _ = np.moveaxis((cells + 0.5) / (rows + 2)[:, None], -1, 0)
            whole = 2 * tp + fp + fn
            by_hit, by_miss = 2 * (fp + fn) / whole**2, -2 * tp / whole**2
            spread = tp * by_hit**2 + (fp + fn) * by_miss**2 - (tp * by_hit + (fp + fn) * by_miss) ** 2
            values.append(
                2 * cells[..., 0] / np.maximum(2 * cells[..., 0] + cells[..., 1] + cells[..., 2], 1)
            )
            variances.append(spread)
            enough.append(involved >= MINIMUM_ROWS)
        last = cells[0, -1]
        measured = measure_rate(BINARY_RATES["f1"], np.array([[last[3], last[1]], [last[2], last[0]]]))
        assert math.isclose(measured.row_variance, variances[-1][0, -1], rel_tol=1e-9)
        variance, _ = combined(variances, list(sizes(looks, share)))
        return Looks(values[1] - values[0], masked(variance, enough), RATE)

    return simulate


def macro_f1_spread(shares: Floats) -> Floats:
    """What a row adds to the variance of macro F1, from shares of the cells, (looks, K, K)."""
    count = shares.shape[-1]
    whole = shares.sum(axis=-1) + shares.sum(axis=-2)
    fall = 2 * np.diagonal(shares, axis1=-2, axis2=-1) / whole**2
    slope = -(fall[..., :, None] + fall[..., None, :])
    slope[..., range(count), range(count)] += 2 / whole
    spread = (slope**2 * shares).sum(axis=(-2, -1)) - (slope * shares).sum(axis=(-2, -1)) ** 2
    return np.asarray(spread / count**2)


def macro_f1(classes: list[float], right: float, *, share: float = 0.5) -> Simulation:
    """Macro F1 of classes with these shares, wrong answers spread as the other classes are."""
    count = len(classes)
    chances = np.array([[0.0 if k == j else q for j, q in enumerate(classes)] for k in range(count)])
    chances *= (1 - right) / chances.sum(axis=1, keepdims=True)
    chances = (chances + right * np.eye(count)) * np.array(classes)[:, None]

    def simulate(rng: np.random.Generator, experiments: int, looks: int) -> Looks:
        values, variances, enough = [], [], []
        for rows in sizes(looks, share):
            cells = cells_at(rng, experiments, rows, (chances / chances.sum()).ravel().tolist())
            table = cells.reshape(*cells.shape[:2], count, count).astype(np.float64)
            spread = np.array(
                [macro_f1_spread((each + 2 / count**2) / (rows + 2)[:, None, None]) for each in table]
            )
            values.append(macro_f1_of(table))
            variances.append(spread)
            enough.append(min(count, MACRO_CLASSES) * table.sum(axis=-1).min(axis=-1) >= MINIMUM_ROWS)
        measured = measure_rate(MULTICLASS_RATES["f1"], cells[0, -1].reshape(count, count))
        assert math.isclose(measured.row_variance, variances[-1][0, -1], rel_tol=1e-9)
        variance, _ = combined(variances, list(sizes(looks, share)))
        return Looks(values[1] - values[0], masked(variance, enough), RATE)

    return simulate


def area(prevalence: float, distance: float, *, share: float = 0.5) -> Simulation:
    """ROC AUC of normal scores in 40 cells, by DeLong's variance."""
    edges = np.linspace(-4, 4 + distance, 41)
    cuts = np.array([0.5 * (1 + math.erf(edge / math.sqrt(2))) for edge in edges])
    cuts_of_positives = np.array([0.5 * (1 + math.erf((edge - distance) / math.sqrt(2))) for edge in edges])
    chances = [np.diff(cuts) / (cuts[-1] - cuts[0]) * (1 - prevalence)]
    chances.append(np.diff(cuts_of_positives) / (cuts_of_positives[-1] - cuts_of_positives[0]) * prevalence)

    def simulate(rng: np.random.Generator, experiments: int, looks: int) -> Looks:
        values, variances, enough = [], [], []
        for rows in sizes(looks, share):
            cells = cells_at(rng, experiments, rows, np.concatenate(chances).tolist())
            negatives, positives = cells[..., :40].astype(float), cells[..., 40:].astype(float)
            n, p = negatives.sum(axis=-1), positives.sum(axis=-1)
            few = np.minimum(n, p) < 2
            n, p = np.maximum(n, 2), np.maximum(p, 2)
            below = (np.cumsum(negatives, axis=-1) - negatives / 2) / n[..., None]
            above = 1 - (np.cumsum(positives, axis=-1) - positives / 2) / p[..., None]
            value = (below * positives).sum(axis=-1) / p
            variance = ((below - value[..., None]) ** 2 * positives).sum(axis=-1) / p / (p - 1)
            variance += ((above - value[..., None]) ** 2 * negatives).sum(axis=-1) / n / (n - 1)
            variance = np.maximum(variance, 0.5 / (np.minimum(n, p) + 1) ** 2)
            values.append(value)
            variances.append(variance * rows)
            enough.append(~few & (2 * np.minimum(n, p) >= MINIMUM_ROWS))
        measured = measure_area(cells[0, -1, :40], cells[0, -1, 40:])
        assert math.isclose(measured.row_variance, variances[-1][0, -1], rel_tol=1e-9)
        variance, _ = combined(variances, list(sizes(looks, share)))
        return Looks(values[1] - values[0], masked(variance, enough), AREA)

    return simulate


def lognormal_errors(sigma: float, *, share: float = 0.5) -> Simulation:
    """Mean absolute error of independent rows with lognormal errors."""

    def simulate(rng: np.random.Generator, experiments: int, looks: int) -> Looks:
        values, rows_variances, rows_of, enough = [], [], [], []
        for rows in sizes(looks, share):
            errors = rng.lognormal(0, sigma, (experiments, int(rows[-1])))
            sums, squares = (np.cumsum(part, axis=1)[:, rows - 1] for part in (errors, errors**2))
            mean = sums / rows
            with np.errstate(divide="ignore", invalid="ignore"):
                spread = (squares / rows - mean**2) * rows / (rows - 1)
            values.append(mean)
            rows_variances.append(spread)
            rows_of.append(rows)
            enough.append(np.broadcast_to(rows >= MINIMUM_ROWS, mean.shape))
        measured = measure_mean(float(sums[0, -1]), float(squares[0, -1]), int(rows[-1]))
        assert math.isclose(measured.row_variance, float(spread[0, -1]), rel_tol=1e-6)
        variance, pooled = combined(rows_variances, rows_of)
        return Looks(values[1] - values[0], masked(variance, enough), ERROR_SCALE * np.sqrt(pooled))

    return simulate


def paired_errors(sigma: float, correlation: float) -> Simulation:
    """Mean absolute error of two versions on the same rows, errors lognormal and correlated."""

    def simulate(rng: np.random.Generator, experiments: int, looks: int) -> Looks:
        rows, _ = sizes(looks)
        common = rng.normal(size=(experiments, int(rows[-1])))
        own = [
            np.exp(sigma * (math.sqrt(correlation) * common + math.sqrt(1 - correlation) * noise))
            for noise in rng.normal(size=(2, *common.shape))
        ]
        gap = own[1] - own[0]
        mean = np.cumsum(gap, axis=1)[:, rows - 1] / rows
        spread = np.cumsum(gap**2, axis=1)[:, rows - 1] / rows - mean**2
        single = sum(
            np.cumsum(errors**2, axis=1)[:, rows - 1] / rows
            - (np.cumsum(errors, axis=1)[:, rows - 1] / rows) ** 2
            for errors in own
        )
        enough = np.broadcast_to(rows >= MINIMUM_ROWS, mean.shape)
        return Looks(mean, masked(spread / rows, [enough, enough]), ERROR_SCALE * np.sqrt(single / 2))

    return simulate


CASES: dict[str, Simulation] = {
    "accuracy 0.5": proportion(0.5),
    "accuracy 0.9": proportion(0.9),
    "accuracy 0.99": proportion(0.99),
    "accuracy 0.9, arms 90/10": proportion(0.9, share=0.1),
    "accuracy 0.99, arms 90/10": proportion(0.99, share=0.1),
    "conversion 0.02": proportion(0.02),
    "conversion 0.001, arms 90/10": proportion(0.001, share=0.1),
    "accuracy, paired, 10 % discordant": paired_accuracy(0.1),
    "accuracy, paired, 0.5 % discordant": paired_accuracy(0.005),
    "F1 0.63, 20 % positive": f1(0.2, 0.6, 0.67),
    "F1 0.4, 3 % positive": f1(0.03, 0.4, 0.4),
    "F1 0.63, 20 % positive, arms 90/10": f1(0.2, 0.6, 0.67, share=0.1),
    "macro F1, 10 classes, rarest 0.2 %, arms 83/17": macro_f1([0.998 / 9] * 9 + [0.002], 0.7, share=1 / 6),
    "macro F1, 5 classes, rarest 1 %, arms 90/10": macro_f1([0.99 / 4] * 4 + [0.01], 0.8, share=0.1),
    "ROC AUC 0.76, 20 % positive": area(0.2, 1.0),
    "ROC AUC 0.92, 3 % positive": area(0.03, 2.0),
    "ROC AUC 0.76, arms 90/10": area(0.2, 1.0, share=0.1),
    "MAE, lognormal sigma 0.5": lognormal_errors(0.5),
    "MAE, lognormal sigma 1": lognormal_errors(1.0),
    "MAE, lognormal sigma 1, arms 90/10": lognormal_errors(1.0, share=0.1),
    "MAE, lognormal sigma 1, paired": paired_errors(1.0, 0.8),
}
"""Two arms without a difference."""


def false_decisions(case: Simulation, experiments: int, looks: int, seed: int) -> tuple[float, float]:
    """Share of experiments with a false decision: ours, and by 1.96 standard errors at each look."""
    rng = np.random.default_rng([seed, looks])
    ours = fixed = 0
    for first in range(0, experiments, AT_ONCE):
        seen = case(rng, min(AT_ONCE, experiments - first), looks)
        known = np.isfinite(seen.variance)
        gap = np.abs(seen.difference)
        with np.errstate(invalid="ignore"):
            ours += int(np.any(known & (gap > half_widths(seen.variance, seen.scale)), axis=1).sum())
            fixed += int(np.any(known & (gap > FIXED * np.sqrt(seen.variance)), axis=1).sum())
    return ours / experiments, fixed / experiments


def rows_to_decide(case: Simulation, experiments: int, looks: int, seed: int) -> tuple[float, float, float]:
    """Rows an arm at the first right decision: median, 90 % quantile; and the share that decided at all."""
    rng = np.random.default_rng([seed, looks, 3])
    rows, _ = sizes(looks)
    decided = []
    for first in range(0, experiments, AT_ONCE):
        seen = case(rng, min(AT_ONCE, experiments - first), looks)
        with np.errstate(invalid="ignore"):
            above = seen.difference > half_widths(seen.variance, seen.scale)
        decided.append(np.where(above.any(axis=1), rows[above.argmax(axis=1)], np.inf))
    when = np.concatenate(decided)
    median, late = (float(np.quantile(when, level, method="higher")) for level in (0.5, 0.9))
    return median, late, float(np.isfinite(when).mean())


def mismatches(
    share: float, experiments: int, looks: int, seed: int, alpha: float
) -> tuple[float, float, float]:
    """Share of experiments ever called a mismatch: ours, by chi-square; median rows in all of ours."""
    rng = np.random.default_rng([seed, looks, 5])
    total = np.linspace(100, 100_000, looks).astype(np.int64)
    ours, fixed, when = 0, 0, []
    critical = {0.05: 3.8415, 0.01: 6.6349}[alpha]
    for first in range(0, experiments, AT_ONCE):
        size = min(AT_ONCE, experiments - first)
        steps = np.broadcast_to(np.diff(total, prepend=0), (size, looks))
        second = np.cumsum(rng.binomial(steps, share), axis=1)
        evidence = log_bayes_factors(total - second, second)
        alarmed = evidence > -math.log(alpha)
        ours += int(alarmed.any(axis=1).sum())
        fixed += int(np.any((2 * second - total) ** 2 / total > critical, axis=1).sum())
        when.append(np.where(alarmed.any(axis=1), total[alarmed.argmax(axis=1)], np.inf))
    return ours / experiments, fixed / experiments, float(np.median(np.concatenate(when)))


def log_bayes_factors(first: NDArray[np.int64], second: NDArray[np.int64]) -> Floats:
    """`log_bayes_factor` of arrays against equal shares."""
    half = CONCENTRATION / 2
    evidence = special.gammaln(CONCENTRATION) - special.gammaln(CONCENTRATION + first + second)
    for count in (first, second):
        evidence = evidence + special.gammaln(half + count) - special.gammaln(half) - count * math.log(0.5)
    single = log_bayes_factor([int(first[0, -1]), int(second[0, -1])], [0.5, 0.5])
    assert math.isclose(single, float(evidence[0, -1]), rel_tol=1e-6, abs_tol=1e-6)
    return np.asarray(evidence)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    experiments, seed = arguments.experiments, arguments.seed
    assert math.isclose(half_width(1e-4, 9e-4, ALPHA), float(half_widths(np.array(1e-4), 0.03)))
    console = Console(width=120)
    started = time.perf_counter()
    table = Table(
        title=f"No difference: share of {experiments:,} experiments ever decided (nominal {ALPHA:.0%})"
    )
    for column in ("metric", "200 looks", "2,000 looks", "1.96 SE, 200 looks", "1.96 SE, 2,000 looks"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for name, case in CASES.items():
        few, often = (false_decisions(case, experiments, looks, seed) for looks in (200, 2_000))
        table.add_row(name, *(f"{rate:.1%}" for rate in (few[0], often[0], few[1], often[1])))
    console.print(table)
    table = Table(title="A difference: rows an arm at the first right decision, 200 looks of 20,000 rows")
    for column in ("difference", "median", "90 %", "decided"):
        table.add_column(column, justify="left" if column == "difference" else "right")
    for name, case in {
        "accuracy 0.85 against 0.88": proportion(0.85, 0.88),
        "accuracy 0.85 against 0.86": proportion(0.85, 0.86),
        "accuracy 0.85 against 0.88, arms 90/10 (rows of the larger)": proportion(0.85, 0.88, share=0.1),
        "paired, 3 points, 10 % discordant": paired_accuracy(0.1, 0.03),
        "paired, 1 point, 10 % discordant": paired_accuracy(0.1, 0.01),
    }.items():
        median, late, decided = rows_to_decide(case, experiments, 200, seed)
        table.add_row(
            name,
            *(f"{rows:,.0f}" if math.isfinite(rows) else "" for rows in (median, late)),
            f"{decided:.0%}",
        )
    console.print(table)
    table = Table(title="Sample ratio, equal shares expected, alpha 1 %, 1,000 looks of 100,000 rows in all")
    for column in ("shares", "ever called a mismatch", "chi-square at each look", "rows at the call, median"):
        table.add_column(column, justify="left" if column == "shares" else "right")
    for share in (0.5, 0.51, 0.52, 0.55):
        ours, fixed, when = mismatches(share, experiments, 1_000, seed, 0.01)
        rows = f"{when:,.0f}" if math.isfinite(when) else ""
        table.add_row(f"{1 - share:.0%} / {share:.0%}", f"{ours:.1%}", f"{fixed:.1%}", rows)
    console.print(table)
    console.print(f"[dim]{time.perf_counter() - started:.0f} s[/dim]")


if __name__ == "__main__":
    main()
