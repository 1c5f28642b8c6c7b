"""The way of a line: parse, filter, give ids, make the item.  This is the file to read first."""

from __future__ import annotations

from typing import Final, NamedTuple

import orjson

from deploy.replay.entry import Entry, Malformed
from deploy.replay.filters import Filter
from deploy.replay.formats import Format
from deploy.replay.ids import IdMaker, Ids
from deploy.replay.lines import MAX_LINE, Line
from deploy.replay.pageview import Site, to_pageview, url_of
from deploy.replay.state import Saved
from deploy.replay.tally import Example, Fate, Reason, Tally

#: Bytes of a batch's items; the gateway takes four times as many.
_MAX_BYTES: Final = 1024 * 1024
#: Lines that a batch settles, also where few of them are pageviews.
_MAX_LINES: Final = 20_000


class Item(NamedTuple):
    """A pageview as it is sent, and the line it was."""

    body: bytes
    example: Example


class Batch(NamedTuple):
    """What is sent and settled together."""

    items: list[Item]
    #: The lines among them that are not sent.
    others: Tally
    #: Where to go on once this batch, and all before it, are answered; None: at a later one.
    saved: Saved | None


class Assembler:
    """Collects lines into batches."""

    def __init__(self, keep: Filter, site: Site, ids: IdMaker, max_items: int) -> None:
        self._keep = keep
        self._site = site
        self._ids = ids
        self._max_items = max_items
        self._start()

    def _start(self) -> None:
        self._items: list[Item] = []
        self._others = Tally()
        self._bytes = 0
        self._lines = 0

    @property
    def is_full(self) -> bool:
        """Whether the batch should be taken now."""
        return len(self._items) >= self._max_items or self._bytes >= _MAX_BYTES or self._lines >= _MAX_LINES

    @property
    def is_empty(self) -> bool:
        """Whether no line has come since the last batch."""
        return not self._lines

    def take(self, saved: Saved | None) -> Batch:
        """Return the lines so far as a batch."""
        batch = Batch(self._items, self._others, saved)
        self._start()
        return batch

    def add(self, line: Line, format_: Format, log: str) -> None:
        """Take a line to its end, or into the batch."""
        self._lines += 1
        example = Example(log, line.number, line.text)
        try:
            reason = self._judge(line, format_, example)
        except Malformed as malformed:
            reason = Reason(Fate.MALFORMED, str(malformed))
        if reason is not None:
            self._others.add(reason, None if reason.fate is Fate.NO_REQUEST else example)

    def _judge(self, line: Line, format_: Format, example: Example) -> Reason | None:
        """Return why a line is not sent, None where it is."""
        if not line.text.strip():
            return Reason(Fate.NO_REQUEST, "empty lines")
        if len(line.text) > MAX_LINE:
            raise Malformed(f"longer than {MAX_LINE:,} bytes")
        entry = format_.parse(line.text)
        if entry is None:
            return Reason(Fate.NO_REQUEST, "directives")
        # Every request of a visitor keeps the session open, so that ids do not depend on what is left out.
        session_id = self._ids.session(entry.address, entry.user_agent, entry.time_ms)
        if left_out := self._keep.reason(entry):
            return Reason(Fate.LEFT_OUT, left_out)
        url = url_of(entry, self._site)
        self._put(entry, url, Ids(session_id, self._ids.page(line.text, entry.time_ms)), example)
        return None

    def _put(self, entry: Entry, url: str, ids: Ids, example: Example) -> None:
        body = orjson.dumps(to_pageview(entry, url, ids))
        self._items.append(Item(body, example))
        self._bytes += len(body)
