"""``ml-exporter demo``: the main job on real data with nothing else installed."""

from __future__ import annotations

from pathlib import Path

import click

from exporter.commands.options import listen_option, log_options, storage_option


def _speed(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """Days a second; 0, as fast as the exporter takes them, for ``max``."""
    if value == "max":
        return 0.0
    try:
        speed = float(value)
    except ValueError:
        speed = -1.0
    if not 0 <= speed < float("inf"):
        raise click.BadParameter(f"expected days a second or max, but {value!r} came", context, parameter)
    return speed


@click.command()
@click.option("--days", type=click.IntRange(1, 365), help="Days to replay; the whole year when left out.")
@click.option(
    "--speed",
    callback=_speed,
    metavar="DAYS",
    default="max",
    show_default=True,
    help="Days a second, or max.",
)
@click.option("--exit-when-done", is_flag=True, help="Stop after the last day instead of serving on.")
@listen_option()
@storage_option(default=None, description="Directory of the store, kept; a temporary one when left out.")
@log_options("warn")
def demo(
    days: int | None, speed: float, exit_when_done: bool, listen_address: str, storage: Path | None
) -> None:
    """Replay a year of real flights through two delay classifiers, and watch the gauges."""
    # pandas and scikit-learn take a second to import, which no other command should pay
    from exporter.demo.main import main  # noqa: PLC0415

    main(
        days=days,
        speed=speed,
        exit_when_done=exit_when_done,
        listen_address=listen_address,
        storage=storage,
    )
