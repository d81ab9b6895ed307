"""Python functions as metrics: found by name, declared by a decorator, called with labelled rows.

They run in the exporter's own process, on the path of every push that brings labels: they must be quick, and
only code that the operator trusts may be named. Whatever they raise stays here.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from exporter.batch import Outcomes
from exporter.custommetrics.frame import frame_of
from exporter.custommetrics.measure import Measure
from exporter.custommetrics.terms import CustomMetricError, Terms, checked, sums_of_call
from exporter.errors import ConfigurationError

Function = TypeVar("Function", bound=Callable[..., Any])

_ATTRIBUTE = "__ml_exporter_metric__"


@dataclass(frozen=True, slots=True)
class Declared:
    """What a function says of itself; None where it says nothing."""

    unit: str | None = None
    higher_is_better: bool | None = None
    columns: tuple[str, ...] | None = None


def custom_metric(
    *, unit: str | None = None, higher_is_better: bool | None = None, columns: Sequence[str] | None = None
) -> Callable[[Function], Function]:
    """Declare unit, direction and columns of a custom metric beside its function.

    The configuration may say otherwise. The function itself stays as it is.

    Parameters
    ----------
    unit : str, optional
        `ratio` for shares, else what the value is counted in (`eur`, `minutes`).
    higher_is_better : bool, optional
        Default True.
    columns : sequence of str, optional
        Columns of the rows that the function reads beside `prediction`, `label` and `score`.

    Examples
    --------
    >>> @custom_metric(unit="eur", columns=["amount"])
    ... def profit(rows):
    ...     return rows["amount"] * (rows["prediction"] == rows["label"])
    """
    declared = Declared(unit, higher_is_better, None if columns is None else tuple(columns))

    def declare(function: Function) -> Function:
        setattr(function, _ATTRIBUTE, declared)
        return function

    return declare


def declared_by(function: Callable[..., Any]) -> Declared:
    """What :func:`custom_metric` declared; nothing where it was not used."""
    declared = getattr(function, _ATTRIBUTE, None)
    return declared if isinstance(declared, Declared) else Declared()


def resolve(path: str) -> Callable[..., Any]:
    """The function that `package.module:function` names.

    Raises
    ------
    ConfigurationError
        The module cannot be imported, or has no such function.
    """
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"cannot import {module_name} for the metric {path}: {sentence(error)} (it has to be installed, "
            "or on PYTHONPATH, where the exporter runs)"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigurationError(f"{module_name} has no function {name} (metric {path})")
    return function  # type: ignore[no-any-return]  # callable, whatever it is


def importable(function: Callable[..., Any]) -> str:
    """The path under which :func:`resolve` finds a function again.

    Raises
    ------
    ConfigurationError
        It is found under none: a lambda, or a function of the main program or of another function.
    """
    path = f"{function.__module__}:{getattr(function, '__qualname__', '')}"
    try:
        found = resolve(path) is function and function.__module__ != "__main__"
    except ConfigurationError:
        found = False
    if not found:
        raise ConfigurationError(
            f"the metric {path} cannot be found again by its name; put the function into a module of its own"
        )
    return path


def fingerprint(function: Callable[..., Any], *further: object) -> str:
    """A short hash of what a function does, as far as its own text says: comments and layout do not count.

    What it calls is not looked into.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.decorator_list = []
                if ast.get_docstring(node, clean=False) is not None and len(node.body) > 1:
                    del node.body[0]
        text = ast.unparse(tree)
    except (OSError, TypeError, SyntaxError, ValueError):
        code = getattr(function, "__code__", None)
        text = _code_text(code) if isinstance(code, CodeType) else repr(type(function))
    return digest(text, *further)


def digest(*parts: object) -> str:
    """A short hash of some texts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _code_text(code: CodeType) -> str:
    constants = [_code_text(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return repr((code.co_code, code.co_names, constants))


@dataclass(frozen=True, slots=True)
class PythonMetric:
    """A function with what is exported of it and the columns that it reads."""

    measure: Measure
    function: Callable[..., Any]
    columns: tuple[str, ...]

    def terms(self, outcomes: Outcomes) -> Terms | NDArray[np.float64]:
        """What the function gives for labelled rows: by row, or the sums of the whole call.

        Raises
        ------
        CustomMetricError
            It fails (`error`), or gives neither values by row nor sums (`not_comparable`).
        """
        rows = len(outcomes.prediction)
        try:
            with np.errstate(all="ignore"):
                given = self.function(frame_of(outcomes, self.columns))
        except CustomMetricError:
            raise
        except (Exception, SystemExit) as error:
            raise CustomMetricError(sentence(error)) from error
        return _read(given, rows)


def _read(given: Any, rows: int) -> Terms | NDArray[np.float64]:
    if isinstance(given, Mapping):
        if set(given) != {"numerator", "denominator"}:
            names = ", ".join(map(str, given)) or "none"
            raise CustomMetricError(
                f"expected the keys numerator and denominator, got {names[:100]}", "not_comparable"
            )
        numerator, denominator = (_numbers(given[name], name) for name in ("numerator", "denominator"))
        if numerator.shape == denominator.shape == (rows,):
            return checked(numerator, denominator)
        for name, values in (("numerator", numerator), ("denominator", denominator)):
            if values.shape not in ((), (rows,)):
                raise CustomMetricError(_shape(name, values, rows), "not_comparable")
        a, b = float(numerator.sum()), float(denominator.sum())
        if np.isnan(a) or np.isnan(b):
            return np.zeros(6)
        if not np.isfinite([a, b]).all():
            raise CustomMetricError("the metric gave an infinite sum")
        return sums_of_call(a, b)
    values = _numbers(given, "result")
    if values.shape != (rows,):
        raise CustomMetricError(_shape("result", values, rows), "not_comparable")
    return checked(values, np.where(np.isnan(values), np.nan, 1.0))


def _numbers(given: Any, what: str) -> NDArray[np.float64]:
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CustomMetricError(
            f"expected numbers as {what}, got {type(given).__name__}", "not_comparable"
        ) from error


def _shape(what: str, values: NDArray[np.float64], rows: int) -> str:
    return (
        f"expected one value a row ({rows}) or a mapping of numerator and denominator, but the {what} has "
        f"the shape {values.shape}: a mean over the rows cannot be merged with another batch's"
    )


def sentence(error: BaseException) -> str:
    """An error in one line of at most 300 characters."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text[:300]
