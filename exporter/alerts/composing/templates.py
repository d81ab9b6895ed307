"""Templates of messages: the built-in ones, and your own that take their place.

A template of yours that cannot be read or rendered never stops a message: the built-in one is used, the
failure is counted and logged once with its place.
"""

from __future__ import annotations

import logging
import re
import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from jinja2 import BaseLoader, Environment, TemplateNotFound, TemplateSyntaxError

from exporter.alerts.composing import figures, mrkdwn
from exporter.alerts.composing.sandbox import BoundedEnvironment
from exporter.errors import ConfigurationError, PermanentDeliveryError

logger = logging.getLogger(__name__)

KNOWN: Final = ("title.txt", "slack_alert.md", "email.html", "email.txt", "apprise.txt", "webhook.json")
"""Templates that take the place of built-in ones; names that begin with `_` are parts to be included."""
MOST_BYTES: Final = 256 * 1024
"""Of one file."""

_BUILTIN = Path(__file__).with_name("builtin")
_MARK = "builtin/"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_MOST_FILES = 100


class Templates:
    """Renders templates by name.

    Parameters
    ----------
    directory : Path or None
        Templates of your own. They are read again when they change.
    on_failure : callable
        Called with a template's name each time it failed and the built-in one was used.
    timezone : str
        Of the filter `time`.

    Raises
    ------
    ConfigurationError
        There is no such directory, or a template in it cannot be parsed; `problems` name file and line.
    """

    def __init__(
        self, directory: Path | None, *, on_failure: Callable[[str], None], timezone: str = "UTC"
    ) -> None:
        self._files = TemplateFiles(directory)
        self._on_failure = on_failure
        zone = figures.zone_of(timezone)
        self._environment = BoundedEnvironment(
            self._files,
            {
                "duration": figures.duration,
                "time": partial(figures.moment, zone=zone),
                "number": figures.number,
                "percent": figures.percent,
                "sparkline": figures.sparkline,
                "slack_escape": mrkdwn.escape,
                "cut": figures.cut,
            },
        )
        self._told: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._check()

    def has(self, name: str) -> bool:
        """Whether there is a template of this name in your directory."""
        return self._files.own(name) is not None

    def render(self, name: str, **context: Any) -> str:
        """The text of a template, of the built-in one where yours fails.

        Raises
        ------
        PermanentDeliveryError
            The built-in template fails too (`plain_may_work`).
        """
        text = self.own(name, **context)
        if text is not None:
            return text
        try:
            return self._environment.render(_MARK + name, context)
        except Exception as error:
            self.failed(_MARK + name, error, counted=name)
            raise PermanentDeliveryError(
                f"the built-in template {name} failed: {_sentence(error)}", plain_may_work=True
            ) from error

    def own(self, name: str, **context: Any) -> str | None:
        """The text of your template; None where there is none, or where it failed."""
        if self.has(name):
            try:
                return self._environment.render(name, context)
            except Exception as error:  # noqa: BLE001  # a template can raise anything
                self.failed(name, error)
        return None

    def failed(self, name: str, error: Exception, *, counted: str | None = None) -> None:
        """Count a failure, and log it when it is a new one."""
        self._on_failure(counted or name)
        place, sentence = _place(error, name), _sentence(error)
        with self._lock:
            if (place, sentence) in self._told or len(self._told) > 1000:
                return
            self._told.add((place, sentence))
        logger.warning(
            "Template %s failed, the %s is used: %s", place,
            "plain form" if name.startswith(_MARK) else "built-in one", sentence,
        )  # fmt: skip

    def _check(self) -> None:
        """Parse every file of the directory; warn of those that nothing reads."""
        names = self._files.names()
        problems = []
        for name in names:
            if name not in KNOWN and not name.startswith("_"):
                continue
            try:
                source, filename, _ = self._files.get_source(self._environment, name)
                self._environment.compile(source, name, filename)
            except TemplateSyntaxError as error:
                problems.append((f"templates.directory: {name}:{error.lineno}", str(error.message)))
            except Exception as error:  # noqa: BLE001  # such as a tree that is too deep
                problems.append((f"templates.directory: {name}", _sentence(error)))
        if problems:
            first = ": ".join(problems[0])
            raise ConfigurationError(
                first if len(problems) == 1 else f"{len(problems)} problems; the first is {first}", problems
            )
        unknown = [name for name in names if name not in KNOWN and not name.startswith("_")]
        if unknown:
            logger.warning(
                "The directory of templates holds %s, which nothing reads; known are %s, and parts to be "
                "included whose names begin with _",
                figures.line(", ".join(unknown)), ", ".join(KNOWN),
            )  # fmt: skip


class TemplateFiles(BaseLoader):
    """Files of the directory, then the built-in ones, which `builtin/NAME` always means; none elsewhere."""

    def __init__(self, directory: Path | None) -> None:
        if directory is not None and not directory.is_dir():
            path = str(directory)
            raise ConfigurationError(
                f"templates.directory: expected a directory, but there is none at {path}",
                [("templates.directory", f"expected a directory, but there is none at {path}")],
            )
        self._directory = directory

    def own(self, name: str) -> Path | None:
        """The file of a template in the directory."""
        return None if self._directory is None else _file_in(self._directory, name)

    def names(self) -> list[str]:
        """Files of the directory, without hidden ones."""
        if self._directory is None:
            return []
        found = (path.name for path in self._directory.iterdir() if path.is_file())
        return sorted(name for name in found if not name.startswith("."))[:_MOST_FILES]

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:  # noqa: ARG002
        own = None if template.startswith(_MARK) else self.own(template)
        path = own or _file_in(_BUILTIN, template.removeprefix(_MARK))
        if path is None:
            raise TemplateNotFound(template)
        before = _stamp(path)
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise TemplateSyntaxError(f"expected a template of at most {MOST_BYTES:,} bytes", 1, template)

        def current() -> bool:
            if own is None and not template.startswith(_MARK) and self.own(template) is not None:
                return False
            return _stamp(path) == before

        return content.decode("utf-8"), str(path), current


def _file_in(directory: Path, name: str) -> Path | None:
    """A file directly in a directory; what links out of it is not there."""
    if _NAME.fullmatch(name) is None:
        return None
    try:
        path = (directory / name).resolve(strict=True)
        inside = path.is_relative_to(directory.resolve())
        return path if inside and path.is_file() else None
    except OSError:
        return None


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _place(error: Exception, name: str) -> str:
    """File and line where a template failed."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.name or name}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        of_template = path.name in (name, *KNOWN) or path.parent == _BUILTIN or path.name.startswith("_")
        if of_template and path.suffix != ".py":
            return f"{path.name}:{frame.lineno}"
    return name


def _sentence(error: Exception) -> str:
    return figures.line(f"{type(error).__name__}: {error}", 300)
