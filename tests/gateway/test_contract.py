"""The table of statuses, field by field, against a running gateway with a real broker and a real ClickHouse."""

from __future__ import annotations

import json
import socket
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import http, services
from tests.services import System, pageview

UUID = "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0"
NO_STRING = [1, 1.5, True, ["a"], {"a": 1}]
WRONG = {
    "url": [
        ..., None, *NO_STRING, "", " ", "/relative", "example.com/x", "ftp://example.com/", "http:///x", "http://",
        "https:example.com", "http://exa mple.com/", "http://example.com:0/", "http://example.com:65536/",
        "http://example.com:port/", "http://[::1/", "http://-bad-.com/", "http://exa\nmple.com/", "http://exa\x00mple.com",
        "//example.com/", "http://exam_ple..com/", "https://evil.test\\@example.com/", "https://[::1]extra/",
        "https://[v1.abc]/", "https://a\\b/",
    ],
    "timestamp": [
        ..., None, *NO_STRING, "", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00", "1700000000",
        "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+1", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,Z",
        "20260101T000000Z",
        "2026-01-01T22:00:60Z", "2016-12-31T23:59:60+01:00",
        "1989-12-31T23:59:59.999Z", "1990-01-01T00:00:00+01:00", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
        "２026-01-01T00:00:00Z",
    ],
    "visitor_ip": [
        ..., None, *NO_STRING, 16909060, "", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4:80", "1.2.3.0/24",
        "::1/128", "[::1]", "1.2.3.4%eth0", "::ffff:1.2.3.256", "unknown", "-",
        "localhost", "0x7f000001", "16909060", "1.2.3.4\x00",
    ],
    "user_agent": [..., None, *NO_STRING, "", " \t\n"],
    "dnt": [0, 1, "true", "1", [], {}],
    "session_id": [*NO_STRING, "x", "-", "2489e9ad2ee28e00-8ec932d5f69181c0", f"{{{UUID}", f"{UUID}}}", f" {UUID}"],
    "page_id": [*NO_STRING, "home", "2489e9ad-2ee2-8e00-8ec9-32d5f69181cg", f"urn:uuid:{{{UUID}}}", f"uuid:{UUID}"],
    "referrer": [1, 1.5, True, [], {}],
    "language": [1, True, [], {}],
    **{
        f"{what}_{side}": ["1", "1920", True, [], {}]
        for what in ("screen", "viewport")
        for side in ("width", "height")
    },
}  # fmt: skip
CASES = [(field, value) for field, values in WRONG.items() for value in values]


def now(**delta: float) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


@pytest.mark.parametrize(("field", "value"), CASES)
def test_a_wrong_field_is_400_and_named(system: System, field: str, value: Any) -> None:
    answer = http.request(system.port, body=pageview(**{field: value}), token=system.token)

    assert answer.status == 400
    assert answer.message.startswith(f"{field}: ")
    if isinstance(value, str) and len(value) > 5:
        assert value not in answer.message


def test_a_timestamp_further_ahead_than_24_hours_is_400(system: System) -> None:
    answer = http.request(system.port, body=pageview(timestamp=now(hours=24, seconds=5)), token=system.token)

    assert (answer.status, answer.message) == (400, "timestamp: must not be more than 24 hours in the future")


def test_every_wrong_field_is_named(system: System) -> None:
    answer = http.request(system.port, body=pageview(visitor_ip="x", dnt="yes", page_id=5), token=system.token)

    assert [part.partition(":")[0] for part in answer.message.split("; ")] == ["visitor_ip", "dnt", "page_id"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b"1", b'"x"', b"{} {}", b"\xff", b"\xef\xbb\xbf", b"[" * 5000, b'{"a":NaN}',
     b'{"a":"\xff}', b"{'a':1}"],
)  # fmt: skip
def test_a_body_that_is_not_a_json_object_is_400(system: System, body: bytes) -> None:
    answer = http.request(system.port, body=body, token=system.token)

    assert answer.status == 400
    assert answer.message.startswith("body: ")


def test_a_byte_order_mark_before_a_pageview_is_ignored(system: System) -> None:
    body = b"\xef\xbb\xbf" + json.dumps(pageview(dnt=True)).encode()

    assert http.request(system.port, body=body, token=system.token).status == 202


def test_the_last_value_of_a_repeated_key_counts(system: System) -> None:
    body = json.dumps(pageview(dnt=True)).encode()

    assert http.request(system.port, body=body[:-1] + b',"dnt":true}', token=system.token).status == 202
    answer = http.request(system.port, body=body[:-1] + b',"dnt":1}', token=system.token)
    assert (answer.status, answer.message.partition(":")[0]) == (400, "dnt")


def test_odd_values_in_ignored_fields_do_no_harm(system: System) -> None:
    body = pageview(dnt=True, big=10**30, deep=[[[[[{}]]]]], **{"": 1, "\x00": "\x00", "😀" * 1000: None})

    assert http.request(system.port, body=body, token=system.token).status == 202


def test_trailing_data_is_400(system: System) -> None:
    answer = http.request(system.port, body=json.dumps(pageview()).encode() + b"x", token=system.token)

    assert answer.status == 400
    assert answer.message.startswith("body: is not valid JSON")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic eDp5"},
        {"X-API-Key": " "},
    ],
)
def test_no_token_is_401(system: System, headers: dict[str, str]) -> None:
    answer = http.request(system.port, body=pageview(), headers=headers)

    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "Authorization" in answer.message


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer wrong"}, {"X-API-Key": "wrong"}, {"X-API-Key": "x" * 600}]
)
def test_a_wrong_token_is_401(system: System, headers: dict[str, str]) -> None:
    answer = http.request(system.port, body=pageview(), headers=headers)

    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "wrong" not in answer.message


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER   {}"])
def test_the_scheme_is_case_insensitive(system: System, form: str) -> None:
    answer = http.request(system.port, body=pageview(dnt=True), headers={"Authorization": form.format(system.token)})

    assert (answer.status, answer.body) == (202, b"")


def test_x_api_key_is_used_if_authorization_is_not_a_bearer_token(system: System) -> None:
    headers = {"Authorization": "Basic eDp5", "X-API-Key": system.token}

    assert http.request(system.port, body=pageview(dnt=True), headers=headers).status == 202


def test_authorization_comes_before_x_api_key(system: System) -> None:
    headers = {"Authorization": "Bearer wrong", "X-API-Key": system.token}

    assert http.request(system.port, body=pageview(), headers=headers).status == 401


def test_an_unknown_hostname_is_404_and_a_site_without_grant_is_403(system: System) -> None:
    services.hitline(system.env, "site", "add", "forbidden.example")
    services.wait_for(lambda: system.post(url="https://forbidden.example/").status != 404)
    unknown = http.request(system.port, body=pageview(url="https://nowhere.example/"), token=system.token)
    forbidden = http.request(system.port, body=pageview(url="https://forbidden.example/"), token=system.token)

    assert (unknown.status, unknown.message.partition(":")[0]) == (404, "url")
    assert (forbidden.status, forbidden.message.partition(":")[0]) == (403, "url")


def test_fields_are_checked_before_the_site(system: System) -> None:
    body = pageview(url="https://nowhere.example/", visitor_ip="x")

    assert http.request(system.port, body=body, token=system.token).status == 400


def test_a_body_over_64_kib_is_413_before_the_token_is_looked_at(system: System) -> None:
    answer = http.request(system.port, body=pageview(referrer="x" * 65_536), token="wrong")

    assert (answer.status, answer.message) == (413, "body: is over the limit of 65536 bytes")


def test_a_chunked_body_over_64_kib_is_413(system: System) -> None:
    head = f"POST {http.ENDPOINT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {system.token}\r\n"
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    answer = http.raw(system.port, head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 2 + b"0\r\n\r\n")

    assert (answer.status, answer.message) == (413, "body: is over the limit of 65536 bytes")


@pytest.mark.parametrize("host", ["example.com", ".".join(["a" * 58] * 4) + ".wild.example.org"])
def test_a_body_of_exactly_64_kib_is_taken(system: System, host: str) -> None:
    """With as little JSON around its values as there can be: what travels through the queue is larger than that."""
    least = {"url": f"http://{host}", "timestamp": "2026-01-01T00:00:00Z", "visitor_ip": "::", "user_agent": ""}
    room = 65_536 - len(json.dumps({**least, "dnt": True}, separators=(",", ":")))
    body = json.dumps({**least, "dnt": True, "user_agent": "x" * room}, separators=(",", ":")).encode()

    assert len(body) == 65_536
    assert http.request(system.port, body=body, token=system.token).status == 202


def test_unknown_routes_and_wrong_methods_answer_in_json(system: System) -> None:
    assert http.request(system.port, "GET", "/nothing").status == 404
    assert "no such endpoint" in http.request(system.port, "POST", "/nothing", body=b"").message
    wrong = http.request(system.port, "GET")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert "method" in wrong.message
    assert http.request(system.port, "PUT", body=b"{}").status == 405


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"POST /api HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST /api HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /api HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_malformed_http_is_400_in_json(system: System, data: bytes) -> None:
    answer = http.raw(system.port, data)

    assert (answer.status, answer.message) == (400, "request is not well-formed HTTP")


def test_an_unknown_expectation_is_417_and_100_continue_is_served(system: System) -> None:
    assert http.request(system.port, body=pageview(), token=system.token, headers={"Expect": "x"}).status == 417
    head = f"POST {http.ENDPOINT} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
    with socket.create_connection(("127.0.0.1", system.port), timeout=60) as connection:
        connection.sendall(f"{head}X-API-Key: {system.token}\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 Continue\r\n")
        connection.sendall(b"{}")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_a_declared_length_over_the_limit_is_413_without_waiting_for_the_body(system: System) -> None:
    head = f"POST {http.ENDPOINT} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 70000\r\n\r\n"

    assert http.raw(system.port, head.encode()).status == 413


def test_content_type_and_unknown_fields_are_ignored(system: System) -> None:
    body = pageview(dnt=True, unknown={"deep": [1]}, utm_source="ignored")

    answer = http.request(system.port, body=body, token=system.token, headers={"Content-Type": "text/plain"})

    assert answer.status == 202


def test_answers_carry_the_rate_limit(system: System) -> None:
    taken = http.request(system.port, body=pageview(dnt=True), token=system.token)
    refused = http.request(system.port, body=b"{", token=system.token)

    for answer in (taken, refused):
        limit, remaining = int(answer.headers["ratelimit-limit"]), int(answer.headers["ratelimit-remaining"])
        assert 0 < remaining < limit
        assert int(answer.headers["ratelimit-reset"]) >= 1


def test_a_client_over_its_limit_is_429_and_succeeds_after_retry_after(system: System) -> None:
    token = services.add_client(system.env, "slow", "example.com", rate="250/second")  # 1,000 in 4 seconds
    services.wait_for(lambda: system.post(dnt=True, token=token).status == 202)

    def spent() -> http.Answer | None:
        """Spend what is left in one batch; where a window ended meanwhile, room comes back until both are empty."""
        first = system.post(dnt=True, token=token)
        left = int(first.headers["ratelimit-remaining"])
        http.request(system.port, path=http.BATCH_ENDPOINT, body=[pageview(dnt=True)] * left, token=token)
        answer = system.post(dnt=True, token=token)
        if answer.status == 429:
            return answer
        time.sleep(int(answer.headers["ratelimit-reset"]))
        return None

    refused: http.Answer = services.wait_for(spent, 90)

    assert "rate limit" in refused.message
    assert refused.headers["ratelimit-remaining"] == "0"
    time.sleep(int(refused.headers["retry-after"]))
    assert system.post(dnt=True, token=token).status == 202


def test_many_wrong_tokens_from_one_address_are_429_and_a_valid_one_from_there_is_not(system: System) -> None:
    statuses = {system.post(token="wrong").status for _ in range(110)}
    refused = system.post(token="wrong")

    assert statuses == {401, 429}
    assert (refused.status, int(refused.headers["retry-after"]) >= 1) == (429, True)
    assert system.post(dnt=True).status == 202


def test_a_revoked_token_is_401_within_5_seconds(system: System) -> None:
    token = services.add_client(system.env, "revoked", "example.com")
    services.wait_for(lambda: system.post(dnt=True, token=token).status == 202)
    services.hitline(system.env, "client", "revoke", "revoked")

    services.wait_for(lambda: system.post(dnt=True, token=token).status in (401, 429), 15)


def test_nothing_is_stored_for_what_was_not_202(system: System) -> None:
    """Runs last in this module, where every 202 carries `dnt`: all are counted as drops, and none is a row."""
    page_id = services.ids()
    assert system.post(**page_id).status == 202
    services.wait_for(lambda: "stored" in system.outcomes())

    assert services.count(system.clickhouse, "pageviews_raw") == 1
    assert set(system.outcomes()) == {"dnt", "stored"}
