"""Reading what other publishers put into a message's AMQP properties without falling over it.

A queue takes messages from whoever may publish to it, and brokers pass on properties as they came.  Where pamqp can't
decode one of them (a timestamp in nanoseconds, text that is not UTF-8), aiormq gives the whole connection up: one such
message at the head of the queue would be delivered, and end the connection, for ever.
"""

from __future__ import annotations

from typing import Final

from pamqp import commands, encode
from pamqp.common import FieldTable, FieldValue
from pamqp.header import ContentHeader

_unmarshal: Final = ContentHeader.unmarshal


def tolerate() -> None:
    """From now on, a message whose properties can't be decoded arrives with its body and no properties."""
    ContentHeader.unmarshal = _unmarshal_or_leave_out  # type: ignore[method-assign]


def _unmarshal_or_leave_out(self: ContentHeader, data: bytes) -> None:
    try:
        _unmarshal(self, data)
    except (ValueError, OverflowError, OSError):  # the body's size has been read by then
        self.properties = commands.Basic.Properties()


def portable(headers: FieldTable | None) -> dict[str, FieldValue]:
    """Return those headers of a message that can be sent once more: not all that can be decoded can be encoded."""
    return {name: value for name, value in (headers or {}).items() if _encodable(name, value)}


def _encodable(name: str, value: FieldValue) -> bool:
    try:
        encode.field_table({name: value})
    except Exception:  # noqa: BLE001 - whatever it is, pamqp would fail in the same way at the publish
        return False
    return True
