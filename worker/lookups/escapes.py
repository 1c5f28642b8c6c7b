"""Percent-decoding whose cost hardly depends on the text: `urllib.parse.unquote` takes long for `%%%%…`."""

from __future__ import annotations

import re
from typing import Final

#: The group makes `split` return the runs, too.  A pattern that begins with a character skips what has none quickly.
#: For the empty alternative see `gateway.structure`.
_RUN: Final = re.compile("(%[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2}|)*+)")
#: Up to here a call for each run is quicker, beyond several times as slow.
_SHORT: Final = 256


def decoded(text: str) -> str:
    """Return `text` with its escapes decoded once, bytes that are not UTF-8 as U+FFFD; `%` and `%z` stay."""
    if "%" not in text:
        return text
    return _RUN.sub(_decoded_run, text) if len(text) <= _SHORT else _decoded_at_once(text)


def _decoded_run(run: re.Match[str]) -> str:
    return _decoded(run[0])


def _decoded(run: str) -> str:
    return bytes.fromhex(run.replace("%", "")).decode(errors="replace")


def _decoded_at_once(text: str) -> str:
    """Decode all runs together: characters and bytes that stand beside each other never make a character."""
    pieces = _RUN.split(text)
    if len(pieces) == 1:
        return text
    if "%00" in text:
        pieces[1::2] = map(_decoded, pieces[1::2])
    else:  # with one between all of them, they can be decoded in one go
        pieces[1::2] = _decoded("%00".join(pieces[1::2])).split("\0")
    return "".join(pieces)
