"""Long JSON texts are cut before they are parsed: a byte may cost a parser 8 ns, whatever it is, and few are needed.

No kind of text is looked for.  What reaches the parser is bounded for all of them: the strings of a pageview's fields
keep what can be stored of them, all others nothing if they are long, and the rest must be short.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from gateway.json_strings import MOST_STRINGS, TooMuch, beginning, divided
from gateway.surrogates import ESCAPED, Surrogates, has_surrogates

#: Texts of so many bytes or fewer are parsed as they are.
SHORT: Final = 16 * 1024
#: Values of one pageview.  Parsing 64 KiB of `[],[],…` takes forty times as long as of a usual pageview.
MAX_VALUES: Final = 1_000
#: What begins one.
BEGINNINGS: Final = b",[{"


class Limits(NamedTuple):
    """What is kept of a text, in bytes."""

    #: Of the string of each field.
    fields: Mapping[bytes, int]
    #: Of all the rest, without white space beside strings.
    rest: int
    #: The number of strings, names included.
    strings: int


_URL: Final = b"url"
_IDS: Final = {b"timestamp": 256, b"visitor_ip": 256, b"session_id": 256, b"page_id": 256}
#: A URL of 8 KiB is as long as servers take, and 6,144 characters of it are stored; of a referrer 2,048, of a user
#: agent 1,024, each of up to three bytes.
USUAL: Final = Limits(
    {_URL: 14 * 1024, b"referrer": 6 * 1024, b"user_agent": 4 * 1024, b"language": 1024, **_IDS},
    rest=12 * 1024,
    strings=MOST_STRINGS,
)
#: Where text is not UTF-8, which takes twice as long.
BROKEN: Final = Limits(
    {_URL: 9 * 1024, b"referrer": 3 * 1024, b"user_agent": 2 * 1024, b"language": 512, **_IDS},
    rest=6 * 1024,
    strings=200,
)
#: Of texts, half of which is escapes of six bytes, which take a parser a third of the time of others.
_LIMITS_OF_ESCAPES: Final = {_URL: 18 * 1024 + 32, b"referrer": 12 * 1024 + 32, b"user_agent": 6 * 1024 + 32}
_ESCAPE: Final = 6
#: Bytes of any other string; no name of a field is longer.
_OTHER: Final = 48
#: Bytes that fields keep together, where all are long: what is stored of each, if that is ASCII, and more.
_TOGETHER: Final = 16 * 1024 + 256
#: The same where quotes are escaped, less one for each escape, which cost as much; and at least.
_TOGETHER_HARD: Final = 10 * 1024
_LEAST_HARD: Final = 4 * 1024
#: What each string costs that is not of the usual fields, in bytes of those that strings keep; and how many may be
#: longer than others.
_STRING: Final = 64
_USUAL_STRINGS: Final = 26
_MOST_FIELDS: Final = 8


class _Field(NamedTuple):
    """A long string that a field has, and where it is."""

    value: bytes
    number: int
    limit: int
    #: How much that is over the limit of its name.
    more: int


def shortened(text: bytes, limits: Limits = USUAL) -> tuple[bytes, bool]:
    """Return a text with long strings cut, and U+FFFD at their end and for halves of surrogate pairs; raises `TooMuch`.

    Besides, whether there were any halves.
    """
    pieces, escapes = divided(text)
    if len(pieces) > 2 * limits.strings + 1:
        raise TooMuch(f"over {limits.strings} strings")
    lengths = list(map(len, pieces))
    long = [number for number in range(1, len(pieces), 2) if lengths[number] > _OTHER]
    of_fields = [number for number in long if pieces[number - 2] in limits.fields][:_MOST_FIELDS]
    fields = [_field(pieces, number, limits) for number in of_fields]
    for number in long:
        pieces[number] = ESCAPED
    _check_rest(pieces[::2], sum(map(len, pieces[1::2])), limits.rest)
    together = min(_TOGETHER, sum(limits.fields.values())) + max((field.more for field in fields), default=0)
    if escapes:
        together = min(together, max(_LEAST_HARD, _TOGETHER_HARD - escapes))
    for number, value in _cut(fields, together - _STRING * max(0, len(pieces) // 2 - _USUAL_STRINGS)):
        pieces[number] = value
    short = b'"'.join(pieces)
    return _without_halves(pieces, limits.fields) if has_surrogates(short) else (short, False)


def _without_halves(pieces: list[bytes], fields: Mapping[bytes, int]) -> tuple[bytes, bool]:
    surrogates = Surrogates()
    for number in [number for number in range(1, len(pieces), 2) if b"\\" in pieces[number]]:
        if pieces[number] is ESCAPED:
            continue
        if number > 1 and pieces[number - 2] in fields:
            pieces[number] = surrogates.without_halves(pieces[number])
        elif has_surrogates(pieces[number]):  # others may be anything
            pieces[number] = ESCAPED
    return b'"'.join(pieces), surrogates.replaced


def _field(pieces: list[bytes], number: int, limits: Limits) -> _Field:
    value, name = pieces[number], pieces[number - 2]
    limit = limits.fields[name]
    if len(value) > limit and name in _LIMITS_OF_ESCAPES:
        longest = _LIMITS_OF_ESCAPES[name]
        if _is_half_escapes(value[:limit]):
            return _Field(value, number, longest, longest - limit)
    return _Field(value, number, limit, 0)


def _is_half_escapes(value: bytes) -> bool:
    least = len(value) // (2 * _ESCAPE)
    # Where the letter is rare, as in rows of backslashes, to leave it out takes a third of counting escapes.
    return len(value) - len(value.translate(None, b"u")) > least and value.count(rb"\u") > least


def _cut(fields: list[_Field], left: int) -> Iterator[tuple[int, bytes]]:
    """Yield where fields are and what they keep: those that can keep more get what others leave."""
    fields.sort(key=lambda field: min(len(field.value), field.limit))
    for others, field in zip(range(len(fields), 0, -1), fields, strict=True):
        most = max(0, min(field.limit, left // others))
        kept = field.value if len(field.value) <= most else beginning(field.value, most) + ESCAPED
        left -= len(kept)
        yield field.number, kept


def _check_rest(outside: list[bytes], others: int, most: int) -> None:
    """Raise `TooMuch` for what is outside of strings, and for the bytes of `others`, which are short."""
    text = b"".join(outside)
    if len(text) - len(text.translate(None, BEGINNINGS)) > MAX_VALUES:
        raise TooMuch(f"over {MAX_VALUES} values")
    if len(text) + others > most:
        text = text.translate(None, b" \t\r\n")
        if len(text) + others > most:
            raise TooMuch(f"over {most} bytes beside its long strings")
