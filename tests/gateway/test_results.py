"""The response to a batch: its status, and a size that log shippers read to the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from gateway.replies import Reason, Rejected
from gateway.results import MAX_RESPONSE_BYTES, Results
from gateway.slices import Slices

HEADERS = {"RateLimit-Limit": "1000000000", "RateLimit-Remaining": "1000000000", "RateLimit-Reset": "86400000"}


def answer(results: Results, *, every_error: bool = False) -> tuple[int, Any, int]:
    response = asyncio.run(results.response(HEADERS, Slices(), every_error=every_error))
    assert isinstance(response, web.Response)
    assert isinstance(response.body, bytes)
    return response.status, json.loads(response.body), len(response.body)


def results_of(accepted: int, *rejected: tuple[int, Rejected]) -> Results:
    results = Results()
    results.accepted = accepted
    first = accepted
    for number, each in rejected:
        results.reject(range(first, first + number), each)
        first += number
    return results


NO_IP = Rejected(Reason.INVALID, "visitor_ip: must be an IPv4 or IPv6 address without port or prefix")
NO_SITE = Rejected(Reason.UNKNOWN_SITE)
DOWN = Rejected(Reason.BROKER_DOWN)
UNKNOWN = Rejected(Reason.UNKNOWN_FATE)
LONG = Rejected(Reason.INVALID, "; ".join(f"viewport_height_{number}: must be a number" for number in range(100)))


@pytest.mark.parametrize(
    ("results", "status"),
    [
        (results_of(0), 202),
        (results_of(3, (1, NO_IP)), 202),
        (results_of(0, (1, NO_IP), (1, NO_SITE)), 400),
        (results_of(0, (2, NO_SITE)), 404),
        (results_of(0, (1, NO_IP), (1, DOWN)), 503),
        (results_of(3, (1, NO_IP), (1, DOWN)), 503),
    ],
)
def test_the_status_says_whether_to_repeat(results: Results, status: int) -> None:
    assert answer(results)[0] == status


def test_an_unknown_result_takes_precedence_over_not_taken() -> None:
    assert answer(results_of(3, (1, DOWN), (1, UNKNOWN)))[1]["message"].startswith("unknown: ")


#: Made when they are needed: some are large.
MANY: dict[str, Callable[[], Results]] = {
    "one rule": lambda: results_of(500, (100, NO_IP)),
    "503 of all": lambda: results_of(0, (900, DOWN)),
    "long messages": lambda: results_of(0, (50_000, LONG)),
    "50,000 different messages": lambda: results_of(
        1, *((1, Rejected(Reason.INVALID, f"{number}: wrong")) for number in range(50_000))
    ),
    "all statuses": lambda: results_of(
        1, (9_000, NO_IP), (9_000, NO_SITE), (9_000, DOWN), (9_000, UNKNOWN), (9_000, LONG)
    ),
}


@pytest.mark.parametrize("make", MANY.values(), ids=MANY)
def test_a_response_stays_below_4096_bytes_and_accounts_for_every_item(make: Callable[[], Results]) -> None:
    results = make()
    status, body, size = answer(results)

    assert size < MAX_RESPONSE_BYTES - 600
    assert status in (202, 400, 503)
    assert len(body["errors"]) + sum(each["count"] for each in body["omitted"]) == body["rejected"]
    assert [each["index"] for each in body["errors"]] == [each.item for each in results.errors[: len(body["errors"])]]


def test_every_error_is_listed_on_request() -> None:
    _, body, _ = answer(MANY["one rule"](), every_error=True)

    assert [each["index"] for each in body["errors"]] == list(range(500, 600))
    assert "omitted" not in body


@pytest.mark.parametrize("number", [249, 250, 251, 500, 1_001])
def test_however_many_errors_are_listed_they_are_one_array(number: int) -> None:
    _, body, _ = answer(results_of(7, (number, NO_IP)), every_error=True)
    assert body == {
        "accepted": 7,
        "rejected": number,
        "errors": [{"index": index, "status": 400, "message": NO_IP.text} for index in range(7, 7 + number)],
    }


@pytest.mark.parametrize("every_error", [False, True])
def test_errors_are_told_in_the_order_of_the_items_and_counted_by_message(every_error: bool) -> None:
    """Messages are confirmed after later items were found to be wrong."""
    results = Results()
    for indexes, rejected in (((3,), NO_IP), ((9,), NO_IP), ((0, 5), DOWN), ((11,), NO_SITE), ((12,), LONG)):
        results.reject(indexes, rejected)
    _, body, _ = answer(results, every_error=every_error)
    assert [each["index"] for each in body["errors"]] == [0, 3, 5, 9, 11, 12]
    assert [results.counts[each.reason, each.text] for each in (NO_IP, DOWN, NO_SITE, LONG)] == [2, 2, 1, 1]


def test_two_reasons_of_one_status_are_left_out_together() -> None:
    many = [(100, Rejected(reason, f"{'x' * 490} {reason.label}")) for reason in (Reason.BROKER_DOWN, Reason.NO_QUEUE)]
    others = [(1, Rejected(Reason.BUFFER_FULL, f"{number:02} {'y' * 490}")) for number in range(9)]
    _, body, _ = answer(results_of(1, *many, *others))
    assert {each["status"] for each in body["omitted"]} == {503}
    assert len(body["errors"]) + sum(each["count"] for each in body["omitted"]) == 209


def test_the_answer_to_a_batch_is_json_with_the_headers_of_the_limit() -> None:
    response = asyncio.run(results_of(1).response(HEADERS, Slices(), every_error=False))
    assert dict(response.headers) == {"Content-Type": "application/json", **HEADERS}


@pytest.mark.parametrize(
    ("results", "reason", "message"),
    [
        (results_of(0, (2, NO_SITE), (1, NO_SITE)), 404, f"nothing accepted; first error: {NO_SITE.text}"),
        (results_of(0, (1, NO_IP), (1, NO_SITE)), 400, f"nothing accepted; first error: {NO_IP.text}"),
        (results_of(0, (1, NO_SITE), (1, NO_IP)), 400, f"nothing accepted; first error: {NO_SITE.text}"),
        (results_of(0, (1, NO_SITE)), 404, f"nothing accepted; first error: {NO_SITE.text}"),
    ],
)
def test_a_batch_of_which_nothing_was_accepted_says_why(results: Results, reason: int, message: str) -> None:
    status, body, _ = answer(results)
    assert (status, body["message"]) == (reason, message)


@pytest.mark.parametrize(("length", "cut"), [(499, False), (500, False), (501, True)])
def test_a_long_message_is_cut_at_500_characters(length: int, cut: bool) -> None:
    _, body, _ = answer(results_of(1, (1, Rejected(Reason.INVALID, "x" * length))))
    assert body["errors"][0]["message"] == ("x" * 499 + "\N{HORIZONTAL ELLIPSIS}" if cut else "x" * length)


def test_what_is_left_out_is_counted_by_message_and_where_there_is_no_room_by_status() -> None:
    many = [(number + 1, Rejected(Reason.INVALID, f"{number:02} {'x' * 90}")) for number in range(40)]
    _, body, _ = answer(results_of(1, *many, (3, NO_SITE)))
    listed, omitted = body["errors"], body["omitted"]
    used = sum(len(json.dumps(each, separators=(",", ":"))) + 1 for each in listed)
    entry = len(json.dumps({"index": 100, "status": 400, "message": many[0][1].text}, separators=(",", ":"))) + 1
    assert 2200 - entry < used <= 2200, "as many as fit"
    *named, invalid, no_site = omitted
    assert invalid == {"status": 400, "message": "other errors", "count": invalid["count"]}
    assert no_site == {"status": 404, "message": "other errors", "count": 3}
    assert named == [
        {"status": 400, "message": rejected.text, "count": number} for number, rejected in many[: -len(named) - 1 : -1]
    ], "the most frequent first"
    room = 3496 - 300 - (len(json.dumps({**body, "omitted": []}, separators=(",", ":"))) - len(',"omitted":[]'))
    used = sum(len(json.dumps(each, separators=(",", ":"))) + 1 for each in named)
    assert room - 140 < used <= room
