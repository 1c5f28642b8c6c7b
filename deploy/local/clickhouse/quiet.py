"""Limits what the HTTP library logs on stderr: the error and its place, never a request's content."""

from __future__ import annotations

import logging
import sys
import traceback


class _Terse(logging.Handler):
    """One line a record, without its text: aiohttp puts malformed requests into that as they came."""

    def emit(self, record: logging.LogRecord) -> None:
        kind, place = "", ""
        if record.exc_info and record.exc_info[0]:
            kind = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        print(f"{record.name} {record.levelname} {kind}{place}", file=sys.stderr, flush=True)


def silence_http() -> None:
    """Let aiohttp and asyncio log warnings and errors through one terse handler."""
    for name in ("aiohttp", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers = [_Terse(logging.WARNING)]
        logger.propagate = False
