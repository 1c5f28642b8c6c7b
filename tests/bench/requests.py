"""Prepared requests of realistic pageviews."""

from __future__ import annotations

import json
import random
import uuid
from datetime import UTC, datetime
from functools import cache
from typing import Any

from tests.access_log import lines, to_pageview
from tests.http import BATCH_ENDPOINT, ENDPOINT


@cache
def _source() -> list[dict[str, Any]]:
    return [to_pageview(line) for line in lines()]


def pageviews(number: int) -> list[dict[str, Any]]:
    """Return pageviews of the access log's kind, of now (old ones are inserted apart) and with ids of their own."""
    source = _source()
    chance = random.Random(1)
    now = datetime.now(UTC).isoformat()
    return [
        {**chance.choice(source), "timestamp": now, "page_id": str(uuid.uuid4()), "session_id": str(uuid.uuid4())}
        for _ in range(number)
    ]


def http_request(path: str, body: bytes, token: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def single(token: str, number: int = 2000) -> list[bytes]:
    return [http_request(ENDPOINT, json.dumps(each).encode(), token) for each in pageviews(number)]


def batches(token: str, items: int, number: int = 50) -> list[bytes]:
    return [
        http_request(BATCH_ENDPOINT, "\n".join(map(json.dumps, pageviews(items))).encode(), token)
        for _ in range(number)
    ]
