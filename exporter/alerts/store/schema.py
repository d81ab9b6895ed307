"""The schema of the bridge's store, step by step. A step and the record that it was taken commit together."""

from __future__ import annotations

from exporter.store.migrations import Migration

# Tables without rowid have the columns of their key first, in its order: the quick_check of SQLite 3.40
# takes a sound file for a damaged one otherwise.
_FIRST = """
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, fingerprint TEXT NOT NULL, starts_at REAL NOT NULL,
    name TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, severity INTEGER NOT NULL,
    labels TEXT NOT NULL, annotations TEXT NOT NULL, generator_url TEXT NOT NULL, source TEXT NOT NULL,
    firing INTEGER NOT NULL,
    suppressed TEXT, suppressed_by TEXT, first_seen REAL NOT NULL, last_seen REAL NOT NULL,
    resolved_at REAL, UNIQUE (fingerprint, starts_at)
);
CREATE INDEX alerts_by_time ON alerts (first_seen);
CREATE INDEX alerts_by_model ON alerts (model, first_seen);
CREATE INDEX alerts_by_severity ON alerts (severity, first_seen);
CREATE INDEX alerts_by_name ON alerts (name, first_seen);
CREATE INDEX alerts_firing ON alerts (fingerprint) WHERE firing = 1;
CREATE INDEX alerts_firing_by_time ON alerts (first_seen) WHERE firing = 1;
CREATE INDEX alerts_resolved ON alerts (resolved_at) WHERE firing = 0;

CREATE TABLE events (
    id INTEGER PRIMARY KEY, alert INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX events_of_alert ON events (alert, id);

CREATE TABLE rejected (
    id INTEGER PRIMARY KEY, received REAL NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL,
    bytes INTEGER NOT NULL
);

CREATE TABLE groups (
    id TEXT PRIMARY KEY, route TEXT NOT NULL, labels TEXT NOT NULL, due_at REAL, severity INTEGER NOT NULL,
    reminder INTEGER NOT NULL, told_at REAL, used_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX groups_due ON groups (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX groups_by_use ON groups (used_at);

CREATE TABLE members (
    group_id TEXT NOT NULL, alert INTEGER NOT NULL, told TEXT, change TEXT,
    PRIMARY KEY (group_id, alert)
) WITHOUT ROWID;
CREATE INDEX members_of_alert ON members (alert);

CREATE TABLE notifications (
    id TEXT PRIMARY KEY, group_id TEXT NOT NULL, created REAL NOT NULL, kind TEXT NOT NULL,
    severity INTEGER NOT NULL, models TEXT NOT NULL, content BLOB NOT NULL
);
CREATE INDEX notifications_by_time ON notifications (created);

CREATE TABLE notified_models (
    model TEXT NOT NULL, created REAL NOT NULL, notification TEXT NOT NULL,
    PRIMARY KEY (model, created, notification)
) WITHOUT ROWID;

CREATE TABLE told_of (
    alert INTEGER NOT NULL, notification TEXT NOT NULL, PRIMARY KEY (alert, notification)
) WITHOUT ROWID;
CREATE INDEX told_by ON told_of (notification);

CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY, notification TEXT NOT NULL, group_id TEXT NOT NULL, channel TEXT NOT NULL,
    severity INTEGER NOT NULL, priority INTEGER NOT NULL, state TEXT NOT NULL, turn INTEGER NOT NULL,
    attempts INTEGER NOT NULL, crashes INTEGER NOT NULL, created REAL NOT NULL, queued_at REAL NOT NULL,
    next_at REAL NOT NULL, lease TEXT, lease_until REAL, uncertain INTEGER NOT NULL,
    plain INTEGER NOT NULL, first_tried REAL, finished REAL, error TEXT, detail TEXT,
    UNIQUE (notification, channel)
);
CREATE INDEX deliveries_ready ON deliveries (channel, priority DESC, id)
    WHERE state = 'queued' AND turn = 1;
CREATE INDEX deliveries_later ON deliveries (channel, next_at) WHERE state = 'queued' AND turn = 2;
CREATE INDEX deliveries_leased ON deliveries (channel, lease_until) WHERE state = 'leased';
CREATE INDEX deliveries_of_group ON deliveries (channel, group_id, id, queued_at)
    WHERE state IN ('queued', 'leased');
CREATE UNIQUE INDEX deliveries_head ON deliveries (channel, group_id)
    WHERE state IN ('queued', 'leased') AND turn > 0;
CREATE INDEX deliveries_dead ON deliveries (channel) WHERE state = 'dead';

CREATE TABLE threads (
    channel TEXT NOT NULL, group_id TEXT NOT NULL, opened REAL NOT NULL, reference TEXT NOT NULL,
    PRIMARY KEY (channel, group_id)
) WITHOUT ROWID;

CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

MIGRATIONS = (Migration("alerts, notifications and deliveries", _FIRST),)
