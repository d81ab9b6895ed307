"""Samples to the ready bytes of `/metrics`: text 0.0.4 and OpenMetrics, plain and gzip.

A scrape hands out a :class:`Snapshot` that was made after the last evaluation; it never computes.
"""

from __future__ import annotations

from exporter.exposition.labels import MAX_LABEL_CHARACTERS, escape, label_text, presentable
from exporter.exposition.negotiation import OPENMETRICS_TYPE, TEXT_TYPE, Form, negotiate
from exporter.exposition.rendering import Chunk, Piece, Renderer, Sample
from exporter.exposition.snapshot import (
    END_OF_OPENMETRICS,
    Assembler,
    Exposition,
    Snapshot,
    openmetrics_header,
    own_chunk,
)

__all__ = [
    "END_OF_OPENMETRICS",
    "MAX_LABEL_CHARACTERS",
    "OPENMETRICS_TYPE",
    "TEXT_TYPE",
    "Assembler",
    "Chunk",
    "Exposition",
    "Form",
    "Piece",
    "Renderer",
    "Sample",
    "Snapshot",
    "escape",
    "label_text",
    "negotiate",
    "openmetrics_header",
    "own_chunk",
    "presentable",
]
