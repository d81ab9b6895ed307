"""The rules of one model, compiled once and evaluated on every batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from exporter.columns import source
from exporter.errors import ConfigurationError, ExpressionError
from exporter.rules.expression import Expression, parse
from exporter.rules.operands import operand, pieces
from exporter.rules.process import EvaluationError, OverrunError, RuleWorker
from exporter.rules.validation import Check, ColumnValues, Mask, compile_rule
from exporter.schema import Kind, Schema

Key: TypeAlias = tuple[str, ...]
"""("rule", column, rule) or ("consistency", rule)."""

_FIRST_BACK_OFF_SECONDS = 60.0
_LONGEST_BACK_OFF_SECONDS = 3600.0


class RuleError(ConfigurationError, ExpressionError):
    """Rules that cannot be used; `problems` lists (path below `quality`, message)."""

    code = "bad_expression"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one rule says of each row.

    Attributes
    ----------
    passed : bool array of shape (rows,)
    checked : bool array of shape (rows,) or None
        Rows on which the rule says anything; None means all.
    """

    passed: Mask
    checked: Mask | None = None

    def take(self, positions: NDArray[np.intp]) -> Judgement:
        return Judgement(self.passed[positions], None if self.checked is None else self.checked[positions])


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What the rules say of one table.

    Attributes
    ----------
    judgements : mapping
        By ("rule", column, rule) or ("consistency", rule), only of rules that could be evaluated.
    failures : mapping
        Why a rule could not be evaluated, by its path in the configuration:
        ``validation_rules.distance.min``, ``consistency_rules.arrives_after_departure``.
    """

    judgements: Mapping[Key, Judgement] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def tallies(self) -> dict[tuple[str, ...], int]:
        """Rows that passed and were checked: keys (*key, "passed") and (*key, "checked")."""
        counts: dict[tuple[str, ...], int] = {}
        for key, judgement in self.judgements.items():
            checked = judgement.checked
            counts[*key, "passed"] = int(np.count_nonzero(judgement.passed))
            counts[*key, "checked"] = (
                judgement.passed.size if checked is None else int(np.count_nonzero(checked))
            )
        return counts

    @property
    def valid(self) -> dict[str, tuple[int, int]]:
        """By column, (rows that pass all its validation rules, rows)."""
        masks: dict[str, Mask] = {}
        for key, judgement in self.judgements.items():
            if key[0] == "rule":
                previous = masks.get(key[1])
                masks[key[1]] = judgement.passed if previous is None else previous & judgement.passed
        return {column: (int(np.count_nonzero(mask)), mask.size) for column, mask in masks.items()}

    def take(self, positions: NDArray[np.intp]) -> RuleOutcome:
        """Return the outcome of some of the rows; `unique` still speaks of the whole table."""
        judgements = {key: judgement.take(positions) for key, judgement in self.judgements.items()}
        return RuleOutcome(judgements, self.failures)


@dataclass(slots=True)
class _BackOff:
    overruns: int
    until: float


class RuleSet:
    """Validation and consistency rules of one model. Safe to share between threads.

    Use :meth:`compile`. A rule set without a worker of its own starts one when the first consistency rule is
    evaluated; `close()` ends that one, and leaves a shared worker to whoever made it.
    """

    def __init__(
        self,
        checks: Mapping[tuple[str, str], Check],
        expressions: Mapping[str, Expression],
        schema: Schema,
        worker: RuleWorker | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks = checks
        self._expressions = expressions
        self._zone = schema.timezone
        self._kinds = _kinds(schema)
        self._owned = worker is None
        self._worker = worker or RuleWorker()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._resting: dict[str, _BackOff] = {}

    @classmethod
    def compile(
        cls,
        validation_rules: Mapping[str, Any] | None,
        consistency_rules: Mapping[str, str] | None,
        schema: Schema,
        *,
        worker: RuleWorker | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> RuleSet:
        """Check and compile rules.

        Parameters
        ----------
        validation_rules : mapping
            Column to rule to argument; or column to an object whose `checks()` gives rule to argument.
        consistency_rules : mapping
            Rule name to a boolean SQL expression, see :mod:`exporter.rules.grammar`.
        schema : Schema
            Declares how columns are read.
        worker : RuleWorker, optional
            Shared by all models.

        Raises
        ------
        RuleError
            With every problem and its path; it is a ConfigurationError and an ExpressionError.
        """
        problems: list[tuple[str, str]] = []
        checks: dict[tuple[str, str], Check] = {}
        expressions: dict[str, Expression] = {}
        for column, rules in (validation_rules or {}).items():
            for rule, argument in (rules if isinstance(rules, Mapping) else rules.checks()).items():
                try:
                    check = compile_rule(rule, argument, schema.timezone)
                except ExpressionError as error:
                    problems.append((f"validation_rules.{column}.{rule}", error.message))
                else:
                    if check is not None:
                        checks[column, rule] = check
        for name, text in (consistency_rules or {}).items():
            try:
                expressions[name] = parse(text)
            except ExpressionError as error:
                problems.append((f"consistency_rules.{name}", error.message))
        if problems:
            raise RuleError("; ".join(f"{path}: {message}" for path, message in problems), problems)
        return cls(checks, expressions, schema, worker, monotonic)

    @property
    def paths(self) -> dict[str, Key]:
        """The key of every rule by its path in the configuration, as in `RuleOutcome.failures`."""
        checks: dict[str, Key] = {
            f"validation_rules.{column}.{rule}": ("rule", column, rule) for column, rule in self._checks
        }
        return checks | {_path(name): ("consistency", name) for name in self._expressions}

    @property
    def worker(self) -> RuleWorker:
        """What evaluates the consistency rules."""
        return self._worker

    def columns(self) -> frozenset[str]:
        """Names of all columns that the rules read."""
        read = {name for expression in self._expressions.values() for name in expression.columns}
        return frozenset(read | {column for column, _ in self._checks})

    def evaluate(self, table: pa.Table) -> RuleOutcome:
        """Evaluate every rule on every row; what goes wrong is in the outcome's `failures`.

        A NULL result of a consistency rule says nothing about its row: it is neither passed nor checked.
        """
        judgements: dict[Key, Judgement] = {}
        failures: dict[str, str] = {}
        self._validate(table, judgements, failures)
        self._compare(table, judgements, failures)
        return RuleOutcome(judgements, failures)

    def close(self) -> None:
        """End the worker, unless it is shared."""
        if self._owned:
            self._worker.close()

    def _validate(self, table: pa.Table, judgements: dict[Key, Judgement], failures: dict[str, str]) -> None:
        values: dict[str, ColumnValues] = {}
        for (column, rule), check in self._checks.items():
            try:
                if column not in values:
                    _require(table, column)
                    values[column] = ColumnValues(source(table, column), self._kinds.get(column), self._zone)
                judgements["rule", column, rule] = Judgement(check(values[column]))
            except Exception as error:  # noqa: BLE001  # no data may stop ingestion; the reason is reported
                failures[f"validation_rules.{column}.{rule}"] = _reason(error)

    def _compare(self, table: pa.Table, judgements: dict[Key, Judgement], failures: dict[str, str]) -> None:
        ready = self._ready(table, failures)
        if not ready or not table.num_rows:
            judgements.update({("consistency", name): Judgement(np.ones(0, np.bool_)) for name in ready})
            return
        columns = {column: self._kinds.get(column) for rule in ready.values() for column in rule.columns}
        names = {column: f"k{i}" for i, column in enumerate(columns)}
        statements = {name: rule.sql([names[c] for c in rule.columns]) for name, rule in ready.items()}
        parts: dict[str, list[tuple[Mask, Mask]]] = {name: [] for name in ready}
        try:
            for piece in pieces(table, columns, self._zone):
                for name, result in self._worker.evaluate(piece, statements).items():
                    if isinstance(result, EvaluationError):
                        failures[_path(name)] = result.message
                        self._rest(name, result)
                        del statements[name]
                    else:
                        parts[name].append(result)
        except Exception as error:  # noqa: BLE001  # as above
            failures.update({_path(name): _reason(error) for name in statements})
            return
        for name in statements:
            passed, checked = (np.concatenate(masks) for masks in zip(*parts[name], strict=True))
            judgements["consistency", name] = Judgement(passed, checked)
            with self._lock:
                self._resting.pop(name, None)

    def _ready(self, table: pa.Table, failures: dict[str, str]) -> dict[str, Expression]:
        """Return the consistency rules that can run now on these columns; the others get a reason."""
        ready: dict[str, Expression] = {}
        unreadable: dict[str, str | None] = {}
        for name, expression in self._expressions.items():
            if not self._may_run(name, failures):
                continue
            for column in expression.columns:
                if column not in unreadable:
                    unreadable[column] = self._unreadable(table, column)
            reasons = [reason for column in expression.columns if (reason := unreadable[column])]
            if reasons:
                failures[_path(name)] = reasons[0]
            else:
                ready[name] = expression
        return ready

    def _unreadable(self, table: pa.Table, column: str) -> str | None:
        """Return why a consistency rule cannot read a column, None when it can."""
        try:
            _require(table, column)
            operand(source(table.slice(0, 1), column), self._kinds.get(column), self._zone)
        except Exception as error:  # noqa: BLE001  # as above
            return f"column {column!r}: {_reason(error)}"
        return None

    def _may_run(self, name: str, failures: dict[str, str]) -> bool:
        with self._lock:
            resting = self._resting.get(name)
        left = 0.0 if resting is None else resting.until - self._monotonic()
        if left > 0:
            failures[_path(name)] = f"skipped for {left:.0f} s more, because it took too much time or memory"
        return left <= 0

    def _rest(self, name: str, error: EvaluationError) -> None:
        if not isinstance(error, OverrunError):
            return
        with self._lock:
            overruns = self._resting[name].overruns + 1 if name in self._resting else 1
            pause = min(_LONGEST_BACK_OFF_SECONDS, _FIRST_BACK_OFF_SECONDS * 2 ** (overruns - 1))
            self._resting[name] = _BackOff(overruns, self._monotonic() + pause)


def _kinds(schema: Schema) -> dict[str, Kind]:
    kinds = {column.name: column.kind for column in schema.features or ()}
    if schema.timestamp is not None:
        kinds[schema.timestamp] = Kind.DATETIME
    return kinds


def _require(table: pa.Table, column: str) -> None:
    found = len(table.schema.get_all_field_indices(column))
    if found != 1:
        raise LookupError("was not pushed (names are case-sensitive)" if not found else "was pushed twice")


def _path(name: str) -> str:
    return f"consistency_rules.{name}"


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
