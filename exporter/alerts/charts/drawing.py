"""Draws one chart, without :mod:`matplotlib.pyplot`.

The settings of whoever else uses matplotlib in this process are neither relied on nor changed: every colour
and font is given, and text is plain text, never mathematics.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font
from PIL import Image

from exporter.alerts.charts.axes import number_text, tick_text, time_ticks, timespan_text, value_ticks
from exporter.alerts.charts.limits import Limit, in_percent
from exporter.alerts.charts.points import MOST_POINTS, Point, Run, shown
from exporter.alerts.records import Facts

SCALE = 2
"""Pixels of the picture for each pixel of the page: screens of today are that fine."""
MOST_BYTES = 60_000
_BACKGROUND = "#ffffff"
_INK = "#24292f"
_FAINT = "#57606a"
_GRID = "#e4e7eb"
_LINE = "#0072b2"  # Okabe and Ito's blue and vermilion: told apart with any colour vision
_ALARM = "#c44e00"
_BASELINE = "#57606a"
_DPI = 100.0


@dataclass(frozen=True, slots=True)
class _Line:
    """A level across the chart and its label at the right."""

    value: float
    text: str
    colour: str
    style: Any
    bold: bool = False


class Drawing:
    """One chart; used under the lock."""

    def __init__(
        self,
        facts: Facts,
        runs: Sequence[Run],
        limit: Limit | None,
        *,
        size: tuple[int, int],
        timezone: tzinfo,
    ) -> None:
        width, height = size
        points = [point for run in runs for point in run]
        self._runs, self._points = runs, points
        self._limit = limit if limit is not None and shown(limit.value) else None
        self._timezone = timezone
        self._width, self._height = width, height
        self._figure: Any = Figure(
            figsize=(width / _DPI, height / _DPI), dpi=_DPI * SCALE, facecolor=_BACKGROUND
        )
        self._figure.set_layout_engine("none")
        self._canvas: Any = FigureCanvasAgg(self._figure)
        self._lines = _levels(facts, points, self._limit)
        self._bounds = _bounds(facts, points)
        self._top, self._bottom = 30.0, 22.0
        self._low, self._high = self._reach()
        ticks, decimals = value_ticks(self._low, self._high, most=max(2, (height - 52) // 30))
        percent = in_percent(facts)
        self._values = [(value, tick_text(value, decimals, percent=percent)) for value in ticks]
        self._left = 16 + max((self._text_width(text, 10) for _, text in self._values), default=0.0)
        self._right = 20 + max(self._text_width(line.text, 11, bold=line.bold) for line in self._lines)
        self._axes: Any = self._figure.add_axes(
            (
                self._left / width,
                self._bottom / height,
                1 - (self._left + self._right) / width,
                1 - (self._top + self._bottom) / height,
            )
        )
        self._axes.set_axis_off()
        self._first, last = points[0][0], points[-1][0]
        self._last = last + (last - self._first) * 0.01
        self._axes.set_xlim(self._first, self._last)
        self._axes.set_ylim(self._low, self._high)

    def png(self, title: str) -> bytes | None:
        self._grid()
        self._levels()
        self._history()
        self._labels()
        self._head(title)
        self._canvas.draw()
        return _encoded(self._canvas.buffer_rgba())

    def _reach(self) -> tuple[float, float]:
        values = [value for _, value in self._points] + [line.value for line in self._lines]
        values += self._bounds or ()
        low, high = min(values), max(values)
        flat = high - low <= 1e-9 * max(abs(low), abs(high))
        room = (abs(high) * 0.1 or 1.0) if flat else (high - low) * 0.08
        return low - room, high + room

    def _grid(self) -> None:
        for value, text in self._values:
            self._stroke([self._first, self._last], [value] * 2, color=_GRID, linewidth=0.6, zorder=1)
            self._text(self._left - 6, self._y_of(value), text, colour=_FAINT, horizontal="right")
        room = self._width - self._left - self._right
        for at, text in time_ticks(self._first, self._last, self._timezone, most=max(2, int(room / 70))):
            self._stroke([at, at], [self._low, self._high], color=_GRID, linewidth=0.6, zorder=1)
            self._text(self._x_of(at), self._bottom - 11, text, colour=_FAINT, keep_inside=True)

    def _levels(self) -> None:
        if self._limit is not None and self._limit.side is not None:
            edge = self._high if self._limit.side == "above" else self._low
            span = sorted((self._limit.value, edge))
            self._axes.axhspan(*span, color=_ALARM, alpha=0.08, linewidth=0, zorder=0)
        for line in self._lines:
            if line.style is not None:
                self._stroke(
                    [self._first, self._last], [line.value] * 2, color=line.colour, linewidth=1.1,
                    linestyle=line.style, zorder=2,
                )  # fmt: skip

    def _history(self) -> None:
        width = 1.5 if len(self._points) <= MOST_POINTS / 2 else 1.0
        for run in self._runs:
            times, values = zip(*run, strict=True)
            alone = len(run) == 1
            self._stroke(
                times, values, color=_LINE, linewidth=width, linestyle="-", solid_joinstyle="round",
                marker="o" if alone else "", markersize=2.5, markeredgewidth=0, zorder=4,
            )  # fmt: skip
        at, value = self._points[-1]
        if self._bounds is not None:
            half = (self._last - self._first) * 0.012
            self._axes.fill_between(
                [at - half, at + half], *self._bounds, color=_LINE, alpha=0.3, linewidth=0, zorder=3,
                clip_on=False,
            )  # fmt: skip
        self._stroke(
            [at], [value], marker="o", markersize=4.5, color=_LINE, markeredgecolor=_BACKGROUND,
            markeredgewidth=0.9, linestyle="", zorder=5, clip_on=False,
        )  # fmt: skip

    def _labels(self) -> None:
        wanted = sorted(self._lines, key=lambda line: line.value)
        places = _spread(
            [self._y_of(line.value) for line in wanted], 14.0, self._bottom, self._height - self._top
        )
        x = self._width - self._right + 8
        for line, y in zip(wanted, places, strict=True):
            self._text(x, y, line.text, colour=line.colour, horizontal="left", size=11, bold=line.bold)

    def _head(self, title: str) -> None:
        y = self._height - 14
        span = timespan_text(self._points[0][0], self._points[-1][0], self._timezone)
        room = self._width - 20.0
        beside = self._text_width(span, 10)
        if beside < room * 0.6:
            self._text(self._width - 10, y, span, colour=_FAINT, horizontal="right")
            room -= beside + 12
        shown = self._fitting(printable(title), room)
        self._text(10, y, shown, colour=_INK, horizontal="left", size=12, bold=True)

    def _fitting(self, text: str, room: float) -> str:
        if self._text_width(text, 12, bold=True) <= room:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            fits = self._text_width(text[:middle].rstrip() + "…", 12, bold=True) <= room
            low, high = (middle, high) if fits else (low, middle - 1)
        return text[:low].rstrip() + "…"

    def _stroke(self, xs: Sequence[float], ys: Sequence[float], **style: Any) -> None:
        """Draw one line; what is not given is not taken from the settings of matplotlib."""
        self._axes.plot(xs, ys, **{"marker": "", "linestyle": "-", "antialiased": True} | style)

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        colour: str,
        horizontal: str = "center",
        size: float = 10,
        bold: bool = False,
        keep_inside: bool = False,
    ) -> None:
        """Write plain text; x and y in pixels of the page from the lower left corner."""
        if keep_inside:
            half = self._text_width(text, size) / 2
            x = min(max(x, half + 2), self._width - half - 2)
        self._figure.text(
            x / self._width, y / self._height, text, color=colour, horizontalalignment=horizontal,
            verticalalignment="center_baseline", fontproperties=_font(size, bold=bold), parse_math=False,
            usetex=False,
        )  # fmt: skip

    def _text_width(self, text: str, size: float, *, bold: bool = False) -> float:
        width, _, _ = self._canvas.get_renderer().get_text_width_height_descent(
            text, _font(size, bold=bold), ismath=False
        )
        return float(width) / SCALE

    def _y_of(self, value: float) -> float:
        inside = self._height - self._top - self._bottom
        return self._bottom + (value - self._low) / (self._high - self._low) * inside

    def _x_of(self, at: float) -> float:
        inside = self._width - self._left - self._right
        return self._left + (at - self._first) / (self._last - self._first) * inside


def _levels(facts: Facts, points: Sequence[Point], limit: Limit | None) -> list[_Line]:
    def line(value: float, word: str, colour: str, style: Any = None) -> _Line:
        text = f"{word} {number_text(value, percent=in_percent(facts))}"
        return _Line(value, text, colour, style, bold=style is None)

    kept: list[_Line] = []
    if shown(facts.baseline):
        kept.append(line(facts.baseline, "baseline", _BASELINE, (0, (5, 3))))
    if limit is not None:
        kept.append(line(limit.value, "threshold", _ALARM, (0, (1.5, 1.5))))
    kept.append(line(points[-1][1], "last" if facts.current is None else "now", _LINE))
    return kept


def _bounds(facts: Facts, points: Sequence[Point]) -> tuple[float, float] | None:
    """Bounds of the last point, when they are its own."""
    if not (shown(facts.lower) and shown(facts.upper) and facts.current is not None):
        return None
    return (facts.lower, facts.upper) if facts.lower <= points[-1][1] <= facts.upper else None


def _spread(places: Sequence[float], apart: float, lowest: float, highest: float) -> list[float]:
    """The places, in rising order, moved so that neighbours are `apart`."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + apart) if moved else max(place, lowest))
    ceiling = highest
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], ceiling)
        ceiling = moved[i] - apart
    return moved


def _font(size: float, *, bold: bool = False) -> Any:
    """The font that comes with matplotlib; `size` in pixels of the page."""
    return FontProperties(fname=_font_file(bold=bold), size=size * 72 / _DPI)


def _font_file(*, bold: bool) -> str:
    return f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf"


def printable(text: str) -> str:
    """One line, with a question mark for every character that the font does not have."""
    font = get_font(_font_file(bold=True))
    line = " ".join(text[:300].split())
    return "".join(c if c.isprintable() and font.get_char_index(ord(c)) else "?" for c in line)


def _encoded(pixels: Any) -> bytes | None:
    """The picture in 128 colours and without metadata: a fifth of the size, and the same every time."""
    image = Image.fromarray(np.asarray(pixels)).convert("RGB")
    half = (image.width // 2, image.height // 2)
    for colours, size in ((128, image.size), (64, half), (16, half)):
        sized = image if size == image.size else image.resize(size)
        written = io.BytesIO()
        reduced = sized.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        reduced.save(written, "PNG", compress_level=6)
        if written.tell() <= MOST_BYTES:
            return written.getvalue()
    return None
