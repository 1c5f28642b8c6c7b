"""What gateways refuse, counted by minute, client, reason and field, on its way to `outcomes`.

The counts travel in a header of a message without pageviews.  A worker that does not know the header finds nothing to
do and acknowledges the message, so gateways and workers of different versions lose counts at worst.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import orjson

HEADER: Final = "refusals"
#: Counts in one message: the headers of an AMQP message must fit into one frame (128 KiB).
MAX_IN_MESSAGE: Final = 500
_PREFIX: Final = "refused:"
_LATEST_MINUTE: Final = 2**32 - 60


class Refusal(NamedTuple):
    """Why pageviews were refused; `minute` in seconds since the epoch, `field` empty where no single one is wrong."""

    minute: int
    client_id: bytes
    reason: str
    field: str

    @property
    def outcome(self) -> str:
        """The name in `outcomes`, such as `refused:invalid:visitor_ip` or `refused:unknown_site:url`."""
        return _PREFIX + self.reason + (f":{self.field}" if self.field else "")


def write(counts: Mapping[Refusal, int]) -> str:
    """Return the header's value."""
    return orjson.dumps(
        [
            [minute, client_id.hex(), reason, field, count]
            for (minute, client_id, reason, field), count in counts.items()
        ]
    ).decode()


def read(headers: Mapping[str, Any]) -> dict[Refusal, int]:
    """Return the counts of a message's headers; empty if there are none, or none can be read."""
    text = headers.get(HEADER)
    if type(text) is not str:
        return {}
    try:
        return dict(_entry(*entry) for entry in _entries(text))
    except (ValueError, TypeError):
        return {}


def _entries(text: str) -> Iterable[list[Any]]:
    entries = orjson.loads(text)
    if type(entries) is not list:
        raise TypeError("not an array")
    return entries


def _entry(minute: int, client_id: str, reason: str, field: str, count: int) -> tuple[Refusal, int]:
    refusal = Refusal(minute, bytes.fromhex(client_id), reason, field)
    in_range = 0 <= minute <= _LATEST_MINUTE and 0 < count < 2**31 and len(refusal.client_id) == 16
    if not (in_range and type(reason) is type(field) is str and len(refusal.outcome) < 200):
        raise ValueError("out of range")
    return refusal, count
