"""The request line of an access log: `GET /path?query HTTP/1.1`."""

from __future__ import annotations

import re
from typing import Final

from deploy.replay.entry import Malformed

_METHOD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_PROTOCOL: Final = re.compile(r"HTTP/\d(?:\.\d)?", re.IGNORECASE | re.ASCII)
_AUTHORITY: Final = re.compile(r"[^/?#\s]+:\d+", re.ASCII)
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def split(line: str) -> tuple[str, str]:
    """Return (method, target); raises `Malformed` if it is not an HTTP request: `-`, TLS on a plain port, scans."""
    method, _, rest = line.strip(" ").partition(" ")
    target, blank, protocol = rest.rpartition(" ")
    if not blank or _PROTOCOL.fullmatch(protocol) is None:  # HTTP/0.9 has none, and some targets have blanks in them
        target = rest
    target = target.strip(" ")
    if _METHOD.fullmatch(method) is None or not is_target(target):
        raise Malformed("not an HTTP request")
    return method, target


def is_target(target: str) -> bool:
    """Tell whether a text can be a request's target (RFC 9112, section 3.2)."""
    return (
        target.startswith("/")
        or target == "*"
        or _ABSOLUTE.match(target) is not None
        or _AUTHORITY.fullmatch(target) is not None
    )
