"""Whether rows come to the arms in the shares that they should, tested as often as one likes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import special

CONCENTRATION = 500.0
"""Rows that the prior is worth: deviations of about 1 / (2 sqrt(500)) = 2 points are looked for."""


def log_bayes_factor(
    counts: Sequence[int], shares: Sequence[float], *, concentration: float = CONCENTRATION
) -> float:
    """Logarithm of the evidence against the shares: a Dirichlet mixture of other shares, to them.

    Parameters
    ----------
    counts : sequence of int
        Rows by arm, in all.
    shares : sequence of float
        Expected share of each arm; they sum to 1.
    concentration : float
        Of the Dirichlet distribution, whose mean is `shares`.

    Returns
    -------
    float
        While rows come in the shares expected, this exceeds ln(1 / alpha) at any time with probability at
        most alpha.

    Notes
    -----
    Lindon & Malek (2022), "Anytime-valid inference for multinomial count data", NeurIPS 35.

    Examples
    --------
    >>> log_bayes_factor([5_000, 5_000], [0.5, 0.5]) < 0
    True
    >>> math.exp(-log_bayes_factor([5_300, 4_700], [0.5, 0.5])) < 1e-6
    True
    """
    total = sum(counts)
    evidence = float(special.gammaln(concentration) - special.gammaln(concentration + total))
    for count, share in zip(counts, shares, strict=True):
        prior = concentration * share
        evidence += float(special.gammaln(prior + count) - special.gammaln(prior)) - count * math.log(share)
    return evidence


def sample_ratio_p_value(
    counts: Sequence[int],
    shares: Sequence[float],
    *,
    before: float = 1.0,
    concentration: float = CONCENTRATION,
) -> float:
    """The always-valid p-value after one more look: the smallest of 1 / evidence so far.

    `before` is the p-value of the last look; below alpha it falls with probability at most alpha, ever.
    """
    evidence = log_bayes_factor(counts, shares, concentration=concentration)
    return min(before, 1.0, math.exp(-evidence) if evidence > 0 else 1.0)
