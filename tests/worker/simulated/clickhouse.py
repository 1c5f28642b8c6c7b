"""A ClickHouse with the tables of pageviews and outcomes, and the statements that a worker sends."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

from clickhouse_connect.driver.exceptions import DatabaseError

from shared.clickhouse_address import parse_address
from tests.worker.simulated.requests import DONE, Process
from worker.delivery import PageviewKey, PageviewOutcome
from worker.row import COLUMNS
from worker.store import outcomes as worker_outcomes

_DAY_MS = 86_400_000


def broken() -> Exception:
    return DatabaseError("gone", code=210, name="NETWORK_ERROR")


class StoredRow(NamedTuple):
    """A row of `pageviews_raw`, as far as it matters."""

    key: PageviewKey
    site_id: bytes
    client_id: bytes
    timestamp_ms: int
    received_ms: int
    page_id: bytes
    stored_ms: int

    @property
    def partition(self) -> int:
        """A function of its identity, as the month is."""
        return self.timestamp_ms // (7 * _DAY_MS)


@dataclass(eq=False)
class Insert:
    """An insert on its way or running; `abandoned` once its client no longer waits."""

    query_id: str
    token: str
    rows: list[StoredRow]
    abandoned: bool = False


@dataclass(eq=False)
class Engine:
    """The server.  `refuses` tells which rows violate a constraint."""

    now_ms: int
    refuses: Callable[[StoredRow], bool]
    rows: dict[PageviewKey, list[StoredRow]] = field(default_factory=lambda: defaultdict(list))
    tokens: set[tuple[str, int]] = field(default_factory=set)
    running: dict[str, Insert] = field(default_factory=dict)
    #: Version and values of the row that counts, by day, batch id and part.
    outcomes: dict[tuple[date, uuid.UUID, int], tuple[int, dict[str, Any]]] = field(default_factory=dict)
    clock_us: int = 1_000_000

    def store(self, insert: Insert, partitions: int | None = None) -> None:
        """Write all partitions of an insert, or the first ones, but those that a known token is of."""
        for partition in sorted({row.partition for row in insert.rows})[:partitions]:
            if (insert.token, partition) in self.tokens:
                continue
            self.tokens.add((insert.token, partition))
            for row in insert.rows:
                if row.partition == partition:
                    self.rows[row.key].append(row)

    def answer(self, insert: Insert, how: str) -> None:
        """End an insert in the given way."""
        if how == "unknown":
            insert.abandoned = True
            raise TimeoutError
        self.running.pop(insert.query_id, None)
        if how == "too large":
            raise DatabaseError("no memory", code=241, name="MEMORY_LIMIT_EXCEEDED")
        if how != "failed" and any(map(self.refuses, insert.rows)):  # partitions before that of the bad row are written
            partitions = sorted({row.partition for row in insert.rows})
            self.store(insert, partitions.index(min(row.partition for row in insert.rows if self.refuses(row))))
            raise DatabaseError("no", code=469, name="VIOLATED_CONSTRAINT")
        if how == "crashed":  # the server knows the token, and has lost the rows
            self.crash()
            self.tokens |= {(insert.token, row.partition) for row in insert.rows}
        elif how == "partly":
            self.store(insert, 1)
        elif how != "failed":
            self.store(insert)
        if how != DONE:
            raise broken()

    def crash(self) -> None:
        """End everything that runs."""
        self.running.clear()

    def finish(self, insert: Insert, how: str) -> None:
        """End an insert that nobody waits for any more."""
        self.running.pop(insert.query_id, None)
        if how != "failed" and not any(map(self.refuses, insert.rows)):
            self.store(insert, 1 if how == "partly" else None)

    def count(self, rows: Sequence[Mapping[str, Any]], how: str) -> None:
        """Write rows of outcomes: of those with one key, the one with the latest version counts."""
        if how == "failed":
            raise broken()
        for row in rows:
            self.clock_us += 1
            version = max(self.clock_us, row["after"] + 1)
            key = row["day"], row["batch_id"], row["part"]
            if version >= self.outcomes.get(key, (0,))[0]:
                self.outcomes[key] = version, dict(row)
        if how == "failed after":
            raise TimeoutError

    def counted(self, batch_id: uuid.UUID | None = None) -> Counter[PageviewOutcome]:
        """Return what the view `outcomes` says, of all messages or of one."""
        total = Counter[PageviewOutcome]()
        for (_, batch, _), (_, row) in self.outcomes.items():
            if batch_id in (None, batch):
                for end, number in ends_of(row):
                    total[end] += number
        return Counter({end: number for end, number in total.items() if number})


def ends_of(row: Mapping[str, Any]) -> list[tuple[PageviewOutcome, int]]:
    """Return the outcomes of a row of `outcomes_raw`, and how many pageviews came to each."""
    arrays = (row[name] for name in ("minutes", "sites", "clients", "outcomes", "counts"))
    return [
        (PageviewOutcome(minute, site.to_bytes(16), client.to_bytes(16), outcome), number)
        for minute, site, client, outcome, number in zip(*arrays, strict=True)
    ]


class Client:
    """What one worker uses to talk to the engine: `shared.clickhouse.ClickHouse`, as far as it is used."""

    cluster = ""
    address = parse_address("http://127.0.0.1")

    def __init__(self, engine: Engine, process: Process) -> None:
        self._engine = engine
        self._process = process

    async def insert(self, table: str, columns: Sequence[str], data: Any, *, token: str, **more: Any) -> None:
        assert token
        if table == "hitline.outcomes_raw":
            assert columns == worker_outcomes.COLUMNS
            rows = [dict(zip(columns, values, strict=True)) for values in data]
            await self._process.ask("outcomes", lambda how: self._engine.count(rows, how))
            return
        assert (table, columns, more["column_oriented"]) == ("hitline.pageviews_raw", COLUMNS, True)
        insert = Insert(more["settings"]["query_id"], token, self._rows(dict(zip(columns, data, strict=True))))
        self._engine.running[insert.query_id] = insert
        try:
            await self._process.ask("rows", lambda how: self._engine.answer(insert, how))
        finally:
            insert.abandoned = True

    def _rows(self, columns: Mapping[str, Sequence[Any]]) -> list[StoredRow]:
        names = ("batch_id", "position", "site_id", "client_id", "timestamp", "received_at", "page_id")
        return [
            StoredRow(
                (batch_id.to_bytes(16), position), site.to_bytes(16), client.to_bytes(16), timestamp, received,
                page_id.to_bytes(16), self._engine.now_ms,
            )
            for batch_id, position, site, client, timestamp, received, page_id in zip(
                *(columns[name] for name in names), strict=True
            )
        ]  # fmt: skip

    async def command(self, sql: str, parameters: Mapping[str, Any]) -> None:
        assert sql.startswith("KILL QUERY WHERE query_id =")
        await self._process.ask("kill", lambda how: self._kill(parameters["query_id"], how))

    def _kill(self, query_id: str, how: str) -> None:
        if how == "failed":
            raise broken()
        if insert := self._engine.running.get(query_id):
            self._engine.finish(insert, "partly" if how == "partly" else "failed")

    async def query(self, sql: str, parameters: Any = None, external: Any = None) -> Any:
        if "system.processes" in sql:
            prefix = parameters["prefix"]
            return await self._look(lambda: [(each,) for each in self._engine.running if each.startswith(prefix)])
        lines = external.files[0].data.decode().split()
        if "hitline.outcomes_raw" in sql:
            pairs = set(zip(map(date.fromisoformat, lines[::2]), map(uuid.UUID, lines[1::2]), strict=True))
            return await self._look(lambda: self._counted(pairs))
        assert "FROM hitline.pageviews_raw" in sql
        return await self._look(lambda: self._stored({uuid.UUID(line).bytes for line in lines}, parameters))

    async def _look(self, read: Callable[[], list[Any]]) -> Any:
        def act(how: str) -> Any:
            if how == "failed":
                raise broken()
            return SimpleNamespace(result_rows=read())

        return await self._process.ask("look", act)

    def _stored(self, ids: set[bytes], where: Mapping[str, Any]) -> list[Any]:
        now = datetime.fromtimestamp(self._engine.now_ms / 1000, UTC)
        since = where["received"] - timedelta(days=1) if where["received"] <= now else datetime.fromtimestamp(0, UTC)
        found = []
        for (batch_id, position), rows in self._engine.rows.items():
            for row in rows:
                at = datetime.fromtimestamp(row.timestamp_ms / 1000, UTC)
                is_sought = batch_id in ids and where["first"] <= at <= where["last"] and at.date() in where["days"]
                if is_sought and datetime.fromtimestamp(row.stored_ms / 1000, UTC) >= since:
                    found.append((uuid.UUID(bytes=batch_id), position, uuid.UUID(bytes=row.site_id)))
        return found

    def _counted(self, pairs: set[tuple[date, uuid.UUID]]) -> list[Any]:
        return [
            (
                batch_id, part, [datetime.fromtimestamp(minute, UTC) for minute in row["minutes"]],
                [uuid.UUID(int=site) for site in row["sites"]], [uuid.UUID(int=each) for each in row["clients"]],
                row["outcomes"], row["counts"], row["dead_positions"], row["dead_entries"], version,
            )
            for (day, batch_id, part), (version, row) in self._engine.outcomes.items()
            if (day, batch_id) in pairs
        ]  # fmt: skip
