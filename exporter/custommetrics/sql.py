"""SQL aggregates as metrics: a ratio of sums, counts or means over labelled rows.

The expression is taken apart into what each row adds to a numerator and to a denominator. These two are
rendered from the checked tree, evaluated row by row in the rules' worker process, and summed here:
a value of many batches is the value of all their rows. What is not such a ratio (a median, a distinct count,
a largest value) cannot be put together from batches, and is refused.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exporter.batch import Outcomes
from exporter.custommetrics.frame import table_of
from exporter.custommetrics.functions import digest, sentence
from exporter.custommetrics.measure import Measure
from exporter.custommetrics.terms import CustomMetricError, Terms, checked
from exporter.errors import ExpressionError
from exporter.rules import EvaluationError, OverrunError, RuleWorker, checked_tree, render_values
from exporter.rules.operands import pieces

FIRST_REST_SECONDS = 60.0
LONGEST_REST_SECONDS = 3600.0
"""How long a metric that took too much time or memory is left alone; each time twice as long."""

NOT_MERGEABLE = (
    "expected a ratio of sums, such as sum(x) / count(*), avg(x) or count(x): sums add up over batches, "
    "{what} does not"
)


@dataclass(frozen=True, slots=True)
class Addend:
    """A factor times an aggregate: what one row adds, as nodes of the tree.

    `value` None counts rows; `counted` counts those where it is not NULL; else it is summed. `condition` is
    that of a FILTER.
    """

    factor: float
    value: Any = None
    counted: bool = False
    condition: Any = None

    def times(self, factor: float) -> Addend:
        return Addend(self.factor * factor, self.value, self.counted, self.condition)


@dataclass(frozen=True, slots=True)
class Form:
    """A sum of aggregates, over another one where there is a denominator."""

    numerator: tuple[Addend, ...]
    denominator: tuple[Addend, ...] | None = None

    def times(self, factor: float) -> Form:
        return Form(tuple(addend.times(factor) for addend in self.numerator), self.denominator)


@dataclass(frozen=True, slots=True)
class SqlParts:
    """What each row adds, as SQL templates over `columns` (see :class:`exporter.rules.Expression`)."""

    text: str
    columns: tuple[str, ...]
    numerator: str
    denominator: str | None

    @property
    def digest(self) -> str:
        return digest(self.columns, self.numerator, self.denominator)


def compile_sql(text: str) -> SqlParts:
    """Take an expression apart.

    Raises
    ------
    ExpressionError
        It cannot be parsed, has something in it that is not allowed, or is no ratio of sums.

    Examples
    --------
    >>> compile_sql("sum(amount) / count(*)").columns
    ('amount',)
    >>> compile_sql("median(amount)")
    Traceback (most recent call last):
    exporter.errors.ExpressionError: expected a ratio of sums, such as sum(x) / count(*), avg(x) or count(x): sums add up over batches, 'MEDIAN(amount)' does not
    """  # noqa: E501  # one line, as it is printed
    form = _form(checked_tree(text))
    if isinstance(form, float):
        raise ExpressionError("expected an aggregate of the rows, got a number")
    sides = [form.numerator, *([form.denominator] if form.denominator is not None else [])]
    nodes = [node for side in sides for addend in side for node in (addend.value, addend.condition)]
    templates, columns = render_values(text, [node for node in nodes if node is not None])
    rendered = iter(templates)
    sql = [" + ".join(_addend_sql(addend, rendered) for addend in side) for side in sides]
    return SqlParts(text, columns, sql[0], sql[1] if len(sql) > 1 else None)


def _addend_sql(addend: Addend, rendered: Any) -> str:
    value = "1" if addend.value is None else next(rendered)
    if addend.counted:
        value = f"(CASE WHEN {value} IS NULL THEN 0 ELSE 1 END)"
    if addend.condition is not None:
        value = f"(CASE WHEN {next(rendered)} THEN {value} END)"
    return f"({addend.factor!r} * coalesce(CAST({value} AS DOUBLE), 0))"


def _form(node: Any) -> Form | float:  # noqa: PLR0911  # one line for each kind of node
    name = type(node).__name__
    if name == "Paren" or (name in ("Cast", "TryCast") and node.args["to"].this.name in _FLOATING):
        return _form(node.this)
    if name == "Nullif" and type(node.expression).__name__ == "Literal" and node.expression.name == "0":
        return _form(node.this)  # a guard that the division has anyway
    if name == "Literal" and not node.is_string:
        return float(node.this)
    if name == "Neg":
        below = _form(node.this)
        return -below if isinstance(below, float) else below.times(-1.0)
    if name in ("Add", "Sub"):
        right = _form(node.expression)
        if name == "Sub":
            right = -right if isinstance(right, float) else right.times(-1.0)
        return _sum(_form(node.this), right, node)
    if name in ("Mul", "Div"):
        return (_product if name == "Mul" else _quotient)(_form(node.this), _form(node.expression), node)
    return _aggregate(node)


_FLOATING = frozenset({"DOUBLE", "FLOAT"})
"""Types to which a cast leaves an aggregate as it is."""


def _sum(left: Form | float, right: Form | float, node: Any) -> Form | float:
    if isinstance(left, float) and isinstance(right, float):
        return left + right
    if isinstance(left, Form) and isinstance(right, Form):
        if left.denominator != right.denominator:
            raise _refusal(node)
        return Form((*left.numerator, *right.numerator), left.denominator)
    ratio, number = (left, right) if isinstance(left, Form) else (right, left)
    if not isinstance(ratio, Form) or not isinstance(number, float) or ratio.denominator is None:
        raise _refusal(node)
    return Form(
        (*ratio.numerator, *(addend.times(number) for addend in ratio.denominator)), ratio.denominator
    )


def _product(left: Form | float, right: Form | float, node: Any) -> Form | float:
    if isinstance(left, float):
        return left * right if isinstance(right, float) else right.times(left)
    if isinstance(right, float):
        return left.times(right)
    raise _refusal(node)


def _quotient(left: Form | float, right: Form | float, node: Any) -> Form | float:
    if isinstance(right, float):
        if right == 0:
            raise ExpressionError("expected a number other than 0 to divide by")
        return left / right if isinstance(left, float) else left.times(1 / right)
    if isinstance(left, float) or left.denominator is not None or right.denominator is not None:
        raise _refusal(node)
    return Form(left.numerator, right.numerator)


def _aggregate(node: Any, condition: Any = None) -> Form:
    name = type(node).__name__
    if name == "Filter" and condition is None:
        return _aggregate(node.this, node.expression.this)
    inner = getattr(node, "this", None)
    if name == "Count":
        if type(inner).__name__ == "Star":
            return Form((Addend(1.0, None, condition=condition),))
        if inner is not None and type(inner).__name__ != "Distinct" and not node.args.get("expressions"):
            return Form((Addend(1.0, inner, counted=True, condition=condition),))
    elif name == "CountIf" and condition is None:
        return Form((Addend(1.0, None, condition=inner),))
    elif name in ("Sum", "Avg") and type(inner).__name__ != "Distinct":
        total = (Addend(1.0, inner, condition=condition),)
        if name == "Sum":
            return Form(total)
        return Form(total, (Addend(1.0, inner, counted=True, condition=condition),))
    raise _refusal(node)


def _refusal(node: Any) -> ExpressionError:
    shown = node.sql(dialect="duckdb")
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return ExpressionError(NOT_MERGEABLE.format(what=repr(shown)))


@dataclass(slots=True)
class _Rest:
    """After an overrun the metric is left alone for a while: each one costs a worker and a deadline."""

    seconds: float = 0.0
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class SqlMetric:
    """An expression with what is exported of it. Safe to share between threads."""

    measure: Measure
    parts: SqlParts
    worker: RuleWorker
    monotonic: Callable[[], float] = time.monotonic
    _rest: _Rest = field(default_factory=_Rest)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def columns(self) -> tuple[str, ...]:
        return self.parts.columns

    def terms(self, outcomes: Outcomes) -> Terms:
        """What each labelled row adds; a row without a finite value adds nothing.

        Raises
        ------
        CustomMetricError
            The expression fails on these rows, or takes too much time or memory.
        """
        rows = len(outcomes.prediction)
        left = self._rest.until - self.monotonic()
        if left > 0:
            raise CustomMetricError(f"skipped for {left:.0f} s more, because it took too much time or memory")
        try:
            values = self._values(outcomes)
        except OverrunError as error:
            self._leave_alone()
            raise CustomMetricError(error.message) from error
        except EvaluationError as error:
            raise CustomMetricError(error.message) from error
        except CustomMetricError:
            raise
        except Exception as error:  # no data may stop ingestion; the reason is reported
            raise CustomMetricError(sentence(error)) from error
        with self._lock:
            self._rest.seconds = self._rest.until = 0.0
        denominator = values[:, 1] if self.parts.denominator is not None else np.zeros(rows)
        return checked(np.ascontiguousarray(values[:, 0]), np.ascontiguousarray(denominator))

    def _values(self, outcomes: Outcomes) -> Any:
        columns = self.parts.columns
        statements = [
            self._sql(side) for side in (self.parts.numerator, self.parts.denominator) if side is not None
        ]
        if not columns:  # count(*) alone: no column is needed, but the rows are
            columns = ("prediction",)
        table = table_of(outcomes, columns)
        found = [
            self.worker.values(piece, statements) for piece in pieces(table, dict.fromkeys(columns), "UTC")
        ]
        return np.concatenate(found) if found else np.zeros((0, len(statements)))

    def _sql(self, template: str) -> str:
        for place in range(len(self.parts.columns)):
            template = template.replace(f"\x00{place}\x00", f'"k{place}"')
        return template

    def _leave_alone(self) -> None:
        with self._lock:
            self._rest.seconds = min(LONGEST_REST_SECONDS, max(FIRST_REST_SECONDS, 2 * self._rest.seconds))
            self._rest.until = self.monotonic() + self._rest.seconds
