"""The rooms of the package and who may know whom, read from the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "exporter"

TIERS: tuple[tuple[str, ...], ...] = (
    (
        "errors",
        "clock",
        "catalog",
        "results",
        "schema",
        "durations",
        "logs",
    ),
    ("yamlfile", "settings", "config"),
    (
        "limits",
        "compression",
        "columns",
        "batch",
        "arrow_columns",
        "arrow_messages",
        "json_rows",
        "reading",
        "formats",
    ),
    ("decoding", "decoding_worker"),
    ("profiles", "profilefile"),
    ("rules",),
    ("statistics",),
    ("custommetrics", "estimation"),
    ("windows", "baseline", "evaluation"),
    ("store",),
    ("exposition", "families"),
    ("arrays", "monitor", "quality"),
    ("service",),
    ("client", "push", "alertingrules"),
    ("alerts",),
    ("settingtables", "reference"),
    ("web",),
    ("demo",),
    ("commands", "cli", "__main__"),
)
"""A module may import from its own room, from its own tier, and from the tiers above it in this list."""

LEAVES = set(TIERS[0])
"""What knows nothing of the package but its errors and the records that results are made of."""

IMPURE = {"logging", "os", "pathlib", "random", "requests", "socket", "sqlite3", "time", "datetime", "flask"}
"""What a pure statistic never imports."""

TIER_OF = {room: tier for tier, rooms in enumerate(TIERS) for room in rooms}


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name without `exporter.`."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imports(path: Path, *, at_import: bool = False) -> Iterator[tuple[str, int]]:
    """Yield (absolute module or member, line) of every import in a file.

    With `at_import` only those that run when the module is imported: not those inside functions or for types.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_import else ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def room(module: str) -> str:
    return module.split(".", 1)[0]


def known(target: str) -> str | None:
    """Return the module that an import names, without `exporter.`; None for what is not of the package."""
    if target != "exporter" and not target.startswith("exporter."):
        return None
    inner = target.removeprefix("exporter").removeprefix(".")
    names = modules()
    while inner and inner not in names:
        inner = inner.rpartition(".")[0]
    return inner or "__init__"


def test_every_module_has_a_room():
    """A new room is given its place in the list before it is built."""
    rooms = {room(name) for name in modules()} - {"__init__"}
    assert rooms <= set(TIER_OF), f"place these in TIERS: {sorted(rooms - set(TIER_OF))}"


@pytest.mark.parametrize("module", [name for name in modules() if name != "__init__"])
def test_imports_point_down(module):
    """A module imports only what stands before it."""
    wrong = []
    for target, line in imports(modules()[module]):
        inner = known(target)
        if inner is None or room(inner) == room(module):
            continue
        allowed = (
            inner != "__init__"
            and TIER_OF[room(inner)] <= TIER_OF[room(module)]
            and (room(module) not in LEAVES or inner in {"errors", "records", "findings", "compared"})
        )
        if not allowed:
            wrong.append(f"exporter/{module.replace('.', '/')}.py:{line} imports exporter.{inner}")
    assert not wrong, "\n".join(wrong)


def test_modules_do_not_import_each_other_in_circles():
    """There is an order in which all modules can be imported."""
    graph = {
        name: {
            inner
            for target, _ in imports(path, at_import=True)
            if (inner := known(target)) not in {None, name, room(name), "__init__"}
        }
        for name, path in modules().items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("module", [name for name in modules() if room(name) == "statistics"])
def test_statistics_are_pure(module):
    """Arrays and profiles in, results out: no input or output, no clock, no logging, no global randomness."""
    roots = {target.split(".")[0] for target, _ in imports(modules()[module])}
    assert not roots & IMPURE
