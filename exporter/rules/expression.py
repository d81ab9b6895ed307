"""A consistency rule's expression: parsed, checked node by node, rendered anew.

The text is parsed with sqlglot's DuckDB grammar. Every node of the tree has to be on one of the lists of
:mod:`exporter.rules.grammar`; what is not listed is refused, so a construct that a later grammar learns
is refused too. The SQL that runs is written here from the checked tree, with every operation in
parentheses and every column under a name of ours: no part of the text as it was typed ever reaches the
database.

A few constructs are rendered so that they mean the same under every version of DuckDB and cost linear time:
``x / y``, ``x // y`` and ``x % y`` are NULL where y is 0, ``LIKE`` becomes an RE2 match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError, TokenError

from exporter.errors import ExpressionError
from exporter.rules.grammar import (
    ALLOWED,
    FUNCTIONS,
    HARMLESS_FLAGS,
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_NESTING,
    MAX_TEXT,
    MAX_TOKENS,
    NOT_BOOLEAN,
    OPERATORS,
    PLAIN_FUNCTIONS,
    TYPES,
    UNITS,
)


@dataclass(frozen=True, slots=True)
class Expression:
    """One checked boolean expression.

    Attributes
    ----------
    text : str
        As configured.
    columns : tuple of str
        The columns it reads, in order of first appearance; names are case-sensitive.
    template : str
        The rendered SQL, with column i of `columns` as NUL i NUL; no text or name can contain NUL.
    """

    text: str
    columns: tuple[str, ...]
    template: str

    def sql(self, names: Sequence[str]) -> str:
        """Return the SQL with column i of `columns` as ``"names[i]"``."""
        sql = self.template
        for i, name in enumerate(names):
            quoted = '"' + name.replace('"', '""') + '"'
            sql = sql.replace(f"\x00{i}\x00", quoted)
        return sql


def parse(text: str) -> Expression:
    """Check `text` and render it.

    Raises
    ------
    ExpressionError
        With the position (``details[0]["line"]`` and ``["column"]``, counted from 1, where known) and what is
        allowed.

    Examples
    --------
    >>> parse("arrived >= departed").sql(["k0", "k1"])
    '("k0" >= "k1")'
    >>> parse("arrived >= departed; DROP TABLE rows")
    Traceback (most recent call last):
    exporter.errors.ExpressionError: expected one expression, got a second statement (line 1, column 20)
    """
    _check_tokens(text)
    root = _tree(text)
    renderer = _Renderer(text)
    sql = renderer.render(root)
    if type(_unwrapped(root)).__name__ in NOT_BOOLEAN:
        raise _refusal("expected an expression that is true or false, got a value", text, root)
    if not renderer.columns:
        raise ExpressionError("expected an expression over at least one column, got none")
    return Expression(text, tuple(renderer.columns), sql)


def checked_tree(text: str) -> exp.Expression:
    """The tree of one expression of bounded size; what its nodes are is not looked at.

    Raises
    ------
    ExpressionError
    """
    _check_tokens(text)
    return _tree(text)


def render_values(text: str, nodes: Sequence[exp.Expression]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """SQL templates of expressions that give one value a row, parts of the tree of `text`, and their columns.

    Raises
    ------
    ExpressionError
        A node is not allowed.
    """
    renderer = _Renderer(text)
    templates = tuple(renderer.render(node) for node in nodes)
    return templates, tuple(renderer.columns)


def check_pattern(pattern: str) -> None:
    """Raise ExpressionError unless `pattern` is an RE2 regular expression of bounded length."""
    if len(pattern) > MAX_TEXT:
        raise ExpressionError(f"expected a pattern of at most {MAX_TEXT} characters, got {len(pattern)}")
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        raise ExpressionError(f"expected an RE2 regular expression: {error}") from None


def _check_tokens(text: str) -> None:
    if not isinstance(text, str) or not text.strip():
        raise ExpressionError("expected a boolean SQL expression, got nothing")
    if "\x00" in text:
        raise ExpressionError("expected a text without the character NUL")
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"expected at most {MAX_CHARACTERS} characters, got {len(text)}")
    try:
        tokens = sqlglot.tokenize(text, dialect="duckdb")
    except (TokenError, RecursionError) as error:
        raise ExpressionError(f"expected a boolean SQL expression: {_plain(error)}") from None
    if len(tokens) > MAX_TOKENS:
        raise ExpressionError(f"expected at most {MAX_TOKENS} tokens, got {len(tokens)}")
    nesting = 0
    for token in tokens:
        if token.text == ";":
            message = "expected one expression, got a second statement"
            raise _located(message, line=token.line, column=token.col)
        nesting += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
        if nesting > MAX_NESTING:
            message = f"expected at most {MAX_NESTING} nested parentheses"
            raise _located(message, line=token.line, column=token.col)


def _tree(text: str) -> exp.Expression:
    try:
        trees = sqlglot.parse(text, dialect="duckdb")
    except SqlglotError as error:
        first = (getattr(error, "errors", None) or [{}])[0]
        message = f"expected a boolean SQL expression: {first.get('description') or _plain(error)}"
        raise _located(message, line=first.get("line"), column=first.get("col")) from None
    except RecursionError:
        raise ExpressionError(f"expected a tree of at most {MAX_DEPTH} levels") from None
    if len(trees) != 1 or trees[0] is None:
        raise ExpressionError(f"expected one expression, got {len(trees)}")
    root: exp.Expression = trees[0]  # type: ignore[assignment]  # newer stubs name a base class
    return root


class _Renderer:
    """Writes SQL from a tree, refusing every node that is not listed."""

    def __init__(self, text: str) -> None:
        self.columns: dict[str, int] = {}
        self._text = text
        self._depth = 0
        self._special: Mapping[str, Callable[[Any], str]] = {
            "Anonymous": self._anonymous,
            "Between": self._between,
            "Boolean": lambda node: "TRUE" if node.this else "FALSE",
            "Case": self._case,
            "Cast": lambda node: self._cast(node, "CAST"),
            "Column": self._column,
            "DateDiff": self._date_diff,
            "Extract": self._extract,
            "ILike": lambda node: self._like(node, "i"),
            "If": self._if,
            "In": self._in,
            "Interval": self._interval,
            "Is": self._is,
            "Like": lambda node: self._like(node, "c"),
            "Literal": self._literal,
            "Log": self._log,
            "Neg": lambda node: f"(- {self._only(node, 'this')})",
            "Not": lambda node: f"(NOT {self._only(node, 'this')})",
            "Null": lambda node: "NULL",  # noqa: ARG005  # all take the node
            "Paren": lambda node: self._only(node, "this"),
            "RawString": self._literal,
            "RegexpLike": self._regexp,
            "TimestampTrunc": self._date_trunc,
            "DateTrunc": self._date_trunc,
            "Trim": self._trim,
            "TryCast": lambda node: self._cast(node, "TRY_CAST"),
        }

    def render(self, node: Any) -> str:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"expected a tree of at most {MAX_DEPTH} levels")
        try:
            return self._dispatch(node)
        finally:
            self._depth -= 1

    def _dispatch(self, node: Any) -> str:
        name = type(node).__name__
        if name in self._special:
            return self._special[name](node)
        if name in OPERATORS:
            return self._operator(node, OPERATORS[name])
        if name in FUNCTIONS:
            function, parameters = FUNCTIONS[name]
            self._takes(node, *parameters)
            return f"{function}({', '.join(self._arguments(node, parameters))})"
        raise self._refuse(node)

    def _takes(self, node: Any, *names: str) -> None:
        """Refuse a node that carries an argument which would otherwise be left out silently."""
        for name, value in node.args.items():
            if name in names or value is None or value is False or value == []:
                continue
            if name not in HARMLESS_FLAGS:
                raise self._refuse(node)

    def _only(self, node: Any, name: str) -> str:
        self._takes(node, name)
        return self.render(node.args[name])

    def _arguments(self, node: Any, names: tuple[str, ...]) -> Iterator[str]:
        for name in names:
            value = node.args.get(name)
            if isinstance(value, list):
                yield from (self.render(item) for item in value)
            elif value is not None:
                yield self.render(value)

    def _operator(self, node: Any, symbol: str) -> str:
        self._takes(node, "this", "expression")
        left, right = self.render(node.this), self.render(node.expression)
        if symbol in ("/", "//", "%"):
            right = f"nullif({right}, 0)"
        if symbol == "**":
            return f"pow({left}, {right})"
        return f"({left} {symbol} {right})"

    def _column(self, node: Any) -> str:
        if type(node.this).__name__ != "Identifier":
            raise self._refuse(node)
        self._takes(node, "this")
        return f"\x00{self.columns.setdefault(node.name, len(self.columns))}\x00"

    def _literal(self, node: Any) -> str:
        text = str(node.this)
        if type(node).__name__ == "Literal" and not node.is_string:
            try:
                float(text)
            except ValueError:
                raise self._refuse(node) from None
            if not text.isascii() or len(text) > 50 or "_" in text:
                raise self._refuse(node)
            return text
        if len(text) > MAX_TEXT:
            raise ExpressionError(f"expected a text of at most {MAX_TEXT} characters, got {len(text)}")
        return _quoted(text)

    def _pattern(self, node: Any) -> str:
        """Return the text of a literal pattern: a pattern out of the data could not be checked."""
        if type(node).__name__ not in ("Literal", "RawString") or not (
            type(node).__name__ == "RawString" or node.is_string
        ):
            raise _refusal("expected a pattern written as a text", self._text, node)
        pattern = str(node.this)
        if len(pattern) > MAX_TEXT:
            raise ExpressionError(f"expected a pattern of at most {MAX_TEXT} characters, got {len(pattern)}")
        return pattern

    def _like(self, node: Any, case: str) -> str:
        self._takes(node, "this", "expression", "negate")
        wildcards = {"%": ".*", "_": "."}
        pattern = "".join(wildcards.get(c) or _escaped(c) for c in self._pattern(node.expression))
        check_pattern(pattern)
        match = f"regexp_full_match({self.render(node.this)}, {_quoted('(?s)' + pattern)}, '{case}')"
        return f"(NOT {match})" if node.args.get("negate") else match

    def _regexp(self, node: Any) -> str:
        self._takes(node, "this", "expression", "flag")
        pattern = self._pattern(node.expression)
        check_pattern(pattern)
        flag = node.args.get("flag")
        case = "c" if flag is None else self._pattern(flag)
        if case not in ("c", "i"):
            raise _refusal("expected the option 'c' or 'i'", self._text, node)
        return f"regexp_matches({self.render(node.this)}, {_quoted('(?-s)' + pattern)}, '{case}')"

    def _between(self, node: Any) -> str:
        self._takes(node, "this", "low", "high")
        value, low, high = (self.render(node.args[name]) for name in ("this", "low", "high"))
        return f"({value} BETWEEN {low} AND {high})"

    def _in(self, node: Any) -> str:
        self._takes(node, "this", "expressions")
        values = ", ".join(self._arguments(node, ("expressions",)))
        if not values:
            raise self._refuse(node)
        return f"({self.render(node.this)} IN ({values}))"

    def _is(self, node: Any) -> str:
        self._takes(node, "this", "expression")
        if type(node.expression).__name__ not in ("Null", "Boolean"):
            raise self._refuse(node)
        return f"({self.render(node.this)} IS {self.render(node.expression)})"

    def _case(self, node: Any) -> str:
        self._takes(node, "this", "ifs", "default")
        parts = ["CASE"]
        if node.args.get("this") is not None:
            parts.append(self.render(node.this))
        for branch in node.args["ifs"]:
            self._takes(branch, "this", "true")
            parts.append(f"WHEN {self.render(branch.this)} THEN {self.render(branch.args['true'])}")
        if node.args.get("default") is not None:
            parts.append(f"ELSE {self.render(node.args['default'])}")
        return f"({' '.join(parts)} END)"

    def _if(self, node: Any) -> str:
        self._takes(node, "this", "true", "false")
        condition, positive = self.render(node.this), self.render(node.args["true"])
        otherwise = node.args.get("false")
        negative = "NULL" if otherwise is None else self.render(otherwise)
        return f"(CASE WHEN {condition} THEN {positive} ELSE {negative} END)"

    def _cast(self, node: Any, function: str) -> str:
        self._takes(node, "this", "to")
        target = node.args["to"]
        name = getattr(target.this, "name", str(target.this))
        self._takes(target, "this", "expressions")
        sizes = [str(size) for size in target.expressions]
        if name not in TYPES or (sizes and name != "DECIMAL") or not all(size.isdigit() for size in sizes):
            raise _refusal(
                f"expected a type out of {', '.join(sorted(set(TYPES.values())))}", self._text, node
            )
        size = f"({', '.join(sizes)})" if sizes else ""
        return f"{function}({self.render(node.this)} AS {TYPES[name]}{size})"

    def _unit(self, node: Any) -> str:
        name = str(getattr(node, "name", "")).upper().removesuffix("S")
        if name not in UNITS:
            raise _refusal(f"expected a unit out of {', '.join(sorted(UNITS)).lower()}", self._text, node)
        return name

    def _interval(self, node: Any) -> str:
        self._takes(node, "this", "unit")
        amount = getattr(node.this, "name", "") if type(node.this).__name__ == "Literal" else ""
        if not amount.removeprefix("-").isdecimal() or not amount.isascii() or len(amount) > 9:
            raise _refusal("expected an interval of a whole number", self._text, node)
        return f"(INTERVAL '{amount}' {self._unit(node.args.get('unit'))})"

    def _extract(self, node: Any) -> str:
        self._takes(node, "this", "expression")
        return f"date_part('{self._unit(node.this).lower()}', {self.render(node.expression)})"

    def _date_diff(self, node: Any) -> str:
        self._takes(node, "this", "expression", "unit")
        unit = self._unit(node.args.get("unit")).lower()
        return f"date_diff('{unit}', {self.render(node.expression)}, {self.render(node.this)})"

    def _date_trunc(self, node: Any) -> str:
        self._takes(node, "this", "unit")
        return f"date_trunc('{self._unit(node.args.get('unit')).lower()}', {self.render(node.this)})"

    def _log(self, node: Any) -> str:
        self._takes(node, "this", "expression")
        value = node.args.get("expression")
        if value is None:
            return f"log10({self.render(node.this)})"
        base = str(node.this)
        if base not in ("2", "10"):
            raise self._refuse(node)
        return f"log{base}({self.render(value)})"

    def _trim(self, node: Any) -> str:
        self._takes(node, "this", "expression", "position")
        names = {None: "trim", "": "trim", "BOTH": "trim", "LEADING": "ltrim", "TRAILING": "rtrim"}
        position = node.args.get("position")
        function = names.get(position if position is None else str(position).upper())
        if function is None:
            raise self._refuse(node)
        return f"{function}({', '.join(self._arguments(node, ('this', 'expression')))})"

    def _anonymous(self, node: Any) -> str:
        name = str(node.this).lower()
        if PLAIN_FUNCTIONS.get(name) != len(node.expressions):
            raise self._refuse(node)
        return f"{name}({', '.join(self._arguments(node, ('expressions',)))})"

    def _refuse(self, node: Any) -> ExpressionError:
        shown = node.sql(dialect="duckdb") if self._depth < MAX_DEPTH else type(node).__name__
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return _refusal(f"{shown!r} is not allowed; allowed are {ALLOWED}", self._text, node)


def _unwrapped(node: Any) -> Any:
    while type(node).__name__ == "Paren":
        node = node.this
    return node


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _escaped(character: str) -> str:
    """Return one character as RE2 reads it literally."""
    return (
        "\\" + character
        if character.isascii() and not character.isalnum() and character.isprintable()
        else character
    )


def _plain(error: BaseException) -> str:
    """Return an error's first line without terminal colours."""
    return (
        str(error).splitlines()[0].split("\x1b", maxsplit=1)[0].strip()
        if str(error)
        else type(error).__name__
    )


def _refusal(message: str, text: str, node: Any) -> ExpressionError:
    start = _start(text, node)
    if start is None:
        return ExpressionError(message)
    line = text.count("\n", 0, start) + 1
    return _located(message, line=line, column=start - (text.rfind("\n", 0, start) + 1) + 1)


def _start(text: str, node: Any) -> int | None:
    """Return where a node stands: as the parser says, else where its name is first seen."""
    if not isinstance(node, exp.Expression):
        return None
    for part in [node, *node.walk()]:
        start = getattr(part, "meta", {}).get("start")
        if start is not None:
            return int(start)
    found = text.lower().find(node.name.lower()) if node.name else -1
    return found if found >= 0 else None


def _located(message: str, *, line: int | None, column: int | None) -> ExpressionError:
    if line is None or column is None:
        return ExpressionError(message)
    return ExpressionError(
        f"{message} (line {line}, column {column})", details=[{"line": line, "column": column}]
    )
