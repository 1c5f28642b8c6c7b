"""What both endpoints share: find the API client, and turn one JSON value into a packed pageview for the queue."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import Final

from aiohttp.web_request import BaseRequest
from multidict import istr

from gateway.authenticate import ClientAddress, authenticate
from gateway.authorize import authorize
from gateway.fields import ABSENT
from gateway.ids import Ids
from gateway.json_text import Parsed
from gateway.rate_limit import RateLimiter
from gateway.registry_age import RegistryAge
from gateway.replies import Reason, Rejected
from gateway.validate import PageviewRequest, validate
from shared import pageview
from shared.clocks import Clocks
from shared.registry import Client, Replica

#: An `Idempotency-Key`: 1 to 255 printable ASCII characters, no space at either end.
KEY_PATTERN: Final = "[!-~](?:[ -~]{0,253}[!-~])?"
_KEY: Final = re.compile(KEY_PATTERN)
_KEY_HEADER: Final = istr("Idempotency-Key")
_NIL: Final = bytes(16)


class IdempotencyKey:
    """The `Idempotency-Key` of one request, and how often each content has occurred in that request so far."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self._seen: Counter[bytes] = Counter()

    def occurrence(self, content: bytes) -> int:
        """Count one more item with this content; returns its number among equal ones, from 1."""
        digest = hashlib.blake2b(content, digest_size=16).digest()  # the contents of a batch are as large as the batch
        self._seen[digest] += 1
        return self._seen[digest]


class Intake:
    """Authenticates requests, and validates, authorizes and packs pageviews one JSON value at a time."""

    def __init__(
        self,
        registry: Replica,
        age: RegistryAge,
        limiter: RateLimiter,
        client_address: ClientAddress,
        ids: Ids,
        clocks: Clocks,
    ) -> None:
        self._registry = registry
        self._registry_age = age
        self._limiter = limiter
        self._client_address = client_address
        self._ids = ids
        self._clocks = clocks

    async def client_of(self, request: BaseRequest) -> Client:
        """Return the API client; a request with a wrong token counts against its address's failure limit."""
        if self._registry_age.rested():
            await self._registry_age.refresh()
        try:
            return authenticate(request, self._registry, self._registry_age)
        except Rejected as rejected:
            if rejected.reason is Reason.BAD_TOKEN:
                await self._limiter.charge_failure(self._client_address.of(request))
            raise

    @staticmethod
    def idempotency_key(request: BaseRequest) -> IdempotencyKey | None:
        """Return the request's `Idempotency-Key`, if any; raises `Rejected` (400) for a malformed one."""
        key = request.headers.get(_KEY_HEADER)
        if key is None:
            return None
        if _KEY.fullmatch(key) is None:
            raise Rejected(Reason.INVALID, "Idempotency-Key: must be 1 to 255 printable ASCII characters")
        return IdempotencyKey(key.encode())

    def pack(self, parsed: Parsed, client: Client, received_ms: int, idempotency_key: IdempotencyKey | None) -> bytes:
        """Validate, authorize and pack one pageview; raises `Rejected` (400, 404, 403)."""
        # A 400 is not repeated: a pageview of the future must be one by every clock.
        checked = validate(parsed.value, received_ms + self._clocks.behind_ms, repaired=parsed.repaired)
        authorize(checked.url.hostname, client, self._registry)
        if idempotency_key is None:
            session_id, page_id = self._ids.of(checked, client.client_id)
        else:
            # From the validated values, so that it does not depend on how the JSON is written.
            ids = (checked.session_id or _NIL, checked.page_id or _NIL)
            # In the first version's form, which gateways of every version make, so that all derive the same ids.
            content = pageview.pack_item(pageview.to_item(to_queued(checked, client.client_id, 0, *ids, whole=True), 1))
            occurrence = idempotency_key.occurrence(content)
            session_id, page_id = self._ids.derived(checked, client.client_id, idempotency_key.key, content, occurrence)
        return pageview.pack(to_queued(checked, client.client_id, received_ms, session_id, page_id))


def to_queued(
    checked: PageviewRequest,
    client_id: bytes,
    received_ms: int,
    session_id: bytes,
    page_id: bytes,
    *,
    whole: bool = False,
) -> pageview.QueuedPageview:
    """Return a validated pageview in the form that goes into the queue: absent values are empty or 0, long text cut.

    `whole`: text is as long as it was sent, so that ids that are derived from it are those of every version.
    """
    url, user_agent = checked.url.text, checked.user_agent
    referrer, language = _text(checked.referrer), _text(checked.language)
    if not whole:
        url, user_agent = url[: pageview.LONGEST_URL], user_agent[: pageview.LONGEST_AGENT]
        referrer, language = referrer[: pageview.LONGEST_REFERRER], language[: pageview.LONGEST_LANGUAGE]
    return pageview.QueuedPageview(
        client_id,
        received_ms,
        checked.url.hostname,
        url,
        checked.timestamp,
        checked.visitor_ip,
        user_agent,
        bool(checked.dnt),
        session_id,
        page_id,
        referrer,
        language,
        checked.screen_width or 0,
        checked.screen_height or 0,
        checked.viewport_width or 0,
        checked.viewport_height or 0,
        checked.session_id is not None,
    )


def _text(value: str | None) -> str:
    return "" if value is None or value.strip() == ABSENT else value
