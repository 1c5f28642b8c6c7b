"""Text that is not Unicode is replaced, and cut off where there is too much of it, in time that is bounded."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from gateway import json_text
from gateway.repair import MOST, MOST_ESCAPES

HALF = b"\\ud800"


def parse(text: bytes) -> dict[str, str]:
    value, repaired = json_text.parse(b'{"a":"' + text + b'","b":"z"}')
    assert repaired
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(("wrong", "most"), [(HALF, MOST_ESCAPES), (b"\\uDC00", MOST_ESCAPES), (b"\xff", MOST)])
def test_what_is_wrong_becomes_u_fffd_each_and_a_text_with_too_much_of_it_is_cut_off(wrong: bytes, most: int) -> None:
    assert parse(wrong * most) == {"a": "\ufffd" * most, "b": "z"}
    for more in (wrong * 9_000, b"x" * 10_000 + wrong + b"y", b"x" * 10_000 + wrong + b'\\"\\\\' + wrong + b"\\\\"):
        cut = parse(wrong * most + more)
        assert cut["b"] == "z", "the string ends where it did"
        assert cut["a"].rstrip("\ufffd") in ("", "\ufffd" * most + "x" * 10_000)


def test_pairs_and_other_letters_stay_as_they_are_where_there_are_few() -> None:
    assert parse(b"\\ud83d\\ude00\\ud55c" * 80 + HALF)["a"] == "😀한" * 80 + "\ufffd"
    assert parse("中😀".encode() * 9_000 + b"\xff")["a"] == "中😀" * 9_000 + "\ufffd"


def test_many_escapes_are_no_reason_to_cut_a_text_off_where_none_is_a_half() -> None:
    text = "한😀" * 5_000 + "&utm_source=x"

    assert parse(json.dumps(text)[1:-1].encode() + b"\xff") == {"a": text + "\ufffd", "b": "z"}
    assert parse(b"\xff" + json.dumps(text)[1:-1].encode()) == {"a": "\ufffd" + text, "b": "z"}


def test_text_that_is_unicode_is_never_cut_off() -> None:
    text = "한😀" * 5_000
    assert json_text.parse(json.dumps(text).encode()) == (text, False)


@pytest.mark.parametrize(
    "pattern",
    [
        HALF,
        b"\\uDC00",
        b"\\ud83d\\ude00",
        b"\\ud55c",
        b"a\\ud800",
        b"\\ud800\\\\",
        b'\\ud800\\"',
        b"\xff",
        b"a\xff",
        b'\xff\\"',
    ],
)
def test_64_kib_of_it_cost_little_more_than_64_kib_of_escapes(pattern: bytes) -> None:
    """At most 2.3 times as much; 12 times before texts were bounded.  The least of several, for busy machines."""
    hostile = b'{"a":"' + pattern * (65_000 // len(pattern)) + HALF + b'"}'
    usual = b'{"a":"' + b'\\"' * 32_500 + b'"}'
    assert min(map(cpu_seconds, [hostile] * 30)) < 5 * min(map(cpu_seconds, [usual] * 30))


def cpu_seconds(text: bytes) -> float:
    began = time.thread_time()
    with contextlib.suppress(json_text.NotJson):
        json_text.parse(text)
    return time.thread_time() - began
