"""One model's samples to lines of bytes, family by family, within the model's series budget."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from exporter.catalog import BUDGET_ORDER, FAMILIES, WINDOWED, Family
from exporter.exposition.labels import label_text

Sample = tuple[str, tuple[str, ...], float]
"""Family name, label values in the catalogue's order, value."""

Rows = dict[tuple[str, ...], float]

SEGMENTED_BY = (*WINDOWED, "segment", "value")
"""The labels with which all families of segments begin."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The lines of one family of one model.

    `deflated` holds the same lines as raw deflate blocks that end on a byte with a full flush, so that
    pieces can be put one after another into one gzip stream.
    """

    lines: bytes
    series: int
    deflated: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """All that one model exposes; `dropped` counts by family the series that the budget left out."""

    pieces: Mapping[str, Piece] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def series(self) -> int:
        return sum(piece.series for piece in self.pieces.values())


def deflate(data: bytes) -> bytes:
    """Raw deflate blocks, level 1, that end on a byte boundary and refer to nothing before them."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush(zlib.Z_FULL_FLUSH)


class _Prefixes(dict[tuple[str, ...], str]):
    """Label values -> the text of a line before its value; made once a series."""

    def __init__(self, family: Family) -> None:
        super().__init__()
        self._family = family

    def __missing__(self, values: tuple[str, ...]) -> str:
        prefix = f"{self._family.name}{label_text(self._family.labels, values)} "
        self[values] = prefix
        return prefix


class Renderer:
    """Renders one model again and again; what did not change costs little. Not thread-safe.

    Parameters
    ----------
    model : str
        Value of the label `model` in what the renderer itself has to say.
    max_series : int or None
        Budget. When there are more, families go in the order of :data:`exporter.catalog.BUDGET_ORDER`,
        whole groups at a time, and `ml_undefined{reason="budget"}` names each. Of a group of segment families
        only so many segments go as must, the last given first: give the worst ones first. Its value is then
        their number.

    Notes
    -----
    Samples of one family with equal labels are one series: the last wins. Values that are not finite are
    left out, and `ml_undefined{reason="error"}` says so.
    """

    def __init__(self, model: str, *, max_series: int | None = None) -> None:
        self.model = model
        self.max_series = max_series
        self._prefixes: dict[str, _Prefixes] = {}
        self._pieces: dict[str, Piece] = {}

    def render(self, samples: Iterable[Sample]) -> Chunk:
        """Lines of all samples; KeyError names a family that the catalogue lacks."""
        families: dict[str, Rows] = {}
        rows: Rows = {}
        current = ""
        for name, labels, value in samples:
            if name != current:
                current = name
                rows = families.setdefault(name, {})
            rows[labels] = value
        unknown = families.keys() - FAMILIES.keys()
        if unknown:
            raise KeyError(f"not in the catalogue: {', '.join(sorted(unknown))}")
        self._tell_what_is_not_finite(families)
        dropped = self._keep_budget(families)
        self._pieces = {name: self._piece(name, families[name]) for name in FAMILIES if families.get(name)}
        for name in self._prefixes.keys() - self._pieces.keys():
            del self._prefixes[name]
        return Chunk(self._pieces, dropped)

    def _piece(self, name: str, rows: Rows) -> Piece:
        prefixes = self._prefixes.get(name)
        if prefixes is None or len(prefixes) > 2 * len(rows) + 16:  # mostly series that are gone
            prefixes = self._prefixes[name] = _Prefixes(FAMILIES[name])
        lines = "".join([f"{prefixes[labels]}{float(value)!r}\n" for labels, value in rows.items()]).encode()
        before = self._pieces.get(name)
        if before is not None and before.lines == lines:
            return before
        return Piece(lines, len(rows), deflate(lines))

    def _undefined(
        self, families: dict[str, Rows], where: tuple[str, ...], measure: str, reason: str, count: int = 1
    ) -> None:
        said = families.setdefault("ml_undefined", {})
        said[(*where, measure.removeprefix("ml_"), "", reason)] = float(count)

    def _tell_what_is_not_finite(self, families: dict[str, Rows]) -> None:
        for name, rows in list(families.items()):
            wrong = [labels for labels, value in rows.items() if value - value != 0]
            windowed = FAMILIES[name].labels[: len(WINDOWED)] == WINDOWED
            for labels in wrong:
                del rows[labels]
                where = labels[: len(WINDOWED)] if windowed else (self.model, "", "")
                self._undefined(families, where, name, "error")

    def _keep_budget(self, families: dict[str, Rows]) -> dict[str, int]:
        dropped: dict[str, int] = {}
        if self.max_series is None:
            return dropped
        total = sum(len(rows) for rows in families.values())
        for group in BUDGET_ORDER:
            if total <= self.max_series:
                break
            total -= self._keep_worst(families, group, total - self.max_series, dropped)
            if total <= self.max_series:
                break
            for name in group:
                rows = families.pop(name, None)
                if rows:
                    dropped[name] = len(rows)
                    total += 1 - len(rows)  # one series more says what went
                    self._undefined(families, (self.model, "", ""), name, "budget")
        return dropped

    def _keep_worst(
        self, families: dict[str, Rows], group: tuple[str, ...], excess: int, dropped: dict[str, int]
    ) -> int:
        """Leave out segments of a group of segment families, the last ones first; how many series that saves.

        None is left out when all of them would have to go: then the families go as any others do.
        """
        if any(FAMILIES[name].labels[: len(SEGMENTED_BY)] != SEGMENTED_BY for name in group):
            return 0
        present = [name for name in group if families.get(name)]
        sizes: dict[tuple[str, ...], int] = {}
        for name in present:
            for labels in families[name]:
                segment = labels[len(WINDOWED) : len(SEGMENTED_BY)]
                sizes[segment] = sizes.get(segment, 0) + 1
        excess += len(present)  # one series more for each family says what went
        gone: set[tuple[str, ...]] = set()
        saved = 0
        for segment in reversed(sizes):
            if saved < excess:
                gone.add(segment)
                saved += sizes[segment]
        if saved < excess or len(gone) == len(sizes):
            return 0
        for name in present:
            rows = families[name]
            kept = {
                labels: value
                for labels, value in rows.items()
                if labels[len(WINDOWED) : len(SEGMENTED_BY)] not in gone
            }
            if len(kept) < len(rows):
                dropped[name] = len(rows) - len(kept)
                families[name] = kept
                self._undefined(families, (self.model, "", ""), name, "budget", len(gone))
                saved -= 1
        return saved
