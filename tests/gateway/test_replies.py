"""The table of refusals: what clients, dashboards and alerts were told of them before."""

from __future__ import annotations

import orjson
import pytest

from gateway.replies import ITEM_REASONS, Reason, Rejected, as_bytes, error_response

#: Label → status, whether to repeat, and where of 503 the text says what is known of the pageview's fate.
TABLE = {
    "too_large": (413, "body"), "no_token": (401, "Authorization"), "bad_token": (401, "Authorization"),
    "rate_limited": (429, "rate limit"), "too_many_failures": (429, "rate limit"), "invalid": (400, "body is not"),
    "unknown_site": (404, "url"), "forbidden": (403, "url"),
    "broker_down": (503, "not taken: the queue is unreachable"),
    "broker_blocked": (503, "not taken: the queue is out of memory or disk space"),
    "broker_refused": (503, "not taken: the queue is full"),
    "no_queue": (503, "not taken: the queue does not exist (operators: run hitline migrate)"),
    "unsafe_queue": (503, "not taken: a policy of the queue may delete accepted pageviews"),
    "buffer_full": (503, "not taken: too many requests are waiting"),
    "no_registry": (503, "not taken: no site is registered yet, or the registry is unreachable"),
    "old_registry": (503, "not taken: this gateway has not been able to update its registry for too long"),
    "unknown_fate": (503, "unknown: sent to the queue, but not confirmed in time; repeat with the same ids or Idempot"),
    "slow_client": (408, "the body did not arrive"), "client_gone": (400, "the connection was closed"),
    "bad_encoding": (400, "Content-Encoding"), "unknown_encoding": (415, "Content-Encoding"),
    "too_many_connections": (503, "not taken: too many connections"), "uri_too_long": (414, "request line"),
    "headers_too_large": (431, "headers"), "http_version": (505, "only HTTP/1.1"),
    "transfer_encoding": (501, "Transfer-Encoding"), "malformed_http": (400, "request is not"),
    "not_found": (404, "no such endpoint"), "wrong_method": (405, "method not allowed"), "expectation": (417, "Expect"),
    "internal": (500, "internal error"),
}  # fmt: skip


def test_labels_statuses_and_beginnings_of_texts_are_as_they_are_documented() -> None:
    assert {reason.label: reason.status for reason in Reason} == {label: status for label, (status, _) in TABLE.items()}
    for reason in Reason:
        assert reason.text.startswith(TABLE[reason.label][1])
    assert len({reason.text for reason in Reason}) == len(Reason), "no two reasons read alike"


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.label)
def test_a_503_says_whether_it_was_taken_and_only_it_and_429_ask_to_repeat(reason: Reason) -> None:
    assert reason.retryable is (reason.status in (429, 503))
    if reason.status == 503:
        assert reason.text.startswith("unknown: " if reason is Reason.UNKNOWN_FATE else "not taken: ")
    response = error_response(Rejected(reason))
    assert isinstance(response.body, bytes)
    assert (response.status, orjson.loads(response.body)) == (reason.status, {"message": reason.text})
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers.get("Retry-After") == ("1" if reason.retryable else None)
    assert response.headers.get("WWW-Authenticate") == ('Bearer realm="hitline"' if reason.status == 401 else None)


def test_a_retry_after_that_was_computed_is_kept() -> None:
    assert error_response(Rejected(Reason.RATE_LIMITED, headers={"Retry-After": "77"})).headers["Retry-After"] == "77"


def test_items_are_refused_for_what_may_differ_between_them() -> None:
    assert {reason.label for reason in ITEM_REASONS} == {
        "invalid", "unknown_site", "forbidden", "too_large", "broker_down", "broker_blocked", "broker_refused",
        "no_queue", "unsafe_queue", "buffer_full", "unknown_fate",
    }  # fmt: skip


def test_the_same_as_bytes_ends_the_connection() -> None:
    head, _, body = as_bytes(Rejected(Reason.MALFORMED_HTTP, "why")).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 400 Bad Request"
    assert {
        "Connection: close",
        f"Content-Length: {len(body)}",
        "Content-Type: application/json",
        "Server: hitline",
    } <= set(lines)
    assert orjson.loads(body) == {"message": "why"}
