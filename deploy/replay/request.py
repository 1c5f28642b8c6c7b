"""The request line of an access log: `GET /path?query HTTP/1.1`."""

from __future__ import annotations

import re
from typing import Final

from deploy.replay.entry import Malformed

#: RFC 9112, section 3; HTTP/0.9 has no protocol, and clients send blanks in targets as they are.
_LINE: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) +(\S.*?)(?: +(?:HTTP|http)/\d(?:\.\d)?)? *", re.DOTALL)
_AUTHORITY: Final = re.compile(r"[^/?#\s]+:\d+", re.ASCII)
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def split(line: str) -> tuple[str, str]:
    """Return (method, target); raises `Malformed` if it is not an HTTP request: `-`, TLS on a plain port, scans."""
    match = _LINE.fullmatch(line)
    if match is None or not is_target(match[2]):
        raise Malformed("not an HTTP request")
    return match[1], match[2]


def is_target(target: str) -> bool:
    """Tell whether a text can be a request's target (RFC 9112, section 3.2)."""
    return (
        target.startswith("/")
        or target == "*"
        or _ABSOLUTE.match(target) is not None
        or _AUTHORITY.fullmatch(target) is not None
    )
