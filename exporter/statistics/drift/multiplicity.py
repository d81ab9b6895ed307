"""Many tests at once: how many are rejected, and adjusted p-values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Correction = Literal["bh", "bonferroni", "none"]


def benjamini_hochberg(
    p_values: Sequence[float] | NDArray[np.float64], alpha: float = 0.05
) -> tuple[int, NDArray[np.float64]]:
    """Rejections at false-discovery rate `alpha` and adjusted p-values in the order given.

    Source: Benjamini & Hochberg, doi:10.1111/j.2517-6161.1995.tb02031.x.

    Examples
    --------
    >>> rejected, q = benjamini_hochberg([0.01, 0.04, 0.03, 0.5])
    >>> rejected, q.round(4).tolist()
    (1, [0.04, 0.0533, 0.0533, 0.5])
    """
    p = np.asarray(p_values, np.float64)
    k = len(p)
    if k == 0:
        return 0, p
    order = np.argsort(p, kind="stable")
    ranks = np.arange(1, k + 1)
    significant = np.flatnonzero(p[order] <= alpha * ranks / k)
    q = np.empty(k)
    q[order] = np.minimum(np.minimum.accumulate((p[order] * k / ranks)[::-1])[::-1], 1.0)
    return (int(significant[-1]) + 1 if len(significant) else 0), q


def corrected_level(
    p_values: Sequence[float] | NDArray[np.float64], alpha: float, correction: Correction
) -> tuple[float, NDArray[np.float64]]:
    """The level at which each single test is decided, and adjusted p-values.

    Benjamini-Hochberg: alpha * max(R, 1) / k with R rejections among k; Bonferroni: alpha / k; none: alpha.
    """
    p = np.asarray(p_values, np.float64)
    k = max(len(p), 1)
    if correction == "bh":
        rejected, q = benjamini_hochberg(p, alpha)
        return alpha * max(rejected, 1) / k, q
    if correction == "bonferroni":
        return alpha / k, np.minimum(p * k, 1.0)
    return alpha, p
