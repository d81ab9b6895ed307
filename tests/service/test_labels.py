"""Labels that come early, late, twice, corrected, and for several versions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from exporter.errors import UnusableBatchError

from .conftest import HOUR, NOW, Bench, labels_of

Make = Callable[..., Bench]
Rows = Callable[..., pa.Table]


def test_labels_join_by_id(bench: Make, rows: Rows) -> None:
    """Labels in any order meet their predictions; the answer counts them."""
    b = bench()
    table = rows(1000)
    b.push(table)
    labels = labels_of(table, wrong=200).take(pa.array(np.random.default_rng(1).permutation(1000)))
    answer = b.label(labels)
    assert (answer["matched"], answer["pending"], answer["duplicates"], answer["corrected"]) == (
        1000,
        0,
        0,
        0,
    )
    result = b.evaluated(window="6h")
    assert result["metrics"]["accuracy"]["value"] == pytest.approx(0.8)
    assert result["labeled_ratio"] == 1.0


def test_early_labels_wait_for_their_prediction(bench: Make, rows: Rows) -> None:
    """Labels that come first are kept, over a restart too, and join when the prediction comes."""
    b = bench()
    table = rows(1000)
    early = b.label(labels_of(table, wrong=100))
    assert (early["matched"], early["pending"]) == (0, 1000)
    b.restart()
    b.push(table)
    result = b.evaluated(window="6h")
    assert result["labeled_rows"] == 1000
    assert result["metrics"]["accuracy"]["value"] == pytest.approx(0.9)
    assert b.label(labels_of(table, wrong=100))["duplicates"] == 1000


def test_a_corrected_label_is_taken_back_and_counted_anew(bench: Make, rows: Rows) -> None:
    """The last label wins, as if the first had never come."""
    b = bench()
    table = rows(1000)
    b.push(table)
    b.label(labels_of(table, wrong=500))
    answer = b.label(labels_of(table, wrong=100))
    assert (answer["matched"], answer["duplicates"], answer["corrected"]) == (0, 600, 400)
    result = b.evaluated(window="6h")
    assert result["labeled_rows"] == 1000
    assert result["metrics"]["accuracy"]["value"] == pytest.approx(0.9)
    b.restart()
    assert b.evaluated(window="6h")["metrics"]["accuracy"]["value"] == pytest.approx(0.9)
    assert b.label(labels_of(table, wrong=100))["duplicates"] == 1000


def test_the_last_label_of_an_id_in_one_request_wins(bench: Make, rows: Rows) -> None:
    """Several labels of an id in one request count as one, the last."""
    b = bench()
    table = rows(600)
    b.push(table)
    answer = b.label(pa.concat_tables([labels_of(table, wrong=600), labels_of(table)]))
    assert (answer["matched"], answer["duplicates"]) == (600, 600)
    assert b.evaluated(window="6h")["metrics"]["accuracy"]["value"] == 1.0


def test_a_label_joins_every_version(bench: Make, rows: Rows) -> None:
    """A label belongs to an id, whichever versions answered it, before or after the label came."""
    b = bench()
    table = rows(600)
    b.push(table, version="a")
    b.label(labels_of(table, wrong=60))
    b.push(table, version="b")
    assert b.evaluated(window="6h", version="b")["labeled_rows"] == 600
    b.label(labels_of(table, wrong=120))
    for version in ("a", "b"):
        result = b.evaluated(window="6h", version=version)
        assert result["metrics"]["accuracy"]["value"] == pytest.approx(0.8)
    assert b.service.show_model("m")["versions"]["a"]["labels"] == 600


def test_labels_in_the_rows_count_at_once(bench: Make, rows: Rows) -> None:
    """Rows that carry their label are labelled rows; pushed again with a label they count as labels."""
    b = bench()
    table = rows(600)
    labelled = table.append_column("truth", labels_of(table, wrong=60)["truth"])
    b.push(table)
    answer = b.push(labelled)
    assert answer["reasons"] == {"duplicate": 600}
    assert b.evaluated(window="6h")["metrics"]["accuracy"]["value"] == pytest.approx(0.9)
    other = rows(600, 1000)
    b.push(other.append_column("truth", labels_of(other)["truth"]))
    assert b.evaluated(window="6h")["labeled_rows"] == 1200


def test_performance_windows_end_at_the_label_watermark(bench: Make, rows: Rows) -> None:
    """Labels that are hours late still give a full window, of hours ago, which says so."""
    b = bench()
    tables = [rows(600, 600 * hour, start=NOW - (8 - hour) * HOUR) for hour in range(8)]
    for table in tables:
        b.push(table)
    for table in tables[:4]:
        b.label(labels_of(table, wrong=60))
    result = b.evaluated(window="1h")
    assert result["end"] >= NOW - HOUR
    assert result["performance_window"]["end"] <= NOW - 3.5 * HOUR
    assert result["performance_window"]["rows"] >= 500
    assert result["labeled_ratio"] == 0.0


def test_label_delay_is_measured(bench: Make, rows: Rows) -> None:
    """The delay from event to label is a quantile of the labelled rows."""
    b = bench()
    table = rows(600, start=NOW - 1.0, seconds=1.0)
    b.push(table)
    b.clock.advance(2 * HOUR)
    b.label(labels_of(table))
    delay = b.evaluated(window="6h")["label_delay"]
    assert delay["p50"] == pytest.approx(2 * HOUR, rel=0.1)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks_join_labels_too(bench: Make, rows: Rows, task: str) -> None:
    """Multiclass and regression predictions meet late and corrected labels, over a restart."""
    b = bench(
        task=task,
        columns={"id": "id", "timestamp": "at", "prediction": "answer", "label": "truth"},
    )
    table = rows(600).drop_columns(["answer", "score"])
    answers = table["carrier"] if task == "multiclass" else table["distance"]
    table = table.append_column("answer", answers)
    b.push(table)
    wrong = pa.array(["ZZ"] * 600) if task == "multiclass" else pa.array(np.full(600, 99.0))
    b.label(pa.table({"id": table["id"], "truth": wrong}))
    b.restart()
    answer = b.label(pa.table({"id": table["id"], "truth": answers}))
    assert answer["corrected"] == 600
    metrics = b.evaluated(window="6h")["metrics"]
    if task == "multiclass":
        assert metrics["accuracy"]["value"] == 1.0
    else:
        assert metrics["mae"]["value"] == pytest.approx(0.0, abs=1e-9)


def test_a_label_whose_arrival_is_not_known_has_no_delay(bench: Make, rows: Rows) -> None:
    """Labels that another version's rows brought are counted for this one's, but not as if they came now."""
    b = bench()
    table = rows(600)
    b.push(table)
    b.label(labels_of(table))
    b.clock.advance(5 * HOUR)
    b.push(table, version="challenger")
    result = b.evaluated(window="6h", version="challenger")
    assert result["labeled_rows"] == 600
    assert not result["label_delay"] or result["label_delay"]["p50"] is None


def test_rows_that_waited_for_a_grid_have_the_delay_of_inline_labels_only(bench: Make, rows: Rows) -> None:
    """Labels in the rows came with them; when those that came by id did is not kept."""
    waited, labelled = bench(), bench()
    table = rows(600, start=NOW - HOUR / 2, seconds=1.0)
    waited.push(table.append_column("truth", labels_of(table)["truth"]))
    delay = waited.evaluated(window="6h")["label_delay"]
    assert delay["p50"] == pytest.approx(HOUR / 2, rel=0.1)
    labelled.push(table.slice(0, 400))
    labelled.label(labels_of(table.slice(0, 400)))
    labelled.clock.advance(60.0)
    labelled.push(table.slice(400))
    result = labelled.evaluated(window="6h")
    assert result["labeled_rows"] == 400
    assert not result["label_delay"] or result["label_delay"]["p50"] is None


def test_rejected_rows_count_even_when_nothing_is_taken(bench: Make, rows: Rows) -> None:
    """Rows of refused requests count by reason, durably, for new versions and labels too; the key is free."""
    b = bench()
    table = rows(4)
    labels = labels_of(table)
    nameless = pa.nulls(4, pa.string())
    for _ in range(2):
        with pytest.raises(UnusableBatchError):
            b.push(table.set_column(0, "id", nameless), version="v9", key="k", body_hash="a")
        with pytest.raises(UnusableBatchError):
            b.label(labels.set_column(0, "id", nameless), key="k", body_hash="a")
    b.label(pa.concat_tables([labels, pa.table({"id": ["x"], "truth": pa.nulls(1, pa.bool_())})]))
    assert b.push(table, version="v8", key="k", body_hash="b")["duplicate"] is False
    for _ in range(2):
        b.service.evaluate("m")
        text = b.service.snapshot().text.decode()
        counted = {line for line in text.splitlines() if line.startswith("ml_rejected_rows_total{")}
        assert counted == {
            'ml_rejected_rows_total{model="m",version="v9",reason="missing_id"} 8.0',
            'ml_rejected_rows_total{model="m",reason="missing_id"} 8.0',
            'ml_rejected_rows_total{model="m",reason="missing_label"} 1.0',
        }
        b.restart()


def test_late_labels_give_a_provisional_baseline_its_performance(bench: Make, rows: Rows) -> None:
    """A baseline from first rows is compared with once the labels of its time have come."""
    b = bench(segments=[])
    first = rows(500, start=NOW - 6 * HOUR)
    b.push(first)
    assert "no labels" in " ".join(b.service.status("m")["notes"])
    b.label(labels_of(first, wrong=50))
    later = rows(600, 1000)
    b.push(later)
    b.label(labels_of(later, wrong=240))
    for _ in range(2):
        accuracy = b.evaluated(window="1h")["metrics"]["accuracy"]
        assert accuracy["baseline"] == pytest.approx(0.9)
        assert accuracy["drop"] == pytest.approx(0.3, abs=0.05)
        assert accuracy["degraded"]
        assert "no labels" not in " ".join(b.service.status("m")["notes"])
        b.restart()
