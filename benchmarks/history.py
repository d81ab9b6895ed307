"""What the history costs: bytes and milliseconds an evaluation, to correct one, and to read a year back.

python -m benchmarks.history [--floats 50] [--strings 10] [--evaluations 200]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from benchmarks.running import configuration, rows
from exporter.clock import ManualClock
from exporter.config import parse_config
from exporter.results import Evaluation
from exporter.service import Service
from exporter.service.history.questions import Question
from exporter.service.history.recomputation import Recomputation
from exporter.service.history.recording import OUTCOMES, ROWS, records_of
from exporter.store import Change, HistoryRecord, Store

HOUR, DAY = 3600.0, 86_400.0
START = 1_700_006_400.0
ROWS_AN_HOUR = 500


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = function()
    return 1000 * (time.perf_counter() - began), result


def hour(number: int, options: argparse.Namespace) -> pa.Table:
    """Labelled rows of one hour."""
    table = rows(ROWS_AN_HOUR, seed=1000 + number, floats=options.floats, strings=options.strings)
    at = START + number * HOUR + np.arange(ROWS_AN_HOUR) * HOUR / ROWS_AN_HOUR
    table = table.set_column(0, "at", pa.array(at))
    wrong = np.random.default_rng(1000 + number).uniform(size=ROWS_AN_HOUR) < 0.1
    return table.append_column("label", pa.array(table["answer"].to_numpy(zero_copy_only=False) ^ wrong))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--floats", type=int, default=50)
    parser.add_argument("--strings", type=int, default=10)
    parser.add_argument("--evaluations", type=int, default=200)
    options = parser.parse_args()
    settings = yaml.safe_load(configuration(floats=options.floats, strings=options.strings))
    settings["models"]["m"] |= {"windows": ["1d", "7d"], "evaluation_interval": "1h", "label_horizon": "30d"}
    clock = ManualClock(START)
    with (
        tempfile.TemporaryDirectory() as directory,
        Store.open(Path(directory), clock=clock) as store,
    ):
        service = Service(parse_config(settings), store, clock=clock)
        service.start()
        service.create_baseline("m", table=pa.concat_tables(hour(-n, options) for n in range(1, 11)))
        print(
            f"{options.floats} float64 and {options.strings} string columns, windows 1d and 7d, 1 h buckets"
        )
        write(service, store, clock, options)
        correct(service, store, clock)
        read(service, store)
        service.stop()


def write(service: Service, store: Store, clock: ManualClock, options: argparse.Namespace) -> None:
    """One evaluation an hour; the time that its records take beside it, and their bytes."""
    evaluating, recording, writing = [], [], []
    lane = service._lanes["m"]  # measured from inside
    for number in range(options.evaluations):
        clock.set(START + (number + 1) * HOUR)
        service.ingest_batch("m", hour(number, options))
        evaluating.append(timed(lambda: service.evaluate("m"))[0])
        service._history.settle("m")
        milliseconds, records = timed(partial(made, list(lane.evaluations.values())))
        recording.append(milliseconds)
        writing.append(timed(partial(written, store, lane.generation, records))[0])
    sizes = dict(store.history.query("SELECT part, avg(length(data)) FROM history GROUP BY part", ()))
    print(f"  an evaluation of both windows               {median(evaluating):8.1f} ms")
    print(f"  its records made                            {median(recording):8.1f} ms")
    print(f"  its records on disk, one transaction        {median(writing):8.1f} ms")
    print(f"  a window's record of rows                   {sizes[ROWS]:8.0f} bytes")
    print(f"  a window's record of labels                 {sizes[OUTCOMES]:8.0f} bytes")


def made(evaluations: list[Evaluation]) -> list[HistoryRecord]:
    """Records with other values than those on disk, so that every page is written."""
    records = [one for each in evaluations for one in records_of(each, since={}, baseline=None)]
    return [
        replace(one, values={name: value + 1e-9 for name, value in one.values.items()}) for one in records
    ]


def written(store: Store, generation: str, records: list[HistoryRecord]) -> None:
    future = store.history.write("m", generation, records)
    if future is not None:
        future.result()


def correct(service: Service, store: Store, clock: ManualClock) -> None:
    """Records made anew, as late labels ask for it."""
    lane = service._lanes["m"]
    recomputation = Recomputation(store)
    buckets = [int(START + HOUR * number) for number in range(20, 30)]
    store.past.mark("m", {("default", bucket): int(Change.LABELS) for bucket in buckets})
    with lane.gate.shared():
        units = len(recomputation._begun(lane, clock.time()).units)
    milliseconds, _ = timed(lambda: run(recomputation, lane, clock))
    print(f"  records corrected after late labels         {milliseconds / units:8.1f} ms each ({units})")


def run(recomputation: Recomputation, lane: Any, clock: ManualClock) -> None:
    while recomputation.tick(lane, clock.time(), seconds=10, at_once=True):
        pass


def read(service: Service, store: Store) -> None:
    """A page, and all of it as OpenMetrics."""
    milliseconds, page = timed(
        lambda: service.history("m", Question("performance", metric="accuracy", window="1d", limit=1000))
    )
    print(f"  a page of {len(page['points']):4d} points of one metric       {milliseconds:8.1f} ms")
    milliseconds, page = timed(lambda: service.history("m", Question("drift", window="1d", limit=10_000)))
    print(f"  a page of {len(page['points']):5d} points of drift           {milliseconds:8.1f} ms")
    milliseconds, size = timed(
        lambda: sum(len(piece) for piece in service.history_openmetrics("m", Question("performance")))
    )
    count = store.history.query("SELECT count(*) FROM history", ())[0][0]
    print(f"  OpenMetrics of {count} records, {size / 1e6:.1f} MB         {milliseconds:8.0f} ms")


if __name__ == "__main__":
    main()
