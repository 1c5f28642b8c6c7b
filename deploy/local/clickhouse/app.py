"""The HTTP side: routes, bodies, and a thread for every running query."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass

from aiohttp import BodyPartReader, web
from multidict import MultiDict

from deploy.local.clickhouse import blocks, execute, replies, request
from deploy.local.clickhouse.browsers import refuse_browsers
from deploy.local.clickhouse.encoding import check_size
from deploy.local.clickhouse.engine import Connection, Engine, Result
from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.limits import check_fields
from deploy.local.clickhouse.request import Query
from deploy.local.clickhouse.running import Entry, Running
from deploy.local.clickhouse.sessions import Sessions
from deploy.local.clickhouse.streaming import Pipe
from deploy.local.clickhouse.users import User, Users

# Larger bodies are unpacked off the event loop.
_SMALL_BYTES = 64 << 10
_METHODS = "GET, HEAD, POST, OPTIONS"
_IDLE_CHECK_S = 5.0
_SETTLE_S = 10.0
_LOOK_FOR_CLIENT_S = 0.2


@dataclass(frozen=True)
class Limits:
    """Limits: concurrent queries, and bytes of a body (as sent, and unpacked)."""

    connections: int = 32
    body_bytes: int = 1 << 30


class Server:
    """ClickHouse's HTTP interface on an embedded engine."""

    def __init__(self, engine: Engine, users: Users, limits: Limits):
        self._engine = engine
        self._users = users
        self._limits = limits
        self._running = Running()
        self._sessions = Sessions(engine.connect)
        self._busy = 0
        self._counting = threading.Lock()
        self._threads = ThreadPoolExecutor(limits.connections, "query")
        # KILL QUERY and reads of system.processes must run even when every connection is busy.
        self._urgent = ThreadPoolExecutor(4, "urgent")

    def app(self) -> web.Application:
        """Return the application; other paths are 404."""
        app = web.Application(client_max_size=self._limits.body_bytes, middlewares=[refuse_browsers])
        app.router.add_get("/ping", self._ok)
        app.router.add_get("/replicas_status", self._ok)
        app.router.add_route("*", "/", self._query)
        app.router.add_route("*", "/{path:.*}", self._unknown)
        return app

    async def close_idle_sessions(self) -> None:
        """Close sessions that have timed out, until cancelled."""
        while True:
            await asyncio.sleep(_IDLE_CHECK_S)
            await asyncio.to_thread(self._sessions.close_idle)

    def close(self, grace_s: float = 5.0) -> bool:
        """Cancel running queries and close every session; return whether all of them ended in time."""
        if len(self._running):
            self._engine.kill_all()
        self._threads.shutdown(wait=False, cancel_futures=True)
        end = time.monotonic() + grace_s
        while self._busy and time.monotonic() < end:
            time.sleep(0.02)
        self._sessions.close_idle(everything=True)
        return not self._busy

    async def _ok(self, _: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def _unknown(self, http: web.Request) -> web.Response:
        text = f"There is no handle {http.path}\n\nUse / or /ping for health checks.\n"
        return web.Response(status=404, text=text)

    async def _query(self, http: web.Request) -> web.StreamResponse:
        if http.method == "OPTIONS":  # with an Origin, as a browser sends it, it has been refused
            return web.Response(status=204, headers={"Allow": _METHODS})
        if http.method not in _METHODS.split(", "):
            return web.Response(status=501, headers={"Allow": _METHODS}, text="Use GET or POST\n")
        query_id = http.query.get("query_id")
        try:
            args, body, files = await self._read(http)
            if http.method in ("GET", "HEAD") and "query" not in args:
                return await self._ok(http)
            query = request.read(http.method, args, http.headers, body, files)
            query_id = query.query_id
            user = self._users.check(query.user, query.password)
            with self._running.entered(user.name, query_id) as entry:
                return await self._answer(http, user, query, entry)
        except ClickHouseError as error:
            return replies.error(error, self._engine.version, query_id)

    async def _read(self, http: web.Request) -> tuple[MultiDict[str], bytearray, dict[str, bytes]]:
        """Return arguments, body and file fields; a form's other fields are arguments."""
        check_size(http.content_length or 0, self._limits.body_bytes)
        args = MultiDict(http.query)
        check_fields(args)
        body = bytearray()
        files: dict[str, bytes] = {}
        if http.content_type == "multipart/form-data":
            try:
                await self._read_form(http, args, files)
            except ValueError:  # its text would repeat what was sent
                raise ClickHouseError(36, "The multipart/form-data body can't be read") from None
        else:
            async for chunk in http.content.iter_any():
                body += chunk
                check_size(len(body), self._limits.body_bytes)
        return args, body, files

    async def _read_form(self, http: web.Request, args: MultiDict[str], files: dict[str, bytes]) -> None:
        """Add a form's fields to both; raises ValueError for a malformed form."""
        size = 0
        async for part in await http.multipart():
            if not isinstance(part, BodyPartReader) or not part.name:
                continue
            data = bytes(await part.read())  # into memory: aiohttp's own parser writes files to the disk
            size += len(data)
            check_size(size, self._limits.body_bytes)
            if part.filename is None:
                args.add(part.name, data.decode())
                check_fields({part.name: args[part.name]})
            else:
                files[part.name] = data

    async def _answer(self, http: web.Request, user: User, query: Query, entry: Entry) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        if len(query.body) > _SMALL_BYTES:
            work = await loop.run_in_executor(self._threads, execute.prepare, query, self._limits.body_bytes)
        else:
            work = execute.prepare(query, self._limits.body_bytes)
        user.may_run(work.statement, execute.expressions(query, work))
        entry.unseen = work.statement.urgent or b"log_comment" in work.statement.sql.lower()
        async with self._ending_with_client(http, query.ends_with_client and work.statement.reads, entry):
            if work.streams and not query.wait_end:
                return await self._stream(http, user, query, work)
            threads = self._urgent if work.statement.urgent else self._threads
            got = await loop.run_in_executor(threads, self._run, user, query, work)
            fmt = work.format if work.statement.has_result or got.data else None
            return replies.result(query, fmt, self._engine.timezone, got)

    @asynccontextmanager
    async def _ending_with_client(self, http: web.Request, wanted: bool, entry: Entry) -> AsyncIterator[None]:
        """Cancel the running query, if `wanted`, once its client has disconnected."""

        async def watch() -> None:
            while True:  # repeatedly: the query may not even have begun
                await asyncio.sleep(_LOOK_FOR_CLIENT_S)
                if http.transport is None or http.transport.is_closing():
                    await asyncio.to_thread(self._engine.kill, entry.tag)

        watching = asyncio.create_task(watch()) if wanted else None
        try:
            yield
        finally:
            if watching:
                watching.cancel()

    def _run(self, user: User, query: Query, work: execute.Work) -> Result:
        self._settle(work)
        with self._connected(user, query, work) as connection:
            return execute.run(connection, query, work)

    def _settle(self, work: execute.Work) -> None:
        if work.statement.urgent and work.statement.kind != "KILL":
            self._running.settle(self._engine.visible, _SETTLE_S)

    @contextmanager
    def _connected(self, user: User, query: Query, work: execute.Work) -> Iterator[Connection]:
        with self._counting:
            self._busy += 1
        try:
            with execute.connected(self._engine, self._sessions, user, query, work.statement) as connection:
                yield connection
        except ClickHouseError as error:
            raise user.named_in(error) from None
        finally:
            with self._counting:
                self._busy -= 1

    async def _stream(self, http: web.Request, user: User, query: Query, work: execute.Work) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        pipe = Pipe(loop, query.whole_s)
        threads = self._urgent if work.statement.urgent else self._threads
        job = loop.run_in_executor(threads, lambda: pipe.feed(self._blocks(user, query, work)))
        try:
            block = await pipe.next(job)
            if block is None:
                return replies.result(query, work.format, self._engine.timezone, await job or Result())
            answer = replies.streamed(query, work.format, self._engine.timezone, block)
            return await self._send(http, answer, pipe, job, block)
        finally:
            pipe.leave()
            await asyncio.wait({job})
            job.exception()

    async def _send(
        self,
        http: web.Request,
        answer: replies.Streamed,
        pipe: Pipe,
        job: asyncio.Future[Result | None],
        block: Result | None,
    ) -> web.StreamResponse:
        response, packer = answer.response, answer.packer
        try:
            await response.prepare(http)
            while block is not None:
                await response.write(packer.add(block.data))
                block = await pipe.next(job)
            await job
            await response.write_eof(packer.end())
        except ClickHouseError as error:
            late = replies.late_error(error, self._engine.version, answer)
            end = response.write_eof if answer.error_is_row else response.write
            with suppress(ConnectionError):
                await end(packer.add(late) + packer.end())
            if http.transport is not None and not answer.error_is_row:
                http.transport.close()  # no last chunk: the client sees that the answer is incomplete
        except ConnectionError:
            pass  # the client disconnected; leaving the pipe cancels its query
        return response

    def _blocks(self, user: User, query: Query, work: execute.Work) -> Generator[Result, None, None]:
        self._settle(work)
        with self._connected(user, query, work) as connection:
            found = execute.stream(connection, query, work)
            with closing(found):  # which cancels what still runs
                yield from blocks.with_one_heading(found, work.format)


__all__ = ["Limits", "Server"]
