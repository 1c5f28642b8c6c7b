"""Delivered messages without a broker."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from aio_pika.abc import HeadersType


@dataclass
class FakeDelivery:
    """A delivery, and the acknowledgements that it was given."""

    body: bytes = b"?"
    headers: HeadersType = field(default_factory=dict)
    message_id: str | None = "m"
    content_type: str | None = None
    type: str | None = None
    timestamp: datetime | None = datetime(2026, 5, 28, tzinfo=UTC)
    redelivered: bool | None = False
    delivery_tag: int | None = 1
    acknowledged: list[bool] = field(default_factory=list)

    async def ack(self, multiple: bool = False) -> None:
        self.acknowledged.append(multiple)
