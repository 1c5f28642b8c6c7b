"""Running a replay as a command: the state, the gateway, signals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from deploy.replay import inputs, state
from deploy.replay.files import read_head
from deploy.replay.progress import Bar, Plain, display
from deploy.replay.run import Job, Outcome, Run
from deploy.replay.send import Answer, GatewayError, Sender
from deploy.replay.survey import Log, look_at

#: How long a stop waits for answers that are under way.
_STOP_S: Final = 10.0


@dataclass(frozen=True)
class Target:
    """Where pageviews go; without a token they go nowhere (a dry run)."""

    url: str
    token: str | None
    compress: bool = False
    give_up_s: float | None = None


@dataclass(frozen=True)
class Logs:
    """Which logs, and how far they were taken."""

    paths: tuple[str, ...]
    follow: bool
    from_start: bool


class Interrupted(Exception):
    """Stopped before the end."""


async def execute(
    job: Job, logs: Logs, target: Target, file: state.StateFile | None, key: bytes,
    found: Callable[[Sequence[Log]], None], sample: Callable[[Sequence[bytes]], None],
) -> tuple[Outcome, Exception | None]:  # fmt: skip
    """Replay, and return what became of the lines, and what ended it early.

    `found` is called with the logs before anything is sent, `sample` with items that a dry run would have sent.
    """
    saved = state.Saved() if file is None else file.load()
    if logs.from_start:
        saved = forgotten(saved, logs.paths, key)
    surveyed = [] if logs.follow or logs.paths == (inputs.STDIN,) else survey(job, logs.paths, key, saved)
    found(surveyed)
    shown = display(sum(log.size for log in surveyed) if surveyed else None)
    keep = (lambda _: None) if file is None or target.token is None else file.save
    session = aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {target.token}"}, connector=aiohttp.TCPConnector(limit=0)
    )
    try:
        async with session:
            run = Run(job, key, saved, send=_sending(session, target, shown, sample), save=keep, display=shown)
            return run.outcome, await _until_stopped(run, _reading(run, logs, surveyed), logs.follow)
    finally:
        shown.end()


def forgotten(saved: state.Saved, paths: Sequence[str], key: bytes) -> state.Saved:
    """Return what was saved without these logs, which are to be read from their start."""
    heads = [read_head(Path(path)) for path in paths if path != inputs.STDIN and Path(path).exists()]
    others = [log for log in saved.logs if not any(log.identity.matches(head, key) for head in heads)]
    return state.Saved(tuple(others), None)


def survey(job: Job, paths: Sequence[str], key: bytes, saved: state.Saved) -> list[Log]:
    """Look at every log, and return them by the time of their first request."""
    looked_at = [look_at(Path(path), job.reading, key, saved.logs) for path in dict.fromkeys(paths)]
    return sorted(looked_at, key=lambda log: log.first_ms)


def _sending(
    session: aiohttp.ClientSession, target: Target, shown: Bar | Plain, sample: Callable[[Sequence[bytes]], None]
) -> Callable[[Sequence[bytes]], Awaitable[list[Answer]]]:
    if target.token is not None:
        sender = Sender(session, target.url, compress=target.compress, give_up_s=target.give_up_s, note=shown.note)
        return sender.send

    async def pretend(items: Sequence[bytes]) -> list[Answer]:
        sample(items)
        return [Answer(202)] * len(items)

    return pretend


def _reading(run: Run, logs: Logs, surveyed: Sequence[Log]) -> Any:
    if logs.follow:
        return inputs.follow(run, Path(logs.paths[0]))
    return inputs.replay_files(run, surveyed) if surveyed else inputs.replay_stdin(run)


async def _until_stopped(run: Run, reading: Any, follow: bool) -> Exception | None:
    """Wait for the end; a first signal ends it in good order, a second one at once."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(reading)
    stop = asyncio.Event()

    def stopped() -> None:
        if run.stopping:
            task.cancel()
        run.stopping = True
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped)
    waiting = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=_STOP_S)
        in_order = task.done() and not task.cancelled()
        task.cancel()
        await asyncio.wait({task})
        await run.cancel()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, GatewayError):
            return error
        if error is not None:
            raise error
        return Interrupted() if run.stopping and not (follow and in_order) else None
    finally:
        waiting.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
