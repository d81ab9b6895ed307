"""What an expression may be, and that everything else is refused with its position."""

from __future__ import annotations

import time

import pytest

from exporter.errors import ExpressionError
from exporter.rules.expression import parse
from exporter.rules.grammar import MAX_CHARACTERS, MAX_DEPTH, MAX_NESTING


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("arrived >= departed", '("k0" >= "k1")'),
        ("a is not null and b", '((NOT ("k0" IS NULL)) AND "k1")'),
        ("a / b > 1", '(("k0" / nullif("k1", 0)) > 1)'),
        ("a between 1 and 2 or b in (1, 'x')", '(("k0" BETWEEN 1 AND 2) OR ("k1" IN (1, \'x\')))'),
        ("a not like 'it''s_%'", "(NOT regexp_full_match(\"k0\", '(?s)it\\''s..*', 'c'))"),
        ("regexp_matches(a, '^N[0-9]', 'i')", "regexp_matches(\"k0\", '(?-s)^N[0-9]', 'i')"),
        (
            "a::timestamp < timestamp '2020-01-01'",
            "(CAST(\"k0\" AS TIMESTAMP) < CAST('2020-01-01' AS TIMESTAMP))",
        ),
        ("a + interval 2 hours > b", '(("k0" + (INTERVAL \'2\' HOUR)) > "k1")'),
        ("case when a > 1 then b else c end", '(CASE WHEN ("k0" > 1) THEN "k1" ELSE "k2" END)'),
        ("date_diff('day', a, b) <= 3", '(date_diff(\'day\', "k0", "k1") <= 3)'),
        ("starts_with(upper(a), 'N')", "prefix(upper(\"k0\"), 'N')"),
        ("a = '\"k9\"' -- a comment", '("k0" = \'"k9"\')'),
        ('"odd ""name""; drop" > 1', '("k0" > 1)'),
    ],
)
def test_parse_renders_from_the_tree(text: str, sql: str) -> None:
    """What is allowed is written anew, in parentheses, over columns with names of ours."""
    expression = parse(text)
    assert expression.sql([f"k{i}" for i in range(len(expression.columns))]) == sql


def test_parse_keeps_column_names_as_they_are() -> None:
    """Names keep their case and quotes, each once, in order."""
    assert parse('Arrived > "de""parted" and Arrived < x').columns == ("Arrived", 'de"parted', "x")


def test_sql_quotes_the_names_it_is_given() -> None:
    """A name cannot break out of its quotes."""
    assert parse("a > 1").sql(['x" > 0 or "y']) == '("x"" > 0 or ""y" > 1)'


ATTACKS = [
    "a > 1; DROP TABLE rows",
    "a > 1; SELECT 1",
    "a > 1) FROM rows; SELECT (true",
    "SELECT a",
    "a IN (SELECT 1)",
    "EXISTS (SELECT 1)",
    "(SELECT count(*) FROM range(100000000000)) > a",
    "a > ALL (SELECT 1)",
    "read_csv('/etc/passwd') = a",
    "a = (FROM read_text('/etc/passwd'))",
    "COPY a TO '/tmp/x'",
    "ATTACH '/tmp/x.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET memory_limit = '1TB'",
    "PRAGMA database_list",
    "CREATE TABLE a AS SELECT 1",
    "getenv('HOME') = a",
    "current_setting('memory_limit') = a",
    "now() > a",
    "current_timestamp > a",
    "current_date > a",
    "random() > a",
    "uuid() = a",
    "nextval('s') > a",
    "sum(a) > 1",
    "count(*) > a",
    "row_number() OVER () > a",
    "a > 1 QUALIFY a",
    "*",
    "COLUMNS(*) > 1",
    "COLUMNS('a.*') > 1",
    "rows.a > 1",
    "a.b > 1",
    "a[1] > 1",
    "list_filter(a, x -> x > 1)",
    "a -> 'x' = 1",
    "[a] = [1]",
    "{'x': a} = 1",
    "repeat(a, 1000000000) = 'x'",
    "lpad(a, 1000000000, 'x') = 'x'",
    "replace(a, 'a', 'aaaaaaaa') = 'x'",
    "range(a) = 1",
    "generate_series(1, a) = 1",
    "unnest(a)",
    "string_agg(a) = 'x'",
    "a SIMILAR TO '(x*)*'",
    "a GLOB 'x*'",
    "regexp_replace(a, 'x', 'y') = 'z'",
    "regexp_matches(a, b)",
    "regexp_matches(a, '(')",
    r"regexp_matches(a, '(a)\1')",
    "regexp_matches(a, '(a{1000}){1000}')",
    "regexp_matches(a, 'x', 'g')",
    "a LIKE b",
    "a LIKE 'x!%' ESCAPE '!'",
    "a::JSON = b",
    "a::INTEGER[] = b",
    "CAST(a AS my_type) = b",
    "a COLLATE nocase = b",
    "a AT TIME ZONE 'UTC' > b",
    "interval (a) day > b",
    "$1 > a",
    "? > a",
    "a = E'\\x00'",
    "a = 'x\x00y'",
    "a AS b",
    "a, b",
    "(a, b) = (1, 2)",
    "a + 1",
    "'text'",
    "1 = 1",
    "",
    "   ",
    "-- nothing",
    "a >",
    "a = 'open",
    "ml('x') = a",
    "main.getenv('x') = a",
    "system.main.read_text(a) = 'x'",
    "TRY(a > 1)",
    "a > 1 /* c",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_parse_refuses(text: str) -> None:
    """Whatever is not a plain boolean expression over columns is refused when it is configured."""
    with pytest.raises(ExpressionError):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "a" + ")" * 5000,
        "(" * (MAX_NESTING + 1) + "a" + ")" * (MAX_NESTING + 1),
        "NOT " * 2000 + "a",
        "- " * 4000 + "a > 1",
        " AND ".join(["a"] * (MAX_DEPTH + 1)),
        "a IN (" + ", ".join(map(str, range(100_000))) + ")",
        "a IN (" + ",".join("1" * 3000) + ")",
        "a > 1" + " " * MAX_CHARACTERS,
        "a = '" + "x" * 5000 + "'",
        "case when " * 900 + "a",
        "interval " * 1000,
        "f(" * 900,
        "a[" * 900,
        "{'a':" * 900,
    ],
)
def test_parse_refuses_monsters_quickly(text: str) -> None:
    """Deep and long expressions are refused within a second, not with a crash."""
    start = time.perf_counter()
    with pytest.raises(ExpressionError):
        parse(text)
    assert time.perf_counter() - start < 1.0


def test_parse_says_where_and_what_is_allowed() -> None:
    """The message has the position and the allowed constructs."""
    with pytest.raises(ExpressionError, match=r"line 2, column 5\)$") as caught:
        parse("a > 1\nAND getenv('HOME') = b")
    assert caught.value.details == [{"line": 2, "column": 5}]
    assert "starts_with" in caught.value.message
