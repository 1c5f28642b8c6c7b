"""Text of foreign origin: undoing a log's escapes, and masking addresses in it."""

from __future__ import annotations

import re
from typing import Final

#: Apache (mod_log_config, "Format Notes") writes `\xhh` and C's short forms; nginx (`escape=default`) writes `\xHH`.
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
#: Surrogates that JSON's `\ud83d` makes and `decode` does not, and all of them.
_HALF: Final = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SHORT: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"v": b"\v", b"f": b"\f"}
#: IPv4, and IPv6 with `::` or all its colons, which no time of day has.
_ADDRESS: Final = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?=[0-9A-Fa-f]*:(?:[0-9A-Fa-f:]*::|:|(?:[0-9A-Fa-f]*:){6}))[0-9A-Fa-f:.]{3,})"
    r"(?![\w])"
)


def decode(line: bytes) -> str:
    """Return a line as text from which `clean` recovers each byte that is not UTF-8."""
    return line.decode("utf-8", "surrogateescape")


def clean(text: str) -> str:
    """Return text in which every byte that is not UTF-8, and every half of a surrogate pair, is U+FFFD."""
    if text.isascii():
        return text
    if _HALF.search(text):
        return _SURROGATE.sub("\ufffd", text)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def unescape(text: str) -> str:
    """Undo the escapes of Apache and nginx, and clean the result."""
    if "\\" not in text:
        return clean(text)
    raw = text.encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(_unescaped, raw).decode("utf-8", "replace")


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes.fromhex(match[1].decode())
    return _SHORT.get(match[2], match[2])


def masked(text: str) -> str:
    """Return text without what looks like an address: the log's owner has the log, a terminal's recording need not."""
    return _ADDRESS.sub("(address)", text)
