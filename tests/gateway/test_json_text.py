"""How many values a text has, found without parsing it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import json_text

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


@given(values=st.lists(_VALUES, min_size=1, max_size=8), ascii_only=st.booleans(), strings=st.sampled_from([0, 3, 64]))
def test_values_are_counted_outside_of_strings_only(values: list[Any], ascii_only: bool, strings: int) -> None:
    text = json.dumps(values, ensure_ascii=ascii_only).encode()
    number = beginnings(values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_FEW_STRINGS", strings)
        for most in (number - 1, number):
            patch.setattr(json_text, "MAX_VALUES", max(most, text.count(b'"')))
            padded = b"[" + b"1," * (json_text.MAX_VALUES - most) + text[1:]  # so that quotes are not too many
            assert json_text._has_many_values(padded) is (number > most)


@pytest.mark.parametrize(
    "text",
    [
        b'{"x":"%s"}' % (b'\\",' * 20_000),
        b'{"x":"%s"}' % (b"\\\\," * 20_000),
        b'{"x":"%s","y":"\\\\"}' % (b"," * 60_000),
        b'{"x":"%s' % (b"," * 60_000),
    ],
)
def test_a_string_is_one_value_whatever_it_holds(text: bytes) -> None:
    assert not json_text._has_many_values(text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"x":[%s]}' % b",".join([b"[]"] * 1_000),
        b'{"x":"\\"","y":[%s]}' % b",".join([b"[]"] * 1_000),
        b'{"x":"\\"","y":[%s,"\\' % b",".join([b"[]"] * 1_000),
        b'{"x":"\\\\","y":[%s],"z":"\\""}' % b",".join([b"1"] * 1_002),
        b"{%s}" % b",".join([b'"a":"\\""'] * 1_100),
        b'{"x":"\\"","y":[%s]}' % b",".join([b"{}"] * 1_000),
    ],
)
def test_many_values_are_found_behind_any_string(text: bytes) -> None:
    assert json_text._has_many_values(text)


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


@pytest.mark.parametrize("escape", [b'\\"', b"\\\\", b'\\\\\\"', b"\\/"])
def test_strings_are_cut_where_nearly_all_of_a_text_is_escapes(escape: bytes) -> None:
    for length, is_cut in ((16_000, False), (17_000, True), (64_000, True)):
        text = escape * (length // len(escape))
        found = json_text.parse(b'{"a":"%s","b":"z\\u00e9"}' % text).value
        whole = json.loads(b'"%s"' % text)
        assert found["b"] == "zé"
        assert found["a"] == (whole[: len(found["a"]) - 1] + "\ufffd" if is_cut else whole)
        assert len(found["a"]) > 1_000


def test_strings_are_not_cut_where_half_of_a_text_is_escapes() -> None:
    text = json.dumps({"a": 'x"' * 20_000, "b": "ü" * 1_000})
    assert json_text.parse(text.encode()).value == json.loads(text)


def test_many_strings_and_escapes_are_too_much() -> None:
    strings = b",".join([b'"a":"b"'] * 110)
    with pytest.raises(json_text.NotJson, match="has over 200 strings"):
        json_text.parse(b'{%s,"c":"%s"}' % (strings, b'\\"' * 25_000))
