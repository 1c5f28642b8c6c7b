"""The rules of single fields: each parses a string into its canonical form, or raises `ValueError` with the rule.

Messages never quote the value: it may be a visitor's address, or a token in the wrong place.
"""

from __future__ import annotations

import re
import socket
from datetime import UTC, datetime, timedelta
from typing import Final

from gateway.trim import trim

EARLIEST_MS: Final = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp() * 1000)
#: How far ahead of our clock a pageview may be: clocks and time zones are often wrong by up to a day.
AHEAD_MS: Final = 24 * 3600 * 1000

#: RFC 3339, section 5.6; letters in either case, any number of fraction digits.  Besides what log shippers write: a
#: space for the T, a comma before the fraction (ISO 8601), an offset without colon (`strftime`'s `%z`).
_RFC3339: Final = re.compile(
    r"(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))[Tt ]((?:[01]\d|2[0-3]):[0-5]\d):([0-5]\d|60)([.,]\d+)?"
    r"([Zz]|[+-](?:[01]\d|2[0-3]):?[0-5]\d)",
    re.ASCII,
)
_HEX: Final = "[0-9a-fA-F]"
_HYPHENS: Final = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
#: RFC 9562's text form, its URN, Microsoft's form in braces, and 32 digits (nginx's `$request_id`).
UUID_PATTERN: Final = f"(?:[uU][rR][nN]:[uU][uU][iI][dD]:)?{_HYPHENS}|\\{{{_HYPHENS}\\}}|{_HEX}{{32}}"
_UUID: Final = re.compile(UUID_PATTERN)
_NIL: Final = bytes(16)
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"
#: What access logs write for a header that was not sent.
ABSENT: Final = "-"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)
_DAY_S: Final = 24 * 3600
_LAST_MINUTE: Final = 24 * 60 - 1


def parse_timestamp(text: str) -> int:
    """Return an RFC 3339 time as milliseconds since the epoch, truncated to the millisecond."""
    match = _RFC3339.fullmatch(trim(text))
    if match is None:
        raise ValueError("must be an RFC 3339 time with a zone, such as 2026-01-31T12:00:00.000Z")
    day, minutes, seconds, fraction, zone = match.groups()
    leap = seconds == "60"  # a leap second becomes the first second after it
    try:
        moment = datetime.fromisoformat(f"{day}T{minutes}:{'59' if leap else seconds}{zone.upper()}")
        since_epoch = moment - _EPOCH
    except (ValueError, OverflowError):
        raise ValueError("must be a time that exists") from None
    if leap:
        if since_epoch % _DAY // _MINUTE != _LAST_MINUTE:
            raise ValueError("must be a time that exists: leap seconds are at 23:59:60 UTC")
        milliseconds = 1000
    else:
        milliseconds = int(fraction[1:4].ljust(3, "0")) if fraction else 0
    # Whole seconds: a third of the time that dividing by a timedelta takes.
    return (since_epoch.days * _DAY_S + since_epoch.seconds) * 1000 + milliseconds


def check_period(timestamp_ms: int, now_ms: int) -> None:
    """Raise `ValueError` for a time before 1990 or more than 24 hours ahead of now."""
    if timestamp_ms < EARLIEST_MS:
        raise ValueError("must not be before 1990")
    if timestamp_ms > now_ms + AHEAD_MS:
        raise ValueError("must not be more than 24 hours in the future")


def parse_address(text: str) -> str:
    """Return an IPv4 or IPv6 address in canonical form (RFC 5952); a v4-mapped one (`::ffff:a.b.c.d`) as IPv4.

    The zone of an IPv6 address (RFC 4007, section 11) means something on its own host only, and is cut off.
    """
    text = trim(text)
    try:
        if ":" not in text:
            return socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, text))
        packed = socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):
        raise ValueError("must be an IPv4 or IPv6 address without port or prefix") from None
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def parse_uuid(text: str) -> bytes | None:
    """Return a UUID of any version as 16 bytes (RFC 9562), the nil UUID and an empty string as None."""
    if not text:
        return None
    if _UUID.fullmatch(text) is None:
        raise ValueError("must be a UUID such as 018f3b5a-7c1e-7000-8000-0123456789ab")
    value = bytes.fromhex(text.replace("-", "").rstrip("}")[-32:])
    return value if value != _NIL else None


def parse_user_agent(text: str) -> str:
    """Return the user agent, trimmed; it must not be empty.

    A visitor that sent none has `-`, as in access logs: a forwarder that knows there was none says so, and one that
    merely lost the field gets an error.
    """
    text = trim(text)
    if not text:
        raise ValueError(f"must not be empty; send {ABSENT} if the visitor sent none")
    return text
