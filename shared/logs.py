"""Logging: one line per event on standard error, as text or JSON, without bodies, tokens or addresses."""

from __future__ import annotations

import json
import logging
import sys
import time
from traceback import walk_tb
from types import TracebackType
from typing import Any, Final

from shared.log_storms import StormLimit

#: Libraries that may log raw input (malformed requests, URLs with passwords); we log their errors ourselves.
_QUIET = ("aiohttp", "aio_pika", "aiormq", "clickhouse_connect", "asyncio", "limits")

#: Set by `extra` in lines about a message of the queue: the UUID that `batch_id` in ClickHouse, dead letters and traces
#: of it have as well.
BATCH_ID: Final = "batch_id"


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `time` (UTC), `level`, `logger`, `message`.

    Where a line is about a message of the queue, its `batch_id`; of an exception its type and `location`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if batch_id := getattr(record, BATCH_ID, None):
            line["batch_id"] = str(batch_id)
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
            line["location"] = _location(record.exc_info[2])
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """`time level logger: message`, with only an exception's type: its text and traceback may quote input."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        """Return the line, with the id of the message that it is about."""
        batch_id = getattr(record, BATCH_ID, None)
        return super().formatMessage(record) + (f" [batch {batch_id}]" if batch_id else "")

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the standard library's name
        """Return the exception's type and where it was raised, without its text."""
        kind, _, traceback = ei
        return f"{kind.__name__ if kind else 'exception'} at {_location(traceback)}"


def _location(traceback: TracebackType | None) -> str:
    """Return where an exception was raised, as `path:line`."""
    frames = list(walk_tb(traceback))
    return f"{frames[-1][0].f_code.co_filename}:{frames[-1][1]}" if frames else "an unknown place"


def set_up(log_format: str = "text", level: int = logging.INFO) -> None:
    """Send the process's log to standard error in the given format (`text` or `json`)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    handler.addFilter(StormLimit())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
