"""Long texts are cut before they are parsed: what a pageview needs stays, whatever else is in them."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import json_text
from gateway.json_strings import MOST_ESCAPES, MOST_STRINGS, TooMuch, divided
from gateway.long_text import SHORT, shortened
from gateway.long_text import USUAL as LIMITS

USUAL = {
    "url": "https://example.com/a?utm_source=b",
    "timestamp": "2026-05-28T20:00:00.123Z",
    "visitor_ip": "81.2.69.142",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "session_id": "018f3b5a-7c1e-7000-8000-0123456789ab",
    "referrer": "https://example.org/",
    "language": "en",
    "screen_width": 1920,
    "dnt": False,
}
#: Text of every kind: pieces of JSON strings.
_PIECES = (
    b"\\n",
    b"\\t",
    b"\\/",
    b"\\u00e9",
    b"\\ud83d\\ude42",
    "é".encode(),
    "中🙂".encode(),
    b"a",
    b",",
    b"{",
    b"]:",
)


@given(
    pieces=st.lists(st.sampled_from(_PIECES), min_size=1, max_size=6),
    places=st.lists(st.integers(0, 9), min_size=1, max_size=30),
    length=st.integers(49, 30_000),
)
def test_fields_keep_their_values_wherever_long_strings_are_between_them(
    pieces: list[bytes], places: list[int], length: int
) -> None:
    text = b"".join(pieces)
    text *= length // len(text) + 1
    items = [b'"%s":%s' % (name.encode(), orjson.dumps(value)) for name, value in USUAL.items()]
    for number, place in enumerate(places):
        items.insert(place, b'"x%d":"%s"' % (number, text))
    body = b"{%s}" % b", ".join([*items, b'"y":"%s"' % (b"y" * SHORT)])
    value = json_text.parse(body).value
    assert {name: value[name] for name in USUAL} == USUAL
    assert len(shortened(body)[0]) < 4_096


@pytest.mark.parametrize("name", ["url", "referrer", "user_agent"])
@pytest.mark.parametrize("character", ["x", "é", "中", '"', "\\"])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_of_a_field_at_least_what_is_stored_is_kept(name: str, character: str, ascii_only: bool) -> None:
    stored = {"url": 2_048 + 4_096, "referrer": 2_048, "user_agent": 1_024}[name]
    text = character * (2_000 if character in '"\\' else 7_000)
    body = json.dumps({**USUAL, name: text, "x": "y" * SHORT}, ensure_ascii=ascii_only).encode()
    kept = json_text.parse(body).value[name]
    if ascii_only or character == "中":
        stored = min(stored, 3_072)  # of a URL, whose 8 KiB have fewer of these
    assert kept[:stored] == text[:stored]


def test_of_three_headers_as_long_as_servers_take_all_is_kept_that_is_stored() -> None:
    long = "https://example.com/" + "x" * 8_150
    more = {f"header {number}": "y" * 40 for number in range(8)}
    body = json.dumps({**more, "url": long, "referrer": long, "user_agent": long, "z": "z" * SHORT}).encode()
    kept = json_text.parse(body).value
    stored = {"url": 2_048 + 4_096, "referrer": 2_048, "user_agent": 1_024}
    assert {name: kept[name][:length] for name, length in stored.items()} == {
        name: long[:length] for name, length in stored.items()
    }


def test_a_url_as_long_as_servers_take_is_not_cut() -> None:
    long = "https://example.com/" + "x" * 8_150
    body = json.dumps({**USUAL, "url": long, "z": "z" * SHORT}).encode()
    assert json_text.parse(body).value["url"] == long


@given(st.lists(st.text(st.sampled_from('"\\\n,é'), max_size=12), min_size=1, max_size=40), st.integers(0, 2))
def test_a_text_is_divided_at_quotes_that_are_not_escaped(strings: list[str], spaces: int) -> None:
    body = json.dumps(strings, separators=("," + " " * spaces, ":"), ensure_ascii=False).encode()
    pieces, _ = divided(body)
    assert b'"'.join(pieces) == body
    assert [json.loads(b'"%s"' % piece) for piece in pieces[1::2]] == strings
    inside, _ = divided(body[2:], inside=True)
    assert inside == [pieces[1], *pieces[2:]]


@pytest.mark.parametrize("end", [b"", b"\\", b'"', b'\\"', b'"x'])
def test_text_that_is_no_json_is_refused(end: bytes) -> None:
    for text in (b"x", b"\\\\", b'\\"' * 100):
        with pytest.raises(json_text.NotJson):
            json_text.parse(b'{"url":"%s%s' % (text + b"x" * SHORT, end))


def test_what_no_pageview_has_is_refused() -> None:
    long = b'"x":"%s"' % (b"x" * SHORT)
    strings = b",".join(b'"%d":"x"' % number for number in range(MOST_STRINGS // 2))
    for more, problem in (
        (strings, "over 250 strings"),
        (b'"x":"%s"' % (b'\\"' * (MOST_ESCAPES + 1)), "over 4096 escapes"),
        (b",".join([b'"x":"%s"' % (b'xxxxxxxxxx\\"' * 850)] * 4), "bytes of strings with escapes"),
        (b'"x":[%s1]' % (b"1234567890123456," * 800), "bytes beside"),
        (b'"x":[%s1]' % (b"1," * 1_000), "over 1000 values"),
    ):
        body = b"{%s,%s}"
        with pytest.raises(json_text.NotJson, match=problem):
            json_text.parse(body % (long, more))
        half = more[: len(more) // 2].rpartition(b",")[0] + b"]" * (b"[" in more) or b'"y":1'
        assert json_text.parse(body % (long, half)).value


def test_white_space_between_values_is_free() -> None:
    body = json.dumps({**USUAL, "x": "x" * SHORT}, indent=2_000).encode()
    assert json_text.parse(body).value["url"] == USUAL["url"]


@given(st.text(st.characters(max_codepoint=0xD7FF, exclude_characters='"\\'), max_size=40), st.integers(1, 3_000))
def test_a_string_is_cut_between_characters(text: str, times: int) -> None:
    url = "https://example.com/" + text * times
    for ascii_only in (False, True):
        body = json.dumps({"url": url, "x": "x" * SHORT}, ensure_ascii=ascii_only).encode(errors="surrogatepass")
        if len(body) < 4 * SHORT:
            kept = json_text.parse(body).value["url"]
            assert kept == url or (kept[-1] == "\ufffd" and url.startswith(kept[:-1]))
            assert kept == url or len(body) > LIMITS.fields[b"url"]


@pytest.mark.parametrize("sent", ["\\ud83d", "\\uDE42", "\\ud83dx\\ude42", "\\\\\\ud83d"])
def test_halves_of_pairs_become_u_fffd_and_pairs_stay(sent: str) -> None:
    body = '{"x":"%s","y":"%s","url":"\\ud83d\\ude42%s\\\\ud83d","user_agent":"z%s"}'
    found = json_text.parse((body % ("x" * SHORT, sent, sent * 8, sent)).encode())
    expected = "".join("\ufffd" if 0xD800 <= ord(each) <= 0xDFFF else each for each in json.loads(f'"{sent}"'))
    assert found.repaired
    assert found.value["url"] == "🙂" + expected * 8 + "\\ud83d"
    assert found.value["user_agent"] == "z" + expected


def test_a_text_is_cut_where_it_has_too_many_pairs() -> None:
    pair = b"\\ud83d\\ude42"
    body = b'{"x":"%s","y":"%s","url":"%s","user_agent":"z%s"}'
    value = json_text.parse(body % (b"x" * SHORT, pair * 4, pair * 200, pair)).value
    assert value["url"] == "🙂" * 32 + "\ufffd"
    assert value["user_agent"] == "z\ufffd"
    value = json_text.parse(body % (b"x" * SHORT, pair * 4, pair * 31, pair)).value
    assert (value["url"], value["user_agent"]) == ("🙂" * 31, "z🙂")


def test_what_is_not_utf_8_is_repaired_and_cut() -> None:
    body = b'{"x":"%s","url":"https://example.com/%s\xff","user_agent":"z\xff","referrer":"%s"}'
    found = json_text.parse(body % (b"x" * SHORT, b"x" * 2_000, b"\xe4\xb8\xad" * 5_000))
    assert found.repaired
    assert found.value["url"] == f"https://example.com/{'x' * 2_000}\ufffd"
    assert found.value["user_agent"] == "z\ufffd"
    assert found.value["referrer"].startswith("中" * 1_000)


@pytest.mark.parametrize("name", ["url", "x", "session_id"])
@pytest.mark.parametrize("escape", [b"\\n", b"\\\\", b'\\"', b"\\u00e9", "é中".encode()])
def test_who_knows_where_samples_were_taken_gains_nothing(name: str, escape: bytes) -> None:
    """256 bytes in each sixteenth of a text told once whether it was nearly all escapes."""
    text = bytearray(escape * (64_000 // len(escape)))
    step = len(text) // 16
    for at in range(step, len(text) - 400, step):
        start = at - at % len(escape) - 4 * len(escape)
        text[start : start + 300] = b"x" * 300
    body = b'{"%s":"%s%s"}' % (name.encode(), b"" if name == "x" else b"https://example.com/?", bytes(text))
    try:
        kept = shortened(body)[0]
    except TooMuch:
        kept = b""
    assert len(kept) < 25 * 1024  # of 64 KiB, which samples would have left
