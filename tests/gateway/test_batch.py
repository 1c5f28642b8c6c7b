"""The batch endpoint: per-item results, encodings, limits, and repetition without doubling."""

from __future__ import annotations

import gzip
import json
import time
import uuid
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from tests import http, services
from tests.services import System, pageview


def post(system: System, body: Any, **headers: str) -> http.Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.request(system.port, path=http.BATCH_ENDPOINT, body=body, token=system.token, headers=sent)


def ndjson(items: list[Any]) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def marked(marker: str, number: int) -> list[dict[str, Any]]:
    return [pageview(url=f"https://example.com/{marker}/{index}", **services.ids()) for index in range(number)]


def stored(system: System, marker: str, table: str = "pageviews") -> int:
    return services.count(system.clickhouse, table, f"startsWith(path, '/{marker}/')")


@pytest.mark.parametrize("form", [ndjson, lambda items: json.dumps(items, indent=1).encode()], ids=["ndjson", "array"])
def test_good_items_are_stored_beside_bad_ones(system: System, form: Callable[[list[Any]], bytes]) -> None:
    marker = uuid.uuid4().hex
    items: list[Any] = marked(marker, 6)
    items[1] = {**items[1], "visitor_ip": "nonsense"}
    items[2] = 5
    items[4] = {**items[4], "url": "https://nowhere.example/"}

    answer = post(system, form(items))

    assert answer.status == 202
    assert (answer.json["accepted"], answer.json["rejected"]) == (3, 3)
    assert [(each["index"], each["status"]) for each in answer.json["errors"]] == [(1, 400), (2, 400), (4, 404)]
    assert answer.json["errors"][0]["message"].startswith("visitor_ip: ")
    services.wait_for(lambda: stored(system, marker) == 3)


@pytest.mark.parametrize(
    "odd",
    [b"1" * 5000, b"NaN", b'{"a":"\xff"}', b"[" * 2000 + b"]" * 2000, b"01", b'"\x00"', b"1e999", b"[1,,{}]"],
)
def test_an_odd_element_of_an_array_does_not_reject_its_neighbours(system: System, odd: bytes) -> None:
    good = json.dumps(pageview(dnt=True)).encode()
    body = (
        b" ["
        + good
        + b" ,\n"
        + json.dumps(pageview(dnt=True)).encode()[:-1]
        + b', "referrer": '
        + odd
        + b"}, "
        + good
        + b"]\n"
    )

    answer = post(system, body)

    assert (answer.status, answer.json.get("accepted")) == (202, 2), answer.body[:500]
    assert [(each["index"], each["status"]) for each in answer.json["errors"]] == [(1, 400)]


def array(items: list[Any]) -> bytes:
    return json.dumps(items, separators=(",", ":")).encode()


def of_size(size: int, field: str) -> dict[str, Any]:
    """Return a pageview that takes `size` bytes as compact JSON, filled up in `field`."""
    item = pageview(dnt=True, **{field: ""})
    return {**item, field: "x" * (size - len(json.dumps(item, separators=(",", ":"))))}


@pytest.mark.parametrize("form", [array, lambda items: b"\n".join(array([item])[1:-1] for item in items)])
@pytest.mark.parametrize("field", ["referrer", "user_agent", "ignored"])
def test_an_item_over_64_kib_is_a_separate_error(
    system: System, form: Callable[[list[Any]], bytes], field: str
) -> None:
    answer = post(system, form([of_size(65_536, field), of_size(65_537, field)]))

    assert (answer.status, answer.json["accepted"]) == (202, 1)
    assert answer.json["errors"] == [{"index": 1, "status": 413, "message": "item: is over the limit of 65536 bytes"}]


def test_a_deeply_nested_item_is_measured_too(system: System) -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]

    answer = post(system, array([pageview(dnt=True, ignored=deep), pageview(referrer="x" * 70_000, ignored=deep)]))

    assert [answer.json["accepted"], *(each["status"] for each in answer.json["errors"])] == [1, 413]


def test_an_array_of_millions_with_an_odd_element_does_not_block_others(system: System) -> None:
    began = time.monotonic()

    answer = post(system, b"[NaN" + b",1" * 2_000_000 + b"]")

    assert (answer.status, answer.message) == (413, "body: is over the limit of 50000 pageviews")
    assert time.monotonic() - began < 1.5


def test_what_is_refused_before_the_items_carries_the_rate_limit_too(system: System) -> None:
    for body, headers in ((b"[{]", {}), (b"x", {"Content_Encoding": "br"}), (b"x", {"Content_Encoding": "gzip"})):
        assert "ratelimit-remaining" in post(system, body, **headers).headers


def test_a_batch_repeated_after_retry_after_succeeds(system: System) -> None:
    token = services.add_client(system.env, "waits", "example.com", rate="400/second")  # 1,200 in 3 seconds
    services.wait_for(lambda: system.post(dnt=True, token=token).status == 202)
    body = ndjson([pageview(dnt=True)] * 1000)

    def send() -> http.Answer:
        return http.request(system.port, path=http.BATCH_ENDPOINT, body=body, token=token)

    refused = services.wait_for(lambda: answer if (answer := send()).status == 429 else None)
    time.sleep(int(refused.headers["retry-after"]))
    assert send().status == 202


def test_a_broken_line_is_a_separate_error(system: System) -> None:
    good = ndjson([pageview(dnt=True)])

    answer = post(system, good + b"{broken\n\n\r\n" + good)

    assert (answer.status, answer.json.get("accepted")) == (202, 2), answer.body[:500]
    assert answer.json["errors"] == [{"index": 1, "status": 400, "message": "item: is not valid JSON"}]


@pytest.mark.parametrize("body", [b"", b"[]", b" [ ] "])
def test_no_items_at_all_is_202_and_zeros(system: System, body: bytes) -> None:
    answer = post(system, body)

    assert (answer.status, answer.json) == (202, {"accepted": 0, "rejected": 0, "errors": []})


@pytest.mark.parametrize(
    ("items", "status"),
    [
        ([{}, 1], 400),
        ([pageview(url="https://nowhere.example/")] * 2, 404),
        ([pageview(url="https://nowhere.example/"), {}], 400),
    ],
)
def test_with_nothing_accepted_the_status_is_the_items_common_one_or_400(
    system: System, items: list[Any], status: int
) -> None:
    answer = post(system, ndjson(items))

    assert (answer.status, answer.json["accepted"], answer.json["rejected"]) == (status, 0, 2)
    assert answer.json["message"].startswith("nothing accepted; first error: ")


@pytest.mark.parametrize("body", [b"[{}, {]", b"[", b"\r\n\r\n", b" "])
def test_a_broken_array_or_mere_white_space_is_400_as_a_whole(system: System, body: bytes) -> None:
    answer = post(system, body)

    assert (answer.status, answer.message.partition(":")[0]) == (400, "body")


def test_a_batch_of_10_mb_and_one_of_50000_items_are_accepted_and_one_more_is_413(system: System) -> None:
    marker = uuid.uuid4().hex
    items = marked(marker, 1001)
    small = pageview(dnt=True, user_agent="x")

    assert post(system, array(items)).json["accepted"] == 1001
    assert post(system, array([pageview(dnt=True, user_agent="x" * 2000)] * 4500)).json["accepted"] == 4500
    assert post(system, ndjson([small] * 50_000)).json["accepted"] == 50_000
    refused = post(system, ndjson([small] * 50_001))

    assert (refused.status, refused.message) == (413, "body: is over the limit of 50000 pageviews")
    services.wait_for(lambda: stored(system, marker) == 1001)


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": lambda body: gzip.compress(body[:50]) + gzip.compress(body[50:]),
    "deflate": zlib.compress,
    "Deflate": lambda body: zlib.compress(body, wbits=-15),
    "zstd": zstandard.compress,
    "ZSTD": lambda body: zstandard.compress(body[:50]) + zstandard.compress(body[50:]),
    "identity": lambda body: body,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encodings_are_understood_on_both_endpoints(system: System, encoding: str) -> None:
    many = ENCODINGS[encoding](ndjson([pageview(dnt=True)] * 3))
    one = ENCODINGS[encoding](json.dumps(pageview(dnt=True)).encode())
    headers = {"Content-Encoding": encoding}

    assert post(system, many, Content_Encoding=encoding).json["accepted"] == 3
    assert http.request(system.port, body=one, token=system.token, headers=headers).status == 202


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_body_that_does_not_decompress_is_400(system: System, encoding: str) -> None:
    whole = ENCODINGS[encoding](ndjson([pageview()] * 100))

    for broken in (b"nonsense, not compressed", whole[: len(whole) // 2]):
        answer = post(system, broken, Content_Encoding=encoding)
        assert (answer.status, "Content-Encoding" in answer.message) == (400, True), broken[:20]


def test_an_unknown_encoding_is_415(system: System) -> None:
    assert post(system, b"x", Content_Encoding="br").status == 415


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_413_and_costs_little_memory(system: System, encoding: str) -> None:
    bomb = ENCODINGS[encoding](b"\n" * (1 << 28))
    before = system.gateway.resident_mib()

    answers = [post(system, bomb, Content_Encoding=encoding) for _ in range(5)]

    assert {answer.status for answer in answers} == {413}
    assert system.gateway.resident_mib() - before < 40


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_batch_may_have_a_member_for_each_item_and_a_great_many_hold_nobody_up(system: System, encoding: str) -> None:
    items = [ENCODINGS[encoding](ndjson([pageview(dnt=True)])) for _ in range(1000)]
    empty = ENCODINGS[encoding](b"")

    assert post(system, b"".join(items), Content_Encoding=encoding).json["accepted"] == 1000
    assert post(system, empty * 2000, Content_Encoding=encoding).status == 202
    began = time.monotonic()
    refused = post(system, empty * 20_001, Content_Encoding=encoding)
    assert (refused.status, refused.message) == (413, "body: has over 20000 compressed members")
    assert time.monotonic() - began < 5  # it was 22 seconds, for everybody


def test_a_batch_over_16_mib_is_413_before_it_is_read(system: System) -> None:
    head = f"POST {http.BATCH_ENDPOINT} HTTP/1.1\r\nHost: x\r\nContent-Length: {16 * 2**20 + 1}\r\n\r\n"

    assert http.raw(system.port, head.encode()).status == 413


def test_a_batch_without_a_token_is_401_before_its_body_is_read(system: System) -> None:
    head = f"POST {http.BATCH_ENDPOINT} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"

    assert http.raw(system.port, head.encode()).status == 401


def test_a_batch_is_charged_whole_or_not_at_all(system: System) -> None:
    token = services.add_client(system.env, "batches", "example.com", rate="10/second")
    services.wait_for(lambda: system.post(dnt=True, token=token).status == 202)
    body = ndjson([pageview(dnt=True)] * 600)

    def send() -> http.Answer:
        return http.request(system.port, path=http.BATCH_ENDPOINT, body=body, token=token)

    first, second = send(), send()

    assert (first.status, first.headers["ratelimit-limit"]) == (202, "1000")
    assert second.status == 429
    # Refused, it costs a pageview per KiB and not 600.
    assert 390 - len(body) // 1024 <= int(second.headers["ratelimit-remaining"]) < 390
    assert system.post(dnt=True, token=token).status == 202


def test_a_batch_with_wrong_items_repeated_three_times_is_stored_once_and_its_answer_is_short(system: System) -> None:
    marker = uuid.uuid4().hex
    items = marked(marker, 600)
    body = ndjson([{**item, "visitor_ip": "unknown"} if number % 6 == 0 else item for number, item in enumerate(items)])

    for _ in range(3):
        answer = post(system, body)
        assert (answer.status, answer.json["accepted"], answer.json["rejected"]) == (202, 500, 100)
        assert sum(len(name) + len(value) + 4 for name, value in answer.headers.items()) + len(answer.body) < 4000

    every = http.request(system.port, path=f"{http.BATCH_ENDPOINT}?errors=all", body=body, token=system.token)
    assert [error["index"] for error in every.json["errors"]] == list(range(0, 600, 6))
    services.wait_for(lambda: stored(system, marker) == 500)


def test_objects_one_behind_another_are_items(system: System) -> None:
    marker = uuid.uuid4().hex

    answer = post(system, b"".join(json.dumps(item).encode() for item in marked(marker, 3)))

    assert answer.json == {"accepted": 3, "rejected": 0, "errors": []}
    services.wait_for(lambda: stored(system, marker) == 3)


def test_a_path_with_a_trailing_slash_is_the_same_endpoint(system: System) -> None:
    for path in (http.ENDPOINT, http.BATCH_ENDPOINT):
        assert http.request(system.port, path=f"{path}/", body=pageview(dnt=True), token=system.token).status == 202
        assert http.request(system.port, path=f"{path}//", body=pageview(dnt=True), token=system.token).status == 404


def test_a_batch_above_the_burst_is_413_and_names_it(system: System) -> None:
    token = services.add_client(system.env, "slow batches", "example.com", rate="10/second")
    services.wait_for(lambda: system.post(dnt=True, token=token).status == 202)

    answer = http.request(system.port, path=http.BATCH_ENDPOINT, body=[pageview(dnt=True)] * 1001, token=token)

    assert (answer.status, "more than the 1000 that" in answer.message) == (413, True)
    assert "ratelimit-remaining" in answer.headers


def test_a_repeated_key_stores_nothing_twice_also_without_the_rejected_items(system: System) -> None:
    marker = uuid.uuid4().hex
    items = [pageview(url=f"https://example.com/{marker}/{index}") for index in range(5)]
    items = [*items, items[0], items[0], pageview(visitor_ip="x")]

    first = post(system, ndjson(items), Idempotency_Key="a key")
    again = post(system, json.dumps(items[::-1]).encode(), Idempotency_Key="a key")
    without = post(system, ndjson(items[:-1]), Idempotency_Key="a key")

    assert [answer.json["accepted"] for answer in (first, again, without)] == [7, 7, 7]
    services.wait_for(lambda: stored(system, marker) > 0)
    services.wait_for(lambda: system.outcomes().get("stored", 0) >= 21)
    assert stored(system, marker) == 7
    assert post(system, ndjson(items[:-1]), Idempotency_Key="another").json["accepted"] == 7
    services.wait_for(lambda: stored(system, marker) == 14)


def test_a_repeated_key_stores_nothing_twice_on_the_single_endpoint(system: System) -> None:
    marker = uuid.uuid4().hex
    body = pageview(url=f"https://example.com/{marker}/")
    reordered = dict(reversed(body.items()))

    for sent in (body, reordered, body):
        headers = {"Idempotency-Key": "one"}
        assert http.request(system.port, body=sent, token=system.token, headers=headers).status == 202
    assert http.request(system.port, body=body, token=system.token).status == 202

    services.wait_for(lambda: stored(system, marker) == 2)


def test_a_key_works_beside_fields_that_are_ignored_however_deep(system: System) -> None:
    marker = uuid.uuid4().hex
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    body = pageview(url=f"https://example.com/{marker}/")

    nil = "00000000-0000-0000-0000-000000000000"
    odd = {**body, "session_id": nil, "timestamp": f" {body['timestamp']} ", "screen_width": 0.0, "dnt": False}
    for sent in ({**body, "unknown": deep, "big": 10**40}, {**body, "referrer": None}, odd, body):
        headers = {"Idempotency-Key": "deep"}
        assert http.request(system.port, body=sent, token=system.token, headers=headers).status == 202

    services.wait_for(lambda: stored(system, marker) == 1)
    services.wait_for(lambda: services.count(system.clickhouse, "pageviews", f"path = '/{marker}/'") == 1)


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel", "a\tb"])
def test_a_malformed_key_is_400(system: System, key: str) -> None:
    answer = post(system, ndjson([pageview()]), Idempotency_Key=key.encode())  # type: ignore[arg-type]

    assert (answer.status, answer.message.partition(":")[0]) == (400, "Idempotency-Key")
