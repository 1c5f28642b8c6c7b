"""Ids for pageviews that came without: random, or derived where a repeated request must produce the same ones.

Derived ids are keyed (HMAC-SHA-256 with `HITLINE_ID_SECRET`): they are computed from content that includes the
visitor's address, and an unkeyed hash could be brute-forced over all of IPv4.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Final

from gateway.validate import PageviewRequest

_SESSION: Final = b"session of page\0"
_ITEM: Final = b"idempotent item\0"


def random_id() -> bytes:
    """Return a random UUID (version 4) as 16 bytes; `uuid4().bytes` takes three times as long."""
    return _marked(os.urandom(16), 0x40)


def _marked(raw: bytes, version: int) -> bytes:
    """Set the version and variant bits of RFC 9562."""
    return raw[:6] + bytes((raw[6] & 0x0F | version,)) + raw[7:8] + bytes((raw[8] & 0x3F | 0x80,)) + raw[9:]


class Ids:
    """Gives each pageview its session and page id."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def of(self, pageview: PageviewRequest, client_id: bytes) -> tuple[bytes, bytes]:
        """Return (session id, page id), as sent or generated.

        A missing session id is derived from a given page id, so that a retry with the same `page_id` stores nothing
        twice.
        """
        page_id = pageview.page_id
        session_id = pageview.session_id
        if session_id is None:
            session_id = random_id() if page_id is None else self._derive(_SESSION, client_id, page_id)
        return session_id, page_id or random_id()

    def derived(
        self, pageview: PageviewRequest, client_id: bytes, key: bytes, content: bytes, occurrence: int
    ) -> tuple[bytes, bytes]:
        """Return (session id, page id), missing ones derived from the `Idempotency-Key` and the item's content.

        `occurrence` numbers equal items of one request.  Unlike an item's index it is the same in a retry, as clients
        resend without the items that were rejected.
        """
        seed = self._derive(_ITEM, client_id, key, content, occurrence.to_bytes(4, "big"))
        page_id = pageview.page_id or self._derive(b"page\0", seed)
        session_id = pageview.session_id
        if session_id is None:
            parts = (_SESSION, client_id, page_id) if pageview.page_id else (b"session\0", seed)
            session_id = self._derive(*parts)
        return session_id, page_id

    def _derive(self, *parts: bytes) -> bytes:
        # Each part is prefixed with its length, so that no two lists of parts give the same text.
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return _marked(hmac.digest(self._secret, text, hashlib.sha256)[:16], 0x80)
