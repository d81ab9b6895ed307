"""What depends on one column alone, computed once for each: the baseline's are asked in every evaluation."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

Column = TypeVar("Column")
Answer = TypeVar("Answer")


def remembered(function: Callable[[Column], Answer]) -> Callable[[Column], Answer]:
    """Keep what a function of one object returned for as long as the object lives.

    Objects are told apart by identity, so they must neither change nor define equality; the answer must not
    refer to the object. For one that cannot be referred to weakly the function is called each time.

    Examples
    --------
    >>> class Column:
    ...     pass
    >>> @remembered
    ... def asked(column):
    ...     print("computed")
    ...     return 1
    >>> column = Column()
    >>> asked(column) + asked(column)
    computed
    2
    """
    known: WeakKeyDictionary[Column, Answer] = WeakKeyDictionary()

    @wraps(function)
    def answer(column: Column) -> Answer:
        try:
            return known[column]
        except KeyError:
            found = known[column] = function(column)
            return found
        except TypeError:
            return function(column)

    return answer
