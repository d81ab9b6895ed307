"""Samples become bytes that every parser reads back, within the budget, in all four forms."""

from __future__ import annotations

import gzip
import math
import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample as OwnSample

from exporter.catalog import BUDGET_ORDER, FAMILIES
from exporter.exposition import (
    MAX_LABEL_CHARACTERS,
    OPENMETRICS_TYPE,
    TEXT_TYPE,
    Exposition,
    Renderer,
    Snapshot,
    negotiate,
    presentable,
)
from tests.prometheus import check_metrics, running_prometheus, serving

ODD_VALUES = [
    'quote " and \\ backslash',
    "two\nlines\tand a tab",
    "trailing backslash\\",
    "\\n is not a newline",
    "emoji 🛩️ and ünïcode",
    "nul \x00 bell \x07 carriage \r return",
    "lone surrogate \udc80",
    "{a=\"b\",c='d'} # EOF",
    "\u2028 line separator \x85 next line",
    "x" * 10_000,
    "x" * 9_999 + "y",
]
PLACE = ("m", "v1", "1d")
PROMETHEUS_2_ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def snapshot(samples, *, max_series=None, own=()) -> Snapshot:
    exposition = Exposition()
    exposition.update("m", samples, max_series=max_series)
    return exposition.snapshot(own, made_at=1000.0)


def parsed(families):
    """Return {(sample name, sorted labels): value} of parsed families; a repeated series is an error."""
    found = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def series(name, labels):
    """Return the key of a sample as :func:`parsed` gives it."""
    pairs = zip(FAMILIES[name].labels, labels, strict=True)
    return name, tuple(sorted((label, presentable(value)) for label, value in pairs if value))


def read_back(shot: Snapshot):
    """Return what both parsers read, which must be the same."""
    text = parsed(parse_text(shot.text.decode()))
    assert parsed(parse_openmetrics(shot.openmetrics.decode())) == text
    return text


labels_text = st.text(st.characters(), max_size=40)
model_samples = st.lists(
    st.tuples(
        st.sampled_from([name for name, family in FAMILIES.items() if "column" in family.labels]),
        st.lists(labels_text, min_size=8, max_size=8),
        st.floats(allow_nan=False, allow_infinity=False),
    ).map(lambda t: (t[0], tuple(t[1][: len(FAMILIES[t[0]].labels)]), abs(t[2]))),
    max_size=12,
)


@given(model_samples)
def test_every_sample_is_read_back(samples):
    """Whatever the labels' text, each series comes back with its value from both formats."""
    shot = snapshot(samples)
    expected = {series(name, labels): value for name, labels, value in samples}
    found = {key: value for key, value in read_back(shot).items() if not key[0].startswith("ml_exporter_")}
    assert found == expected


def test_odd_label_values_stay_apart_and_are_read_back():
    """Quotes, newlines, control characters, surrogates and 10 kB strings never break a line or collide."""
    samples = [
        ("ml_quality_completeness_ratio", (*PLACE, odd), float(number))
        for number, odd in enumerate(ODD_VALUES)
    ]
    found = read_back(snapshot(samples))
    for name, labels, value in samples:
        assert found[series(name, labels)] == value


@given(st.text(st.characters(), max_size=600), st.text(st.characters(), max_size=600))
def test_presentable_values_are_short_and_keep_texts_apart(one, other):
    """A shown value is at most the documented length, encodes, and differs where the texts differ."""
    assert len(presentable(one)) <= MAX_LABEL_CHARACTERS
    presentable(one).encode()
    assert (presentable(one) == presentable(other)) == (one == other)


def test_exact_bytes():
    """The text format and OpenMetrics differ in headers, units, counters' family names and the end."""
    samples = [
        ("ml_rows_total", ("m", "v1"), 3),
        ("ml_window_seconds", PLACE, 86400.0),
        ("ml_undefined", (*PLACE, "drift", "", "no_baseline"), 1),
    ]
    chunk = Renderer("m").render(samples)
    assert {name: piece.lines for name, piece in chunk.pieces.items()} == {
        "ml_undefined": (
            b'ml_undefined{model="m",version="v1",window="1d",measure="drift",reason="no_baseline"} 1.0\n'
        ),
        "ml_window_seconds": b'ml_window_seconds{model="m",version="v1",window="1d"} 86400.0\n',
        "ml_rows_total": b'ml_rows_total{model="m",version="v1"} 3.0\n',
    }
    shot = snapshot(samples)
    assert b"# TYPE ml_rows_total counter\n" in shot.text
    assert b"# TYPE ml_rows counter\n" in shot.openmetrics
    assert b"# UNIT ml_window_seconds seconds\n" in shot.openmetrics
    assert b"# UNIT" not in shot.text
    assert shot.openmetrics.endswith(b"\n# EOF\n")
    assert b"# EOF" not in shot.text


def test_gzip_forms_hold_the_same_bytes():
    """What is put together from compressed pieces is one gzip member with the right checksum."""
    samples = [("ml_drift_statistic", (*PLACE, f"c{n}", "feature", "ks"), n / 7) for n in range(2000)]
    shot = snapshot(samples)
    assert gzip.decompress(shot.text_gzip) == shot.text
    assert gzip.decompress(shot.openmetrics_gzip) == shot.openmetrics
    assert len(shot.text_gzip) < len(shot.text) / 10


def test_families_of_several_models_stand_together():
    """A family's header comes once, then the lines of all models."""
    exposition = Exposition()
    for model in ("a", "b"):
        exposition.update(model, [("ml_rows_total", (model, "v"), 1), ("ml_labels_total", (model, "v"), 2)])
    text = exposition.snapshot(made_at=0.0).text.decode()
    assert text.count("# TYPE ml_rows_total") == 1
    assert text.index('ml_rows_total{model="b"') < text.index("ml_labels_total{")


def test_values_that_are_not_finite_are_explained_instead():
    """NaN and infinities are no measures: the sample goes, and ml_undefined says so."""
    values = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.5}
    samples = [("ml_quality_completeness_ratio", (*PLACE, name), value) for name, value in values.items()]
    found = read_back(snapshot(samples))
    shown = {key: value for key, value in found.items() if key[0].startswith(("ml_quality", "ml_undefined"))}
    assert shown == {
        series("ml_quality_completeness_ratio", (*PLACE, "d")): 0.5,
        series("ml_undefined", (*PLACE, "quality_completeness_ratio", "", "error")): 1,
    }


def test_a_repeated_series_is_exposed_once():
    """The last of several samples with equal labels wins."""
    found = read_back(snapshot([("ml_rows_total", ("m", "v"), 1), ("ml_rows_total", ("m", "v"), 2)]))
    assert found[series("ml_rows_total", ("m", "v"))] == 2


def test_an_unknown_family_is_refused():
    """Nothing is exposed that the catalogue does not describe."""
    with pytest.raises(KeyError, match="ml_nonsense"):
        Renderer("m").render([("ml_nonsense", (), 1.0)])


def many_samples():
    """Return samples of every family that may be dropped, 30 each, and of some that never are."""
    for group in BUDGET_ORDER:
        for name in group:
            rest = len(FAMILIES[name].labels) - 2
            for number in range(30):
                yield name, ("m", "v1", *["x"] * (rest - 1), str(number)), 1.0
    yield "ml_rows_total", ("m", "v1"), 1.0
    yield "ml_performance", (*PLACE, "f1"), 0.5


@pytest.mark.parametrize("budget", [2000, 900, 500, 100, 50, 10])
def test_budget_drops_whole_families_in_order_and_says_so(budget):
    """Groups go first to last, entirely; what went is named, counted, and the rest is untouched."""
    exposition = Exposition()
    chunk = exposition.update("m", many_samples(), max_series=budget)
    dropped = list(chunk.dropped)
    in_order = [name for group in BUDGET_ORDER for name in group]
    assert dropped == in_order[: len(dropped)]
    assert not set(dropped) & set(chunk.pieces)
    assert set(chunk.pieces) >= {"ml_rows_total", "ml_performance"}
    assert chunk.series <= max(budget, len(in_order) + 2)
    shot = exposition.snapshot(made_at=0.0)
    found = read_back(shot)
    for name in dropped:
        assert chunk.dropped[name] == 30
        undefined = ("m", "", "", name.removeprefix("ml_"), "", "budget")
        assert found[series("ml_undefined", undefined)] == 1
        assert found[series("ml_exporter_series_dropped_total", ("m", name))] == 30
    assert found[series("ml_exporter_series", ("m",))] == chunk.series
    assert shot.series == len(found)


def test_bin_sets_are_dropped_whole():
    """Counters of bins and their baseline go together even if one of them would be enough."""
    bins = [("ml_column_rows_total", ("m", "v", "c", "g", f"{n:02}"), 1.0) for n in range(10)]
    ratios = [("ml_baseline_ratio", ("m", "v", "c", "g", f"{n:02}"), 0.1) for n in range(10)]
    chunk = Renderer("m", max_series=15).render([*bins, *ratios])
    assert set(chunk.dropped) == {"ml_column_rows_total", "ml_baseline_ratio"}
    assert set(chunk.pieces) == {"ml_undefined"}


def test_unchanged_lines_are_not_compressed_again():
    """Rendering the same samples again gives the same pieces."""
    renderer = Renderer("m")
    first = renderer.render([("ml_rows_total", ("m", "v"), 1)])
    assert (
        renderer.render([("ml_rows_total", ("m", "v"), 1)]).pieces["ml_rows_total"]
        is (first.pieces["ml_rows_total"])
    )


def test_label_texts_of_series_that_are_gone_are_forgotten():
    """Memory follows the series that are exposed, not all that ever were."""
    renderer = Renderer("m")
    for number in range(1000):
        renderer.render([("ml_rows_total", ("m", f"v{number}"), 1)])
    assert len(renderer._prefixes["ml_rows_total"]) < 50


def test_own_metrics_are_exposed_with_histograms():
    """What prometheus_client counts of the exporter itself stands in the same snapshot."""
    own = [
        ("ml_exporter_render_seconds", OwnSample("ml_exporter_render_seconds_bucket", {"le": "0.1"}, 1)),
        ("ml_exporter_render_seconds", OwnSample("ml_exporter_render_seconds_bucket", {"le": "+Inf"}, 2)),
        ("ml_exporter_render_seconds", OwnSample("ml_exporter_render_seconds_count", {}, 2)),
        ("ml_exporter_render_seconds", OwnSample("ml_exporter_render_seconds_sum", {}, 0.3)),
    ]
    own.append(("ml_exporter_store_bytes", OwnSample("ml_exporter_store_bytes", {}, math.nan)))
    own.append(("python_gc_objects", OwnSample("python_gc_objects", {}, 1)))
    found = read_back(snapshot([], own=own))
    assert not {"ml_exporter_store_bytes", "python_gc_objects"} & {name for name, _ in found}
    assert found["ml_exporter_render_seconds_bucket", (("le", "+Inf"),)] == 2
    assert found["ml_exporter_snapshot_timestamp_seconds", ()] == 1000


def test_models_are_updated_and_joined_by_many_threads():
    """Snapshots made while models change are always whole."""
    exposition = Exposition()
    barrier = threading.Barrier(5)
    failures = []

    def update(model):
        barrier.wait()
        for round_ in range(30):
            exposition.update(model, [("ml_rows_total", (model, "v"), round_)] * 3)

    def read():
        barrier.wait()
        for _ in range(30):
            shot = exposition.snapshot(made_at=0.0)
            if gzip.decompress(shot.openmetrics_gzip) != shot.openmetrics:
                failures.append(shot)

    threads = [threading.Thread(target=update, args=(f"m{n}",)) for n in range(4)]
    threads.append(threading.Thread(target=read))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text", True),
        (PROMETHEUS_2_ACCEPT, True),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0,*/*", False),
        ("application/openmetrics-text;q=0.5,*/*", False),
        ("APPLICATION/OPENMETRICS-TEXT ; Version=1.0.0 ; Q=0.9 , text/plain;q=0.2", True),
        (PROMETHEUS_3_ACCEPT, True),
        ("application/openmetrics-text;q=high", False),
        ("application/openmetrics-text;q=nan,", False),
    ],
)  # fmt: skip
def test_format_is_negotiated(accept, openmetrics):
    """The quality values of Accept decide, and text is for everyone who did not ask."""
    form = negotiate(accept, None)
    assert form.openmetrics is openmetrics
    assert form.headers["Content-Type"] == (OPENMETRICS_TYPE if openmetrics else TEXT_TYPE)


@pytest.mark.parametrize(
    ("accept_encoding", "compressed"),
    [(None, False), ("gzip", True), ("deflate, gzip;q=1.0, *;q=0.5", True), ("gzip;q=0", False), ("*", True),
     ("identity", False), ("gzip;q=0.1, identity;q=0.5", False), ("br", False), ("x-gzip", True)],
)  # fmt: skip
def test_compression_is_negotiated(accept_encoding, compressed):
    """Gzip is given to who accepts it."""
    form = negotiate(None, accept_encoding)
    assert form.gzip is compressed
    assert form.headers.get("Content-Encoding") == ("gzip" if compressed else None)
    assert form.attribute == ("text_gzip" if compressed else "text")


@pytest.mark.prometheus
def test_prometheus_scrapes_and_answers_every_value(requires_program, free_port, tmp_path):
    """A real Prometheus reads both formats, gzipped, and gives back each value under its labels."""
    program = requires_program("prometheus")
    odd = {presentable(value): float(number) for number, value in enumerate(ODD_VALUES)}
    samples = [
        ("ml_quality_completeness_ratio", (*PLACE, value), number) for number, value in enumerate(ODD_VALUES)
    ]
    samples += [("ml_performance", (*PLACE, "f1"), 0.1 + 0.2), ("ml_rows_total", ("m", "v1"), 2**53)]
    shot = snapshot(samples)
    given = {"text": set(), "openmetrics": set()}

    def answer(job, accept, accept_encoding):
        form = negotiate(accept if job == "openmetrics" else "text/plain", accept_encoding)
        given[job].add(form.attribute)
        return getattr(shot, form.attribute), form.headers

    with (
        serving(partial(answer, "text")) as text,
        serving(partial(answer, "openmetrics")) as openmetrics,
        running_prometheus(
            program, tmp_path, {"text": text, "openmetrics": openmetrics}, free_port()
        ) as prometheus,
    ):
        for job in given:
            prometheus.wait_for_scrape(job)
            here = f'job="{job}"'
            assert prometheus.values(f"ml_quality_completeness_ratio{{{here}}}", "column") == odd
            f1 = f'ml_performance{{{here},model="m",version="v1",window="1d",metric="f1"}}'
            assert prometheus.value(f1) == 0.1 + 0.2
            assert prometheus.value(f"ml_rows_total{{{here}}}") == 2**53
            assert prometheus.value(f"scrape_samples_scraped{{{here}}}") == shot.series
            assert prometheus.value(f"ml_exporter_series{{{here}}}") == len(samples)
    assert given == {"text": {"text_gzip"}, "openmetrics": {"openmetrics_gzip"}}


@pytest.mark.prometheus
def test_promtool_accepts_odd_values(requires_program):
    """Lines with the oddest label values are valid to promtool."""
    samples = [("ml_quality_completeness_ratio", (*PLACE, value), 1.0) for value in ODD_VALUES]
    assert check_metrics(requires_program("promtool"), snapshot(samples).text) == (0, "")
