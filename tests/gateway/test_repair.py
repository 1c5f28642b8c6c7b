"""Text that is not Unicode is replaced, and cut off where there is too much of it, in time that is bounded."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import json_text
from gateway.repair import MOST, MOST_BYTES, MOST_CHARACTERS

HALF = b"\\ud800"
#: Those in the last characters are cut off already: they could be parts of pairs.
MOST_HALVES = MOST_CHARACTERS // len(HALF) - 2


def parse(text: bytes) -> dict[str, str]:
    value, repaired = json_text.parse(b'{"a":"' + text + b'","b":"z"}')
    assert repaired
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(("wrong", "most"), [(HALF, MOST_HALVES), (b"\\uDC00", MOST_HALVES), (b"\xff", MOST)])
def test_what_is_wrong_becomes_u_fffd_each_and_a_text_with_too_much_of_it_is_cut_off(wrong: bytes, most: int) -> None:
    assert parse(wrong * most) == {"a": "\ufffd" * most, "b": "z"}
    for more in (wrong * 3_000, b"x" * 10_000 + wrong + b"y", b"x" * 10_000 + wrong + b'\\"\\\\' + wrong + b"\\\\"):
        cut = parse(wrong * most + more)
        assert cut["b"] == "z", "the string ends where it did"
        # Windows of bytes are decoded as a whole, so some more may be replaced.
        assert cut["a"].startswith("\ufffd" * most)
        assert set(cut["a"][most:]) <= set("\ufffdx")
        assert cut["a"][-1] == "\ufffd"
        assert (len(cut["a"]) > 10_000) is (b"x" in more)


@pytest.mark.parametrize("wrong", [HALF, b"\xff"])
def test_no_number_of_escaped_quotes_behind_a_cut_costs_the_pageview(wrong: bytes) -> None:
    for quotes in (64, 65, 4_000):
        cut = parse(wrong * 1_200 + b'\\"' * quotes + b"\\\\\\\\" + wrong)
        assert cut["b"] == "z"
        assert cut["a"].startswith("\ufffd" * 200)


def test_pairs_and_other_letters_stay_as_they_are_where_there_are_few() -> None:
    assert parse(b"\\ud83d\\ude00\\ud55c" * 80 + HALF)["a"] == "😀한" * 80 + "\ufffd"
    assert parse("中😀".encode() * 3_000 + b"\xff")["a"] == "中😀" * 3_000 + "\ufffd"


def test_many_escapes_are_no_reason_to_cut_a_text_off_where_none_is_a_half() -> None:
    text = "한😀" * 1_300 + "&utm_source=x"

    assert parse(json.dumps(text)[1:-1].encode() + b"\xff") == {"a": text + "\ufffd", "b": "z"}
    assert parse(b"\xff" + json.dumps(text)[1:-1].encode()) == {"a": "\ufffd" + text, "b": "z"}


def test_text_that_is_unicode_is_never_cut_off() -> None:
    text = "한😀" * 5_000
    assert json_text.parse(json.dumps(text).encode()) == (text, False)


def test_three_texts_as_long_as_servers_take_are_not_cut() -> None:
    """A URL, a referrer and a user agent with a byte of Latin-1 in each, and what else a pageview has."""
    long = b"x" * 8_100 + b"\xe9" + b'\\"' * 40
    body = b'{"url":"%s","referrer":"%s","user_agent":"%s","visitor_ip":"192.0.2.1"}' % (long, long, long)
    assert len(body) <= MOST_BYTES
    found = json_text.parse(body).value
    assert {found[name] for name in ("url", "referrer", "user_agent")} == {"x" * 8_100 + "\ufffd" + '"' * 40}


#: Parts of strings, some of which a cut must not divide.
_PIECES = (b'\\"', b"\\\\", b"\\u00e9", b"\\ud83d\\ude42", "é".encode(), "中".encode(), "🙂".encode(), b"x", b",", b"{")


@given(
    pieces=st.lists(st.sampled_from(_PIECES), min_size=1, max_size=6),
    lengths=st.lists(st.sampled_from([1, 300, 3_000, 9_000, 30_000]), min_size=1, max_size=6),
    wrong=st.sampled_from([b"\xff", HALF]),
)
def test_of_a_long_text_each_string_keeps_its_beginning_and_its_name(
    pieces: list[bytes], lengths: list[int], wrong: bytes
) -> None:
    pattern = b"".join(pieces)
    texts = [pattern * (length // len(pattern) + 1) for length in lengths]
    strings = b",".join(b'"%d":"%s"' % each for each in enumerate(texts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "_LONG", 10**6)
        found = json_text.parse(b'{%s,"wrong":"%s","padding":"%s"}' % (strings, wrong, b"y" * MOST_BYTES)).value
    assert found["wrong"] == "\ufffd"
    assert set(found["padding"]) == set("y\ufffd")
    left = 32 * 1024
    for number, text in enumerate(texts):
        kept, whole = found[str(number)], json.loads(b'"%s"' % text)
        if kept != whole:
            assert len(text) > max(256, min(8 * 1024, left // 2))
            assert kept[-1] == "\ufffd"
            assert whole.startswith(kept[:-1])
        left -= min(len(text), 8 * 1024)


@pytest.mark.parametrize("end", [b"", b'\\"'])
def test_a_quote_behind_many_backslashes_ends_its_string_or_not(end: bytes) -> None:
    text = b"x" * 9_000 + b"\\\\" * 64 + end
    found = json_text.parse(b'{"a":"%s","b":"z\xff","c":"%s"}' % (text, b"y" * MOST_BYTES)).value
    assert found["a"] == "x" * (8 * 1024 - 1) + "\ufffd"
    assert found["b"] == "z\ufffd"


def test_an_empty_text_is_no_json() -> None:
    with pytest.raises(json_text.NotJson, match=r"^is not valid JSON$"):
        json_text.parse(b"")


def test_a_long_text_of_more_strings_than_a_pageview_has_is_refused() -> None:
    body = b'{"a":"\xff","b":"%s",%s}'
    names = b",".join(b'"%d":"x"' % number for number in range(97))
    assert json_text.parse(body % (b"x" * MOST_BYTES, names)).value["96"] == "x"
    more = names + b',"x":"y","z":"\\""'
    with pytest.raises(json_text.NotJson, match="too much"):
        json_text.parse(body % (b"x" * MOST_BYTES, more))


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
    """At most 2.4 times as much; 6 times before long texts were cut first.  The least of several, for busy machines."""
    hostile = b'{"a":"' + pattern * (65_000 // len(pattern)) + wrong + b'"}'
    usual = b'{"a":"' + b'\\"' * 32_500 + b'"}'
    assert min(map(cpu_seconds, [hostile] * 30)) < 5 * min(map(cpu_seconds, [usual] * 30))


def cpu_seconds(text: bytes) -> float:
    began = time.thread_time()
    with contextlib.suppress(json_text.NotJson):
        json_text.parse(text)
    return time.thread_time() - began
