"""Where lines come from: files one after the other, standard input, or a log that is being written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.replay import stdin
from deploy.replay.decompress import DamagedError
from deploy.replay.files import LogFile, read_head
from deploy.replay.lines import LineCutter
from deploy.replay.open_log import OpenLog, ReplacedError
from deploy.replay.run import Run
from deploy.replay.survey import Log, earlier
from deploy.replay.tail import Tail

STDIN: Final = "-"
_POLL_S: Final = 0.2


async def replay_files(run: Run, logs: Sequence[Log]) -> None:
    """Replay logs one after the other."""
    for log in logs:
        await _replay_file(run, log)
        if run.stopping:
            break
    await run.finish()


async def _replay_file(run: Run, log: Log) -> None:
    path = Path(log.name)
    file = LogFile(path)
    run.raw_position = lambda: file.raw_position
    try:
        # Looked up again: one of the logs before may have been a copy of this.
        if saved := earlier(read_head(path), run.key, run.known()):
            log.go_on_from(saved)
        run.begin(log)
        run.display.log(log.name, file.size, 0 if file.compression else log.position)
        await _take_all(run, OpenLog(log, file, run.key))
    except DamagedError as error:
        run.outcome.problems.append(f"{log.name}: {error}, after line {log.lines:,}")
    except ReplacedError:
        run.outcome.problems.append(f"{log.name}: was truncated while it was read, after line {log.lines:,}")
    finally:
        run.raw_position = None
        file.close()


async def _take_all(run: Run, opened: OpenLog) -> None:
    for line in opened.lines():
        await run.take(opened.log, line)
        if run.stopping:
            return
    for line in opened.rest():
        if opened.file.compression:  # nothing will be added to it
            await run.take(opened.log, line._replace(complete=True))
        else:
            await run.take_pending(opened.log)
            await run.take_unfinished(opened.log, line)
    await run.take_pending(opened.log)


async def replay_stdin(run: Run) -> None:
    """Replay what comes on standard input; no telling next time how far it was taken."""
    log = Log("standard input", run.job.reading)
    run.display.log(log.name, None, 0)
    run.begin(log)
    cutter = LineCutter()
    try:
        async for piece in stdin.pieces():
            for line in cutter.feed(piece):
                await run.take(log, line)
            if not piece:
                await run.take_pending(log)
            await run.breathe()
            if run.stopping:
                break
    except DamagedError as error:
        run.outcome.problems.append(f"{log.name}: {error}, after line {cutter.number:,}")
    for line in cutter.finish():
        await run.take(log, line)
    await run.take_pending(log)
    await run.finish()


async def follow(run: Run, path: Path) -> None:
    """Replay a log and what is written to it from now on, until `run.stopping`."""
    tail = Tail(path, run.job.reading, run.key, run.known)
    run.display.log(str(path), None, 0)
    last: Log | None = None
    try:
        while not run.stopping:
            before = run.lines
            for log, line in tail.poll():
                if log is not last:
                    if last is not None:
                        await run.take_pending(last)
                    run.begin(log)
                    last = log
                await run.take(log, line)
                if run.stopping:
                    break
            if run.lines == before:
                if last is not None:
                    await run.take_pending(last)
                await asyncio.sleep(_POLL_S)
            await run.breathe()
    finally:
        tail.close()
    await run.finish()
