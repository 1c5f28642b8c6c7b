"""One embedded ClickHouse for these tests, and a plain HTTP client for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
import requests

from deploy.local.clickhouse.process import ClickHouseProcess


class Http:
    """Plain HTTP, as curl would: `http("SELECT 1", database="x")` posts, `http.get(...)` gets."""

    def __init__(self, process: ClickHouseProcess):
        self.process = process

    def __call__(
        self, body: str | bytes = b"", headers: dict[str, str] | None = None, **args: Any
    ) -> requests.Response:
        data = body.encode() if isinstance(body, str) else body
        own = self.process.credentials if headers is None or "Authorization" not in headers else {}
        return requests.post(
            self.process.address + "/", data=data, params=args, headers={**own, **(headers or {})}, timeout=60
        )

    def get(self, path: str = "/", headers: dict[str, str] | None = None, **args: Any) -> requests.Response:
        own = self.process.credentials
        return requests.get(self.process.address + path, params=args, headers={**own, **(headers or {})}, timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseProcess]:
    with ClickHouseProcess(tmp_path_factory.mktemp("clickhouse")) as process:
        yield process


@pytest.fixture(scope="module")
def http(server: ClickHouseProcess) -> Http:
    return Http(server)


@pytest.fixture
def client(server: ClickHouseProcess) -> Iterator[Any]:
    with clickhouse_connect.get_client(dsn=server.url) as client:
        yield client


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ClickHouseProcess]]:
    """Start a server of its own; it is stopped at the end."""
    started: list[ClickHouseProcess] = []

    def starter(**options: Any) -> ClickHouseProcess:
        started.append(ClickHouseProcess(options.pop("path", tmp_path / "data"), **options))
        return started[-1].start()

    yield starter
    for process in started:
        process.stop()
