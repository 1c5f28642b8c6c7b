"""No visitor's address and no token in any file: not the broker's, not ClickHouse's, not ours, not a log."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.rabbitmq import RabbitMQNode
from tests import http, parts, services
from tests.services import System, pageview

pytestmark = pytest.mark.processes

V4 = "203.119.77.213"
V6 = "2001:db8:a5a5:77d5:1234:5678:9abc:def1"
SECRET = "hl_a-wrong-token-that-must-be-in-no-file"


@pytest.fixture(scope="module")
def own(
    mortal_broker: RabbitMQNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[System, tuple[Path, Path]]]:
    """A system, and the two directories below which its every file is."""
    home = tmp_path_factory.mktemp("private")
    with ClickHouseProcess(home / "clickhouse") as clickhouse:
        parts.run_apart(lambda: parts.apply_schema(clickhouse.url))
        with services.system(clickhouse, mortal_broker, home / "hitline") as running:
            yield running, (home, mortal_broker.path)


def forms(address: str) -> list[bytes]:
    """Return the address as it might be written: texts, and packed in both byte orders."""
    parsed = ipaddress.ip_address(address)
    texts = {address, parsed.exploded, parsed.compressed, str(int(parsed)), f"{int(parsed):x}", parsed.packed.hex(":")}
    if isinstance(parsed, ipaddress.IPv4Address):
        texts |= {f"::ffff:{address}", f"::ffff:{int(parsed) >> 16:x}:{int(parsed) & 0xFFFF:x}"}
    return [*(text.encode() for text in texts | {text.upper() for text in texts}), parsed.packed, parsed.packed[::-1]]


def found(homes: Sequence[Path], needles: list[bytes]) -> list[tuple[Path, bytes]]:
    """Search all files; from the beginning where one has gone meanwhile, such as a part that was merged."""
    for _ in range(50):
        with suppress(FileNotFoundError):
            return [hit for home in homes for hit in searched(home, needles)]
    raise AssertionError("files go all the time")


def searched(home: Path, needles: list[bytes]) -> list[tuple[Path, bytes]]:
    hits = []
    for path in home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes().rstrip(b"\0")  # logs written ahead are preallocated
            hits += [(path, needle) for needle in needles if needle in content]
    return hits


def post_everything(system: System) -> None:
    """Post the addresses well, badly, and in every place where they do not belong."""
    for address in (V4, V6, f"::ffff:{V4}"):
        assert system.post(visitor_ip=address).status == 202
        assert system.post(visitor_ip=address, dnt=True).status == 202
        assert system.post(visitor_ip=f"{address}/x").status == 400
        assert system.post(visitor_ip=[address], url=f"http://[{address}", timestamp=address).status == 400
        assert system.post(body=json.dumps(pageview(visitor_ip=address)).encode()[:-9]).status == 400
        assert system.post(token=f"{SECRET}{address}").status == 401
        for headers in ({"X-API-Key": SECRET + address}, {"Authorization": f"Basic {address}"}):
            assert http.request(system.port, body=pageview(visitor_ip=address), headers=headers).status == 401
        batch = f"{json.dumps(pageview(visitor_ip=address))}\n{{broken {address}\n".encode()
        assert http.request(system.port, path=http.BATCH_ENDPOINT, body=batch, token=system.token).status == 202
        assert http.request(system.port, "GET", f"/{address}").status == 404
        for broken in (
            f"POST /{address} HTTP/9.9\r\n\r\n",
            f"{address}\r\n\r\n",
            f"POST /x HTTP/1.1\r\nAuthorization Bearer {SECRET}{address}\r\n\r\n",
            f"POST /x HTTP/1.1\r\nContent-Length: {address}\r\n\r\n",
            f"POST {http.ENDPOINT} HTTP/1.1\r\nX-API-Key: {system.token}\r\n"
            f"Transfer-Encoding: chunked\r\n\r\n{address}\r\n",
        ):
            assert http.raw(system.port, broken.encode()).status == 400


def test_refused_requests_tell_nothing_back(own: tuple[System, Sequence[Path]]) -> None:
    system, _ = own
    for answer in (
        system.post(visitor_ip=f"{V4}x"),
        system.post(url=f"http://{V4}:99999/"),
        system.post(token=SECRET),
        http.raw(system.port, f"{V4} {SECRET}\r\n\r\n".encode()),
    ):
        assert answer.status >= 400
        assert V4.encode() not in answer.body
        assert SECRET.encode() not in answer.body


def test_no_file_holds_an_address_or_a_token(own: tuple[System, Sequence[Path]]) -> None:
    """The last one of this system: its broker and its ClickHouse are stopped."""
    system, homes = own
    needles = [*forms(V4), *forms(V6), SECRET.encode(), system.token.encode()]

    post_everything(system)
    system.wait_for_outcomes(9)
    assert found(homes, needles) == []

    # Once more while nothing is consumed, so that the queue keeps it all on its disk.
    system.workers[0].stop()
    post_everything(system)
    system.gateway.stop()
    assert found(homes, needles) == []
    system.broker.stop()
    system.clickhouse.stop()
    assert found(homes, needles) == []


def test_the_search_would_find_them(tmp_path: Path) -> None:
    for index, form in enumerate((*forms(V4), *forms(V6))):
        (tmp_path / str(index)).write_bytes(b"before" + form + b"after")

    assert len({path for path, _ in found([tmp_path], [*forms(V4), *forms(V6)])}) == len((*forms(V4), *forms(V6)))
