"""The demo: exporter, bridge, replay and closing tables in one process.

The exporter runs in this process and is reached by HTTP only, by the replay as by everybody else. Its clock
is the replay's, so that delays of labels and of events are those of 2013.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

import requests
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from exporter.alerts.config import parse_bridge_config
from exporter.client import Client
from exporter.config import load_config
from exporter.demo.alerting import BRIDGE, Watch
from exporter.demo.flights import load_flights
from exporter.demo.model import CHALLENGER, CHAMPION, VERSIONS, Classifiers, train
from exporter.demo.replay import MODEL, Day, ReplayClock, Tally, closing, replay, replayed_days
from exporter.demo.replay import days as replay_of
from exporter.demo.report import comparison_table, drift_table, evaluated_at, performance_table, quality_table
from exporter.web.assembly import DEFAULT_ADDRESS, Exporter, WebSettings
from exporter.web.local_bridge import BridgeFile

CONFIGURATION = Path(__file__).with_name("models.yml")

_DAY_SECONDS = 86_400.0
_LINES = 10
_LINE_CHARACTERS = 110
"""Lines of progress, and their length, where there is no terminal."""
_CATCH_UP_SECONDS = 30.0

_GUIDE = """
The model at a glance   {url}/
What Prometheus scrapes {url}/metrics
Performance             {url}/api/v1/models/{model}/performance
Drift                   {url}/api/v1/models/{model}/drift
Quality                 {url}/api/v1/models/{model}/quality
Comparison              {url}/api/v1/models/{model}/comparisons
Alerts, kept by the bridge in this process
                        {url}/api/v1/alerts   {url}/api/v1/alerts/summary
What an alert means     {url}/runbooks/
Alertmanager's webhook  {url}/alertmanager

What to look at while the year goes by:
  - temp drifts first, and the challenger, which extrapolates it, stops finding delays by summer: compare
    ml_performance{{metric="f1"}} of the two versions; the champion keeps what it has;
  - ml_comparison_difference says how the challenger does since February, ml_comparison_decided whether that
    is settled, whenever you look; ml_comparison_sample_ratio_p_value whether the flights are split evenly;
  - ml_performance speaks of the days whose labels have come: ml_performance_window_end_timestamp_seconds lags
    the newest flight, ml_labeled_ratio and ml_label_delay_seconds say by how much;
  - ml_quality_completeness_ratio{{column="plane_age"}}: a sixth of the planes is in no register;
  - ml_segment_performance: the three airports differ.
"""


def main(
    *,
    days: int | None = None,
    speed: float | None = None,
    exit_when_done: bool = False,
    listen_address: str = DEFAULT_ADDRESS,
    storage: Path | None = None,
) -> None:
    """Run the demo until it is done or SIGINT or SIGTERM comes.

    Parameters
    ----------
    days : days to replay from 1 February on; None replays the rest of the year (334 days)
    speed : days a second; None or 0 replays as fast as the exporter takes them
    exit_when_done : stop after the last day instead of serving on
    listen_address : ``host:port`` of the exporter; port 0 picks a free one
    storage : directory of the store, kept; None uses a temporary one that is removed

    Raises
    ------
    ExporterError
        The flights are not installed, or the exporter cannot run here; the message says what to do.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _LINE_CHARACTERS)
    started = time.monotonic()
    with ExitStack() as stack:
        stop = stack.enter_context(_stop_signals())
        directory = storage or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="ml-exporter-demo-"))
        )
        flights = load_flights()
        dates = replayed_days(flights)[:days]
        classifiers = train(flights)
        console.print(
            f"Trained on the odd days of January: {CHAMPION} (boosted trees), {CHALLENGER} (logistic)."
        )

        clock = ReplayClock(closing(dates[0]) - _DAY_SECONDS)
        config = load_config(CONFIGURATION)
        bridge = BridgeFile(parse_bridge_config(BRIDGE))
        exporter = Exporter(config, directory, WebSettings(listen_address), clock=clock, bridge=bridge)
        stack.callback(exporter.stop)
        exporter.start()
        client = stack.enter_context(Client(exporter.url))
        _create_baselines(client, classifiers)
        windows = [window.name for window in config.models[MODEL].windows]
        watch = Watch(client, _posting(exporter), windows[-1])
        console.print(_GUIDE.format(url=exporter.url, model=MODEL))
        with _progress(console, len(dates)) as progress:

            def after_day(day: Day, tally: Tally) -> None:
                watch.look(clock.time())
                progress(day, tally)

            tally = replay(
                replay_of(flights, classifiers, dates),
                client,
                clock=clock,
                days_per_second=speed or None,
                after_day=after_day,
                stop=stop,
            )
        console.print(
            f"\nReplayed {tally.days} days in {time.monotonic() - started:.0f} s, set-up included: "
            f"{tally.predictions:,} predictions, {tally.labels:,} labels."
        )
        _print_tables(console, client, windows, tally.changed)
        watch.look(clock.time())
        console.print(f"\n{_alerts_text(exporter)}")
        if not (exit_when_done or stop.is_set()):
            console.print(f"Still serving {exporter.url} (Ctrl-C stops).")
            stop.wait()


def _create_baselines(client: Client, classifiers: Classifiers) -> None:
    """Push each version's answers to the held-out January days, with their labels, as its baseline."""
    held_out = classifiers.held_out
    for version in VERSIONS:
        answers = classifiers.answer(held_out, version)
        labelled = answers.append_column("delayed", [held_out["delayed"].to_numpy(dtype=bool)])
        client.create_baseline(MODEL, labelled, version=version)


def _posting(exporter: Exporter) -> Callable[[bytes], object]:
    """Post a webhook to the exporter's own address, as Alertmanager would."""

    def post(body: bytes) -> object:
        headers = {"Content-Type": "application/json"}
        answer = requests.post(f"{exporter.url}/alertmanager", data=body, headers=headers, timeout=30)
        answer.raise_for_status()
        return answer

    return post


def _alerts_text(exporter: Exporter) -> str:
    """Say how many alerts there were."""
    alerts = requests.get(f"{exporter.url}/api/v1/alerts?limit=1000", timeout=30).json()["alerts"]
    firing = sum(alert["state"] == "firing" for alert in alerts)
    return f"Alerts: {len(alerts)} of dropped performance, {firing} fire now ({exporter.url}/api/v1/alerts)."


def _print_tables(console: Console, client: Client, windows: Sequence[str], changed: float) -> None:
    """Wait until what came last has been evaluated, then print what the API answers."""
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    while evaluated_at(client) < changed:
        if time.monotonic() > deadline:
            console.print("The last evaluation is still under way; what follows is of the one before.")
            break
        time.sleep(0.1)
    for table in (performance_table, comparison_table, drift_table, quality_table):
        console.print()
        console.print(table(client, windows))


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Callable[[Day, Tally], None]]:
    """Give what is called after each day: a bar on a terminal, a line every tenth of the way elsewhere."""
    if not console.is_terminal:
        every = max(1, total // _LINES)

        def line(day: Day, tally: Tally) -> None:
            if tally.days % every == 0 or tally.days == total:
                console.print(f"{day.date}: {tally.predictions:,} predictions, {tally.labels:,} labels")

        yield line
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("days"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[rows]:,} flights"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting  ", total=total, rows=0)

        def advance(day: Day, tally: Tally) -> None:
            bar.update(task, completed=tally.days, description=day.date, rows=tally.predictions)

        yield advance


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set; a second signal ends the process at once."""
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
