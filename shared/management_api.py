"""RabbitMQ's management API: policies, alarms, bindings and the broker's clock are told nowhere else."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

_SECONDS: Final = 5.0


class Unanswered(Exception):
    """The API can't be used; the message says why, and quotes no password."""


class ManagementApi:
    """Asks the API at `http[s]://user:password@host:15672`; the user needs the tag `monitoring`, and no permission.

    Use it as a context manager.  All methods raise `Unanswered`.
    """

    def __init__(self, address: str | URL) -> None:
        url = URL(address)
        self._base = f"{url.with_user(None)}".rstrip("/")
        login = url.user or "guest", url.password or "guest"
        self._headers = {"Authorization": aiohttp.encode_basic_auth(*login)}
        self._session: aiohttp.ClientSession | None = None
        #: The broker's time at its last answer, in seconds since the epoch, and how far ahead of this machine's it was.
        self.clock_s: float | None = None
        self.ahead_s = 0.0

    async def __aenter__(self) -> ManagementApi:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def queue(self, vhost: str, name: str) -> dict[str, Any] | None:
        """Return what the broker tells of a queue, None if there is none."""
        found: dict[str, Any] | None = await self.get(f"/api/queues/{quote(vhost, safe='')}/{quote(name, safe='')}")
        return found

    async def get(self, path: str) -> Any:
        """Return what is at the path, or None if there is nothing."""
        if self._session is None:
            raise RuntimeError("use it as a context manager")
        try:
            async with self._session.get(URL(self._base + path, encoded=True), headers=self._headers) as answer:
                if date := answer.headers.get("Date"):
                    self.clock_s = parsedate_to_datetime(date).timestamp()
                    self.ahead_s = self.clock_s - time.time()
                if answer.status == 404:
                    return None
                if answer.status != 200:
                    raise Unanswered(f"it answers {answer.status}: the user needs the tag monitoring")
                return await answer.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unanswered(type(error).__name__) from None
