"""Sealing of message bodies."""

from __future__ import annotations

import os
import re
from functools import partial

import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from shared import seal
from shared.seal import Opener, Sealer, Unopenable, key_id

OLD, NEW, OTHER = bytes(32), b"\x01" * 32, b"\x02" * 32
#: Sealed under NEW by the first release: a queue may hold such for as long as Hitline has been down.
SEALED_BEFORE = bytes.fromhex(
    "0192702ab47fd8cc73ae5e27f6cc049fcf7536237a3329f0a0997762b2805c6604e3b04cf9e515dabe5eaab8a77d9953466ab5bd1668de6e1f"
    "70d76aa33bcd565fb82b9773d67a7eec91e7d9a71120"
)


def sealed_frame(frame: bytes) -> bytes:
    """Seal a frame of zstd as it is, by the format in the module's docstring."""
    salt, nonce = bytes(16), bytes(12)
    key = HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"hitline queue body").derive(NEW)
    return b"\x01" + key_id(NEW) + salt + nonce + AESGCM(key).encrypt(nonce, frame, b"")


@given(st.binary(max_size=4096), st.binary(max_size=64))
def test_what_was_sealed_opens_with_the_same_headers(body: bytes, headers: bytes) -> None:
    assert Opener([NEW]).open(Sealer([NEW]).seal(body, headers), headers) == body


@given(st.binary(min_size=1, max_size=200), st.data())
def test_one_flipped_bit_anywhere_is_refused(body: bytes, data: st.DataObject) -> None:
    sealed = bytearray(Sealer([NEW]).seal(body, b"headers"))
    place = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[place // 8] ^= 1 << place % 8
    with pytest.raises(Unopenable):
        Opener([NEW]).open(bytes(sealed), b"headers")


@given(st.integers(0, 200))
def test_a_body_cut_short_is_refused(length: int) -> None:
    sealed = Sealer([NEW]).seal(b"x" * 300, b"")
    with pytest.raises(Unopenable):
        Opener([NEW]).open(sealed[: min(length, len(sealed) - 1)], b"")


@given(st.binary(max_size=100))
def test_any_other_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(Unopenable):
        Opener([NEW]).open(body, b"")


def test_other_headers_are_refused() -> None:
    with pytest.raises(Unopenable, match="altered"):
        Opener([NEW]).open(Sealer([NEW]).seal(b"body", b"headers"), b"other headers")


def test_the_first_key_seals_and_all_open() -> None:
    rotated = Opener([NEW, OLD])
    assert rotated.open(Sealer([OLD]).seal(b"before", b""), b"") == b"before"
    assert rotated.open(Sealer([NEW, OLD]).seal(b"after", b""), b"") == b"after"
    with pytest.raises(Unopenable, match="HITLINE_QUEUE_KEYS"):
        Opener([OLD]).open(Sealer([NEW, OLD]).seal(b"after", b""), b"")


def test_an_unknown_key_is_named_without_telling_of_it() -> None:
    sealed = Sealer([OTHER]).seal(b"body", b"")
    with pytest.raises(Unopenable) as refused:
        Opener([NEW]).open(sealed, b"")
    assert key_id(OTHER).hex() in str(refused.value)
    assert OTHER.hex() not in str(refused.value)


def test_no_two_messages_share_a_nonce_under_one_subkey() -> None:
    sealers = [Sealer([NEW]) for _ in range(3)]
    heads = {sealer.seal(b"same", b"")[9:37] for sealer in sealers for _ in range(100)}
    assert len(heads) == 300, "salt and nonce together"


@pytest.mark.processes
def test_a_process_resumed_twice_repeats_no_nonce() -> None:
    sealer = Sealer([NEW])
    sealer.seal(b"before the snapshot", b"")
    read_end, write_end = os.pipe()
    if (child := os.fork()) == 0:  # the same memory twice, as after a snapshot of a virtual machine
        os.write(write_end, sealer.seal(b"body", b"")[9:37])
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read_end, 28)
    os.close(read_end)
    os.close(write_end)
    assert len(theirs) == 28
    assert sealer.seal(b"body", b"")[9:37] != theirs


def test_a_subkey_is_renewed_and_what_either_sealed_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.seal._MESSAGES_PER_SUBKEY", 2)
    sealer = Sealer([NEW])
    sealed = [sealer.seal(b"body", b"") for _ in range(5)]
    assert len({each[9:25] for each in sealed}) == 3
    assert [Opener([NEW]).open(each, b"") for each in sealed] == [b"body"] * 5


def test_a_body_is_nowhere_in_its_sealed_form() -> None:
    address = b"203.0.113.77"
    sealed = Sealer([NEW]).seal(address * 3, address)
    assert address not in sealed
    assert bytes((203, 0, 113, 77)) not in sealed


def test_a_body_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.seal.MAX_OPENED_BYTES", 1024)
    with pytest.raises(Unopenable, match="decompresses to more"):
        Opener([NEW]).open(Sealer([NEW]).seal(bytes(2048), b""), b"")


@pytest.mark.parametrize(
    ("more", "refused"),
    [(1, "body decompresses to more than any gateway sends"), (0, None)],
)
@pytest.mark.parametrize("stated", [True, False])
def test_a_body_may_unpack_to_the_limit_whether_it_states_its_size_or_not(
    monkeypatch: pytest.MonkeyPatch, more: int, refused: str | None, stated: bool
) -> None:
    monkeypatch.setattr("shared.seal.MAX_OPENED_BYTES", 1024)
    body = bytes(1024 + more)
    frame = zstandard.ZstdCompressor(write_content_size=stated).compress(body)
    opened = partial(Opener([NEW]).open, sealed_frame(frame), b"")
    if refused is None:
        assert opened() == body
        return
    with pytest.raises(Unopenable, match=f"^{refused if stated else 'body does not decompress'}$"):
        opened()


@pytest.mark.parametrize("frame", [b"no zstd at all", zstandard.compress(b"body") + b"x"])
def test_what_is_no_frame_or_more_than_one_is_refused(frame: bytes) -> None:
    with pytest.raises(Unopenable, match=r"^body does not decompress$"):
        Opener([NEW]).open(sealed_frame(frame), b"")


def test_what_an_earlier_version_sealed_opens() -> None:
    assert Opener([NEW]).open(SEALED_BEFORE, b"headers") == b"body of a message"
    assert key_id(NEW).hex() == "92702ab47fd8cc73"


def test_each_refusal_says_why_and_nothing_of_the_body() -> None:
    sealed = Sealer([NEW]).seal(b"body", b"")
    for body, why in (
        (sealed[:52], "body is cut short or has an unknown seal version"),
        (b"\x02" + sealed[1:], "body is cut short or has an unknown seal version"),
        (sealed[:53], "body or headers were altered or cut short"),  # 16 bytes of a tag, and no body
        (sealed[:-1], "body or headers were altered or cut short"),
    ):
        with pytest.raises(Unopenable, match=f"^{re.escape(why)}$"):
            Opener([NEW]).open(body, b"")


def test_limits_are_those_that_were_reasoned_about() -> None:
    assert seal._MESSAGES_PER_SUBKEY == 2**24
    assert seal.MAX_OPENED_BYTES == 64 * 1024 * 1024
    assert Opener([NEW])._cipher.cache_info().maxsize == 4096
