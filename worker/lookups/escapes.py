"""Percent-decoding whose cost hardly depends on the text: `urllib.parse.unquote` takes long for `%%%%…`."""

from __future__ import annotations

import re
from typing import Final

_RUN: Final = re.compile("(?:%[0-9A-Fa-f]{2})+")


def decoded(text: str) -> str:
    """Return `text` with its escapes decoded once, bytes that are not UTF-8 as U+FFFD; `%` and `%z` stay."""
    return _RUN.sub(_decoded_run, text) if "%" in text else text


def _decoded_run(run: re.Match[str]) -> str:
    return bytes.fromhex(run[0].replace("%", "")).decode(errors="replace")
