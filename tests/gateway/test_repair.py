"""Text that is not Unicode is replaced, and cut off where there is too much of it, in time that is bounded."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from gateway import json_text
from gateway.long_text import BROKEN
from gateway.repair import MOST, MOST_CHARACTERS

HALF = b"\\ud800"
#: Those in the last characters are cut off already: they could be parts of pairs.
MOST_HALVES = MOST_CHARACTERS // len(HALF) - 2
#: What is kept of it where text is not Unicode, in characters.
MOST_OF_A_URL = BROKEN.fields[b"url"]


def parse(text: bytes) -> dict[str, str]:
    value, repaired = json_text.parse(b'{"url":"' + text + b'","b":"z"}')
    assert repaired
    assert isinstance(value, dict)
    return {"a": value.pop("url"), **value}


@pytest.mark.parametrize(("wrong", "most"), [(HALF, MOST_HALVES), (b"\\uDC00", MOST_HALVES), (b"\xff", MOST)])
def test_what_is_wrong_becomes_u_fffd_each_and_a_text_with_too_much_of_it_is_cut_off(wrong: bytes, most: int) -> None:
    assert parse(wrong * most) == {"a": "\ufffd" * most, "b": "z"}
    for more in (
        wrong * (9_000 // len(wrong)),
        b"x" * 10_000 + wrong + b"y",
        b"x" * 10_000 + wrong + b'\\"\\\\' + wrong + b"\\\\",
    ):
        cut = parse(wrong * most + more)
        assert cut["b"] == "z", "the string ends where it did"
        # Windows of bytes are decoded as a whole, so some more may be replaced.
        assert cut["a"].startswith("\ufffd" * most)
        assert set(cut["a"][most:]) <= set("\ufffdx")
        assert cut["a"][-1] == "\ufffd"
        assert (len(cut["a"]) > 10_000) is (b"x" in more)


@pytest.mark.parametrize("wrong", [HALF, b"\xff"])
def test_no_number_of_escaped_quotes_behind_a_cut_costs_the_pageview(wrong: bytes) -> None:
    for quotes in (64, 65, 2_800):
        cut = parse(wrong * 1_200 + b'\\"' * quotes + b"\\\\\\\\" + wrong)
        assert cut["b"] == "z"
        assert cut["a"].startswith("\ufffd" * 200)


def test_pairs_and_other_letters_stay_as_they_are_where_there_are_few() -> None:
    assert parse(b"\\ud83d\\ude00\\ud55c" * 80 + HALF)["a"] == "😀한" * 80 + "\ufffd"
    assert parse("中😀".encode() * 2_000 + b"\xff")["a"] == "中😀" * 2_000 + "\ufffd"


def test_many_escapes_are_no_reason_to_cut_a_text_off_where_none_is_a_half() -> None:
    text = "한😀" * 850 + "&utm_source=x"

    assert parse(json.dumps(text)[1:-1].encode() + b"\xff") == {"a": text + "\ufffd", "b": "z"}
    assert parse(b"\xff" + json.dumps(text)[1:-1].encode()) == {"a": "\ufffd" + text, "b": "z"}


def test_as_much_as_is_stored_is_kept_of_three_texts_as_long_as_servers_take() -> None:
    """A URL, a referrer and a user agent with a byte of Latin-1 in each, and what else a pageview has."""
    long = b"\xe9" + b"x" * 8_000
    body = b'{"url":"%s","referrer":"%s","user_agent":"%s","visitor_ip":"192.0.2.1"}' % (long, long, long)
    found = json_text.parse(body).value
    assert found["url"][:6_144] == "\ufffd" + "x" * 6_143
    assert found["referrer"][:2_048] == "\ufffd" + "x" * 2_047
    assert found["user_agent"][:1_024] == "\ufffd" + "x" * 1_023
    assert found["visitor_ip"] == "192.0.2.1"


def test_an_empty_text_is_no_json() -> None:
    with pytest.raises(json_text.NotJson, match=r"^is not valid JSON$"):
        json_text.parse(b"")


def test_of_many_strings_with_bytes_that_are_not_utf_8_the_first_keep_what_is_before_them() -> None:
    text = b",".join(b'"%d":"x\xff%s"' % (number, b"\xff" * (number == 0) * 5_000) for number in range(90))
    found = json_text.parse(b"{%s}" % text).value
    assert found["31"] == "x\ufffd"
    assert found["89"] == "\ufffd"


@pytest.mark.parametrize("around", [b"%s", b'{"a":"\xff%s"', b'{"a":"%s\\ud800"} x', b'{"a":"%s\\ud800", "b": NaN}'])
def test_what_is_not_json_is_refused_however_long(around: bytes) -> None:
    for length in (1, 40_000):
        with pytest.raises(json_text.NotJson):
            json_text.parse(around % (b"x" * length))


@pytest.mark.parametrize("wrong", [HALF, b"\xff", HALF + b"\xff"])
@pytest.mark.parametrize(
    "pattern",
    [
        HALF, b"\\uDC00", b"\\ud83d\\ude00", b"\\ud55c", b"a\\ud800", b"\\ud800\\\\", b'\\ud800\\"', b"\xff",
        b"a\xff", b'\xff\\"', b'\\"', b"\\\\", b"\\u0061", "中".encode(),
    ],
)  # fmt: skip
def test_64_kib_of_it_cost_little_more_than_64_kib_of_escapes(pattern: bytes, wrong: bytes) -> None:
    """Compared with a quarter of it, the longest text that is parsed as it is; the least of several.

    From 2 to 6 times as much on three kinds of processors; 60 and more where each character is replaced by itself.
    """
    hostile = b'{"url":"' + pattern * (65_000 // len(pattern)) + wrong + b'"}'
    usual = b'{"a":"' + b'\\\\\\"' * 4_000 + b'"}'
    assert min(map(cpu_seconds, [hostile] * 30)) < 20 * min(map(cpu_seconds, [usual] * 30))
    with contextlib.suppress(json_text.NotJson):
        assert len(json_text.parse(hostile).value["url"]) <= MOST_OF_A_URL


def cpu_seconds(text: bytes) -> float:
    began = time.thread_time()
    with contextlib.suppress(json_text.NotJson):
        json_text.parse(text)
    return time.thread_time() - began


@pytest.mark.parametrize("length", range(MOST_CHARACTERS - 40, MOST_CHARACTERS + 10))
def test_wherever_what_is_looked_at_ends_the_rest_is_divided_into_strings(length: int) -> None:
    text = b'{"a":"' + HALF + b"x" * (length - 6) + b'","b":"\\"y","c":"' + HALF + b'z","d":"\\"\\""}'
    value = json_text.parse(text).value
    assert value["b"] == '"y'
    assert value["c"] in ("\ufffdz", "\ufffd")
    assert value["d"] == '""'
