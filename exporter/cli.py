"""The command ``ml-exporter``.

Errors are one line on standard error; the exit code is 2 for wrong usage or configuration, 1 when the work
failed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import click

from exporter.commands.backfill import backfill
from exporter.commands.baseline import baseline
from exporter.commands.bridge import bridge
from exporter.commands.check_config import check_config
from exporter.commands.demo import demo
from exporter.commands.push import push
from exporter.commands.rules import rules
from exporter.commands.serve import serve
from exporter.errors import ConfigurationError, ExporterError

_PROGRAM = "ml-exporter"
_USAGE, _FAILED, _INTERRUPTED = 2, 1, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("ml-exporter"), prog_name=_PROGRAM)
def command() -> None:
    """Performance, drift and data quality of machine-learning models as Prometheus metrics."""


for _each in (serve, bridge, push, baseline, backfill, check_config, rules, demo):
    command.add_command(_each)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    try:
        result = command.main(
            args=None if arguments is None else list(arguments), prog_name=_PROGRAM, standalone_mode=False
        )
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return _USAGE
    except click.ClickException as error:
        return _fail(error.format_message(), _USAGE)
    except click.Abort:
        return _INTERRUPTED
    except (ExporterError, OSError) as error:
        return _report(error)
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int) -> int:
    click.echo(f"{_PROGRAM}: error: {' '.join(message.split())}", err=True)
    return code


def _report(error: ExporterError | OSError) -> int:
    """One line; of a configuration every problem on a line of its own, with its path in the file."""
    if isinstance(error, OSError):
        return _fail(_operating_system(error), _FAILED)
    if not isinstance(error, ConfigurationError):
        return _fail(error.message, _FAILED)
    if len(error.problems) <= 1:
        return _fail(error.message, _USAGE)
    for path, message in error.problems:
        _fail(f"{path}: {message}" if path else message, _USAGE)
    return _USAGE


def _operating_system(error: OSError) -> str:
    where = f" {Path(error.filename)}" if isinstance(error.filename, str) else ""
    return f"{error.strerror or error}{where}"
