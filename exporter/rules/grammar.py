"""What a consistency rule may contain: the limits and the lists that :mod:`exporter.rules.expression` checks.

A name joins a list only when its result depends on nothing but its arguments (no clock, no randomness,
no files, no environment), when its cost is linear in them, and when its result cannot be much larger
than they are (no ``repeat``, ``lpad``, ``range`` or ``replace``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MAX_CHARACTERS: Final = 10_000
MAX_TOKENS: Final = 2_000
MAX_NESTING: Final = 32
"""Open parentheses at any place."""
MAX_DEPTH: Final = 100
"""Nodes from the root to a leaf; a chain of 99 ANDs reaches it."""
MAX_TEXT: Final = 1_000
"""Characters of one literal text or pattern."""

OPERATORS: Final[Mapping[str, str]] = {
    "And": "AND",
    "Or": "OR",
    "EQ": "=",
    "NEQ": "<>",
    "LT": "<",
    "LTE": "<=",
    "GT": ">",
    "GTE": ">=",
    "NullSafeEQ": "IS NOT DISTINCT FROM",
    "NullSafeNEQ": "IS DISTINCT FROM",
    "Add": "+",
    "Sub": "-",
    "Mul": "*",
    "Div": "/",
    "IntDiv": "//",
    "Mod": "%",
    "Pow": "**",
    "DPipe": "||",
}
"""Operators with two sides, by the name of sqlglot's node."""

FUNCTIONS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "Abs": ("abs", ("this",)),
    "Ceil": ("ceil", ("this",)),
    "Exp": ("exp", ("this",)),
    "Floor": ("floor", ("this",)),
    "Ln": ("ln", ("this",)),
    "Round": ("round", ("this", "decimals")),
    "Sign": ("sign", ("this",)),
    "Sqrt": ("sqrt", ("this",)),
    "Trunc": ("trunc", ("this",)),
    "IsInf": ("isinf", ("this",)),
    "IsNan": ("isnan", ("this",)),
    "Greatest": ("greatest", ("this", "expressions")),
    "Least": ("least", ("this", "expressions")),
    "Coalesce": ("coalesce", ("this", "expressions")),
    "Nullif": ("nullif", ("this", "expression")),
    "Contains": ("contains", ("this", "expression")),
    "EndsWith": ("suffix", ("this", "expression")),
    "StartsWith": ("prefix", ("this", "expression")),
    "Left": ("left", ("this", "expression")),
    "Right": ("right", ("this", "expression")),
    "Length": ("length", ("this",)),
    "Lower": ("lower", ("this",)),
    "Upper": ("upper", ("this",)),
    "StrPosition": ("strpos", ("this", "substr")),
    "Substring": ("substring", ("this", "start", "length")),
    "Year": ("year", ("this",)),
    "Quarter": ("quarter", ("this",)),
    "Month": ("month", ("this",)),
    "Week": ("week", ("this",)),
    "Day": ("day", ("this",)),
    "DayOfYear": ("dayofyear", ("this",)),
    "DayOfWeek": ("dayofweek", ("this",)),
    "DayOfWeekIso": ("isodow", ("this",)),
    "Hour": ("hour", ("this",)),
    "Minute": ("minute", ("this",)),
    "Second": ("second", ("this",)),
    "TimeToUnix": ("epoch", ("this",)),
}
"""Functions that sqlglot knows: DuckDB's name and the arguments in order."""

PLAIN_FUNCTIONS: Final[Mapping[str, int]] = {"isfinite": 1, "prefix": 2, "suffix": 2, "strlen": 1}
"""Functions that sqlglot passes through, with the number of their arguments."""

TYPES: Final[Mapping[str, str]] = {
    "BOOLEAN": "BOOLEAN",
    "TINYINT": "TINYINT",
    "SMALLINT": "SMALLINT",
    "INT": "INTEGER",
    "BIGINT": "BIGINT",
    "FLOAT": "FLOAT",
    "DOUBLE": "DOUBLE",
    "DECIMAL": "DECIMAL",
    "TEXT": "VARCHAR",
    "VARCHAR": "VARCHAR",
    "DATE": "DATE",
    "TIME": "TIME",
    "TIMESTAMP": "TIMESTAMP",
    "TIMESTAMPNTZ": "TIMESTAMP",
    "DATETIME": "TIMESTAMP",
}
"""Types that CAST and TRY_CAST may name."""

UNITS: Final = frozenset(
    {"SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR", "MILLISECOND", "EPOCH"}
)
"""Units of INTERVAL, EXTRACT, date_diff and date_trunc."""

ALLOWED: Final = (
    "comparisons (= <> < <= > >= IS [NOT] NULL, IS [NOT] DISTINCT FROM, BETWEEN, IN, LIKE, ILIKE), AND OR "
    "NOT, arithmetic (+ - * / // % **), ||, CASE, CAST and TRY_CAST, INTERVAL, EXTRACT, and the functions "
    "abs ceil coalesce contains date_diff date_trunc day dayofweek dayofyear ends_with epoch exp floor "
    "greatest hour if ifnull isfinite isinf isnan isodow least left length ln log10 log2 lower ltrim minute "
    "month nullif pow prefix quarter regexp_matches right round rtrim second sign sqrt starts_with strlen "
    "strpos substring suffix trim trunc upper week year"
)
"""All of it in words, for error messages and the documentation."""

HARMLESS_FLAGS: Final = frozenset({"typed", "safe", "date_part_boundary", "ignore_nulls", "big_int"})
"""Remarks of sqlglot's parser that say how another dialect would mean it; DuckDB's own meaning is used."""

NOT_BOOLEAN: Final = frozenset(
    {"Literal", "Add", "Sub", "Mul", "Div", "IntDiv", "Mod", "Pow", "DPipe", "Neg", "Interval", "Null"}
)
"""Nodes whose result cannot be true or false."""
