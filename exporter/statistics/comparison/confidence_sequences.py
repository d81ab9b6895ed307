"""Bounds of a difference that hold at all times together, however often somebody looks."""

from __future__ import annotations

import math


def half_width(variance: float, scale_squared: float, alpha: float) -> float:
    """Half the width of the asymptotic normal-mixture confidence sequence of a mean or difference.

    Parameters
    ----------
    variance : float
        Of the estimate, not of one row: v1 / n1 + v2 / n2.
    scale_squared : float
        The square of t, the size of difference for which the bounds are made: they are narrowest, against
        those of a single look, when the variance is a few times smaller than it. Chosen beforehand.
    alpha : float
        Chance that the bounds ever exclude the truth, in (0, 1).

    Returns
    -------
    float
        sqrt(V (V + t2) / t2 * ln((V + t2) / (V alpha^2))); 0 for a variance of 0.

    Notes
    -----
    The difference is where the likelihood ratio of N(0, t2)-distributed differences against none reaches
    1 / alpha; as a martingale it ever does so with probability alpha. Asymptotic: estimates are taken to be
    normal and variances known, so an arm needs rows (100 here) before anybody looks.

    Sources: Robbins (1970), doi:10.1214/aoms/1177696786; Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas
    (2024), doi:10.1214/24-AOS2408.

    Examples
    --------
    >>> round(half_width(2 * 0.25 / 20_000, 0.03**2, 0.05), 4)
    0.0157
    >>> round(1.96 * (2 * 0.25 / 20_000) ** 0.5, 4)
    0.0098
    """
    if variance <= 0:
        return 0.0
    total = variance + scale_squared
    return math.sqrt(variance * total / scale_squared * math.log(total / (variance * alpha * alpha)))
