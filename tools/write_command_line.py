"""Write docs/command-line.md from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

from exporter.cli import command

PAGE = Path(__file__).parent.parent / "docs" / "command-line.md"
_WRITTEN = "<!-- Written by `make docs` from the code; do not edit. -->\n"


def command_line() -> str:
    """Return the page: every command with its arguments and flags."""
    return "\n".join(
        [
            "# Command line",
            "",
            _WRITTEN,
            "Errors are one line on standard error. The exit code is 2 for wrong usage or configuration, and",
            "1 when the work failed.",
            *_command_lines("ml-exporter", command, 2),
            "",
        ]
    )


def _command_lines(name: str, found: click.Command, level: int) -> Iterator[str]:
    if isinstance(found, click.Group):
        for child, subcommand in sorted(found.commands.items()):
            yield from _command_lines(f"{name} {child}", subcommand, level)
        return
    context = click.Context(found, info_name=name)
    options = [one for one in found.params if isinstance(one, click.Option)]
    arguments = [one.make_metavar(context) for one in found.params if isinstance(one, click.Argument)]
    usage = " ".join([name, "[OPTIONS]", *arguments])
    yield from ("", f"{'#' * level} {name}", "", "```console", usage, "```", "")
    yield from (cleandoc(found.help or ""), "")
    records = [record for option in options if (record := option.get_help_record(context)) is not None]
    if records:
        yield from ("| flag | meaning |", "| --- | --- |")
    for flags, meaning in records:
        yield f"| `{_cell(flags)}` | {_cell(meaning)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(command_line(), encoding="utf-8")
