"""How far stretches of the baseline itself lie from the whole of it, and nulls that allow for as much.

Rows of one hour, user or campaign are alike, and hours differ by day and night. A window then differs from
the baseline by more than its number of rows explains, without any drift. The baseline shows by how much: each
of its time blocks of about the window's length is compared with the whole baseline, and what the rows do not
explain is a variance between blocks. It acts like a limit on the number of independent rows: 1/n becomes
1/n + excess. Windows of any number of rows, and baselines of other sizes, follow from the same excess.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from exporter.results import Undefined
from exporter.statistics.drift.methods import METHODS, drift_test, methods_for
from exporter.statistics.drift.missingness import MISSING, missing_rows
from exporter.statistics.drift.nulls import Null, PointNull

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from exporter.statistics.drift.methods import Methods
    from exporter.statistics.drift.views import ColumnView

LEAST_BLOCKS = 6
"""With fewer blocks the variance between them is anyone's guess, and nothing is estimated."""

LEAST_ROWS = 20
"""Rows with a value that a block needs to count."""

UPPER_SHARE = 0.1
"""The excess is large enough that this share of the blocks is as unusual as it should be."""

MOST_FREEDOM = 1e6

_FREEDOMS = np.concatenate([np.arange(0.5, 10, 0.25), np.geomspace(10, 2000, 60)])
_RATIOS = np.log(special.chdtri(_FREEDOMS, 0.1) / special.chdtri(_FREEDOMS, 0.5))


@dataclass(frozen=True, slots=True)
class BlockEffect:
    """What blocks of a baseline add to the variance of one method on one column.

    Attributes
    ----------
    excess : float
        What blocks add to the mean squared distance, >= 0, in the unit in which n independent rows give 1/n.
    blocks : float
        Number of blocks of equal size that would tell as much, >= LEAST_BLOCKS or nearly.
    """

    excess: float
    blocks: float

    def design_effect(self, baseline_rows: int, rows: int) -> float:
        """How much larger squared distances are than the rows alone explain, >= 1."""
        return 1.0 + self.excess * (1 + 1 / self.blocks) / (1 / baseline_rows + 1 / rows)


@dataclass(frozen=True, eq=False, slots=True)
class BlockNull:
    """The null for independent rows, widened by what blocks add.

    Squared distances are about `design_effect` times as large. Their excess is taken to lie in one direction
    (all columns of a day cycle move together with the hour), which has the longest tail, and to be known
    as well as `blocks` - 1 degrees of freedom allow: an F distribution. The wider of the two nulls holds.
    `power` makes the statistic a squared distance.
    """

    base: Null
    power: float
    design_effect: float
    blocks: float

    def p_value(self, statistic: float) -> float:
        alone = self.base.p_value(statistic)
        mean, freedom = typical_square(self.base, self.power)
        if mean <= 0:
            return alone
        square = max(statistic, 0.0) ** self.power
        return max(alone, _widened_chance(square / mean, self.design_effect, freedom, self.blocks))

    def critical_value(self, level: float, floor: float = 0.0) -> float:
        alone = self.base.critical_value(level, floor)
        mean, freedom = typical_square(self.base, self.power)
        if mean <= 0:
            return alone
        square = mean * _widened_quantile(level, self.design_effect, freedom, self.blocks)
        return max(alone, float(square ** (1 / self.power)))


def widened(
    test_null: Null, method: str, effect: BlockEffect, baseline: ColumnView, current: ColumnView
) -> Null:
    """The null at these sizes with the effect of blocks; unchanged where there is none."""
    if isinstance(test_null, PointNull) or effect.excess <= 0:
        return test_null
    design = effect.design_effect(_rows(method, baseline), _rows(method, current))
    return BlockNull(test_null, METHODS[method].power_to_square, design, effect.blocks)


def block_effects(
    blocks: Sequence[Mapping[str, ColumnView]],
    total: Mapping[str, ColumnView],
    methods: Methods = "auto",
) -> dict[tuple[str, str], BlockEffect]:
    """The effect of blocks on every column and method, by (column, method).

    Parameters
    ----------
    blocks : sequence of mappings of column name to column view
        Consecutive stretches of the baseline of about the window's length, which do not overlap.
    total : mapping of column name to column view
        The whole baseline, on the same grid.
    methods : "auto" or sequence of names
        As configured; the methods of each column's kind are taken, and `missing`.

    Returns
    -------
    dict
        Without an entry where fewer than `LEAST_BLOCKS` blocks have `LEAST_ROWS` rows.

    Notes
    -----
    A block is part of the total, so squared distances are 1 / n_b - 1 / m instead of 1 / n_b + 1 / m times
    those of one row, and the block's own excess counts (1 - 1 / B) times. Blocks weigh by what they can tell.
    """
    effects: dict[tuple[str, str], BlockEffect] = {}
    for column, whole in total.items():
        parts = [block[column] for block in blocks if column in block]
        if len(parts) < LEAST_BLOCKS:
            continue
        for method in dict.fromkeys((*methods_for(whole, methods), MISSING)):
            effect = _effect(method, parts, whole)
            if effect is not None:
                effects[column, method] = effect
    return effects


def _effect(method: str, parts: Sequence[ColumnView], whole: ColumnView) -> BlockEffect | None:
    ratios, units, freedoms, sizes = [], [], [], []
    power, rows = METHODS[method].power_to_square, _rows(method, whole)
    for part in parts:
        size = _rows(method, part)
        if size >= rows:
            return None
        test = drift_test(method, whole, part, minimum_rows=LEAST_ROWS)
        if isinstance(test, Undefined):
            continue
        mean, freedom = typical_square(test.null, power)
        unit = 1 / size - 1 / rows
        sizes.append(size)
        units.append(unit)
        freedoms.append(freedom)
        # where nothing can differ, nothing is unusual
        ratios.append(test.statistic**power / mean * (1 / size + 1 / rows) / unit if mean > 0 else 1.0)
    if len(ratios) < LEAST_BLOCKS:
        return None
    number = sum(sizes) ** 2 / sum(size * size for size in sizes)
    return BlockEffect(_excess(np.array(ratios), np.array(units), float(np.median(freedoms)), number), number)


def _excess(ratios: NDArray[np.float64], units: NDArray[np.float64], freedom: float, number: float) -> float:
    """The variance between blocks: what the mean of the blocks asks for, or their upper tenth if more."""
    own = 1 - 1 / number
    single = (ratios - 1) * units / own
    excess = max(0.0, float(single.mean()))
    for _ in range(3):
        weight = 1 / (units + excess) ** 2
        excess = max(0.0, float(weight @ single / weight.sum()))
    unusual = max(1, round(UPPER_SHARE * len(ratios)))
    level = unusual / (len(ratios) + 1)

    def enough(candidate: float) -> bool:
        designs = 1 + candidate * own / units
        chances = [
            _widened_chance(ratio, design, freedom, number)
            for ratio, design in zip(ratios.tolist(), designs.tolist(), strict=True)
        ]
        return sorted(chances)[unusual - 1] >= level

    if enough(excess):
        return excess
    low, high = excess, max(excess, float((ratios * units).max())) * 4
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def typical_square(null: Null, power: float) -> tuple[float, float]:
    """Mean of the squared distance, and the degrees of freedom of a chi-square variable of its shape.

    Both from the null's median and upper decile. (0, 1) where the statistic cannot differ.
    """
    median = null.critical_value(0.5) ** power
    decile = null.critical_value(0.1) ** power
    if decile <= 0:
        return 0.0, 1.0
    if median <= 0:
        return decile / float(special.chdtri(1.0, 0.1)), 1.0
    freedom = float(np.interp(-math.log(decile / median), -_RATIOS, _FREEDOMS))
    return decile / float(special.chdtri(freedom, 0.1)) * freedom, freedom


def _freedoms(design: float, freedom: float, blocks: float) -> tuple[float, float]:
    """Degrees of freedom of the F distribution: of the squared distance, and of how well it is known."""
    extra = max(design - 1, 1e-9)
    shape = design**2 / (1 / freedom + extra**2)
    return shape, min(MOST_FREEDOM, max(blocks - 1, 1.0) * (design / extra) ** 2)


def _widened_chance(ratio: float, design: float, freedom: float, blocks: float) -> float:
    """Chance of a squared distance of at least `ratio` times its mean for independent rows."""
    above, below = _freedoms(design, freedom, blocks)
    return float(special.betainc(below / 2, above / 2, below / (below + above * ratio / design)))


def _widened_quantile(level: float, design: float, freedom: float, blocks: float) -> float:
    """The ratio that is exceeded with chance `level`."""
    above, below = _freedoms(design, freedom, blocks)
    place = float(special.betaincinv(below / 2, above / 2, level))
    return design * below * (1 - place) / (above * max(place, 1e-300))


def _rows(method: str, column: ColumnView) -> int:
    return missing_rows(column)[1] if method == MISSING else int(column.n)
