"""Gateway and worker on this machine, if they run here: what their private ports say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import aiohttp

from deploy.observe.context import Context
from deploy.observe.finding import Finding, error

_SECONDS: Final = 3.0
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where they listen, not where this listens


async def check(context: Context) -> AsyncIterator[Finding]:
    """Yield why a process that runs is not ready; one that does not run here may run elsewhere."""
    for name, settings in (("gateway", context.gateway), ("worker", context.worker)):
        if settings is None or not settings.admin_port:
            continue
        host = _LOOPBACK.get(settings.admin_host, settings.admin_host)
        answer = await _ready(f"[{host}]" if ":" in host else host, settings.admin_port)
        if answer is not None:
            yield error("processes", f"the {name} is not ready: {answer}", f"see the {name}'s log")


async def _ready(host: str, port: int) -> str | None:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as session,
            session.get(f"http://{host}:{port}/readyz") as answer,
        ):
            return None if answer.status == 200 else (await answer.text()).strip()[:200]
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None
