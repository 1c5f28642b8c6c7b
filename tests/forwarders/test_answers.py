"""What each shipper does with every kind of answer: the table in docs/forwarders/README.md."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deploy.local.ports import free_port
from tests import programs, services
from tests.forwarders import applications, servers, tools

#: Given in this order to the first requests with items; None: the connection is closed without an answer.
REFUSALS = (429, 503, None)


class Stub:
    """A gateway that gives prepared answers, then takes everything."""

    def __init__(self, port: int) -> None:
        self.answers: list[int | None] = []
        self.taken: list[str] = []
        self.requests: list[tuple[float, list[str], int | None]] = []
        self._lock = threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = stub.judge([json.loads(line)["url"] for line in body.splitlines()])
                self.close_connection = True
                if status is None:
                    return
                answer = {"accepted": 1, "rejected": 0, "errors": []} if status == 202 else {"message": "prepared"}
                data = json.dumps(answer).encode()
                self.send_response(status)
                if status in (429, 503):
                    self.send_header("Retry-After", "1")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(data)

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def judge(self, urls: list[str]) -> int | None:
        with self._lock:
            status = self.answers.pop(0) if self.answers else 202
            self.requests.append((time.monotonic(), urls, status))
            if status == 202:
                self.taken += urls
            return status

    def answered(self, number: int) -> bool:
        return len(self.requests) >= number


class System:
    """As much of `services.System` as recipes ask for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.token = "hl_token"
        self.env: dict[str, str] = {}


@pytest.fixture
def stub() -> Iterator[Stub]:
    running = Stub(free_port())
    yield running
    running.server.shutdown()
    running.server.server_close()


#: Runs a shipper, and gives what hands it pageviews with these URLs.
Shipper = Callable[[Stub, Path], AbstractContextManager[Callable[[list[str]], None]]]


def append(file: Path, urls: list[str]) -> None:
    with file.open("a") as lines:
        lines.write("".join(json.dumps({"url": url}) + "\n" for url in urls))


@contextmanager
def syslog_ng(stub: Stub, directory: Path) -> Iterator[Callable[[list[str]], None]]:
    with tools.syslog_ng(System(stub.server.server_port), directory):  # type: ignore[arg-type]
        yield lambda urls: append(directory / "pageviews.log", urls)


@contextmanager
def lua(stub: Stub, directory: Path) -> Iterator[Callable[[list[str]], None]]:
    from tests.forwarders import traffic

    with servers.nginx_lua(System(stub.server.server_port), directory) as port:  # type: ignore[arg-type]
        yield lambda urls: traffic.drive(
            port, "x.example", [traffic.Visit(url.encode(), "::1", b"x", b"") for url in urls]
        )


@contextmanager
def spooled(stub: Stub, directory: Path, command: tuple[Any, ...]) -> Iterator[Callable[[list[str]], None]]:
    spool = directory / "spool"
    spool.mkdir()
    url = f"http://127.0.0.1:{stub.server.server_port}"
    numbers = itertools.count(1)

    def hand_over(urls: list[str]) -> None:
        written = spool / "written"
        append(written, urls)
        written.rename(spool / f"{next(numbers):020}.ndjson")

    with tools.running(*command, spool, url, log=directory / "log", env={"HITLINE_TOKEN": "hl_token"}):
        yield hand_over


def python(stub: Stub, directory: Path) -> AbstractContextManager[Callable[[list[str]], None]]:
    return spooled(stub, directory, ("python3", tools.RECIPES / "python" / "hitline.py"))


def php(stub: Stub, directory: Path) -> AbstractContextManager[Callable[[list[str]], None]]:
    return spooled(stub, directory, (programs.PHP, tools.RECIPES / "php" / "hitline.php"))


@contextmanager
def node(stub: Stub, directory: Path) -> Iterator[Callable[[list[str]], None]]:
    from tests.forwarders import traffic

    with applications.node(System(stub.server.server_port), directory) as port:  # type: ignore[arg-type]
        yield lambda urls: traffic.drive(
            port, "x.example", [traffic.Visit(url.encode(), "::1", b"x", b"") for url in urls]
        )


def paths(urls: list[str]) -> list[str]:
    return sorted("/" + url.rpartition("/")[2] for url in urls)


WAITS_AS_TOLD = (lua, python, php, node)


@pytest.mark.processes
@pytest.mark.parametrize(
    "shipper",
    [python, *(pytest.param(each, marks=pytest.mark.full) for each in (syslog_ng, lua, php, node))],
    ids=lambda shipper: shipper.__name__,
)
def test_what_is_refused_for_now_is_repeated_as_it_was(stub: Stub, tmp_path: Path, shipper: Shipper) -> None:
    urls = [f"/{number}" for number in range(20)]
    stub.answers = [*REFUSALS]
    with shipper(stub, tmp_path) as hand_over:
        hand_over(urls)
        services.wait_for(lambda: len(stub.taken) >= len(urls), 40)
        first, *_ = stub.requests
        assert paths(stub.taken) == sorted(urls)
        if shipper in WAITS_AS_TOLD:
            again = next(time for time, _, _ in stub.requests[1:])
            assert again - first[0] >= 0.95

        answered = len(stub.requests)
        stub.answers = [400]
        hand_over(["/bad"])  # refused for good: dropped, and nothing behind it waits
        services.wait_for(lambda: stub.answered(answered + 1))
        hand_over(["/good"])
        services.wait_for(lambda: paths(stub.taken) == sorted([*urls, "/good"]))

        stub.answers = [413]
        hand_over(["/a", "/b"])
        if shipper is syslog_ng:  # drops the whole batch: batch-bytes keeps it from being too large
            services.wait_for(lambda: not stub.answers)
            hand_over(["/end"])
            services.wait_for(lambda: "/end" in paths(stub.taken))
        else:
            services.wait_for(lambda: {"/a", "/b"} <= set(paths(stub.taken)))
