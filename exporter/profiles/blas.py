"""One thread of BLAS for many small products: more of them only wait for each other."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def one_blas_thread() -> AbstractContextManager[Any]:
    """Products within run in the thread that asks for them; the number before holds again afterwards."""
    limit: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limit


@cache
def _controller() -> ThreadpoolController:
    """Made once: to look for the libraries takes half a millisecond, to set their threads a hundredth."""
    return ThreadpoolController()
