"""Sealing of message bodies: a durable queue is a disk, and no visitor address may be on one unencrypted.

AES-256-GCM under a subkey that HKDF (RFC 5869) derives from a queue key and a random salt, and a random nonce for each
message.  A counter would repeat if a process is resumed twice from one snapshot, or forked: both continue from the same
count.  Random nonces limit the messages under one subkey (NIST SP 800-38D, 8.3), so a new one is derived in good time.

Sealed form, version 1:  1 byte version, 8 bytes key id, 16 bytes salt, 12 bytes nonce, ciphertext, 16 bytes tag.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION: Final = b"\x01"
_HEAD: Final = 1 + 8 + 16 + 12
#: Messages under one subkey.  Two of 2**24 random 96-bit nonces are equal with a chance of 2**-49; 8.3 asks for 2**-32.
_MESSAGES_PER_SUBKEY: Final = 2**24
#: Limit of a decompressed body; the gateway's own is far below, so no gateway made a larger one.
MAX_OPENED_BYTES: Final = 64 * 1024 * 1024


class Unopenable(ValueError):
    """A sealed body can't be opened; the message says why, without quoting any of it."""


def key_id(key: bytes) -> bytes:
    """Return the 8 bytes that identify `key` in a message without revealing anything about it."""
    return hashlib.sha256(b"hitline queue key id" + key).digest()[:8]


def key_names(keys: Sequence[bytes]) -> list[str]:
    """Return all keys' ids in hex; two processes of one instance share some, also while keys are changed."""
    return [key_id(key).hex() for key in keys]


def _subkey(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"hitline queue body").derive(key))


class Sealer:
    """Compresses and seals bodies with the first of the queue keys."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._key = keys[0]
        self.key_id = key_id(keys[0])
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._renew_subkey()

    def _renew_subkey(self) -> None:
        salt = os.urandom(16)
        self._prefix = _VERSION + self.key_id + salt
        self._cipher = _subkey(self._key, salt)
        self._left = _MESSAGES_PER_SUBKEY

    def seal(self, body: bytes, headers: bytes) -> bytes:
        """Return `body` compressed and sealed; opening it needs the same `headers` (authenticated, not hidden)."""
        if not self._left:
            self._renew_subkey()
        self._left -= 1
        nonce = os.urandom(12)
        return self._prefix + nonce + self._cipher.encrypt(nonce, self._compressor.compress(body), headers)


class Opener:
    """Opens bodies sealed with any of the queue keys."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {key_id(key): key for key in keys}
        # One entry for each subkey in use; deriving one costs more than opening a body with it.
        self._cipher = lru_cache(maxsize=4096)(self._derive)
        self._decompressor = zstandard.ZstdDecompressor()

    def _derive(self, name: bytes, salt: bytes) -> AESGCM:
        return _subkey(self._keys[name], salt)

    def open(self, sealed: bytes, headers: bytes) -> bytes:
        """Return the body that `Sealer.seal` was given; raises `Unopenable`."""
        if len(sealed) < _HEAD + 16 or sealed[:1] != _VERSION:
            raise Unopenable("body is cut short or has an unknown seal version")
        name, salt, nonce = sealed[1:9], sealed[9:25], sealed[25:_HEAD]
        if name not in self._keys:
            raise Unopenable(f"unknown key: {name.hex()} is not the id of any key in HITLINE_QUEUE_KEYS")
        try:
            packed = self._cipher(name, salt).decrypt(nonce, sealed[_HEAD:], headers)
        except InvalidTag:
            raise Unopenable("body or headers were altered or cut short") from None
        try:
            # `max_output_size` is ignored for a frame that states its size.
            if zstandard.frame_content_size(packed) > MAX_OPENED_BYTES:
                raise Unopenable("body decompresses to more than any gateway sends")
            return self._decompressor.decompress(packed, max_output_size=MAX_OPENED_BYTES, allow_extra_data=False)
        except zstandard.ZstdError:
            raise Unopenable("body does not decompress") from None
