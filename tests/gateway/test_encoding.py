"""Decompression with a limit: codings, members, what is cut short, and turns for others."""

from __future__ import annotations

import asyncio
import gzip
import random
import sys
import zlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import encoding
from gateway.encoding import decode, decode_large
from gateway.replies import Reason, Rejected
from gateway.slices import Slices
from tests.turns import turns_during

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BODY = random.Random(1).randbytes(10_000)


def raw_deflate(body: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(body) + squeeze.flush()


#: Name of a coding → what makes it.
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd.compress,
}


def refusal(body: bytes, encodings: Sequence[str], limit: int = 10_000) -> tuple[Reason, str]:
    """Return why a body is refused, on both ways."""
    found = []
    for way in (decode, lambda body, encodings, limit: asyncio.run(decode_large(body, encodings, limit, Slices()))):
        with pytest.raises(Rejected) as refused:
            way(body, encodings, limit)
        found.append((refused.value.reason, refused.value.text))
    assert found[0] == found[1]
    return found[0]


@given(st.binary(max_size=300), st.sampled_from(sorted(CODINGS)))
def test_what_was_encoded_is_decoded(body: bytes, coding: str) -> None:
    sent = CODINGS[coding](body)
    assert decode(sent, [coding], 300) == body
    assert asyncio.run(decode_large(sent, [coding], 300, Slices())) == body


@given(st.binary(max_size=300))
def test_deflate_may_come_without_a_header_as_some_send_it(body: bytes) -> None:
    assert decode(raw_deflate(body), ["deflate"], 300) == body


@pytest.mark.parametrize("level", range(10))
def test_deflate_with_a_header_of_any_level(level: int) -> None:
    assert decode(zlib.compress(BODY, level), ["deflate"], len(BODY)) == BODY


def test_a_first_byte_like_a_header_s_is_none_unless_the_check_bits_say_so() -> None:
    """A stored block begins with any byte whose lowest three bits are 0: its padding is not looked at."""
    length = len(BODY).to_bytes(2, "little")
    stored = b"\x08" + length + bytes(each ^ 0xFF for each in length) + BODY + raw_deflate(b"")
    assert decode(stored, ["deflate"], len(BODY)) == BODY
    assert refusal(b"\x08", ["deflate"])[0] is Reason.BAD_ENCODING


@pytest.mark.parametrize("encodings", [[], ["identity"], [""], [" ,identity, "], ["IDENTITY", "identity"]])
def test_nothing_to_decode(encodings: list[str]) -> None:
    assert decode(BODY, encodings, 0) is BODY
    assert asyncio.run(decode_large(BODY, encodings, 0, Slices())) is BODY


@pytest.mark.parametrize("encodings", [[" GZip "], ["identity, gzip"], ["", "gzip"], ["identity", "gzip"]])
def test_a_list_of_codings_is_one_list_whatever_its_spelling(encodings: list[str]) -> None:
    assert decode(gzip.compress(BODY), encodings, len(BODY)) == BODY


@pytest.mark.parametrize(
    ("encodings", "text"),
    [
        (["br"], "Content-Encoding: only gzip, deflate, zstd and identity are supported"),
        (["gzip, gzip"], "Content-Encoding: only one coding is supported"),
        (["gzip", "zstd"], "Content-Encoding: only one coding is supported"),
    ],
)
def test_other_codings_are_415(encodings: list[str], text: str) -> None:
    assert refusal(b"", encodings) == (Reason.UNKNOWN_ENCODING, text)


@pytest.mark.parametrize("coding", CODINGS)
def test_exactly_the_limit_fits_and_a_byte_more_does_not(coding: str) -> None:
    sent = CODINGS[coding](BODY)
    assert decode(sent, [coding], len(BODY)) == BODY
    reason, text = refusal(sent, [coding], len(BODY) - 1)
    assert (reason, "9999 bytes" in text) == (Reason.TOO_LARGE, True)


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_cut_short_or_altered_is_refused(coding: str) -> None:
    sent = CODINGS[coding](BODY)
    for broken in (sent[:-1], sent[: len(sent) // 2], sent[:3], b"no coding at all", sent + b"more"):
        assert refusal(broken, [coding])[0] is Reason.BAD_ENCODING
    assert refusal(b"{}", [coding])[0] is Reason.BAD_ENCODING


@pytest.mark.parametrize("coding", CODINGS)
def test_members_one_behind_another_are_one_body_wherever_they_end(coding: str) -> None:
    """Pieces of 4,096 bytes are given to a decompressor: members end before, at and behind their edges."""
    parts = [BODY[:at] for at in (0, 1, 100, 4_000, 4_072, 4_095, 4_096, 5_000)]
    assert decode(b"".join(map(CODINGS[coding], parts)), [coding], 10**6) == b"".join(parts)


def test_a_body_has_so_many_members_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    assert encoding._MAX_MEMBERS == 20_000
    monkeypatch.setattr(encoding, "_MAX_MEMBERS", 3)
    member = gzip.compress(b"{}")
    assert decode(member * 3, ["gzip"], 100) == b"{}" * 3
    for number in (4, 5):
        assert refusal(member * number, ["gzip"]) == (Reason.TOO_LARGE, "body: has over 3 compressed members")


def test_a_window_that_would_take_more_than_8_mib_of_memory_is_refused() -> None:
    options = {int(zstd.CompressionParameter.window_log): 24}
    squeeze = zstd.ZstdCompressor(options=options)
    sent = squeeze.compress(bytes(100)) + squeeze.flush()
    assert refusal(sent, ["zstd"])[0] is Reason.BAD_ENCODING
    squeeze = zstd.ZstdCompressor(options={int(zstd.CompressionParameter.window_log): 23})
    assert decode(squeeze.compress(bytes(100)) + squeeze.flush(), ["zstd"], 100) == bytes(100)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
async def test_others_get_a_turn_every_256_kib_and_between_members(coding: str) -> None:
    """However small the body is: 16 KiB of gzip may stand for 16 MiB."""
    size = 4 * 1024 * 1024
    for body in (bytes(size), BODY.hex().encode() * 210):
        turns = await turns_during(decode_large(CODINGS[coding](body[:size]), [coding], size, Slices(0)))
        assert turns >= 2 * 16
    if coding != "deflate":
        assert await turns_during(decode_large(CODINGS[coding](b"{}") * 100, [coding], size, Slices(0))) >= 2 * 100


@given(size=st.integers(0, 3_000), cut=st.integers(1, 100), fill=st.sampled_from([b"\0", BODY[:7], BODY]))
def test_what_is_decompressed_in_pieces_is_all_there_and_what_is_cut_short_is_not(
    size: int, cut: int, fill: bytes
) -> None:
    """Wherever a piece of the output ends: a decompressor may hold back some of it when its input is used up."""
    body = (fill * (size // len(fill) + 1))[:size]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_DECOMPRESSED", 64)
        patch.setattr(encoding, "_PIECE", 16)
        for coding, make in CODINGS.items():
            sent = make(body)
            assert decode(sent, [coding], size) == body
            assert decode(sent + make(b"x"), [coding], size + 1) == body + b"x"
            assert refusal(sent[: -min(cut, len(sent) - 1)], [coding])[0] is Reason.BAD_ENCODING
