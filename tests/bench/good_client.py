"""The client that an attack is measured by: what it posts, and what it sees."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Any

from tests import http


@dataclass
class Seen:
    """What the good client has seen: seconds of its posts by what went on beside them, and its failures."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    #: Pages of the posts that were answered with 202.
    accepted: set[str] = field(default_factory=set)

    def note(self, status: str, beside: str, page_id: str) -> None:
        if status == "202":
            self.accepted.add(page_id)
        else:
            self.failed.append(f"{status} beside {beside}")

    def p99_ms(self, beside: str) -> float:
        found = sorted(self.seconds[beside])
        return found[len(found) * 99 // 100] * 1000


class KeptConnection:
    """Posts pageviews on one connection, as forwarders do, or on a new one; returns a status or an error's name."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=20)
        self._headers = {"Authorization": f"Bearer {token}"}

    def post(self, pageview: dict[str, Any]) -> str:
        try:
            self._connection.request("POST", http.ENDPOINT, json.dumps(pageview), self._headers)
            with self._connection.getresponse() as answer:
                answer.read()
                return str(answer.status)
        except (OSError, HTTPException) as error:
            self._connection.close()
            return type(error).__name__

    def post_once(self, pageview: dict[str, Any]) -> str:
        once = KeptConnection(self._connection.port, "")
        once._headers = self._headers
        try:
            return once.post(pageview)
        finally:
            once._connection.close()
