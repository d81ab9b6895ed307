"""Null distributions of the multivariate statistics; what they have in common is in the drift room."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import special


@dataclass(frozen=True, slots=True)
class CentredChiSquareNull:
    """``scale * (X - freedom)``, X chi-square; `freedom` need not be whole."""

    freedom: float
    scale: float

    def p_value(self, statistic: float) -> float:
        return float(special.chdtrc(self.freedom, max(statistic / self.scale + self.freedom, 0.0)))

    def critical_value(self, level: float, floor: float = 0.0) -> float:
        return max(floor, self.scale * (float(special.chdtri(self.freedom, level)) - self.freedom))


@dataclass(frozen=True, slots=True)
class StudentNull:
    """The absolute value of Student's t times `deviation`."""

    freedom: float
    deviation: float

    def p_value(self, statistic: float) -> float:
        return float(2 * special.stdtr(self.freedom, -abs(statistic) / self.deviation))

    def critical_value(self, level: float, floor: float = 0.0) -> float:
        return max(floor, -float(special.stdtrit(self.freedom, level / 2)) * self.deviation)


@dataclass(frozen=True, slots=True)
class LargestOfManyNull:
    """The absolute value of a normal variable that was the most surprising of `count`, by Bonferroni."""

    count: int
    deviation: float

    def p_value(self, statistic: float) -> float:
        return min(1.0, self.count * math.erfc(statistic / self.deviation / math.sqrt(2)))

    def critical_value(self, level: float, floor: float = 0.0) -> float:
        return max(floor, -float(special.ndtri(level / 2 / self.count)) * self.deviation)
