"""The storage of shared rate limits, where one is set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from limits.storage import storage_from_string

from deploy.observe.context import Context
from deploy.observe.finding import Finding, warning

_SECONDS: Final = 3


async def check(context: Context) -> AsyncIterator[Finding]:
    """Yield whether Redis or Valkey answers."""
    url = context.gateway.rate_limit_storage if context.gateway else ""
    if not url:
        return
    storage = storage_from_string(url, socket_connect_timeout=_SECONDS, socket_timeout=_SECONDS)
    try:
        answers = await asyncio.to_thread(storage.check)
    except Exception:  # noqa: BLE001 - whatever the driver raises: it does not answer
        answers = False
    if not answers:
        problem = "the Redis of HITLINE_RATE_LIMIT_STORAGE does not answer: each gateway counts limits for itself"
        yield warning("limits", problem, "is it running, and is the URL right?")
