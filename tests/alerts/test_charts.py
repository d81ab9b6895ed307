"""Pictures of a measure's history: what is drawn where, for any input, bounded and always the same."""

from __future__ import annotations

import io
import math
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from PIL import Image

from exporter.alerts.charts import chart_png
from exporter.alerts.charts.axes import number_text, time_ticks, timespan_text, value_ticks
from exporter.alerts.charts.drawing import printable
from exporter.alerts.charts.limits import Limit, in_percent, limit_of
from exporter.alerts.charts.points import MOST_POINTS, runs_of
from exporter.alerts.records import Facts
from tests.alerts.examples import HOSTILE, HOUR, NOW, column_drift, hostile, performance_drop

DROP = performance_drop().views[0].facts
BLUE, VERMILION, GREY = (0x00, 0x72, 0xB2), (0xC4, 0x4E, 0x00), (0x57, 0x60, 0x6A)


def draw(facts=DROP, **changes):
    asked = {"title": "f1 of flight_delay", "width": 560, "height": 200, "timezone": UTC, "subject": "f1"}
    return chart_png(facts, **(asked | changes))


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def places(png: bytes, colour: tuple[int, int, int]) -> np.ndarray:
    """Give rows and columns of the pixels that have nearly this colour."""
    return np.argwhere(np.abs(pixels(png) - np.array(colour)).max(axis=2) < 24)


def test_chart_is_a_png_of_twice_the_size_without_metadata():
    """A page of 560 x 200 pixels shows it sharp, and nothing in it tells when or with what it was made."""
    png = draw()
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.size, image.info) == ("PNG", (1120, 400), {})
    assert all(name not in png for name in (b"tEXt", b"iTXt", b"zTXt", b"pHYs", b"Software", b"tIME"))
    assert len(png) < 30_000


def test_chart_is_the_same_for_the_same_input():
    """Two drawings of one history are equal byte for byte, in threads too."""
    expected = draw()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: draw(), range(8))) == {expected}


def test_chart_shows_line_baseline_and_threshold_in_their_places():
    """The threshold of a drop of a score lies below the baseline, the current value below both."""
    png = draw()
    middle = [places(png, colour) for colour in (GREY, VERMILION, BLUE)]
    inside = [found[(found[:, 0] > 60) & (found[:, 0] < 350) & (found[:, 1] < 900)] for found in middle]
    baseline, threshold = (np.median(found[:, 0]) for found in inside[:2])
    assert baseline < threshold - 50  # rows count from the top
    end = inside[2][inside[2][:, 1] > 880]
    assert end[:, 0].min() > threshold


def test_what_alerts_is_shaded():
    """Below the threshold the ground is tinted, above it is white."""
    image = pixels(draw())
    assert image[340, 200].tolist() != [255, 255, 255]
    assert image[150, 250].tolist() == [255, 255, 255]


def test_background_is_solid():
    """Mail clients with a dark ground show dark text on white, not on black."""
    assert Image.open(io.BytesIO(draw())).mode in {"P", "RGB"}
    assert pixels(draw())[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("facts", "subject", "limit"),
    [
        (Facts("performance", threshold=0.1, baseline=0.9, unit="ratio"), "f1", Limit(0.8, "below")),
        (Facts("performance", threshold=0.5, baseline=4.0, unit="label"), "mae", Limit(6.0, "above")),
        (Facts("performance", threshold=0.5, baseline=0.2, unit="ratio"), "brier", Limit(0.3, "above")),
        (Facts("performance_estimate", threshold=0.1, baseline=0.9), "roc_auc", Limit(0.8, "below")),
        (Facts("performance", threshold=0.1, baseline=1.0, unit="label"), "bias", None),
        (Facts("performance", threshold=0.1, unit="ratio"), "f1", None),
        (
            Facts("performance", current=80.0, threshold=0.25, baseline=100.0, unit="dollars"),
            "profit",
            Limit(75.0, "below"),
        ),
        (Facts("performance", current=6.0, threshold=0.5, baseline=4.0), "", Limit(6.0, "above")),
        (Facts("drift", threshold=0.03, baseline=0.9), "", Limit(0.03, "above")),
        (Facts("quality", threshold=0.9), "completeness", Limit(0.9, "below")),
        (Facts("quality", threshold=0.01), "duplicate", Limit(0.01, "above")),
        (Facts("ml_quality_completeness_ratio", threshold=0.9), "", Limit(0.9, "below")),
        (Facts("ml_quality_outlier_ratio", threshold=0.01), "", Limit(0.01, "above")),
        (Facts("ml_drifted_columns_ratio", threshold=0.5), "", Limit(0.5, "above")),
        (Facts("ml_labeled_ratio", threshold=0.5), "", Limit(0.5, "below")),
        (Facts("ml_segment_performance", threshold=0.1, baseline=0.9), "f1", Limit(0.8, "below")),
        (Facts("window", threshold=5.0), "rows", Limit(5.0, None)),
        (Facts("drift", threshold=math.nan), "", None),
        (Facts("drift"), "", None),
    ],
)
def test_threshold_is_drawn_where_the_value_meets_it(facts, subject, limit):
    """A drop is taken from the baseline's value, as the rule does; every other threshold is the value's."""
    found = limit_of(facts, subject)
    if limit is None:
        assert found is None
    else:
        assert found is not None
        assert found.value == pytest.approx(limit.value)
        assert found.side == limit.side


def test_fewer_than_two_points_give_no_picture():
    """Nothing, one point, or only what is no number: there is no history to show."""
    assert draw(Facts(measure="performance", current=1.0)) is None
    assert draw(Facts(measure="performance", current=1.0, at=NOW, history=((NOW, 1.0),))) is None
    assert draw(hostile().views[0].facts) is None


def test_history_ends_with_the_current_value():
    """What the message says is what the picture shows."""
    assert runs_of(DROP)[-1][-1] == (NOW - 600, 0.707)
    without = replace(DROP, current=None, at=None)
    assert runs_of(without)[-1][-1] == DROP.history[-1]


def test_gaps_are_not_bridged():
    """Where points are missing the line is broken, and a lone point is a dot."""
    kept = tuple(point for i, point in enumerate(DROP.history) if not 10 <= i < 20 and not 22 <= i < 28)
    runs = runs_of(replace(DROP, history=kept, current=None))
    assert [len(run) for run in runs] == [10, 2, 20]
    inside = places(draw(replace(DROP, history=kept, current=None)), BLUE)
    at_gap = (inside[:, 1] > 290) & (inside[:, 1] < 420)
    assert not (at_gap & (inside[:, 0] > 50)).any()


def test_long_history_keeps_its_spikes():
    """Of 100,000 points few are drawn, the one that stands out among them."""
    values = [(NOW - 60.0 * i, 0.5) for i in range(100_000)]
    values[777] = (values[777][0], 9.0)
    runs = runs_of(Facts("drift", history=tuple(values)))
    assert sum(map(len, runs)) <= MOST_POINTS + 2
    assert 9.0 in [value for run in runs for _, value in run]


@pytest.mark.parametrize(
    "title", [HOSTILE, r"$\frac{1}{0}$ $x^", "x" * 10_000, "", "航班延误 ✈ \U0001f600 \u202e\x00", r"\$" * 50]
)
def test_any_title_is_written_as_it_is(title):
    """Formulas, other scripts, control characters and endless texts neither fail nor change the size."""
    image = Image.open(io.BytesIO(draw(title=title)))
    assert image.size == (1120, 400)


def test_characters_that_the_font_lacks_are_question_marks():
    """The picture never depends on which fonts a machine has."""
    assert printable("f1 – flüge\n航班\u202e$x$") == "f1 – flüge ???$x$"  # noqa: RUF001


@pytest.mark.parametrize(
    "history",
    [
        ((NOW - 1, 0.0), (NOW, 0.0)),
        ((NOW - 1, 1e14), (NOW, 1e14 + 0.02)),
        ((NOW - 1, -1e-300), (NOW, 1e-300)),
        ((NOW - 1, -9e14), (NOW, 9e14)),
        ((NOW - 1e-7, 0.1), (NOW, 0.2), (NOW + 1, 0.3)),
        ((0.0, 0.1), (9e10, 0.2)),
        ((NOW, 2.0), (NOW - 5, 1.0), (NOW, 3.0), (math.nan, 1.0), (NOW, math.inf), (-5.0, 1.0)),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (10_000, 10_000), (320, 120)])
def test_any_history_is_drawn(history, size):
    """Flat, huge, tiny, unordered, repeated or ages apart: there is a picture within its limits."""
    extreme = Facts("performance", 1e300, 1e300, -1e300, -math.inf, 1e308, "x" * 50, history=history)
    for facts in (extreme, Facts("drift", threshold=0.1, history=history)):
        png = draw(facts, width=size[0], height=size[1])
        assert png is not None
        assert len(png) <= 60_000


def test_noise_stays_within_the_limit():
    """The worst content for the format, in the largest size, is reduced until it is small enough."""
    values = random.Random(3)
    facts = replace(DROP, history=tuple((NOW - 60.0 * i, values.random()) for i in range(5000)))
    assert len(draw(facts, width=800, height=400)) <= 60_000


def test_a_picture_takes_a_fraction_of_a_second():
    """Messages do not wait for their picture (about 70 ms of one core, measured)."""
    draw()
    started = time.process_time()
    for _ in range(5):
        draw()
    assert (time.process_time() - started) / 5 < 0.5


def test_settings_of_others_are_neither_used_nor_changed():
    """A notebook's dark style or LaTeX leaves our pictures alone, and the other way round."""
    import matplotlib as mpl

    expected = draw()
    with mpl.rc_context(
        {
            "text.usetex": True,
            "font.family": "monospace",
            "axes.facecolor": "black",
            "savefig.dpi": 10,
            "figure.autolayout": True,
            "text.color": "red",
            "lines.linewidth": 9,
            "lines.marker": "s",
        }
    ):
        before = dict(mpl.rcParams)
        assert draw() == expected
        assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("hours", "zone", "texts"),
    [
        (3, "UTC", ["09:00", "10:00", "11:00", "12:00"]),
        (24, "UTC", ["12:00", "18:00", "1 Jun", "06:00", "12:00"]),
        (24, "Asia/Kolkata", ["18:00", "1 Jun", "06:00", "12:00"]),
        (24 * 5, "UTC", ["28 May", "29 May", "30 May", "31 May", "1 Jun"]),
        (24 * 12, "UTC", ["22 May", "25 May", "28 May", "31 May"]),
        (24 * 30, "UTC", ["4 May", "11 May", "18 May", "25 May", "1 Jun"]),
        (24 * 200, "Europe/Berlin", ["2026", "Mar 2026", "May 2026"]),
        (24 * 3000, "UTC", ["2020", "2022", "2024", "2026"]),
    ],
)
def test_times_at_the_axis_are_round_and_few(hours, zone, texts):
    """Hours, days, Mondays or months of the zone."""
    found = time_ticks(NOW - hours * HOUR, NOW, ZoneInfo(zone), most=5)
    assert [text for _, text in found] == texts


def test_ticks_keep_to_local_hours_where_clocks_change():
    """On the day on which summer time begins hours are still round, and none is there twice."""
    zone = ZoneInfo("Europe/Berlin")
    begin = 1_774_731_600.0  # 2026-03-28 22:00 in Berlin; clocks jump at 02:00
    found = time_ticks(begin, begin + 9 * HOUR, zone, most=6)
    assert [text for _, text in found] == ["22:00", "29 Mar", "04:00", "06:00", "08:00"]
    assert [at - found[0][0] for at, _ in found] == [0, 2 * HOUR, 5 * HOUR, 7 * HOUR, 9 * HOUR]


def test_time_span_names_its_zone():
    """Nobody has to guess which clock is meant."""
    assert timespan_text(NOW - 24 * HOUR, NOW, UTC) == "31 May 12:00 – 1 Jun 12:00 UTC"  # noqa: RUF001
    assert timespan_text(NOW - HOUR, NOW, ZoneInfo("America/New_York")) == "1 Jun 07:00 – 08:00 EDT"  # noqa: RUF001


def test_shares_are_in_percent():
    """As the message writes them; statistics and metrics are numbers."""
    assert in_percent(Facts("ml_quality_validity_ratio", unit="ratio"))
    assert in_percent(Facts("ml_drifted_columns_ratio", unit="ratio"))
    assert not in_percent(Facts("performance", unit="ratio"))
    assert not in_percent(Facts("drift", unit="ratio"))
    share = Facts("ml_labeled_ratio", 0.4, 0.5, unit="ratio", history=((NOW - 9, 0.9), (NOW, 0.4)))
    assert draw(share) != draw(replace(share, measure="drift"))


def test_values_at_the_axis_are_round():
    """Steps of 1, 2, 2.5 or 5, written with the decimals that they need."""
    assert value_ticks(0.0, 0.1, most=5) == ([0.0, 0.025, 0.05, 0.075, 0.1], 3)
    for low, high in ((0.0, 1.0), (-3.0, 0.2), (1e-9, 2e-9), (123456.0, 987654.0), (0.68, 0.88)):
        ticks, _ = value_ticks(low, high, most=4)
        assert 2 <= len(ticks) <= 4
        assert all(low - 1e-12 <= tick <= high + 1e-12 for tick in ticks)


def test_current_value_of_drift_lies_in_the_shade():
    """Above its critical value a statistic alerts."""
    png = draw(column_drift(1).views[0].facts, subject="feature_00")
    assert pixels(png)[100, 300].tolist() != [255, 255, 255]
    assert number_text(0.08) == "0.08"
