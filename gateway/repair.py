"""U+FFFD for bytes that are not UTF-8 and for halves of surrogate pairs, so that the JSON around them can be parsed.

The cost is bounded: behind the first thousand bytes, or where there are halves, the first few hundred escapes like
theirs, a string is cut off at the next one.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from itertools import islice
from typing import AnyStr, Final

import orjson

#: U+FFFD, which replaces what can't be stored.
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
#: Bytes, and escapes of surrogates (and of Hangul: `\\ud55c`), that are looked at one by one.
MOST: Final = 1_000
MOST_ESCAPES: Final = 250

_HIGH: Final = r"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW: Final = r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
#: Half of a surrogate pair without the other one, in a text without escaped backslashes.
_HALF: Final = re.compile(f"{_HIGH}(?!{_LOW})|(?<!{_HIGH}){_LOW}")
#: How an escape begins that may be one; in any text, they are found faster than by a pattern.
_LOWER: Final = r"\ud"
_UPPER: Final = r"\uD"
#: Characters of an escape.
_LENGTH: Final = 6
#: Stands for an escaped backslash, which must not look like the beginning of what follows it; no JSON has it.
_HIDDEN: Final = "\x01\x01"
#: U+FFFD escaped: as long as what it replaces, and text stays ASCII.
_ESCAPED: Final = r"\ufffd"
#: Bytes that are decoded at once.
_WINDOW: Final = 4096
#: Strings that are cut off, and escaped quotes that are passed over in search of the end of one.
_FEW: Final = 16
_FEW_QUOTES: Final = 64
#: Backslashes in a row that are counted.
_LONG_RUN: Final = 64


class TooMuch(ValueError):
    """There is more to replace than in any text that a browser sends."""


def repair(text: bytes) -> str | None:
    """Return the text with U+FFFD for what is not Unicode, None when all of it is; raises `TooMuch`."""
    try:
        decoded, replaced = text.decode(), 0
    except UnicodeDecodeError:
        decoded, replaced = _decode(text), 1
    if (_LOWER in decoded or _UPPER in decoded) and _HIDDEN[0] not in decoded:
        hidden = decoded.replace("\\\\", _HIDDEN)
        escapes = list(islice(_escapes(hidden, 0), MOST_ESCAPES + 1))
        if len(escapes) <= MOST_ESCAPES or not (replaced and _is_json(decoded)):
            repaired, halves = _replace_halves(hidden, escapes)
            if halves:
                decoded, replaced = repaired.replace(_HIDDEN, "\\\\"), replaced + halves
    return decoded if replaced else None


def _is_json(text: str) -> bool:
    """Return whether a text is JSON, in which there are no halves then: many escapes are no reason to cut it off."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _decode(text: bytes) -> str:
    """Return the text with U+FFFD for bytes that are not UTF-8."""
    parts: list[str] = []
    at = wrong = 0
    while at < len(text) and wrong < MOST:
        part, length = codecs.utf_8_decode(text[at : at + _WINDOW], "replace", at + _WINDOW >= len(text))
        wrong += part.count(REPLACEMENT)
        parts.append(part)
        at += length
    for _ in range(_FEW):
        try:
            parts.append(text[at:].decode())
        except UnicodeDecodeError as error:
            start = at + error.start
        else:
            return "".join(parts)
        parts += (text[at:start].decode(), REPLACEMENT)
        at = _end_of_string(text, start, b'"', b"\\")
    raise TooMuch


def _replace_halves(text: str, escapes: list[int]) -> tuple[str, int]:
    """Return a text, whose escaped backslashes are hidden, without halves of pairs, and how many were found.

    `escapes` is where they may be: one more than are looked at, or all.
    """
    end = escapes.pop() if len(escapes) > MOST_ESCAPES else len(text)
    parts: list[str] = []
    at = 0
    for start in escapes:
        if _HALF.match(text, start, end):
            parts += (text[at:start], _ESCAPED)
            at = start + _LENGTH
    parts.append(text[at:end])
    halves = len(parts) // 2
    return "".join(parts) + _cut_strings(text, end), halves + (end < len(text))


def _cut_strings(text: str, at: int) -> str:
    """Return the rest of a text with each string that has an escape in it cut off there; `at` is one, or the end."""
    parts: list[str] = []
    for _ in range(_FEW):
        if at == len(text):
            return "".join(parts)
        string_end = _end_of_string(text, at, '"', "\\")
        at = next(_escapes(text, string_end), len(text))
        parts += (_ESCAPED, text[string_end:at])
    raise TooMuch


def _escapes(text: str, at: int) -> Iterator[int]:
    """Yield where escapes begin that may be of surrogates."""
    lower, upper = text.find(_LOWER, at), text.find(_UPPER, at)
    while lower >= 0 or upper >= 0:
        if upper < 0 or 0 <= lower < upper:
            yield lower
            lower = text.find(_LOWER, lower + 1)
        else:
            yield upper
            upper = text.find(_UPPER, upper + 1)


def _end_of_string(text: AnyStr, at: int, quote: AnyStr, backslash: AnyStr) -> int:
    """Return where the quote is that ends the string at `at`; raises `TooMuch` where that can't be told soon."""
    for _ in range(_FEW_QUOTES):
        end = text.find(quote, at)
        if end < 0:
            return len(text)  # this is no JSON
        before = text[max(at, end - _LONG_RUN) : end]
        backslashes = len(before) - len(before.rstrip(backslash))
        if backslashes % 2 == 0 and backslashes < _LONG_RUN:
            return end
        at = end + 1
    raise TooMuch
