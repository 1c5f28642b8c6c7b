"""What became of a batch's items, and the response that says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import orjson
from aiohttp import web

from gateway.replies import Reason, Rejected, error_response
from gateway.slices import Slices
from shared import metrics

#: Fluent Bit reads 4,096 bytes of a response, and repeats a batch whose response is longer.  The head is below 600.
MAX_RESPONSE_BYTES: Final = 4096
_MAX_BODY_BYTES: Final = MAX_RESPONSE_BYTES - 600
#: Of the body, what the single errors may fill; the rest is for the summary of those that are left out.
_ERRORS_BYTES: Final = 2200
_LONGEST_MESSAGE: Final = 500
#: More groups of errors than a body has room for.
_MOST_GROUPS: Final = 100
#: Errors that are listed between two looks at the clock.
_LISTED_AT_ONCE: Final = 250


class ItemError(NamedTuple):
    """Why one item is rejected; not an exception, which would keep the whole request in memory."""

    item: int
    reason: Reason
    text: str


class Results:
    """What became of a batch's items."""

    def __init__(self) -> None:
        self.accepted = 0
        self._errors: list[ItemError] = []
        self._in_order = True
        self._by_reason = Counter[Reason]()
        #: How many items were rejected for which reason and with which message.
        self.counts = Counter[tuple[Reason, str]]()

    def reject(self, indexes: Sequence[int], rejected: Rejected) -> None:
        """Note that these items are rejected."""
        reason, text = rejected.reason, rejected.text
        self._in_order = self._in_order and (not self._errors or self._errors[-1].item < indexes[0])
        self._errors += [ItemError(index, reason, text) for index in indexes]
        self._by_reason[reason] += len(indexes)
        self.counts[reason, text] += len(indexes)

    @property
    def errors(self) -> list[ItemError]:
        """The rejected items, in their order."""
        return self._errors if self._in_order else sorted(self._errors)

    async def response(self, headers: dict[str, str], slices: Slices, *, every_error: bool) -> web.Response:
        """Return the results, with a status that says whether to repeat the batch.

        `every_error`: list each rejected item, however long the response becomes.
        """
        errors = self.errors
        for reason, number in self._by_reason.items():
            metrics.REJECTED.labels(reason.label).inc(number)
        counts: dict[str, Any] = {"accepted": self.accepted, "rejected": len(errors)}
        whole = self._whole(errors)
        if whole is None:
            response = web.Response(status=HTTPStatus.ACCEPTED, headers={"Content-Type": "application/json", **headers})
        else:
            whole.headers.update(headers)
            response = error_response(whole)
            counts = {"message": _shortened(whole.text), **counts}
        response.body = await _every(counts, errors, slices) if every_error else self._first(counts, errors)
        return response

    def _whole(self, errors: list[ItemError]) -> Rejected | None:
        """Return the rejection of the whole batch, or None when it need not be repeated.

        503 where any item has it: log shippers look at the status only, and would lose the item if it were 202 or 400.
        "Unknown" takes precedence over "not taken".  Otherwise 202 when something is accepted, else the items' common
        status, or 400.
        """
        if Reason.UNKNOWN_FATE in self._by_reason:
            return Rejected(Reason.UNKNOWN_FATE)
        if any(reason.retryable for reason in self._by_reason):
            return Rejected(next(error.reason for error in errors if error.reason.retryable))
        if self.accepted or not errors:
            return None
        common = len({reason.status for reason in self._by_reason}) == 1
        text = f"nothing accepted; first error: {errors[0].text}"
        return Rejected(errors[0].reason if common else Reason.INVALID, text)

    def _first(self, counts: dict[str, Any], errors: list[ItemError]) -> bytes:
        """Return a body of limited length: the first errors, and what does not fit by status and message."""
        listed = []
        left = _ERRORS_BYTES
        for error in errors:
            entry = _listed(error)
            left -= len(orjson.dumps(entry)) + 1
            if left < 0:
                break
            listed.append(entry)
        body: dict[str, Any] = {**counts, "errors": listed}
        if len(listed) < len(errors):
            left_out = self.counts.copy()
            left_out.subtract((error.reason, error.text) for error in errors[: len(listed)])
            body["omitted"] = self._summary(left_out, listed, _MAX_BODY_BYTES - len(orjson.dumps(body)))
        return orjson.dumps(body)

    def _summary(
        self, left_out: Counter[tuple[Reason, str]], listed: list[dict[str, Any]], room: int
    ) -> list[dict[str, Any]]:
        """Return counts by status and message, the most frequent first, and what they leave out by status."""
        rest = Counter[int]()
        for reason, number in self._by_reason.items():
            rest[reason.status] += number
        rest.subtract(entry["status"] for entry in listed)
        summary = []
        room -= 300  # the counts by status
        for (reason, text), number in left_out.most_common(_MOST_GROUPS):
            entry = {"status": reason.status, "message": _shortened(text), "count": number}
            room -= len(orjson.dumps(entry)) + 1
            if room < 0 or not number:
                break
            summary.append(entry)
            rest[reason.status] -= number
        others = [{"status": status, "message": "other errors", "count": rest[status]} for status in +rest]
        return summary + others


async def _every(counts: dict[str, Any], errors: list[ItemError], slices: Slices) -> bytes:
    """Return a body with all errors; other requests get their turn meanwhile."""
    body = bytearray(orjson.dumps({**counts, "errors": []})[: -len(b"]}")])
    for start in range(0, len(errors), _LISTED_AT_ONCE):
        listed = [_listed(error) for error in errors[start : start + _LISTED_AT_ONCE]]
        body += b"," * (start > 0) + orjson.dumps(listed)[1:-1]
        if slices.over():
            await slices.next()
    return bytes(body + b"]}")


def _listed(error: ItemError) -> dict[str, Any]:
    return {"index": error.item, "status": error.reason.status, "message": _shortened(error.text)}


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 1]}…"
