"""History to a real Prometheus: `ml-exporter backfill`, promtool's blocks, and the values that come back."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest

from exporter.catalog import FAMILIES
from exporter.client import Client, ClientError
from exporter.clock import ManualClock
from exporter.commands.backfill import label_prefix, labelled
from exporter.config import parse_config
from exporter.service import Service
from exporter.store import Store

from .conftest import RunningExporter
from .prometheus import running_prometheus

DAY = 86_400
START = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
DAYS = 7
PROGRAM = Path(sys.executable).with_name("ml-exporter")
CONFIGURED = re.compile("ml_quality_threshold|ml_drifted_columns_ratio_threshold|ml_labeled_ratio_threshold")
"""Thresholds of the configuration, which has no history."""

CONFIGURATION = """
models:
  flights:
    task: binary
    columns: {id: id, timestamp: at, prediction: answer, score: score, label: truth}
    features: {distance: numeric, carrier: categorical}
    segments: [carrier]
    windows: [1d, 3d]
    evaluation_interval: 50ms
"""


def day(number: int, rows: int = 400) -> pd.DataFrame:
    """Predictions of one day with their labels; each day drifts more and is answered worse."""
    generator = np.random.default_rng(number)
    score = generator.uniform(size=rows)
    truth = np.where(generator.uniform(size=rows) < 0.03 * number, score <= 0.5, score > 0.5)
    return pd.DataFrame(
        {
            "id": [f"{number}-{row}" for row in range(rows)],
            "at": START + number * DAY + np.sort(generator.uniform(0, DAY - 1, rows)),
            "answer": score > 0.5,
            "score": score,
            "distance": generator.normal(size=rows) + 0.1 * number,
            "carrier": generator.choice(["AA", 'U"A\\', "DL"], rows),
            "truth": truth,
        }
    )


def replay(client: Client, url: str) -> None:
    """Push day by day, the labels a day late, and wait for each day's evaluation."""
    client.create_baseline("flights", day(0, 2000))
    for number in range(DAYS):
        client.push("flights", day(number).drop(columns="truth"), version="v1")
        if number:
            client.push_labels("flights", day(number - 1)[["id", "truth"]])
        wait_for(client, START + (number + 1) * DAY, START + number * DAY if number else None)


def wait_for(client: Client, end: float, labelled_until: float | None) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        results = client.performance("flights", window="1d", version="v1")["results"]
        window = results[0]["performance_window"] if results else None
        reached = None if window is None else window["end"]
        if results and results[0]["end"] == end and reached == labelled_until:
            return
        time.sleep(0.05)
    raise AssertionError(f"not evaluated until {end}, {labelled_until}: {results}")


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.prometheus
@pytest.mark.slow
def test_prometheus_serves_the_history(
    running_exporter: Callable[..., RunningExporter],
    requires_program: Callable[[str], Path],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    """What `backfill` writes becomes blocks, and a Prometheus on them answers as the history API does."""
    promtool, program = requires_program("promtool"), requires_program("prometheus")
    exporter = running_exporter(CONFIGURATION)
    client = Client(exporter.url)
    replay(client, exporter.url)
    file = tmp_path / "history.om"
    end = datetime.fromtimestamp(START + DAYS * DAY, UTC).isoformat()
    run(
        PROGRAM, "backfill", "flights", "--url", exporter.url, "--from", START, "--to", end, "-o", file,
        "--label", "job=ml", "--label", "instance=here",
    )  # fmt: skip
    check_form(file.read_text(encoding="utf-8"))
    run(promtool, "tsdb", "create-blocks-from", "openmetrics", file, tmp_path / "prometheus" / "data")
    compared = 0
    with running_prometheus(program, tmp_path / "prometheus", {}, free_port()) as prometheus:
        for point in client.history("flights", "performance") + client.history("flights", "drift"):
            if point["value"] is None:
                continue
            for family, field in families_of(point):
                if point[field] is None:
                    continue
                known = {name: point[name] for name in FAMILIES[family].labels if point.get(name)}
                where = ",".join(f'{name}="{value}"' for name, value in known.items())
                expression = f'{family}{{job="ml",instance="here",model="flights",{where}}} @ {point["time"]}'
                assert prometheus.value(expression) == float(point[field]), expression
                compared += 1
        at = START + (DAYS - 1) * DAY
        carriers = prometheus.values(f'ml_segment_performance{{metric="recall",window="1d"}} @ {at}', "value")
        assert set(carriers) == {"AA", 'U"A\\', "DL"}
        assert prometheus.query(f"ml_segment_undefined @ {at}")
        moved = f'sum by (column) (ml_drift_detected{{window="1d",role="feature"}} @ {START + DAYS * DAY})'
        assert prometheus.values(moved, "column") == {"distance": 1.0, "carrier": 0.0}
    assert compared > 300
    run(
        PROGRAM, "backfill", "flights", "--url", exporter.url, "--window", "1d", "--segment", "carrier=AA",
        "--step", "4m", "-o", tmp_path / "line.om",
    )  # fmt: skip
    run(
        promtool,
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        tmp_path / "line.om",
        tmp_path / "line" / "data",
    )
    with running_prometheus(program, tmp_path / "line", {}, free_port()) as prometheus:
        between = START + 2 * DAY + 12345
        assert prometheus.value(f"ml_segment_window_rows @ {between}") == prometheus.value(
            f"ml_segment_window_rows @ {START + 2 * DAY}"
        )


def test_a_refusal_is_one_line_and_leaves_no_file(
    running_exporter: Callable[..., RunningExporter], tmp_path: Path
) -> None:
    """An unknown version, model or label ends the command with what is wrong, and without a file."""
    exporter = running_exporter(CONFIGURATION)
    file = tmp_path / "history.om"
    for arguments, code, said in (
        (["flights", "--version", "v9"], 1, "no version 'v9'"),
        (["ships"], 1, "no model 'ships'"),
        (["flights", "--from", "soon"], 1, "RFC 3339"),
        (["flights", "--label", "window=1d"], 2, "window is there already"),
    ):
        command = [PROGRAM, "backfill", *arguments, "--url", exporter.url, "-o", file]
        done = subprocess.run([str(part) for part in command], capture_output=True, check=False, text=True)
        assert (done.returncode, said in done.stderr, done.stdout) == (code, True, ""), done.stderr
        assert list(tmp_path.glob("*.om*")) == []
    done = subprocess.run(
        [str(PROGRAM), "backfill", "flights", "--url", exporter.url, "-o", "-"],
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"# EOF\n"


def families_of(point: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "method" in point:
        yield from (("ml_drift_statistic", "value"), ("ml_drift_p_value", "p_value"))
        if point["q_value"] is not None:  # the test that decided; the verdict is the column's
            yield from (("ml_drift_detected", "detected"), ("ml_drift_q_value", "q_value"))
    else:
        yield "ml_performance", "value"
        yield from ((f"ml_performance_{name}", name) for name in ("lower", "upper", "baseline", "drop"))


def check_form(text: str) -> None:
    """Families stand together under their own lines, series too, and their samples go forward in time."""
    assert text.endswith("# EOF\n")
    families, finished, series = [], set(), None
    stamp = 0.0
    for line in text.splitlines()[:-1]:
        if line.startswith("# HELP "):
            families.append(line.split(" ", 3)[2])
        if line.startswith("#"):
            continue
        name, _, rest = line.rpartition(" ")
        of, _, _ = name.rpartition(" ")
        assert of.startswith(families[-1] + "{")
        if of != series:
            assert of not in finished
            finished.add(of)
            series, stamp = of, 0.0
        assert float(rest) > stamp
        stamp = float(rest)
    assert len(families) == len(set(families)) > 20


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Give a service that has seen a few days."""
    import pyarrow as pa
    import yaml

    clock = ManualClock(START)
    with Store.open(tmp_path_factory.mktemp("store"), clock=clock) as store:
        service = Service(parse_config(yaml.safe_load(CONFIGURATION)), store, clock=clock)
        service.start()
        service.create_baseline("flights", table=pa.Table.from_pandas(day(0, 2000)))
        for number in range(4):
            clock.set(START + (number + 1) * DAY)
            service.ingest_batch("flights", pa.Table.from_pandas(day(number)), version="v1")
            service.evaluate("flights")
        yield service
        service.stop()


def exported(service: Service, step: float = 0.0, **filters: Any) -> str:
    from exporter.service.history.questions import Question

    question = Question("performance", **filters)
    return b"".join(service.history_openmetrics("flights", question, step=step)).decode()


def test_every_series_of_a_scrape_is_there(service: Service) -> None:
    """At the newest end the history has the windowed series of `/metrics`, labels and values alike."""
    windowed = re.compile(r'^(ml_\w+\{model="flights",version="v1",window="[^\n]*) (\S+)$', re.MULTILINE)
    page = dict(windowed.findall(service.snapshot().text.decode()))
    page = {series: value for series, value in page.items() if not CONFIGURED.match(series)}
    newest = int(START + 4 * DAY)
    kept = dict(re.findall(rf"^(ml_\S+\{{.*\}}) (\S+) {newest}$", exported(service), re.MULTILINE))
    assert kept == page
    assert len(kept) > 300


def test_form_holds_with_repeated_values(service: Service) -> None:
    """With a step each value stands until the next one, and the text is as OpenMetrics wants it."""
    check_form(exported(service))
    text = exported(service, 3600.0)
    check_form(text)
    one = re.findall(r'^ml_window_rows\{.*window="1d"\} (\S+) (\d+)$', text, re.MULTILINE)
    assert len(one) == 24 * 4
    assert [int(at) for _, at in one] == list(range(int(START + DAY), int(START + 5 * DAY), 3600))


def test_filters_choose_series(service: Service) -> None:
    """A window, a segment and a range of time leave the other samples out."""
    text = exported(service, window="1d", segment="carrier=AA", start=START + 2 * DAY, end=START + 2 * DAY)
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert samples
    assert all('window="1d"' in line and 'value="AA"' in line for line in samples)
    assert {line.rsplit(" ", 1)[1] for line in samples} == {str(int(START + 2 * DAY))}
    assert exported(service, start=START + 90 * DAY) == "# EOF\n"


def test_labels_are_added_to_whole_lines() -> None:
    """Labels go before a series' own, however the text is cut; a text that breaks off is an error."""
    text = b'# TYPE a gauge\na{b="{"} 1.0 5\na{b="x"} 2.0 5\n# EOF\n'
    wanted = b'# TYPE a gauge\na{job="m",b="{"} 1.0 5\na{job="m",b="x"} 2.0 5\n# EOF\n'
    for size in range(1, len(text)):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        made = list(labelled(pieces, label_prefix(["job=m"])))
        assert (b"".join(piece for piece, _ in made), sum(count for _, count in made)) == (wanted, 2)
    with pytest.raises(ClientError, match="broke off"):
        list(labelled([text[:-3]], b""))
    with pytest.raises(click.UsageError):
        label_prefix(["model=x"])
    with pytest.raises(click.UsageError):
        label_prefix(["no"])
    assert label_prefix(['a="', "b=c"]) == b'a="\\"",b="c",'
