"""Channels: each takes a message to one receiver, or says why it could not."""

from __future__ import annotations

from typing import Protocol

from exporter.alerts.records import Delivery, Message, Receipt


class Channel(Protocol):
    """One configured receiver. Used by one worker thread at a time."""

    spacing_seconds: float
    """At least this long between two sends, where the other side limits the rate; else 0."""

    def send(self, message: Message, delivery: Delivery) -> Receipt:
        """Deliver, in the plain form when `delivery.plain`.

        Raises
        ------
        TemporaryDeliveryError
            Try again later; `uncertain` when it may have arrived.
        PermanentDeliveryError
            Never try this again; `plain_may_work` when only the form was refused.
        """

    def close(self) -> None:
        """Give back connections."""
