"""Where ClickHouse is: HITLINE_CLICKHOUSE_URL in its parts."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

_URL_SETTING: Final = "HITLINE_CLICKHOUSE_URL"
_URL_HINT: Final = "use a URL like http://user:password@host:8123"


class ClickHouseAddress(NamedTuple):
    """The parts of `HITLINE_CLICKHOUSE_URL`."""

    secure: bool
    host: str
    port: int
    user: str
    password: str

    def __str__(self) -> str:
        """Return the URL without user and password, for logs and errors."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"


class BadAddress(ValueError):
    """`HITLINE_CLICKHOUSE_URL` is malformed; the message says how, without quoting it."""


def parse_address(url: str) -> ClickHouseAddress:
    """Split `http[s]://user:password@host:port`; user and password may be percent-encoded.

    A database in the path is ignored, since every statement names its own.  Raises `BadAddress`.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadAddress(f"{_URL_SETTING}: host or port is malformed; {_URL_HINT}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadAddress(f"{_URL_SETTING}: {_URL_HINT}")
    if parts.query or parts.fragment:
        raise BadAddress(f"{_URL_SETTING}: settings in the URL are not supported; remove everything from '?' or '#' on")
    secure = parts.scheme == "https"
    return ClickHouseAddress(
        secure=secure,
        host=parts.hostname,
        port=port or (8443 if secure else 8123),
        user=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
    )


def parse_addresses(urls: str) -> tuple[ClickHouseAddress, ...]:
    """Split one URL, or those of several replicas, separated by spaces or commas; raises `BadAddress`."""
    return tuple(parse_address(url) for url in re.split(r"[\s,]+(?=https?://)", urls.strip()))
