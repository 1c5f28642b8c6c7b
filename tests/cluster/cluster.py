"""Two replicas behind addresses that answer as servers of a cluster do.

The engine replicates by itself.  What chDB has not, because it has no server's port for other servers, is done here:
`ON CLUSTER` runs a statement on every replica that is up, `clusterAllReplicas` asks each and puts the rows one behind
the other (so only lists of rows can be asked for, no sums over all).
"""

from __future__ import annotations

import asyncio
import re
import secrets
import threading
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

import aiohttp
from aiohttp import web
from yarl import URL

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.local.ports import free_port
from tests.cluster.replica import CLUSTER
from tests.cluster.zookeeper import ZooKeeper

_ON_CLUSTER = re.compile(rf" ON CLUSTER '{CLUSTER}'")
_EVERYWHERE = re.compile(rf"clusterAllReplicas\('{CLUSTER}', ([\w.]+)\)")
_TABLE = re.compile(r"(CREATE TABLE (?:IF NOT EXISTS )?[\w.]+)(?=.*\bENGINE = Replicated)", re.DOTALL)


class Engine(Protocol):
    """What a replica has to be for its address."""

    @property
    def port(self) -> int: ...

    @property
    def running(self) -> bool: ...

    @property
    def credentials(self) -> dict[str, str]: ...


class Address:
    """The HTTP address of one replica of several."""

    def __init__(self, engines: Sequence[Engine], number: int) -> None:
        self._engines = engines
        self._number = number
        self.port = 0
        #: Answers an insert; None: the replica does.
        self.insert: Callable[[web.Request, bytes], Awaitable[web.Response]] | None = None
        #: What is changed in statements that are not inserts.
        self.rewrite: Callable[[str], str] = lambda sql: sql
        #: Statements that went to all replicas.
        self.everywhere: list[str] = []

    async def start(self) -> None:
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self.handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if "insert_deduplication_token" in request.query:
            return await (self.insert(request, body) if self.insert else self.ask(self._number, request, body))
        in_url = "query" in request.query
        sql = self.rewrite(request.query["query"] if in_url else body.decode(errors="surrogateescape"))
        if not (_ON_CLUSTER.search(sql) or _EVERYWHERE.search(sql)):
            url = request.rel_url.update_query(query=sql) if in_url else request.rel_url
            return await self.ask(self._number, request, body if in_url else sql.encode(errors="surrogateescape"), url)
        self.everywhere.append(sql)
        if _ON_CLUSTER.search(sql):
            sql = _ON_CLUSTER.sub("", sql)
            if " UUID '" not in sql:  # as servers do, so that all have the same
                sql = _TABLE.sub(rf"\1 UUID '{uuid.uuid4()}'", sql)
        answers = []
        for number, replica in enumerate(self._engines):
            if not replica.running:
                continue
            local = re.sub(r"\b_shard_num\b", f"toUInt32({number + 1}) AS _shard_num", _EVERYWHERE.sub(r"\1", sql))
            local = re.sub(r"\bkeeper_[ab]:", f"keeper_{'ab'[number]}:", local)  # as `replica.py` names ZooKeeper
            url = request.rel_url.update_query(query=local) if in_url else request.rel_url
            given = body if in_url else local.encode(errors="surrogateescape")
            answers.append(await self.ask(number, request, given, url))
            if answers[-1].status != 200:
                return answers[-1]
        headers = {name: value for name, value in answers[0].headers.items() if name.startswith("X-")}
        return web.Response(
            body=b"".join(each.body for each in answers if isinstance(each.body, bytes)), headers=headers
        )

    async def ask(self, number: int, request: web.Request, body: bytes, url: URL | None = None) -> web.Response:
        """Return what one of the replicas answers."""
        replica = self._engines[number]
        passed_on = ("Content-Encoding", "Content-Type", "User-Agent")
        headers = {name: value for name, value in request.headers.items() if name in passed_on}
        headers |= replica.credentials
        query = (url or request.rel_url).query.copy()
        for name in ("enable_http_compression", "compress"):
            query.pop(name, None)
        where = URL(f"http://127.0.0.1:{replica.port}/").with_query(query)
        try:
            async with (
                aiohttp.ClientSession(skip_auto_headers=["Accept-Encoding", "Content-Type"]) as session,
                session.post(where, data=body, headers=headers, timeout=aiohttp.ClientTimeout(300)) as answer,
            ):
                kept = {name: value for name, value in answer.headers.items() if name.startswith("X-")}
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)
        except aiohttp.ClientError:  # it is down
            if request.transport:
                request.transport.close()
            raise web.HTTPBadGateway from None


class Replica(ClickHouseProcess):
    """One of two; `cut_off` stops it from handing its parts to the other."""

    module = "tests.cluster.replica"

    def __init__(self, directory: Path, name: str, zookeeper: int, password: str) -> None:
        self.name = name
        options = ("--name", name, "--zookeeper", str(zookeeper), "--parts-port", str(free_port()))
        super().__init__(directory / name, arguments=options)
        self.password = password

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def cut(self) -> Path:
        """While this file is there, the other replica gets no parts from this one."""
        return self.path / "cut-off"


class Cluster:
    """`with Cluster(directory) as cluster`: everything on loopback; `environment` is for Hitline's processes."""

    def __init__(self, directory: Path) -> None:
        self.zookeeper = ZooKeeper(directory / "zookeeper")
        self._directory = directory
        self.replicas: list[Replica] = []
        self.addresses = [Address(self.replicas, number) for number in range(2)]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Cluster:
        self.zookeeper.start()
        password = secrets.token_urlsafe(12)
        self._thread.start()
        for name, address in zip("ab", self.addresses, strict=True):
            replica = Replica(self._directory, name, self.zookeeper.port, password)
            self.replicas.append(replica)
            replica.start()
            asyncio.run_coroutine_threadsafe(address.start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        for replica in self.replicas:
            replica.kill()
        self.zookeeper.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)

    @property
    def urls(self) -> list[str]:
        password = self.replicas[0].password
        return [f"http://default:{password}@127.0.0.1:{address.port}" for address in self.addresses]

    @property
    def environment(self) -> dict[str, str]:
        return {"HITLINE_CLICKHOUSE_URL": " ".join(self.urls), "HITLINE_CLICKHOUSE_CLUSTER": CLUSTER}


__all__ = ["CLUSTER", "ClickHouseProcess", "Cluster"]
