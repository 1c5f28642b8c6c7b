"""Percent-decoding whose cost hardly depends on the text: `urllib.parse.unquote` takes long for `%%%%…`."""

from __future__ import annotations

import re
from typing import Final

#: The group makes `split` return the runs, too.
_RUN: Final = re.compile("((?:%[0-9A-Fa-f]{2})+)")
#: Up to here a call for each run is quicker, beyond several times as slow.
_SHORT: Final = 256


def decoded(text: str) -> str:
    """Return `text` with its escapes decoded once, bytes that are not UTF-8 as U+FFFD; `%` and `%z` stay."""
    if "%" not in text:
        return text
    return _RUN.sub(_decoded_run, text) if len(text) <= _SHORT else _decoded_at_once(text)


def _decoded_run(run: re.Match[str]) -> str:
    return bytes.fromhex(run[0].replace("%", "")).decode(errors="replace")


def _decoded_at_once(text: str) -> str:
    """Decode all runs together: characters and bytes that stand beside each other never make a character."""
    pieces = _RUN.split(text)
    if len(pieces) == 1:
        return text
    pieces[0::2] = [plain.encode(errors="surrogatepass").hex() for plain in pieces[0::2]]
    return bytes.fromhex("".join(pieces).replace("%", "")).decode(errors="replace")
