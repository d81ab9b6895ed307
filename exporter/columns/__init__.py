"""Arrow columns of any type, read as one of a few kinds; see :mod:`exporter.columns.kinds`."""

from exporter.columns.embeddings import embedding, is_vector
from exporter.columns.groups import group_codes, latest, spread
from exporter.columns.kinds import absent, inferred_kind, read
from exporter.columns.numbers import instants, numeric
from exporter.columns.source import (
    JSON_TEXT,
    MISSING,
    SEVERAL_TYPES,
    UNREADABLE_ROWS,
    Reading,
    is_json_text,
    is_usual,
    plain,
    source,
)
from exporter.columns.texts import canonical_text, categorical, inexact, matches, text_of, texts, truth

__all__ = [
    "JSON_TEXT",
    "MISSING",
    "SEVERAL_TYPES",
    "UNREADABLE_ROWS",
    "Reading",
    "absent",
    "canonical_text",
    "categorical",
    "embedding",
    "group_codes",
    "inexact",
    "inferred_kind",
    "instants",
    "is_json_text",
    "is_usual",
    "is_vector",
    "latest",
    "matches",
    "numeric",
    "plain",
    "read",
    "source",
    "spread",
    "text_of",
    "texts",
    "truth",
]
