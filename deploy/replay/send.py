"""Posting batches until each item has its final answer, through errors and outages.

Every item has its own ids, so a batch whose answer was lost is sent again as it is, and stores nothing twice.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import aiohttp
import orjson

BATCH_PATH: Final = "/api/ingest/server/pageviews"
#: Longer than the gateway needs for a full batch while its broker does not confirm.
_TIMEOUT_S: Final = 60.0
_FIRST_BACKOFF_S: Final = 0.25
_MAX_BACKOFF_S: Final = 30.0
#: Statuses that no repetition changes, and that are the same for every batch.
_HOPELESS: Final = frozenset({401, 403, 404, 405, 415, 417})
#: Answers that may be the fault of a single item which they do not name.
_DIVISIBLE: Final = frozenset({202, 400, 403, 404, 413})


class Answer(NamedTuple):
    """The final answer for one item: 202, or why not."""

    status: int
    message: str = ""


class GatewayError(Exception):
    """Nothing can be sent; the text says why and what to do."""


class Sender:
    """Sends batches to one gateway; what makes one wait makes all wait."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, *, compress: bool, give_up_s: float | None,
        note: Callable[[str], None],
    ) -> None:  # fmt: skip
        """`note` is called with the reason for a pause, and with an empty text when it is over."""
        self._session = session
        self._url = url.rstrip("/") + BATCH_PATH
        self._compress = compress
        self._give_up_s = give_up_s
        self._note = note
        self._open_at = 0.0
        self._failing_since: float | None = None

    async def send(self, items: Sequence[bytes]) -> list[Answer]:
        """Return each item's final answer; raises `GatewayError`."""
        answers: dict[int, Answer] = {}
        waiting = [(index, item) for index, item in enumerate(items)]
        failures = 0
        while waiting:
            await self._gate()
            status, headers, body = await self._post([item for _, item in waiting])
            final = _final(status, body, len(waiting))
            if final is None and status in _DIVISIBLE:
                if len(waiting) > 1:
                    return await self._halves(items, answers, waiting)
                final = {0: Answer(status, _message(body))}
            if final:
                self._succeeded()
                failures = 0
            else:
                failures += 1
            for place, answer in (final or {}).items():
                answers[waiting[place][0]] = answer
            waiting = [each for each in waiting if each[0] not in answers]
            if waiting:
                self._pause(status, headers, body, failures)
        return [answers[index] for index in range(len(items))]

    async def _halves(
        self, items: Sequence[bytes], answers: dict[int, Answer], waiting: list[tuple[int, bytes]]
    ) -> list[Answer]:
        """Send what waits in two parts: too large, or refused without a word on which item is meant."""
        middle = len(waiting) // 2
        for half in (waiting[:middle], waiting[middle:]):
            found = await self.send([item for _, item in half])
            answers.update((index, answer) for (index, _), answer in zip(half, found, strict=True))
        return [answers[index] for index in range(len(items))]

    async def _gate(self) -> None:
        """Wait until no `Retry-After` is pending."""
        left = self._open_at - time.monotonic()
        while left > 0:  # it may have been put off meanwhile
            await asyncio.sleep(left)
            left = self._open_at - time.monotonic()

    async def _post(self, items: list[bytes]) -> tuple[int, Any, bytes]:
        """Return (status, headers, body); status 0 where there was no answer."""
        body = b"\n".join(items)
        headers = {"Content-Type": "application/x-ndjson"}
        if self._compress:
            body = gzip.compress(body, 1)
            headers["Content-Encoding"] = "gzip"
        try:
            async with self._session.post(
                self._url, params={"errors": "all"}, data=body, headers=headers, allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            ) as answer:  # fmt: skip
                status, read = answer.status, await answer.read()
                headers = dict(answer.headers.items())
        except aiohttp.InvalidURL:
            raise GatewayError("the gateway's address is not a URL: it must look like http://127.0.0.1:8080") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return 0, {}, type(error).__name__.encode()
        if (status in _HOPELESS or 300 <= status < 400) and b'"accepted"' not in read:
            raise GatewayError(_hopeless(status, read))
        return status, headers, read

    def _succeeded(self) -> None:
        if self._failing_since is not None:
            self._failing_since = None
            self._note("")

    def _pause(self, status: int, headers: dict[str, str], body: bytes, failures: int) -> None:
        """Make everybody wait as long as the answer says, or longer with each failure."""
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        backoff = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** min(failures, 10)) * random.uniform(0.5, 1)
        wait_s = _retry_after_s(headers)
        reason = f"HTTP {status}: {_message(body)}" if status else f"no answer ({body.decode()})"
        reason = "a part was not taken" if status == HTTPStatus.ACCEPTED else reason
        if self._give_up_s is not None and now - self._failing_since > self._give_up_s:
            raise GatewayError(f"gave up after {self._give_up_s:g} s: {reason}; run again to go on")
        self._open_at = max(self._open_at, now + (backoff if wait_s is None else wait_s))
        self._note(f"waiting {self._open_at - now:.0f} s, {reason}")


def _final(status: int, body: bytes, items: int) -> dict[int, Answer] | None:
    """Return the answers that are final, by position; None if the answer does not list single items."""
    if status in (0, 408, 429) or (status >= 500 and status != HTTPStatus.SERVICE_UNAVAILABLE):
        return None
    try:
        result = orjson.loads(body)
        listed = {int(each["index"]): Answer(int(each["status"]), str(each["message"])) for each in result["errors"]}
        accepted, rejected = int(result["accepted"]), int(result["rejected"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        if status == HTTPStatus.ACCEPTED:
            raise GatewayError("what answers is not a Hitline gateway with the batch endpoint") from None
        return None
    if len(listed) != rejected or accepted + rejected != items:
        return None
    every = {place: listed.get(place, Answer(202)) for place in range(items)}
    return {place: answer for place, answer in every.items() if answer.status not in (408, 429) and answer.status < 500}


def _hopeless(status: int, body: bytes) -> str:
    what = {
        401: "the token is missing, unknown or revoked: set HITLINE_TOKEN",
        404: "there is no batch endpoint at this address",
    }.get(status, "nothing can be sent")
    return f"HTTP {status}: {what} ({_message(body)})"


def _message(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["message"])[:200]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "no message"


def _retry_after_s(headers: dict[str, str]) -> float | None:
    """Return what `Retry-After` says (RFC 9110, section 10.2.3: seconds, or a date), None without it."""
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
