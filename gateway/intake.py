"""What both endpoints do: tell the client, and turn one JSON value into a pageview ready for the queue."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

from aiohttp.web_request import BaseRequest

from gateway.authenticate import Caller, authenticate
from gateway.authorize import authorize
from gateway.ids import Ids
from gateway.rate_limit import RateLimiter
from gateway.replies import Reason, Rejected
from gateway.validate import MAX_BODY_BYTES, PageviewRequest, validate
from shared import pageview
from shared.registry import Client, Replica

#: An `Idempotency-Key`: 1 to 255 printable ASCII characters, no space at either end.
KEY_PATTERN: Final = "[!-~](?:[ -~]{0,253}[!-~])?"
_KEY: Final = re.compile(KEY_PATTERN)
_NIL: Final = bytes(16)
#: A pageview of the largest body allowed has its hostname once more in the queue, and ids of its own.
_MAX_PACKED_BYTES: Final = MAX_BODY_BYTES + 1024


class Repeatable:
    """The `Idempotency-Key` of one request, and how often each content has occurred in it so far."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._seen: Counter[bytes] = Counter()

    def occurrence(self, content: bytes) -> int:
        """Return the number of this content among equal ones so far, from 1."""
        self._seen[content] += 1
        return self._seen[content]


class Intake:
    """Tells clients apart and checks pageviews, one JSON value at a time."""

    def __init__(self, registry: Replica, limiter: RateLimiter, caller: Caller, ids: Ids) -> None:
        self._registry = registry
        self._limiter = limiter
        self._caller = caller
        self._ids = ids

    async def client_of(self, request: BaseRequest) -> Client:
        """Return the API client; one without a valid token is charged to its address's limit first."""
        try:
            return authenticate(request, self._registry)
        except Rejected as rejected:
            if rejected.reason is Reason.BAD_TOKEN:
                await self._limiter.charge_failure(self._caller.address(request))
            raise

    @staticmethod
    def repeatable(request: BaseRequest) -> Repeatable | None:
        """Return the request's `Idempotency-Key`, if any; raises `Rejected` (400) for a malformed one."""
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return None
        if _KEY.fullmatch(key) is None:
            raise Rejected(Reason.INVALID, "Idempotency-Key: must be 1 to 255 printable ASCII characters")
        return Repeatable(key.encode())

    def pack(self, value: Any, client: Client, received_ms: int, repeatable: Repeatable | None) -> bytes:
        """Validate, authorize and pack one pageview; raises `Rejected` (400, 404, 403)."""
        checked = validate(value, received_ms)
        authorize(checked.url.hostname, client, self._registry)
        if repeatable is None:
            session_id, page_id = self._ids.of(checked, client.client_id)
        else:
            # Checked and with nothing of its own, so that it is the same however its JSON is written.
            ids = (checked.session_id or _NIL, checked.page_id or _NIL)
            content = pageview.pack(to_queued(checked, client.client_id, 0, *ids))
            occurrence = repeatable.occurrence(content)
            session_id, page_id = self._ids.of_repeatable(
                checked, client.client_id, repeatable.key, content, occurrence
            )
        packed = pageview.pack(to_queued(checked, client.client_id, received_ms, session_id, page_id))
        if len(packed) > _MAX_PACKED_BYTES:  # hidden in an item of a batch that was too deep to measure
            raise Rejected(Reason.TOO_LARGE, f"item: is over the limit of {MAX_BODY_BYTES} bytes")
        return packed


def to_queued(
    checked: PageviewRequest, client_id: bytes, received_ms: int, session_id: bytes, page_id: bytes
) -> pageview.QueuedPageview:
    """Return a checked pageview as it travels through the queue; what it does not have is empty or 0."""
    return pageview.QueuedPageview(
        client_id,
        received_ms,
        checked.url.hostname,
        checked.url.text,
        checked.timestamp,
        checked.visitor_ip,
        checked.user_agent,
        bool(checked.dnt),
        session_id,
        page_id,
        checked.referrer or "",
        checked.language or "",
        checked.screen_width or 0,
        checked.screen_height or 0,
        checked.viewport_width or 0,
        checked.viewport_height or 0,
    )
