"""Write the reference pages of docs/ from the code; with --check only say which ones are stale."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from exporter.cli import command

DOCS = Path(__file__).parent.parent / "docs"
_WRITTEN = "<!-- Written by `make docs` from the code; do not edit. -->\n"


def command_line() -> str:
    """Return docs/command-line.md: every command with its arguments and flags."""
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


PAGES: dict[str, Callable[[], str]] = {"command-line.md": command_line}
"""Page -> what writes it."""


def stale_pages() -> list[str]:
    """Return the names of the pages that are not what the code would write."""
    return [
        name
        for name, write in PAGES.items()
        if not (DOCS / name).is_file() or (DOCS / name).read_text(encoding="utf-8") != write()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    if parser.parse_args().check:
        stale = stale_pages()
        for name in stale:
            sys.stderr.write(f"docs/{name} is stale: run make docs\n")
        return 1 if stale else 0
    for name, write in PAGES.items():
        (DOCS / name).write_text(write(), encoding="utf-8")
    return 0


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
    yield from ((found.help or "").replace("\b\n", "").strip(), "", "| flag | meaning |", "| --- | --- |")
    for record in (option.get_help_record(context) for option in options):
        if record is not None:
            yield f"| `{_cell(record[0])}` | {_cell(record[1])} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
