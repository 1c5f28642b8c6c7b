"""Hostile bodies as a whole, for `tests.bench.hostile`: JSON that no writer writes, and fields filled at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Final

from tests.bench.hostile_texts import BODY_BYTES, body

#: What no JSON writer writes, repeated in a user agent up to a body's limit.
BY_HAND: Final = {
    "halves of surrogate pairs": rb"\ud800", "second halves": rb"\uDC00", "escaped emoji": rb"\ud83d\ude00",
    "escaped Hangul": rb"\ud55c", "letters and halves": rb"a\ud800", "bytes that are not UTF-8": b"\xff",
    "letters and such bytes": b"a\xff", "CJK": "中".encode(), "emoji": "🙂".encode(), "escaped quotes": rb"\"",
    "hidden backslashes": rb"\\\"", "escaped letters": rb"\u0061", "escaped CJK": rb"\u4e2d",
}  # fmt: skip

#: What stands behind it: a byte is found before anything is parsed, half of a pair only where it is.
ENDS: Final = {"half and byte": rb"\ud800" + b"\xff", "half": rb"\ud800"}

#: Pieces of JSON strings that are put together at random, which no processor predicts: what a search by hill climbing
#: found to cost most, of gateway and worker.
AT_RANDOM: Final = {
    "characters of all lengths": ("a", "é", "中", "🙂", "\\n"),
    "characters without escapes": ("a", "é", "中"),
    "escapes": ("\\\\", "\\n", "\\/", "a", "\\u0001"),
    "escaped quotes": ('\\"', "a"),
    "few escaped quotes": ('\\"', "a", "b", "c", "de", "é", "ghi", "中"),
    "quotes and backslashes": ('\\"', "\\\\", "\\n", "a"),
    "escapes of letters": ("\\u00e9", "\\u4e2d", "\\ud83d\\ude00", "a"),
    "halves of pairs": ("\\ud800", "\\uDC00", "ü", "a"),
    "names and escapes": ("&%75tm_source=", "%61", "/", "&gclid=", "a", "é"),
    "separators": ("&", "&amp;", "%26amp%3B", ";", "?", "utm_term=", "a"),
    "right to left and digits": ("א", "1", "ا", "\u0301", "7"),
    "names of browsers": ("Android ; ", "Mobile ", "bot", "Chrome/1", "(compatible; ", "%2e", "א"),
}
#: Where these are put: the names of fields, and how many of each; `x` is no field.
SHAPES: Final = {
    "one unknown field": {"x": 1}, "a URL": {"url": 1}, "a user agent": {"user_agent": 1},
    "all fields": {"url": 1, "referrer": 1, "user_agent": 1, "language": 1},
    "5 unknown fields": {"x": 5}, "55 unknown fields": {"x": 55}, "115 unknown fields": {"x": 115},
    "400 unknown fields": {"x": 400}, "the same fields again and again": {"url": 15, "referrer": 15, "timestamp": 15},
}  # fmt: skip
#: Numbers that take a parser long, and other values than strings, as many as fit.
VALUES: Final = {
    "numbers near the least": b"2." + b"22507385850720113605740979670913197593" * 3 + b"e-308",
    "numbers between two": b"9007199254740993." + b"0" * 40 + b"1",
    "arrays": b"[]", "objects": b"{}", "short strings": b'"a"', "nested arrays": b"[[[[[[[[1]]]]]]]]",
}  # fmt: skip

#: Makes a body that is new to every cache with each number.
Make = Callable[[int], bytes]


def bodies() -> Iterator[tuple[str, str, Make]]:
    """Yield what a group of bodies is called, what is in one, and how to make it."""
    for (kind, pattern), (last, end) in product(BY_HAND.items(), ENDS.items()):
        yield "JSON written by hand", f"64 KiB of {kind}, then {last}", partial(by_hand, pattern, end)
    for (kind, pieces), (where, shape) in product(AT_RANDOM.items(), SHAPES.items()):
        yield "text at random", f"64 KiB of {kind}, in {where}", partial(at_random, pieces, shape)
    for kind, value in VALUES.items():
        yield "values", f"as many {kind} as there may be", partial(of_values, value)


def by_hand(pattern: bytes, end: bytes, salt: int) -> bytes:
    """Return a body as large as it may be, of a pattern and the end of `ENDS`."""
    around = body({"user_agent": f"s{salt}@"})
    text = pattern * ((BODY_BYTES - len(around) - 16) // len(pattern)) + end
    return around.replace(b"@", text)


def at_random(pieces: Sequence[str], shape: dict[str, int], salt: int) -> bytes:
    """Return a body as large as it may be, of fields that are filled with pieces at random."""
    chance = random.Random(salt)
    encoded = [piece.encode() for piece in pieces]
    around = body({"referrer": f"https://example.org/{salt}"})
    each = (BODY_BYTES - len(around) - 1_024) // sum(shape.values()) - 24
    many = len(encoded) * each // sum(map(len, encoded))
    strings = []
    for name, number in shape.items():
        start = "https://example.com/?" if name in ("url", "referrer") else ""
        for _ in range(number):
            filled = b"".join(chance.choices(encoded, k=many))[:each]
            text = filled.decode(errors="ignore").rpartition("a")[0].encode()  # no piece is cut
            strings.append(b'"%s":"%s%s"' % (name.encode(), start.encode(), text))
    return (around[:-1] + b"," + b",".join(strings) + b"}")[:BODY_BYTES]


def of_values(value: bytes, salt: int) -> bytes:
    """Return a body with an array of as many values as there may be, or fit."""
    around = body({"referrer": f"https://example.org/{salt}"})
    number = min(990, (BODY_BYTES - len(around) - 16) // (len(value) + 1))
    return around[:-1] + b',"x":[%s]}' % b",".join([value] * number)
