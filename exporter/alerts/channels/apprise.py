"""Every service that apprise knows: Teams, PagerDuty, Telegram, Discord and a hundred others.

Apprise says only whether a message was taken. So every failure is a temporary one, the queue repeats it,
and apprise itself repeats nothing.
"""

from __future__ import annotations

import importlib
import logging
import threading
import warnings
from dataclasses import replace
from types import ModuleType
from typing import Any, Final, Self

from exporter.alerts.composing.figures import clean, line
from exporter.alerts.composing.plain import plain_text
from exporter.alerts.composing.templates import Templates
from exporter.alerts.config import AppriseSettings
from exporter.alerts.delivery.redaction import Redactor
from exporter.alerts.records import Delivery, Kind, Message, Receipt, Severity
from exporter.errors import ConfigurationError, PermanentDeliveryError, TemporaryDeliveryError

TEMPLATE: Final = "apprise.txt"
LONGEST_TEXT: Final = 16_000
MOST_PIECES: Final = 4
"""Messages into which a service with short ones splits a long one."""
SHORTEST_TEXT: Final = 100

_NOWHERE = logging.NullHandler()


class AppriseChannel:
    """Sends through one apprise URL.

    Raises
    ------
    ConfigurationError
        Apprise is not installed, or knows no service for the URL.
    """

    spacing_seconds = 0.0

    def __init__(self, settings: AppriseSettings, *, name: str, templates: Templates, timezone: str) -> None:
        del timezone  # the templates know it
        self._receiver = "apprise"
        self._apprise = _library(name)
        self._templates = templates
        self._clean = Redactor(settings)
        self._service = self._opened(name, settings)
        self._receiver = line(str(getattr(self._service, "service_name", "") or "apprise"), 60)
        longest = int(getattr(self._service, "body_maxlen", 0) or LONGEST_TEXT)
        self._longest = max(SHORTEST_TEXT, min(LONGEST_TEXT, MOST_PIECES * longest))

    def __repr__(self) -> str:
        return f"AppriseChannel({self._receiver!r})"

    def _opened(self, name: str, settings: AppriseSettings) -> Any:
        url = settings.url.get_secret_value()
        asset = self._apprise.AppriseAsset(app_id="ml-exporter", app_desc="ml-exporter", secure_logging=True)
        with _Heard() as heard, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of modules that its plugins import
            try:
                service = self._apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
            except Exception:  # noqa: BLE001  # its text may hold the URL
                service = None
        if service is None or isinstance(service, list | tuple):
            text = "expected one URL of a service that apprise knows"
            if heard.said:
                text += f"; apprise says: {line(self._clean(heard.said), 200)}"
            raise ConfigurationError(f"channels.{name}.url: {text}", [(f"channels.{name}.url", text)])
        service.retry = 0
        service.socket_connect_timeout = service.socket_read_timeout = settings.timeout
        if "overflow=" not in url:
            service.overflow_mode = self._apprise.OverflowMode.SPLIT
        return service

    def send(self, message: Message, delivery: Delivery) -> Receipt:
        """Send the message; see :class:`exporter.alerts.channels.Channel`."""
        text = plain_text(message, self._longest) if delivery.plain else self._text(message)
        with _Heard() as heard:
            try:
                taken = bool(
                    self._service.notify(
                        body=text or message.title,
                        title=line(message.title, 150),
                        notify_type=self._kind(message),
                        body_format=self._apprise.NotifyFormat.TEXT,
                    )
                )
                failure = ""
            except Exception as error:  # noqa: BLE001  # plugins of others raise anything
                taken, failure = False, type(error).__name__
        if failure:
            raise PermanentDeliveryError(f"{self._receiver}: {failure} in apprise", plain_may_work=True)
        if not taken:
            said = line(self._clean(heard.said), 200)
            raise TemporaryDeliveryError(
                f"{self._receiver} did not take the message" + (f": {said}" if said else ""), uncertain=True
            )
        return Receipt(f"{self._receiver} took it", plain=delivery.plain)

    def close(self) -> None:
        """Apprise keeps nothing open."""

    def _text(self, message: Message) -> str:
        """The template's text, with as many whole alerts as there is room for."""
        count = len(message.views)
        while True:
            left_out = len(message.views) - count
            shown = replace(
                message,
                views=message.views[:count],
                notification=replace(message.notification, omitted=message.notification.omitted + left_out),
            )
            text = clean(self._templates.render(TEMPLATE, message=shown), 10 * LONGEST_TEXT)
            if len(text) <= self._longest:
                return text
            if count <= 1:
                return plain_text(message, self._longest)
            count = min(count - 1, max(1, count * self._longest // len(text)))

    def _kind(self, message: Message) -> Any:
        kinds = self._apprise.NotifyType
        if message.notification.kind is Kind.TEST:
            return kinds.INFO
        if message.status == "resolved":
            no_data = any(view.ending == "no data" for view in message.views)
            return kinds.WARNING if no_data else kinds.SUCCESS
        by_severity = {Severity.CRITICAL: kinds.FAILURE, Severity.WARNING: kinds.WARNING}
        return by_severity.get(message.severity, kinds.INFO)


class _Heard(logging.Handler):
    """The last warning that apprise logs in this thread; apprise gives no reason in any other way."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said = ""
        self._thread = threading.get_ident()

    def __enter__(self) -> Self:
        logging.getLogger("apprise").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("apprise").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.said = record.getMessage()


def _library(name: str) -> ModuleType:
    try:
        library = importlib.import_module("apprise")
    except ImportError:
        library = None
    if library is None:
        text = 'channels of the type apprise need the extra: pip install "ml-exporter[apprise]"'
        raise ConfigurationError(f"channels.{name}: {text}", [(f"channels.{name}", text)])
    log = logging.getLogger("apprise")
    log.propagate = False  # what it says may name secrets; errors quote it without them
    log.addHandler(_NOWHERE)
    return library
