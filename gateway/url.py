"""A page's URL: the rules for `url`, in time that grows with its length and no faster.

Only the authority is taken apart; path, query and fragment are the worker's.
"""

from __future__ import annotations

import codecs
import re
import socket
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.trim import trim
from shared.hostnames import BadHostname, normalise
from shared.pageview import LONGEST_URL

#: User info, host and port together.  Browsers send no user info; a longer one is not needed.
_LONGEST_AUTHORITY: Final = 2_048
#: Longer URLs seldom repeat, and would only fill the cache.
_CACHED_URL: Final = 512
_SCHEME: Final = re.compile(r"https?:", re.IGNORECASE | re.ASCII)
_AUTHORITY_END: Final = re.compile(r"[/?#]")
_PORT: Final = re.compile(r"[0-9]*")
#: An IPv6 literal (RFC 3986, section 3.2.2), followed by nothing but a port.
_BRACKETED: Final = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]*))?")
#: Control characters, which are single bytes in UTF-8 and part of no other character, become spaces.
_WITHOUT_CONTROLS: Final = bytes(0x20 if each < 0x20 or each == 0x7F else each for each in range(256))


class Url(NamedTuple):
    """A page's URL as sent (trimmed), and its hostname in normal form."""

    text: str
    hostname: str


def parse_url(text: str) -> Url:
    """Parse an absolute http(s) URL (RFC 3986); well-formed user info and port are ignored.  Raises `ValueError`.

    What is behind the first `LONGEST_URL` characters is not looked at: it is cut off before the pageview is published.
    """
    text = trim(text)
    return _parse_cached(text) if len(text) <= _CACHED_URL else _parse_url(text)


def _parse_url(text: str) -> Url:
    scheme = _SCHEME.match(text)
    if scheme is None or not text.startswith("//", scheme.end()):
        raise ValueError("must be an absolute http or https URL")
    start = scheme.end() + 2
    end = _AUTHORITY_END.search(text, start, start + _LONGEST_AUTHORITY + 1)
    authority = text[start : end.start() if end else start + _LONGEST_AUTHORITY + 1]
    if len(authority) > _LONGEST_AUTHORITY:
        raise ValueError("must have a valid hostname")
    # Unlike `encode`, this keeps the bytes for when the pageview is packed.
    encoded = codecs.readbuffer_encode(text[:LONGEST_URL])[0]
    if encoded.translate(_WITHOUT_CONTROLS) != encoded:
        raise ValueError("must not contain control characters")
    return Url(text, _hostname(authority))


_parse_cached = lru_cache(maxsize=20_000)(_parse_url)


def _hostname(authority: str) -> str:
    """Return the normal form of the host in an authority; raises `ValueError` for a host or port that is not valid."""
    user_info, _, host_and_port = authority.rpartition("@")
    if "\\" in authority or "[" in user_info or "]" in user_info:
        raise ValueError("must have a valid hostname")
    if "[" in host_and_port or "]" in host_and_port:
        bracketed = _BRACKETED.fullmatch(host_and_port)
        if bracketed is None:
            raise ValueError("must have a valid hostname")
        host, port = bracketed[1], bracketed[2] or ""
    else:
        host, _, port = host_and_port.partition(":")
    if not host:
        raise ValueError("must have a hostname")
    _check_port(port)
    try:
        return _ipv6(host) if ":" in host else normalise(host)
    except BadHostname:
        raise ValueError("must have a valid hostname") from None


def _check_port(port: str) -> None:
    digits = port.lstrip("0")
    if not _PORT.fullmatch(port) or len(digits) > 5 or (port and not 1 <= int(digits or 0) <= 65_535):
        raise ValueError("must have a port from 1 to 65535, or none")


def _ipv6(host: str) -> str:
    try:
        return f"[{socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))}]"
    except (OSError, ValueError):
        raise BadHostname("is not a valid IPv6 address") from None
