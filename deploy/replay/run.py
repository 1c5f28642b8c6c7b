"""One run: lines in, batches out, what was answered counted and saved.

The way of a single line is in `assemble.py`; where lines come from, in `inputs.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from deploy.replay import detect
from deploy.replay.assemble import Assembler, Batch
from deploy.replay.filters import Filter
from deploy.replay.ids import IdMaker
from deploy.replay.lines import Line
from deploy.replay.outbox import Outbox, Send
from deploy.replay.pageview import Site
from deploy.replay.send import Answer
from deploy.replay.state import Position, Saved
from deploy.replay.survey import Log, Reading
from deploy.replay.tally import Fate, Reason, Tally

#: Lines after which others get their turn: some milliseconds.
_SLICE: Final = 500
#: How old a batch may become before it is sent as it is.
_MAX_AGE_S: Final = 1.0
#: A checkpoint is made every two seconds, or more seldom where it takes long: 1/20 of the time at most.
_SNAPSHOT_EVERY_S: Final = 2.0
_SNAPSHOT_SHARE: Final = 20


class Display(Protocol):
    """Shows how it goes."""

    def log(self, name: str, size: int | None, position: int) -> None:
        """A log of `size` bytes is read from `position` on; None: no telling how large it is."""

    def moved(self, position: int | None, lines: int, tally: Tally) -> None:
        """So much was read of the log, so many lines of all, and this became of those that are settled."""


@dataclass(frozen=True)
class Job:
    """What is to be done with the logs."""

    reading: Reading
    keep: Filter
    site: Site
    max_items: int
    in_flight: int
    source: str = ""
    sessions_by_clock: bool = False


@dataclass
class Outcome:
    """What a run has done."""

    tally: Tally = field(default_factory=Tally)
    #: Logs that could not be read to their end, and why.
    problems: list[str] = field(default_factory=list)


class Run:
    """Takes lines; `stopping` asks the reader to stop."""

    def __init__(
        self, job: Job, key: bytes, saved: Saved, *, send: Send, save: Callable[[Saved], None], display: Display
    ) -> None:
        self.job = job
        self.key = key
        self.outcome = Outcome()
        self.stopping = False
        self.display = display
        self.raw_position: Callable[[], int] | None = None
        self.lines = 0
        self._ids = IdMaker(key, job.source, by_clock=job.sessions_by_clock)
        if saved.ids is not None:
            self._ids.restore(saved.ids)
        self._positions = {log.identity.digest: log for log in saved.logs}
        self._active: list[Log] = []
        self._assembler = Assembler(job.keep, job.site, self._ids, job.max_items)
        self._outbox = Outbox(send, job.in_flight, self._settle)
        self._save = save
        self._batch_began = time.monotonic()
        self._snapshot_at = self._batch_began + _SNAPSHOT_EVERY_S

    def known(self) -> list[Position]:
        """Return how far logs were taken: by earlier runs, and by this one."""
        self._note_positions()
        return list(self._positions.values())

    def begin(self, log: Log) -> None:
        """Begin with a log, or go on with it."""
        if log not in self._active:
            self._active.append(log)
        if not log.position:
            self._ids.begin_log()

    async def take(self, log: Log, line: Line) -> None:
        """Take a line, or keep it until the log's format is known."""
        if log.format is None:
            log.pending.append(line)
            if len(log.pending) >= detect.SAMPLE:
                await self.take_pending(log)
            return
        self._assembler.add(line, log.format, log.name)
        if line.complete:
            log.position, log.lines = line.end, line.number
        self.lines += 1
        if self._assembler.is_full:
            await self._flush()
        if self.lines % _SLICE == 0:
            await self.breathe()

    async def take_pending(self, log: Log) -> None:
        """Find the format by the lines that there are, and take them."""
        lines, log.pending = log.pending, []
        if lines:
            log.find_format([line.text for line in lines if line.text.strip()] or [b"#"])
        for line in lines:
            await self.take(log, line)

    async def take_unfinished(self, log: Log, line: Line) -> None:
        """Take a log's last line, which has no end yet: the next run looks at it again, as if it were new."""
        await self._flush(snapshot=True)
        before = self._ids.snapshot()
        await self.take(log, line)
        await self.take_pending(log)
        await self._flush(snapshot=False)
        self._ids.restore(before)

    async def breathe(self) -> None:
        """Let the senders have their turn, settle what they have, and send a batch that has become old."""
        await asyncio.sleep(0)
        await self._outbox.settle_answered()
        if not self._assembler.is_empty and time.monotonic() - self._batch_began > _MAX_AGE_S:
            await self._flush()
        self.display.moved(self.raw_position() if self.raw_position else None, self.lines, self.outcome.tally)

    async def finish(self) -> None:
        """Send what is left, wait for all answers, and save where this ended."""
        await self._flush(snapshot=True)
        await self._outbox.drain()
        self.display.moved(None, self.lines, self.outcome.tally)

    async def cancel(self) -> None:
        """Give up what is not answered; it is sent again by the next run."""
        await self._outbox.cancel()

    async def _flush(self, snapshot: bool | None = None) -> None:
        """Send the lines so far; `snapshot`: with or without a checkpoint behind them, None: when it is time."""
        began = time.monotonic()
        wanted = began >= self._snapshot_at if snapshot is None else snapshot
        saved = Saved(tuple(self.known()), self._ids.snapshot()) if wanted else None
        if saved:
            took_s = time.monotonic() - began
            self._snapshot_at = began + max(_SNAPSHOT_EVERY_S, took_s * _SNAPSHOT_SHARE)
        if saved or not self._assembler.is_empty:
            await self._outbox.put(self._assembler.take(saved))
        self._batch_began = time.monotonic()

    def _settle(self, batch: Batch, answers: list[Answer]) -> None:
        tally = self.outcome.tally
        tally.merge(batch.others)
        for item, answer in zip(batch.items, answers, strict=True):
            if answer.status == 202:
                tally.add(Reason(Fate.ACCEPTED))
            else:
                tally.add(Reason(Fate.REFUSED, f"{answer.status} {answer.message}"), item.example)
        if batch.saved is not None:
            self._save(batch.saved)

    def _note_positions(self) -> None:
        for log in self._active:
            saved = log.saved()
            if saved is None or not saved.position:
                continue
            if log.noted_as and log.noted_as != saved.identity.digest:
                self._positions.pop(log.noted_as, None)  # it was shorter then
            log.noted_as = saved.identity.digest
            self._positions.pop(log.noted_as, None)
            self._positions[log.noted_as] = saved  # the latest are last, and are kept longest
