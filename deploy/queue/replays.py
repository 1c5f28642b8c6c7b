"""The outcomes of replayed dead letters, read from `outcomes_raw`, where workers count them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from shared.clickhouse import ClickHouse
from shared.clickhouse_client import table_of_lines
from shared.clickhouse_errors import failure_of
from worker.delivery import MessageKey

_POLL_S: Final = 0.5
#: Replayed letters whose outcomes are waited for at the same time.
MOST_PENDING: Final = 20_000
#: Rows of this version or a later one stand for messages that were folded into sums.
_FOLDED: Final = 1 << 63
_COUNTED: Final = """
SELECT batch_id, part, day, outcomes, counts FROM hitline.outcomes_raw FINAL
WHERE (day, batch_id, part) IN (SELECT day, batch_id, part FROM replayed)
    AND version > {since:UInt64} AND version < {folded:UInt64}
"""
STILL_QUEUED: Final = "still in the queue"


async def server_version(clickhouse: ClickHouse) -> int:
    """Return the version that a row written now would get; later rows have a greater one."""
    result = await clickhouse.query("SELECT toUnixTimestamp64Micro(now64(6))")
    version: int = result.result_rows[0][0]
    return version


class ReplayOutcomes:
    """Waits until replayed letters have been counted again, after version `since`, and reports each one's outcome.

    `report` is called with a letter's id and its outcome.  Letters that take longer than `wait_s` are reported as still
    in the queue: they will be counted later.  `warn` is told when ClickHouse does not answer, which ends nothing: the
    letters are published, and what is left is to learn what became of them.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        since: int,
        wait_s: float,
        report: Callable[[str, str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._clickhouse = clickhouse
        self._since = since
        self._wait_s = wait_s
        self._report = report
        self._warn = warn
        self._answers = True
        self._pending: dict[MessageKey, str] = {}

    async def add(self, letters: Sequence[tuple[MessageKey, str]]) -> None:
        """Wait for these keys' outcomes as well, and make room first where too many are pending."""
        if len(self._pending) + len(letters) > MOST_PENDING:
            await self._wait(MOST_PENDING // 2)
            if len(self._pending) + len(letters) > MOST_PENDING:
                self._wait_s = 0.0  # nothing takes them: the others are not waited for either
        self._pending.update(letters)

    async def finish(self) -> None:
        """Wait for all that are left."""
        await self._wait(0)

    async def _wait(self, most: int) -> None:
        """Wait until no more than `most` are pending; gives up those that are, once `wait_s` have passed."""
        deadline = time.monotonic() + self._wait_s
        while len(self._pending) > most and time.monotonic() < deadline:
            await self._look_if_it_answers()
            if len(self._pending) > most:
                await asyncio.sleep(_POLL_S)
        if len(self._pending) > most:
            for letter_id in self._pending.values():
                self._report(letter_id, STILL_QUEUED)
            self._pending.clear()

    async def _look_if_it_answers(self) -> None:
        try:
            await self._look()
            self._answers = True
        except Exception as error:
            failure = failure_of(error)
            if failure is None or failure.reachable:
                raise
            if self._answers:
                self._warn("ClickHouse does not answer: the letters are on their way to it, waiting for their outcomes")
            self._answers = False

    async def _look(self) -> None:
        lines = "\n".join(f"{key.day}\t{key.batch_id}\t{key.part}" for key in self._pending).encode()
        result = await self._clickhouse.query(
            _COUNTED,
            {"since": self._since, "folded": _FOLDED},
            external=table_of_lines("replayed", "day Date, batch_id UUID, part UInt16", lines),
        )
        for batch_id, part, day, outcomes, counts in result.result_rows:
            letter_id = self._pending.pop(MessageKey(batch_id, part, day), None)
            if letter_id is not None:
                self._report(letter_id, _describe(outcomes, counts))


def _describe(outcomes: Sequence[str], counts: Sequence[int]) -> str:
    """Describe what a row counts: `stored`, `490 stored, 10 dnt`, or `dead_lettered` if nothing has changed."""
    totals = Counter[str]()
    for outcome, count in zip(outcomes, counts, strict=True):
        if count > 0:
            totals[outcome] += count
    if not totals:
        return "dead_lettered" if outcomes else "already counted"
    if len(totals) == 1 and totals.total() == 1:
        return next(iter(totals))
    return ", ".join(f"{count} {outcome}" for outcome, count in totals.most_common())
