"""Percent-decoding whose cost hardly depends on the text: `urllib.parse.unquote` takes long for `%%%%…`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_NUL: Final = "%00"
#: The group makes `split` return the runs, too.  A pattern that begins with a character skips what has none quickly.
#: For the empty alternative see `gateway.structure`.
_RUN: Final = re.compile("(%[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2}|)*+)")
#: Up to here a call for each run is quicker, beyond several times as slow.
_SHORT: Final = 256


def decoded(text: str) -> str:
    """Return `text` with its escapes decoded once, bytes that are not UTF-8 as U+FFFD; `%` and `%z` stay."""
    if "%" not in text:
        return text
    return _RUN.sub(_decoded_run, text) if len(text) <= _SHORT else with_runs(text, _RUN, _decoded)


def with_runs(text: str, runs: re.Pattern[str], changed: Callable[[str], str]) -> str:
    """Return a text with its runs of escapes changed, all of them in one go where nothing is in the way.

    `runs` has one group, the run.  What `changed` makes of two runs with `%00` between them is what it makes of each,
    with what it makes of `%00` between.
    """
    pieces = runs.split(text)
    if len(pieces) == 1:
        return text
    if _NUL in text:
        pieces[1::2] = map(changed, pieces[1::2])
    else:
        pieces[1::2] = changed(_NUL.join(pieces[1::2])).split(changed(_NUL))
    return "".join(pieces)


def _decoded_run(run: re.Match[str]) -> str:
    return _decoded(run[0])


def _decoded(run: str) -> str:
    return bytes.fromhex(run.replace("%", "")).decode(errors="replace")
