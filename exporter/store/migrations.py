"""The store's schema, step by step. A step and the record that it was taken commit together."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3


class Migration(NamedTuple):
    name: str
    script: str
    """Statements that end in semicolons; no semicolon elsewhere."""


_FIRST = """
CREATE TABLE models (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, hash_key BLOB NOT NULL, generation TEXT NOT NULL
);

CREATE TABLE grids (model INTEGER NOT NULL, id TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (model, id));

CREATE TABLE deltas (
    id INTEGER PRIMARY KEY, model INTEGER NOT NULL, version TEXT NOT NULL, segment TEXT NOT NULL,
    bucket INTEGER NOT NULL, grid TEXT NOT NULL, profile BLOB NOT NULL
);
CREATE INDEX deltas_by_bucket ON deltas (model, bucket, version, segment, grid);

CREATE TABLE counters (
    model INTEGER NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (model, key)
) WITHOUT ROWID;

CREATE TABLE bins (
    model INTEGER NOT NULL, version TEXT NOT NULL, grid TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (model, version, grid)
) WITHOUT ROWID;

CREATE TABLE state (
    model INTEGER NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (model, key)
) WITHOUT ROWID;

CREATE TABLE answers (
    model INTEGER NOT NULL, endpoint TEXT NOT NULL, key TEXT NOT NULL, body_hash TEXT NOT NULL,
    status INTEGER NOT NULL, body BLOB NOT NULL, created REAL NOT NULL, version TEXT,
    PRIMARY KEY (model, endpoint, key)
) WITHOUT ROWID;
CREATE INDEX answers_by_age ON answers (model, created);

CREATE TABLE predictions (
    model INTEGER NOT NULL, id INTEGER NOT NULL, version TEXT NOT NULL, day INTEGER NOT NULL,
    checksum INTEGER NOT NULL, hashes BLOB NOT NULL, PRIMARY KEY (model, id)
);
CREATE INDEX predictions_by_day ON predictions (model, day);

CREATE TABLE payloads (
    model INTEGER NOT NULL, id INTEGER NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (model, id)
);

CREATE TABLE labels (
    id INTEGER PRIMARY KEY, model INTEGER NOT NULL, arrival REAL NOT NULL, day INTEGER, width TEXT NOT NULL,
    checksum INTEGER NOT NULL, hashes BLOB NOT NULL, label BLOB NOT NULL
);
CREATE INDEX labels_by_arrival ON labels (model, arrival);

CREATE TABLE raw_rows (
    id INTEGER PRIMARY KEY, model INTEGER NOT NULL, version TEXT NOT NULL, data BLOB NOT NULL
);

CREATE TABLE baselines (
    model INTEGER NOT NULL, id TEXT NOT NULL, version TEXT, grid TEXT NOT NULL, created REAL NOT NULL,
    rows INTEGER NOT NULL, source TEXT NOT NULL, provisional INTEGER NOT NULL, active INTEGER NOT NULL,
    period_from REAL, period_to REAL, profile BLOB NOT NULL, estimator BLOB NOT NULL,
    PRIMARY KEY (model, id)
);

CREATE TABLE baseline_buckets (
    model INTEGER NOT NULL, baseline TEXT NOT NULL, bucket INTEGER NOT NULL, profile BLOB NOT NULL,
    PRIMARY KEY (model, baseline, bucket)
);

CREATE TABLE baseline_segments (
    model INTEGER NOT NULL, baseline TEXT NOT NULL, segment TEXT NOT NULL, profile BLOB NOT NULL,
    PRIMARY KEY (model, baseline, segment)
);

CREATE TABLE carried (
    model INTEGER NOT NULL, version TEXT NOT NULL, start INTEGER NOT NULL, grid TEXT NOT NULL,
    profile BLOB NOT NULL, PRIMARY KEY (model, version, start, grid)
);

CREATE TABLE history_names (
    id INTEGER PRIMARY KEY, model INTEGER NOT NULL, name TEXT NOT NULL, UNIQUE (model, name)
);

CREATE TABLE history (
    id INTEGER PRIMARY KEY, model INTEGER NOT NULL, version TEXT NOT NULL, segment TEXT NOT NULL,
    window_name TEXT NOT NULL, part TEXT NOT NULL, ended INTEGER NOT NULL, started INTEGER NOT NULL,
    made REAL NOT NULL, baseline TEXT, data BLOB NOT NULL,
    UNIQUE (model, version, segment, window_name, part, ended)
);
CREATE INDEX history_by_end ON history (model, ended, version, segment, window_name, part);

CREATE TABLE history_marks (
    model INTEGER NOT NULL, version TEXT NOT NULL, bucket INTEGER NOT NULL, kind INTEGER NOT NULL,
    stamp INTEGER NOT NULL, PRIMARY KEY (model, version, bucket)
) WITHOUT ROWID;

CREATE TABLE past_deltas (
    id INTEGER PRIMARY KEY, model INTEGER NOT NULL, version TEXT NOT NULL, segment TEXT NOT NULL,
    bucket INTEGER NOT NULL, grid TEXT NOT NULL, stored REAL NOT NULL, profile BLOB NOT NULL
);
CREATE TABLE history_gone (
    model INTEGER NOT NULL, version TEXT NOT NULL, past INTEGER NOT NULL, first INTEGER NOT NULL,
    until INTEGER NOT NULL, PRIMARY KEY (model, version, past)
) WITHOUT ROWID;
CREATE INDEX past_deltas_by_bucket ON past_deltas (model, version, segment, bucket);
"""

MIGRATIONS = (Migration("models, profiles, predictions and labels", _FIRST),)

SCHEMA_VERSION = len(MIGRATIONS)
"""Kept in SQLite's `user_version`."""


def migrate(
    connection: sqlite3.Connection, now: float, migrations: tuple[Migration, ...] = MIGRATIONS
) -> None:
    """Take the steps that this file has not taken yet, each in a transaction of its own."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT, taken REAL)"
    )
    taken = int(connection.execute("PRAGMA user_version").fetchone()[0])
    for version, migration in enumerate(migrations[taken:], start=taken + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migration.script.split(";"):
                connection.execute(statement)
            connection.execute("INSERT INTO migrations VALUES (?, ?, ?)", (version, migration.name, now))
            connection.execute(f"PRAGMA user_version = {version:d}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
