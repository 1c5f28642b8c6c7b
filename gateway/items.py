"""The items of a batch: where each begins and ends in the body, found without parsing them.

A body is a JSON array, NDJSON, or JSON objects one behind another.  Only the structure is scanned, so that an error
within one item affects no other, and so that a batch takes little more memory than its body: items are parsed one by
one when they are validated.
"""

from __future__ import annotations

import re
from array import array
from typing import Final

from gateway import json_text
from gateway.long_text import MAX_VALUES
from gateway.replies import Reason, Rejected
from gateway.slices import Slices
from gateway.structure import MAX_ITEM_BYTES, Broken, Structure
from gateway.validate import MAX_BODY_BYTES

#: Of a batch, before and after decompression: log shippers cut their batches by bytes (Vector at 10 MB).
MAX_BATCH_BYTES: Final = 16 * 1024 * 1024
MAX_ITEMS: Final = 50_000

#: Items, and bytes, between two looks at the clock.
_AT_ONCE: Final = 16
_BYTES_AT_ONCE: Final = 16 * 1024
#: What is no item that may be good costs so many times more than what is: as much as a batch that is refused.
_WASTE_COSTS: Final = 64
#: A token of an item, and the white space behind it; and how many there are in an item that does not have too many
#: values: each a name, a colon, two brackets and a comma.  A string without an end goes as far as the item: if it were
#: no token, each escaped quote in it would be tried as the beginning of one, up to the item's end.
_TOKEN: Final = re.compile(rb'("(?:[^"\\]++|\\.|)*+"?+|[^" \t\r\n]++)[ \t\r\n]*+', re.DOTALL)
_MAX_TOKENS: Final = 5 * MAX_VALUES


class Items:
    """A batch's items: `len()` of them, each parsed by `parse`."""

    def __init__(self, body: bytes | bytearray) -> None:
        self._body = memoryview(body)
        self._bounds = array("I")
        #: What the search for them has cost beyond its usual cost, in bytes of a batch.
        self.effort = 0
        self._waste = len(body)

    def __len__(self) -> int:
        return len(self._bounds) // 2

    def add(self, start: int, end: int) -> None:
        """Add the item at these bytes; raises `Rejected` (413) beyond the largest number."""
        if len(self) == MAX_ITEMS:
            raise Rejected(Reason.TOO_LARGE, f"body: is over the limit of {MAX_ITEMS} pageviews")
        self._bounds.extend((start, end))
        if end - start <= MAX_BODY_BYTES:
            self._waste -= end - start

    @property
    def cost(self) -> int:
        """What the batch costs, in bytes of a usual one.

        White space beside items, and items that are too large, cost what they would if the batch were refused.
        """
        return len(self._body) + self.effort + self._waste * (_WASTE_COSTS - 1)

    def end(self, index: int) -> int:
        """Return where an item ends, in bytes of the body."""
        return self._bounds[2 * index + 1]

    def parse(self, index: int) -> json_text.Parsed:
        """Return an item's JSON value; raises `Rejected` (400, 413)."""
        text = self._body[self._bounds[2 * index] : self._bounds[2 * index + 1]]
        if len(text) > MAX_BODY_BYTES:
            _check_compact(text)
        try:
            return json_text.parse(text)
        except json_text.NotJson as error:
            problem = f"item: {error}"
        raise Rejected(Reason.INVALID, problem)


async def split(body: bytes | bytearray, slices: Slices) -> Items:
    """Find a batch's items; raises `Rejected` (400, 413) for the whole batch.

    A body that starts with `[` is an array, whose structure must be right as a whole.  Otherwise each line that is not
    empty is an item, or several objects one behind another; if the first object spans several lines, line breaks
    separate nothing.  A body of white space only is not a batch; an empty one is an empty body or `[]`.
    """
    items = Items(body)
    structure = Structure(body)
    looked_at = 0
    try:
        for number, found in enumerate(structure.items()):
            if found is not None:
                items.add(*found)
                if number % _AT_ONCE and found[1] - looked_at < _BYTES_AT_ONCE:
                    continue
                looked_at = found[1]
            if slices.over():
                await slices.next()
    except Broken:
        raise Rejected(Reason.INVALID, f"body: is not a valid JSON array (after {len(items)} items)") from None
    items.effort = structure.effort
    return items


def _check_compact(text: memoryview) -> None:
    """Raise `Rejected` for an item over the limit even without white space between its tokens (413), or of too many."""
    size = 0
    if len(text) <= MAX_ITEM_BYTES:
        for number, token in enumerate(_TOKEN.finditer(text)):
            size += token.end(1) - token.start()
            if number == _MAX_TOKENS:
                raise Rejected(Reason.INVALID, f"item: has over {MAX_VALUES} values")
            if size > MAX_BODY_BYTES:
                break
        else:
            return
    raise Rejected(Reason.TOO_LARGE, f"item: is over the limit of {MAX_BODY_BYTES} bytes")
