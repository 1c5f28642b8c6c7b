"""From a delivered message to the result of each of its pageviews."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from shared import refusals
from shared.clocks import MAX_DIFFERENCE_S, Clocks
from shared.message import MAX_PAGEVIEWS, Headers, NewerSchema, open_body, read_headers
from shared.outcomes import Outcome
from shared.pageview import QueuedPageview, Unparseable, parse, unpack
from shared.refusals import Refusal
from shared.seal import Opener, Unopenable
from worker.consume.registry_gate import RegistryGate
from worker.delivery import LATEST_MS, NIL, Delivery, PageviewOutcome, Poison, ProcessedMessage, accepted_at
from worker.drop import Drop
from worker.lookups.salts import SaltNotReady
from worker.pipeline import Steps, process
from worker.row import Row

log = logging.getLogger(__name__)

#: Failures of this machine rather than of a pageview: a full disk, a registry file or a salt that can't be read.
_LOCAL_FAILURES: Final = (sqlite3.Error, OSError, MemoryError, SaltNotReady)

#: How long pageviews of one message are processed before others get their turn.
_LONGEST_SLICE_S: Final = 0.01
_AGREE_MS: Final = int(MAX_DIFFERENCE_S * 1000)


class CannotProcessNow(Exception):
    """A failure of this machine, not of the message, which can be processed later as if it had never been tried."""


class PipelineFailed(Exception):
    """A step raised an error on one pageview: a defect of Hitline, which must not hold up the other pageviews."""


class OpenedMessage(NamedTuple):
    """A message that has been opened; its items are not parsed yet."""

    delivery: Delivery
    headers: Headers
    items: tuple[Any, ...]
    #: Bytes of the opened body.
    size: int
    opener: Opener


class Processor:
    """Opens messages and takes their pageviews through the pipeline, once the registry is new enough."""

    def __init__(self, opener: Opener, steps: Steps, gate: RegistryGate, clocks: Clocks) -> None:
        self._opener = opener
        self._steps = steps
        self._gate = gate
        self._clocks = clocks

    async def process(self, delivery: Delivery, when_ready: Callable[[], None]) -> ProcessedMessage | None:
        """Return the results of a message, or None when it can't be processed yet.

        In that case `when_ready` is called once it is worth trying again.  A message that can't be opened needs no
        registry, so it never waits.  Raises `NewerSchema` for a message that only a newer worker can open.
        """
        opened = open_message(delivery, self._opener)
        if isinstance(opened, ProcessedMessage):
            return opened
        if self._gate.allows(opened.headers.registry_version):
            try:
                processed = await process_message(opened, self._steps, self._clocks)
            except CannotProcessNow as error:
                log.debug("cannot process a message now: %s", error)
            else:
                self._gate.resume()
                return processed
        self._gate.refresh(when_ready)
        return None


def open_message(delivery: Delivery, opener: Opener) -> OpenedMessage | ProcessedMessage:
    """Open a message; one that can't be opened is poison as a whole.  Raises `NewerSchema`."""
    try:
        headers = read_headers(delivery)
        body = open_body(delivery, headers, opener)
        items = unpack(body)
        if len(items) != headers.pageviews:
            raise Unparseable(f"{len(items)} pageviews instead of {headers.pageviews}")
    except NewerSchema:
        raise
    except (Unopenable, Unparseable) as error:
        return _unopenable(delivery, str(error))
    return OpenedMessage(delivery, headers, items, len(body), opener)


def _items(delivery: Delivery, headers: Headers, opener: Opener) -> tuple[Any, ...]:
    """Return the items of a message that was opened before."""
    return unpack(open_body(delivery, headers, opener))


async def process_message(opened: OpenedMessage, steps: Steps, clocks: Clocks) -> ProcessedMessage:
    """Take each pageview through the pipeline; one that fails becomes poison.  Raises `CannotProcessNow`.

    A pageview that was received in the future by all of `clocks` is counted as of now: its gateway's clock is wrong.

    Yields to the loop now and then, so that heartbeats and acknowledgements never wait for a message of expensive
    pageviews.
    """
    rows: dict[int, Row] = {}
    outcomes: dict[int, PageviewOutcome] = {}
    poison: list[Poison] = []
    times = []
    stored = PageviewOutcome(0, NIL, NIL, Outcome.STORED)
    yield_at = time.monotonic() + _LONGEST_SLICE_S
    latest_ms = clocks.latest_ms()
    ahead_ms = 0
    for position, item in enumerate(opened.items, opened.headers.first_position):
        if time.monotonic() >= yield_at:
            await asyncio.sleep(0)
            yield_at = time.monotonic() + _LONGEST_SLICE_S
        try:
            pageview = _parse(item, opened.headers.schema)
            times.append(pageview.timestamp_ms)
            result = _run_pipeline(pageview, steps)
        except (Unparseable, PipelineFailed) as error:
            poison.append(Poison(position, item, str(error)))
            outcomes[position] = _dead_lettered(item)
            continue
        ahead_ms = pageview.received_ms - latest_ms
        minute = (latest_ms if ahead_ms > _AGREE_MS else pageview.received_ms) // 60_000 * 60
        if isinstance(result, Drop):
            outcomes[position] = PageviewOutcome(minute, result.site_id or NIL, pageview.client_id, result.reason)
        else:
            rows[position] = result
            # Nearly all of a message have the same.
            if stored[:3] != (minute, result.site.site_id, pageview.client_id):
                stored = PageviewOutcome(minute, result.site.site_id, pageview.client_id, Outcome.STORED)
            outcomes[position] = stored
    if opened.items:
        clocks.received(ahead_ms / 1000)
        refused = dict[Refusal, int]()
    else:
        refused = _not_of_the_future(refusals.read(opened.delivery.headers), latest_ms)
    return ProcessedMessage(
        opened.delivery, opened.headers, rows, outcomes, tuple(poison), opened.size, tuple(times), refused,
        partial(_items, opened.delivery, opened.headers, opened.opener),
    )  # fmt: skip


def _not_of_the_future(refused: Mapping[Refusal, int], latest_ms: int) -> dict[Refusal, int]:
    """Return the counts, those of a gateway whose clock is ahead under the present minute."""
    counts: Counter[Refusal] = Counter()
    for refusal, count in refused.items():
        ahead = refusal.minute * 1000 - latest_ms > _AGREE_MS
        counts[refusal._replace(minute=latest_ms // 60_000 * 60) if ahead else refusal] += count
    return counts


def _parse(item: Any, schema: int) -> QueuedPageview:
    pageview = parse(item, schema)
    if not 0 <= pageview.received_ms <= LATEST_MS:
        raise Unparseable("received_ms is beyond any clock")
    if not 0 <= pageview.timestamp_ms <= LATEST_MS:  # the gateway takes 1990 to tomorrow
        raise Unparseable("timestamp_ms is out of range")
    return pageview


def _run_pipeline(pageview: QueuedPageview, steps: Steps) -> Row | Drop:
    try:
        return process(pageview, steps)
    except _LOCAL_FAILURES as error:
        raise CannotProcessNow(type(error).__name__) from error
    except Exception as error:
        raise PipelineFailed(f"pipeline failed: {type(error).__name__}") from error


def _dead_lettered(item: Any) -> PageviewOutcome:
    """Return the outcome of a pageview that can't be processed: minute and client if they can be read."""
    client_id, received_ms = item[:2] if type(item) is tuple and len(item) >= 2 else (NIL, 0)
    if type(client_id) is not bytes or len(client_id) != 16:
        client_id = NIL
    if type(received_ms) is not int or not 0 <= received_ms <= LATEST_MS:
        received_ms = 0
    return PageviewOutcome(received_ms // 60_000 * 60, NIL, client_id, Outcome.DEAD_LETTERED)


def _unopenable(delivery: Delivery, reason: str) -> ProcessedMessage:
    """Turn a whole message into poison; it counts as the number of pageviews in its headers, and at least as one."""
    count = delivery.headers.get("pageviews") if delivery.headers else None
    if type(count) is not int or not 0 < count <= MAX_PAGEVIEWS:
        count = 1
    minute = int(accepted_at(delivery).timestamp()) // 60 * 60
    outcome = PageviewOutcome(minute, NIL, NIL, Outcome.DEAD_LETTERED)
    outcomes = dict.fromkeys(range(count), outcome)
    poison = (Poison(None, None, reason),)
    return ProcessedMessage(delivery, None, {}, outcomes, poison, size=len(delivery.body))
