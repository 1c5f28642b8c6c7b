"""How many values a text has, found without parsing it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import json_text
from gateway.json_strings import has_many_outside
from gateway.long_text import MAX_VALUES

#: What a string may hold that looks like structure, or like the end of the string.
_TEXT = st.text(st.sampled_from('",[{}]:\\\n aé🙂'), max_size=12)
_VALUES = st.recursive(
    st.integers() | _TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_TEXT, inner, max_size=5),
    max_leaves=30,
)


def beginnings(value: Any) -> int:
    """Return how many `,`, `[` and `{` JSON has for a value."""
    if not isinstance(value, list | dict):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(0, len(value) - 1) + sum(map(beginnings, inner))


def has_many_values(text: bytes, most: int = MAX_VALUES) -> bool:
    return has_many_outside(text, b",[{", most)


@given(values=st.lists(_VALUES, min_size=1, max_size=8), ascii_only=st.booleans())
def test_values_are_counted_outside_of_strings_only(values: list[Any], ascii_only: bool) -> None:
    text = json.dumps(values, ensure_ascii=ascii_only).encode()
    number = beginnings(values)
    for more in (number - 1, number):
        most = max(more, text.count(b'"'))
        padded = b"[" + b"1," * (most - more) + text[1:]  # so that quotes are not too many
        assert has_many_values(padded, most) is (number > more)


@pytest.mark.parametrize(
    "text",
    [
        b'{"x":"%s"}' % (b'\\",' * 4_000),
        b'{"x":"%s"}' % (b"\\\\," * 4_000),
        b'{"x":"%s","y":"\\\\"}' % (b"," * 12_000),
        b'{"x":"%s' % (b"," * 12_000),
    ],
)
def test_a_string_is_one_value_whatever_it_holds(text: bytes) -> None:
    assert not has_many_values(text)
    with contextlib.suppress(json_text.NotJson):  # which one of them is not
        assert json_text.parse(text).value == json.loads(text)


@pytest.mark.parametrize("beside", [b"x" * 3_000, b"x" * 20_000, b'\\"' * 10_000])
@pytest.mark.parametrize(
    "text",
    [
        b'{"x":[%s]' % b",".join([b"[]"] * 1_000),
        b'{"x":"\\"","y":[%s]' % b",".join([b"[]"] * 1_000),
        b'{"x":"\\\\","y":[%s],"z":"\\""' % b",".join([b"1"] * 1_002),
        b"{%s" % b",".join([b'"a":"\\""'] * 1_100),
        b'{"x":"\\"","y":[%s]' % b",".join([b"{}"] * 1_000),
    ],
)
def test_many_values_are_refused_behind_and_before_any_string(text: bytes, beside: bytes) -> None:
    with pytest.raises(json_text.NotJson, match="has over"):
        json_text.parse(text + b',"beside":"' + beside + b'"}')


@pytest.mark.parametrize("text", [b'{"x":"%s"}' % (b"\\\\" * 4_000), b'{"x":"a","y":"%s"}' % (b'\\"' * 4_000)])
def test_escapes_are_no_part_of_the_count_below_the_limit(text: bytes) -> None:
    assert json_text.parse(text).value == json.loads(text)


_PIECES = (
    "\\ud83d",
    "\\uDE42",
    "\\ud800",
    "\\\\",
    '\\"',
    "\\n",
    "ud83d",
    "\\u0041",
    "é",
    "\ufffd",
    "\\ud7ff",
    "\\ue000",
)


@given(pieces=st.lists(st.sampled_from(_PIECES), max_size=8))
@example(pieces=["\\\\", "ud83d", "\\uDE42"])
@example(pieces=["\\\\", "\\ud83d", "\\\\", "\\uDE42"])
def test_each_half_of_a_surrogate_pair_is_replaced_and_nothing_else(pieces: list[str]) -> None:
    text = f'{{"x":"{"".join(pieces)}"}}'
    expected = "".join("\ufffd" if 0xD800 <= ord(each) <= 0xDFFF else each for each in json.loads(text)["x"])
    parsed = json_text.parse(text.encode())
    assert parsed.value == {"x": expected}
    assert parsed.repaired is (expected != json.loads(text)["x"])


def test_where_a_text_is_wrong_does_not_depend_on_escaped_backslashes() -> None:
    positions: set[int] = set()
    for escape in (b"\\\\", b"\\n"):
        with pytest.raises(json_text.NotJson) as raised:
            json_text.parse(b'{"x":"%s\\ud800"} x' % (escape * 10))
        positions.add(raised.value.position)
    assert len(positions) == 1
