"""Chunks of all models to the ready bytes that a scrape hands out, in four forms."""

from __future__ import annotations

import math
import struct
import threading
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.samples import Sample as OwnSample

from exporter.catalog import FAMILIES, Family
from exporter.exposition.labels import label_text
from exporter.exposition.rendering import Chunk, Piece, Renderer, Sample, deflate

_GZIP_BEGIN = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"  # deflate, no time, fastest, unknown system
_LAST_BLOCK = b"\x03\x00"  # an empty final deflate block
END_OF_OPENMETRICS = b"# EOF\n"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What `/metrics` answers until the next snapshot; `series` counts its samples' series."""

    text: bytes = field(repr=False)
    openmetrics: bytes = field(repr=False)
    text_gzip: bytes = field(repr=False)
    openmetrics_gzip: bytes = field(repr=False)
    series: int
    made_at: float


@dataclass(frozen=True, slots=True)
class _Header:
    """The lines before a family's samples, as they are and as raw deflate blocks."""

    text: bytes
    openmetrics: bytes
    text_deflated: bytes
    openmetrics_deflated: bytes


def openmetrics_header(family: Family) -> bytes:
    """The lines before a family's samples in OpenMetrics."""
    text = family.help.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    lines = [f"# HELP {family.base} {text}", f"# TYPE {family.base} {family.type}"]
    if family.unit:
        lines.append(f"# UNIT {family.base} {family.unit}")
    return ("\n".join(lines) + "\n").encode()


def _header(family: Family) -> _Header:
    text_help = family.help.replace("\\", r"\\").replace("\n", r"\n")
    text = f"# HELP {family.name} {text_help}\n# TYPE {family.name} {family.type}\n".encode()
    openmetrics = openmetrics_header(family)
    return _Header(text, openmetrics, deflate(text), deflate(openmetrics))


def _gzip(data: bytes, blocks: list[bytes]) -> bytes:
    """One gzip member of `data`, whose raw deflate blocks are known already."""
    end = struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)
    return b"".join([_GZIP_BEGIN, *blocks, _LAST_BLOCK, end])


class Assembler:
    """Puts chunks together. A family's lines stand together, in the order of the catalogue."""

    def __init__(self) -> None:
        self._headers = {name: _header(family) for name, family in FAMILIES.items()}
        self._end = deflate(END_OF_OPENMETRICS)

    def assemble(self, chunks: Iterable[Chunk], *, made_at: float) -> Snapshot:
        """Only bytes are copied here: nothing is formatted or compressed."""
        text: list[bytes] = []
        openmetrics: list[bytes] = []
        text_blocks: list[bytes] = []
        openmetrics_blocks: list[bytes] = []
        series = 0
        chunks = list(chunks)
        for name, header in self._headers.items():
            pieces = [piece for chunk in chunks if (piece := chunk.pieces.get(name)) is not None]
            if not pieces:
                continue
            series += sum(piece.series for piece in pieces)
            lines = [piece.lines for piece in pieces]
            blocks = [piece.deflated for piece in pieces]
            text += [header.text, *lines]
            openmetrics += [header.openmetrics, *lines]
            text_blocks += [header.text_deflated, *blocks]
            openmetrics_blocks += [header.openmetrics_deflated, *blocks]
        openmetrics.append(END_OF_OPENMETRICS)
        openmetrics_blocks.append(self._end)
        whole_text, whole_openmetrics = b"".join(text), b"".join(openmetrics)
        return Snapshot(
            text=whole_text,
            openmetrics=whole_openmetrics,
            text_gzip=_gzip(whole_text, text_blocks),
            openmetrics_gzip=_gzip(whole_openmetrics, openmetrics_blocks),
            series=series,
            made_at=made_at,
        )


def own_chunk(samples: Iterable[tuple[str, OwnSample]]) -> Chunk:
    """The exporter's own metrics: (family name, sample as prometheus_client collects it).

    What the catalogue lacks and what is not finite is left out.
    """
    families: dict[str, dict[str, str]] = {}
    for name, sample in samples:
        value = float(sample.value)
        if math.isfinite(value):
            labels = label_text(tuple(sample.labels), tuple(sample.labels.values()))
            families.setdefault(name, {})[f"{sample.name}{labels}"] = repr(value)
    return Chunk({name: _own_piece(families[name]) for name in FAMILIES if name in families})


def _own_piece(lines: Mapping[str, str]) -> Piece:
    data = "".join([f"{series} {value}\n" for series, value in lines.items()]).encode()
    return Piece(data, len(lines), deflate(data))


class Exposition:
    """What all models expose now. Models are rendered one by one; a snapshot joins what is rendered.

    Safe to use from several threads, as long as each model is updated by one at a time.
    """

    def __init__(self) -> None:
        self._assembler = Assembler()
        self._lock = threading.Lock()
        self._renderers: dict[str, Renderer] = {}
        self._chunks: dict[str, Chunk] = {}
        self._dropped: dict[tuple[str, str], int] = {}

    def update(self, model: str, samples: Iterable[Sample], *, max_series: int | None = None) -> Chunk:
        """Render what a model exposes from now on; the model "" is for what belongs to none."""
        with self._lock:
            renderer = self._renderers.setdefault(model, Renderer(model))
        renderer.max_series = max_series
        chunk = renderer.render(samples)
        with self._lock:
            self._chunks[model] = chunk
            for family, count in chunk.dropped.items():
                self._dropped[model, family] = self._dropped.get((model, family), 0) + count
        return chunk

    def snapshot(self, own: Iterable[tuple[str, OwnSample]] = (), *, made_at: float) -> Snapshot:
        """Join what all models expose with the exporter's `own` metrics; `made_at` in Unix seconds."""
        with self._lock:
            chunks = dict(self._chunks)
            budgets = {model: self._renderers[model].max_series for model in chunks}
            dropped = dict(self._dropped)
        about = [_own("ml_exporter_snapshot_timestamp_seconds", {}, made_at)]
        for model, chunk in chunks.items():
            if not model:  # what belongs to no model
                continue
            about.append(_own("ml_exporter_series", {"model": model}, chunk.series))
            budget = budgets[model]
            if budget is not None:
                about.append(_own("ml_exporter_max_series", {"model": model}, budget))
        for (model, family), count in dropped.items():
            about.append(_own("ml_exporter_series_dropped_total", {"model": model, "family": family}, count))
        return self._assembler.assemble([*chunks.values(), own_chunk([*about, *own])], made_at=made_at)


def _own(name: str, labels: dict[str, str], value: float) -> tuple[str, OwnSample]:
    return name, OwnSample(name, labels, value)
