"""Percent-decoding: short and long texts, alone and many escapes, give what decoding byte by byte gives."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from worker.lookups.escapes import decoded
from worker.lookups.paths import canonical

_PIECES = st.sampled_from(
    ["%41", "%c3", "%A9", "%2f", "%", "%z", "%4", "a", "é", "/", "中", "%ED%A0%80", "\ufffd", ".", "%2e"]
)
TEXTS = st.lists(_PIECES, max_size=200).map("".join)


def by_bytes(text: str) -> str:
    """The plainest way: each escape is its byte, each other character its UTF-8."""
    found = re.findall("%[0-9A-Fa-f]{2}|.", text)
    bytes_ = (bytes.fromhex(one[1:]) if len(one) == 3 else one.encode() for one in found)
    return b"".join(bytes_).decode(errors="replace")


@given(TEXTS)
def test_texts_of_any_length_are_decoded_like_bytes(text: str) -> None:
    assert decoded(text) == by_bytes(text)
    assert decoded(text * 20) == by_bytes(text * 20)


@given(TEXTS)
def test_a_canonical_path_is_canonical_and_means_the_same(text: str) -> None:
    path = canonical("/" + text)

    assert canonical(path) == path
    if "." not in by_bytes(text):  # without dot segments
        assert decoded(path) == by_bytes("/" + text)


def test_a_lone_surrogate_is_no_error() -> None:
    assert decoded("\ud800%41" * 100).count("A") == 100
