"""Plain HTTP for tests: a connection a request, so that nothing is shared between them."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

ENDPOINT = "/api/ingest/server/pageview"
BATCH_ENDPOINT = "/api/ingest/server/pageviews"


@dataclass(frozen=True)
class Answer:
    """Status, headers (names in lower case) and body of an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """The documented error body, which has this and nothing else."""
        assert self.headers["content-type"] == "application/json"
        assert list(self.json) == ["message"]
        return self.json["message"]


def request(
    port: int, method: str = "POST", path: str = ENDPOINT, body: Any = None, token: str | None = None,
    headers: dict[str, str] | None = None, timeout_s: float = 60.0,
) -> Answer:  # fmt: skip
    """Send one request; a `body` other than bytes is sent as JSON."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request(method, path, body=data, headers=sent)
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def raw(port: int, data: bytes, timeout_s: float = 30.0) -> Answer:
    """Send bytes as they are and read one answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(data)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def ready(admin_port: int) -> bool:
    return request(admin_port, "GET", "/readyz").status == 200
