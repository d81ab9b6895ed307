"""Rankings through the service: labels inline, late, in pieces and corrected; rows that are of no use."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import ndcg_score

from exporter.errors import UnusableBatchError

from .conftest import HOUR, NOW, Bench

Make = Callable[..., Bench]

RANKING: dict[str, Any] = {
    "task": "ranking",
    "columns": {
        "id": "id", "timestamp": "at", "prediction": "place", "score": "score", "label": "grade",
        "group": "query",
    },
    "features": {"price": "numeric"},
    "segments": [],
    "ranking": {"k": 5},
    "windows": ["6h"],
}  # fmt: skip


def ranked(groups: int, size: int = 8, *, seed: int = 1, first: int = 0) -> pa.Table:
    """Rows of groups in a mixed order, with grades 0 to 3 that the score knows something of."""
    generator = np.random.default_rng(seed)
    rows = groups * size
    query = np.repeat(np.arange(groups), size)
    grade = generator.integers(0, 4, rows)
    grade[::size] = 1  # a relevant row in every group
    table = pa.table(
        {
            "id": [f"r{first + row}" for row in range(rows)],
            "at": NOW - HOUR + generator.uniform(0, 60, groups)[query] + generator.uniform(0, 5, rows),
            "query": first + query,
            "place": generator.integers(1, 100, rows).astype(float),
            "score": grade + generator.normal(0, 2, rows),
            "price": generator.normal(size=rows),
            "grade": grade.astype(float),
        }
    )
    return table.take(pa.array(generator.permutation(rows)))


def expected(table: pa.Table, k: int = 5) -> float:
    """The mean NDCG of the groups, by scikit-learn."""
    query, score, grade = (table[name].to_numpy() for name in ("query", "score", "grade"))
    return float(
        np.mean([ndcg_score([grade[query == q]], [score[query == q]], k=k) for q in np.unique(query)])
    )


def made(bench: Make, **changes: Any) -> Bench:
    b = bench(**{**RANKING, **changes})
    b.service.create_baseline("m", table=ranked(40, seed=9))
    return b


def value(b: Bench, metric: str = "ndcg_at_k") -> Any:
    return b.evaluated()["metrics"][metric]


def late(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The rows without their labels, and the labels."""
    return table.drop_columns(["grade"]), table.select(["id", "grade"])


def test_groups_that_come_with_their_labels_are_ranked(bench: Make) -> None:
    """The mean over groups is scikit-learn's, its rows are groups, and the baseline has one too."""
    b, table = made(bench), ranked(50)
    b.push(table)
    metric = value(b)
    assert metric["value"] == pytest.approx(expected(table))
    assert metric["lower"] < metric["value"] < metric["upper"]
    assert metric["n"] == 50
    assert metric["baseline"] == pytest.approx(expected(ranked(40, seed=9)))
    assert value(b, "mrr")["value"] > 0.5
    assert value(b, "map_at_k")["value"] > 0.3


def test_labels_that_come_late_in_pieces_count_when_the_group_is_complete(bench: Make) -> None:
    """A group counts once it has all labels, whichever requests brought them, over a restart too."""
    b, table = made(bench), ranked(30)
    rows, labels = late(table)
    b.push(rows)
    b.label(labels.slice(0, 150))
    b.restart()
    b.label(labels.slice(150))
    metric = value(b)
    assert metric["value"] == pytest.approx(expected(table))
    assert metric["n"] == 30
    assert b.evaluated()["ranking"] == {
        "k": 5, "groups": 30, "ranked": 30, "incomplete": 0, "irrelevant": 0
    }  # fmt: skip


def test_incomplete_groups_are_left_out_and_counted(bench: Make) -> None:
    """A group that lacks one label is no part of the mean, and the answer says how many do."""
    b, table = made(bench), ranked(30)
    rows, labels = late(table)
    query = table["query"].to_numpy()
    lacking = [np.flatnonzero(query == group)[0] for group in (3, 4)]
    b.push(rows)
    b.label(labels.take(pa.array(np.delete(np.arange(table.num_rows), lacking))))
    complete = table.filter(pa.array(~np.isin(query, (3, 4))))
    assert value(b)["value"] == pytest.approx(expected(complete))
    assert b.evaluated()["ranking"]["incomplete"] == 2
    assert b.evaluated()["ranking"]["groups"] == 30


def test_a_corrected_label_takes_the_old_value_of_its_group_back(bench: Make) -> None:
    """Correcting one label leaves the metric as if the first label had never come, inline or late."""
    b, table = made(bench), ranked(20)
    b.push(table)
    grades = table["grade"].to_numpy().copy()
    grades[[1, 50, 51]] = 3.0
    answer = b.label(pa.table({"id": table["id"], "grade": grades}))
    assert answer["corrected"] + answer["duplicates"] == table.num_rows
    fixed = table.set_column(table.column_names.index("grade"), "grade", pa.array(grades))
    assert value(b)["value"] == pytest.approx(expected(fixed))
    assert value(b)["n"] == 20
    b.label(pa.table({"id": table["id"].slice(1, 1), "grade": [table["grade"][1].as_py()]}))
    grades[1] = table["grade"][1].as_py()
    again = table.set_column(table.column_names.index("grade"), "grade", pa.array(grades))
    assert value(b)["value"] == pytest.approx(expected(again))


def test_labels_before_the_rows_wait_for_them(bench: Make) -> None:
    """Labels that come first are joined when the group comes."""
    b, table = made(bench), ranked(10)
    rows, labels = late(table)
    b.label(labels)
    b.push(rows)
    assert value(b)["value"] == pytest.approx(expected(table))


def test_a_group_is_taken_whole_or_not_at_all(bench: Make) -> None:
    """A negative grade, a missing group or a missing score rejects its rows, and those of their groups."""
    b, table = made(bench), ranked(10)
    order = np.argsort(table["query"].to_numpy(), kind="stable")
    table = table.take(pa.array(order))
    grade = table["grade"].to_numpy().copy()
    grade[0] = -1.0
    score = table["score"].to_pylist()
    score[8] = None
    query = table["query"].to_pylist()
    query[16] = None
    for name, values in (("grade", grade), ("score", score), ("query", query)):
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    answer = b.push(table)
    assert answer["reasons"] == {
        "missing_group": 1, "missing_score": 1, "out_of_range": 1, "incomplete_group": 14
    }  # fmt: skip
    with pytest.raises(UnusableBatchError, match="out_of_range"):
        b.label(pa.table({"id": ["r1"], "grade": [-2.0]}))
    with pytest.raises(UnusableBatchError, match="query"):
        b.push(table.drop_columns(["query"]))


def test_a_group_of_a_hundred_thousand_rows_is_ranked(bench: Make) -> None:
    """One huge group is one group."""
    b = made(bench)
    b.push(ranked(2, 50_000))
    assert b.evaluated()["ranking"]["ranked"] == 2


def test_groups_without_a_relevant_row_say_nothing(bench: Make) -> None:
    """They are left out, counted, and when there is no other the metric has a reason."""
    b, table = made(bench), ranked(5)
    b.push(table.set_column(table.column_names.index("grade"), "grade", pa.array(np.zeros(40))))
    assert value(b)["reason"] == "insufficient_labels"
    assert "no relevant row" in value(b)["detail"]
    assert b.evaluated()["ranking"]["irrelevant"] == 5


def test_first_rows_make_a_baseline_and_groups_of_a_segment_are_ranked(bench: Make) -> None:
    """Without a pushed baseline the first groups become one; a segment ranks the groups that lie in it."""
    b = bench(**RANKING | {"segments": ["site"], "segment_minimum_rows": 10, "baseline": {"rows": 200}})

    def sited(table: pa.Table) -> pa.Table:
        odd = table["query"].to_numpy() % 2
        return table.append_column("site", pa.array(np.where(odd, "odd", "even")))

    first, table = sited(ranked(30)), sited(ranked(30, seed=2, first=1000))
    b.push(first)
    rows, labels = late(table)
    b.push(rows)
    b.label(labels.slice(0, 111))
    b.label(labels.slice(111))
    both = pa.concat_tables([first, table])
    assert value(b)["value"] == pytest.approx(expected(both))
    assert value(b)["baseline"] == pytest.approx(expected(first))
    odd = b.evaluated(segment="site=odd")
    assert odd["metrics"]["ndcg_at_k"]["value"] == pytest.approx(
        expected(both.filter(pa.array(both["query"].to_numpy() % 2 == 1)))
    )
    assert b.service.status("m")["failures"] == {}
    text = b.service.snapshot().text.decode()
    assert 'ml_ranking_groups{model="m",version="default",window="6h",state="ranked"} 60' in text
    assert 'metric="ndcg_at_k"' in text
    assert "error" not in {entry["reason"] for entry in b.service.status("m")["undefined"]}


def test_requests_at_once_count_every_group_once(bench: Make) -> None:
    """Labels of the same groups that come in eight requests at once make each group complete once."""
    b, table = made(bench), ranked(40)
    rows, labels = late(table)
    b.push(rows)
    parts = [labels.take(pa.array(np.arange(start, labels.num_rows, 8))) for start in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(b.label, parts))
    assert value(b)["n"] == 40
    assert value(b)["value"] == pytest.approx(expected(table))
