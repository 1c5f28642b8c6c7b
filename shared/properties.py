"""Tolerating AMQP properties that pamqp can't decode, in messages of other publishers.

Anyone with permission can publish to a queue, and brokers pass properties on unchanged.  If pamqp can't decode one of
them (a timestamp in nanoseconds, text that is not UTF-8), aiormq gives up the whole connection: one such message at
the head of the queue would end every connection that it is delivered to, indefinitely.
"""

from __future__ import annotations

from typing import Final

from pamqp import commands, encode
from pamqp.common import FieldTable, FieldValue
from pamqp.header import ContentHeader

_unmarshal: Final = ContentHeader.unmarshal


def tolerate_undecodable() -> None:
    """Patch pamqp so that a message whose properties can't be decoded arrives with its body and no properties."""
    ContentHeader.unmarshal = _unmarshal_or_leave_empty  # type: ignore[method-assign]


def _unmarshal_or_leave_empty(self: ContentHeader, data: bytes) -> None:
    try:
        _unmarshal(self, data)
    except (ValueError, OverflowError, OSError):  # the body's size has been read at this point
        self.properties = commands.Basic.Properties()


def portable(headers: FieldTable | None) -> dict[str, FieldValue]:
    """Return the headers of a message that can be sent again: not everything that can be decoded can be encoded."""
    return {name: value for name, value in (headers or {}).items() if _encodable(name, value)}


def _encodable(name: str, value: FieldValue) -> bool:
    try:
        encode.field_table({name: value})
    except Exception:  # noqa: BLE001 - any error here would be raised again by publishing
        return False
    return True
