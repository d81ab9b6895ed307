"""From the store back to lanes: what a restarted exporter knows."""

from __future__ import annotations

import logging

from exporter.config import ModelConfig
from exporter.custommetrics import CustomMetrics
from exporter.profiles import Grid, row_counts
from exporter.rules import RuleSet
from exporter.service.comparing.contests import STATE, Contests
from exporter.service.ingestion.payload import LabelCodes
from exporter.service.ingestion.raw import read_raw
from exporter.service.lane import Lane, split_segment
from exporter.store import Store

log = logging.getLogger(__name__)


def recover(name: str, config: ModelConfig, store: Store, rules: RuleSet) -> Lane:
    """The lane of a model as it was when the store last committed; an empty one for a new model."""
    stored = store.load(name)
    custom = CustomMetrics.compile(config.custom_metrics, worker=rules.worker)
    schema = custom.extend(config.schema(name))
    lane = Lane(
        name=name,
        config=config,
        configured_schema=schema,
        schema=schema,
        rules=rules,
        index=stored.index,
        custom=custom,
    )
    lane.generation = stored.generation
    lane.counters.update(stored.counters)
    lane.bins = dict(stored.bins)
    lane.state = dict(stored.state)
    codes = sorted((code, key[1]) for key, code in stored.state.items() if key[0] == "class")
    lane.labels = LabelCodes(schema.task, [name for _, name in codes])
    lane.grids = {grid_id: Grid.from_bytes(data) for grid_id, data in stored.grids.items()}
    lane.baselines = {baseline.id: baseline for baseline in stored.baselines}
    created = {
        key[1]: at for key, at in stored.state.items() if key[0] == "grid_created" and key[1] in lane.grids
    }
    if created:
        lane.adopt_grid(lane.grids[max(created, key=lambda grid_id: created[grid_id])])
    for key, value in stored.state.items():
        if key[0] == "watermark":
            lane.version(key[1]).watermark = value
        elif key[0] == "drift_since" and value > 0:
            lane.drift_since[key[1:]] = lane.kept_drift_since[key[1:]] = value
    states = {key: value for key, value in stored.state.items() if key[0] == STATE}
    lane.contests = Contests(stored.carried, known=states, kept=dict(states))
    for version, data in stored.rows:
        lane.keep_raw(version, [(version, data)], read_raw(data).num_rows)
    if lane.grid is not None:
        _restore_buckets(lane, stored.buckets, lane.grid)
    log.info(
        "recovered model %s: %d versions, %d buckets, %d pending predictions",
        name,
        len(lane.versions),
        len(stored.buckets),
        stored.index.pending,
    )
    return lane


def _restore_buckets(
    lane: Lane, buckets: dict[tuple[str, str, int], list[tuple[str, bytes]]], grid: Grid
) -> None:
    for (version, segment, bucket), parts in sorted(buckets.items()):
        place = split_segment(segment)
        if place is not None and not lane.segments.follow(*place):
            continue
        for grid_id, encoded in parts:
            if grid_id == grid.id:
                rows, labeled = row_counts(encoded)
                lane.series(version, segment).restore(bucket, encoded, rows=rows, labeled=labeled)
                if not segment and labeled:
                    lane.version(version).errors.restore(bucket, encoded, grid)
