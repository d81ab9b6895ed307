"""Grids as JSON and as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from exporter.errors import UnreadableError
from exporter.profiles.envelope import open_envelope, seal
from exporter.profiles.grid import (
    GRID_VERSION,
    CategoricalGrid,
    ColumnGrid,
    Grid,
    NumericGrid,
    ScoreGrid,
)
from exporter.profiles.multivariate.grid import EmbeddingGrid, MultivariateGrid
from exporter.schema import Column, Kind, Role, Schema, ScoreKind, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = b"MLXG"
MOST_BYTES = 256 * 1024 * 1024
"""A grid's JSON is never larger."""

SCHEMA_TEXTS = ("model", "prediction", "label", "id", "timestamp", "group", "timezone")


def grid_to_dict(grid: Grid) -> dict[str, Any]:
    """The grid as JSON values; floats keep every bit."""
    return {
        "version": GRID_VERSION,
        "id": grid.id,
        "schema": _schema_to_dict(grid.schema),
        "columns": [column.to_dict() for column in grid.columns.values()],
        "score": None if grid.score is None else grid.score.to_dict(),
        "classes": list(grid.classes),
        "target_center": grid.target_center,
        "target_scale": grid.target_scale,
        "novel_cap": grid.novel_cap,
        **grid.together_to_dict(),
    }


def grid_from_dict(document: Mapping[str, Any]) -> Grid:
    """The grid that :func:`grid_to_dict` wrote.

    Raises
    ------
    UnreadableError
        When it is not such a document, or its id is not the hash of its content.
    """
    try:
        if document["version"] != GRID_VERSION:
            raise UnreadableError(f"expected a grid of version {GRID_VERSION}, got {document['version']!r}")
        score = document["score"]
        together = document.get("multivariate")
        grid = Grid(
            schema=_schema_from_dict(document["schema"]),
            columns={column["name"]: _column_from_dict(column) for column in document["columns"]},
            score=None if score is None else _score_from_dict(score),
            classes=tuple(map(str, document["classes"])),
            target_center=float(document["target_center"]),
            target_scale=float(document["target_scale"]),
            novel_cap=int(document["novel_cap"]),
            multivariate=None if together is None else MultivariateGrid.from_dict(together),
            embeddings={
                str(name): EmbeddingGrid.from_dict(entry)
                for name, entry in document.get("embeddings", {}).items()
            },
        )
        if grid.id != document["id"]:
            raise UnreadableError(
                f"the grid's id should be the hash of its content {grid.id}, got {document['id']!r}"
            )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UnreadableError(f"expected a grid, got something else: {error!r}") from error
    return grid


def grid_to_bytes(grid: Grid) -> bytes:
    return seal(MAGIC, orjson.dumps(grid_to_dict(grid)))


def grid_from_bytes(data: bytes) -> Grid:
    try:
        document = orjson.loads(open_envelope(MAGIC, data, MOST_BYTES, "grid"))
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"expected a grid, got something else: {error}") from error
    if not isinstance(document, dict):
        raise UnreadableError("expected a grid, got another JSON value")
    return grid_from_dict(document)


def _schema_to_dict(schema: Schema) -> dict[str, Any]:
    return {
        **{name: getattr(schema, name) for name in SCHEMA_TEXTS},
        "task": schema.task.value,
        "score": schema.score,
        "score_kind": schema.score_kind.value,
        "positive_label": schema.positive_label,
        "features": [
            {"name": column.name, "kind": column.kind.value, "role": column.role.value, "size": column.size}
            for column in schema.features or ()
        ],
        "segments": list(schema.segments),
        "extra_columns": list(schema.extra_columns),
        "kept": list(schema.kept),
        "ranking_k": schema.ranking_k,
    }


def _schema_from_dict(document: Mapping[str, Any]) -> Schema:
    score = document["score"]
    return Schema(
        **{name: document[name] for name in SCHEMA_TEXTS},
        task=Task(document["task"]),
        score=tuple((str(name), str(column)) for name, column in score) if isinstance(score, list) else score,
        score_kind=ScoreKind(document["score_kind"]),
        positive_label=document["positive_label"],
        features=tuple(
            Column(column["name"], Kind(column["kind"]), Role(column["role"]), column["size"])
            for column in document["features"]
        ),
        segments=tuple(document["segments"]),
        extra_columns=tuple(document["extra_columns"]),
        kept=tuple(document.get("kept", ())),
        ranking_k=int(document.get("ranking_k", 10)),
    )


def _column_from_dict(document: Mapping[str, Any]) -> ColumnGrid:
    name, kind, role = str(document["name"]), Kind(document["kind"]), Role(document["role"])
    if "categories" in document:
        categories = tuple(map(str, document["categories"]))
        if len(set(categories)) < len(categories):
            raise ValueError(f"column {name!r} names a category twice")
        return CategoricalGrid(name, kind, role, categories, bool(document["complete"]))
    edges = _ascending(document["edges"])
    starts, bins = (np.array(document[key], np.int64) for key in ("coarse_starts", "coarse_bins"))
    fits = (
        len(starts) == len(bins) > 0 == starts[0]
        and (np.diff(starts) > 0).all()
        and starts[-1] <= 2 * len(edges)
    )
    if not len(edges) or not fits or bins.max() < 0 or bins.max() > len(bins) or not document["scale"] > 0:
        raise ValueError(f"the edges of column {name!r} do not fit together")
    center, scale = float(document["center"]), float(document["scale"])
    return NumericGrid(name, kind, role, edges, center, scale, bool(document["integral_atoms"]), starts, bins)


def _score_from_dict(document: Mapping[str, Any]) -> ScoreGrid:
    return ScoreGrid(
        ScoreKind(document["kind"]), _ascending(document["edges"]), _ascending(document["atoms"])
    )


def _ascending(values: Any) -> NDArray[np.float64]:
    array = np.array(values, np.float64)
    if array.ndim != 1 or not np.isfinite(array).all() or not (np.diff(array) > 0).all():
        raise ValueError("edges are finite and strictly ascending")
    array.setflags(write=False)
    return array
