"""What the HTTP library may say on stderr: which error and where, never a request's content."""

from __future__ import annotations

import logging
import sys
import traceback


class _Terse(logging.Handler):
    """One line a record. Its text is left out: aiohttp puts malformed requests into it as they came."""

    def emit(self, record: logging.LogRecord) -> None:
        kind, place = "", ""
        if record.exc_info and record.exc_info[0]:
            kind = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        print(f"{record.name} {record.levelname} {kind}{place}", file=sys.stderr, flush=True)


def silence_http() -> None:
    """Let aiohttp and asyncio log through one terse handler, from warnings on."""
    for name in ("aiohttp", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers = [_Terse(logging.WARNING)]
        logger.propagate = False
