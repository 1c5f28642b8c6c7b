"""What became of a batch's items, and the response that says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import orjson
from aiohttp import web

from gateway.replies import Reason, Rejected, error_response
from shared import metrics

#: Fluent Bit reads 4,096 bytes of a response, and repeats a batch whose response is longer.  The head is below 600.
MAX_RESPONSE_BYTES: Final = 4096
_MAX_BODY_BYTES: Final = MAX_RESPONSE_BYTES - 600
#: Of the body, what the single errors may fill; the rest is for the summary of those that are left out.
_ERRORS_BYTES: Final = 2200
_LONGEST_MESSAGE: Final = 500


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

    def reject(self, indexes: Iterable[int], rejected: Rejected) -> None:
        """Note that these items are rejected."""
        self._errors += [ItemError(index, rejected.reason, rejected.text) for index in indexes]

    @property
    def errors(self) -> list[ItemError]:
        """The rejected items, in their order."""
        return sorted(self._errors)

    def count(self) -> Counter[tuple[Reason, str]]:
        """Return how many items were rejected for which reason and with which message."""
        return Counter((error.reason, error.text) for error in self._errors)

    def response(self, headers: dict[str, str], *, every_error: bool) -> web.Response:
        """Return the results, with a status that says whether to repeat the batch.

        `every_error`: list each rejected item, however long the response becomes.
        """
        errors = self.errors
        for reason, number in Counter(error.reason for error in errors).items():
            metrics.REJECTED.labels(reason.label).inc(number)
        counts: dict[str, Any] = {"accepted": self.accepted, "rejected": len(errors)}
        whole = self._whole(errors)
        if whole is None:
            response = web.Response(status=HTTPStatus.ACCEPTED, headers={"Content-Type": "application/json", **headers})
        else:
            whole.headers.update(headers)
            response = error_response(whole)
            counts = {"message": _shortened(whole.text), **counts}
        response.body = _serialised(counts, errors, every_error=every_error)
        return response

    def _whole(self, errors: list[ItemError]) -> Rejected | None:
        """Return the rejection of the whole batch, or None when it need not be repeated.

        503 where any item has it: log shippers look at the status only, and would lose the item if it were 202 or 400.
        "Unknown" takes precedence over "not taken".  Otherwise 202 when something is accepted, else the items' common
        status, or 400.
        """
        retryable = [error.reason for error in errors if error.reason.retryable]
        if retryable:
            return Rejected(Reason.UNKNOWN_FATE if Reason.UNKNOWN_FATE in retryable else retryable[0])
        if self.accepted or not errors:
            return None
        common = len({error.reason.status for error in errors}) == 1
        text = f"nothing accepted; first error: {errors[0].text}"
        return Rejected(errors[0].reason if common else Reason.INVALID, text)


def _serialised(counts: dict[str, Any], errors: list[ItemError], *, every_error: bool) -> bytes:
    """Return the response's body; unless `every_error`, what does not fit is summed up by status and message."""
    listed = [_listed(error) for error in errors] if every_error else _first(errors)
    body: dict[str, Any] = {**counts, "errors": listed}
    left_out = errors[len(listed) :]
    if left_out:
        body["omitted"] = _summary(left_out, _MAX_BODY_BYTES - len(orjson.dumps(body)))
    return orjson.dumps(body)


def _first(errors: list[ItemError]) -> list[dict[str, Any]]:
    listed = []
    left = _ERRORS_BYTES
    for error in errors:
        entry = _listed(error)
        left -= len(orjson.dumps(entry)) + 1
        if left < 0:
            break
        listed.append(entry)
    return listed


def _summary(errors: list[ItemError], room: int) -> list[dict[str, Any]]:
    """Return counts by status and message, the most frequent first; those for which there is no room, by status."""
    groups = Counter((error.reason.status, error.text) for error in errors).most_common()
    rest = Counter[int]()
    summary = []
    room -= 300  # the counts by status
    for (status, text), number in groups:
        entry = {"status": status, "message": _shortened(text), "count": number}
        room -= len(orjson.dumps(entry)) + 1
        if room < 0:
            rest[status] += number
        else:
            summary.append(entry)
    summary += [{"status": status, "message": "other errors", "count": number} for status, number in rest.items()]
    return summary


def _listed(error: ItemError) -> dict[str, Any]:
    return {"index": error.item, "status": error.reason.status, "message": _shortened(error.text)}


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 1]}…"
