"""A ledger of pageviews by minute, day, site, client and outcome, kept by everything that settles a batch.

Under redelivery, replay of dead letters, rules and keys that change, clocks that are set back, and a worker that is
killed between any two of its steps: in the end each pageview has one outcome, under its own minute and client, and what
is counted as stored is what is stored.  ClickHouse and the broker are models; revising, counting, dead-lettering and
acknowledging are the worker's own.
"""

from __future__ import annotations

import itertools
import random
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import aio_pika
import pytest

from deploy.queue.dead_letters import DeadLetter
from shared import message as messages
from shared.outcomes import Outcome
from shared.pageview import join, pack, parse
from shared.seal import Opener, Sealer
from tests.worker.deliveries import FakeDelivery
from tests.worker.factories import OTHER_SITE, SITE, pageview
from tests.worker.store.impatient import Impatient
from tests.worker.store.test_revise import row_of
from worker.consume.process import open_message
from worker.dead_letters.limiter import DeadLetterLimiter
from worker.dead_letters.publisher import DeadLetterPublisher
from worker.delivery import NIL, PageviewKey, PageviewOutcome, Poison, ProcessedMessage
from worker.store.batch import Batch, PositionedRow
from worker.store.insert import RefusedRow
from worker.store.outcomes import COLUMNS, Earlier, read_earlier
from worker.store.settle import MessageSettler
from worker.store.write import BatchWriter

KEYS = bytes(range(32)), bytes(range(1, 33))
MIDNIGHT = datetime(2026, 5, 28, tzinfo=UTC)
FATES = ("stored", "stored", "other site", "dnt", "unknown_site", "poison", "refused")
FINAL = ("stored", "other site", "dnt", "unknown_site")


class Killed(BaseException):
    """The worker died."""


class World:
    """ClickHouse, the broker, and whatever kills a worker."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.deadly = 0.1
        self.clock = 1_000_000
        self.stored: dict[PageviewKey, tuple[int, bytes, bytes]] = {}
        self.outcomes: dict[tuple[date, uuid.UUID, int], tuple[int, dict[str, Any]]] = {}
        self.queue: list[FakeDelivery] = []
        self.dead: list[aio_pika.Message] = []
        self.refused: set[PageviewKey] = set()

    def step(self) -> None:
        """Pass a moment between two steps."""
        if self.chance.random() < self.deadly:
            raise Killed

    async def insert(self, table: str, columns: Sequence[str], data: Sequence[Sequence[Any]], **_: Any) -> None:
        assert (table, columns) == ("hitline.outcomes_raw", COLUMNS)
        self.step()
        for values in list(data):
            row = dict(zip(columns, values, strict=True))
            key = row["day"], row["batch_id"], row["part"]
            self.clock += self.chance.choice((1, 1, 1, -50))
            version = max(self.clock, row["after"] + 1)
            if version >= self.outcomes.get(key, (0, {}))[0]:
                self.outcomes[key] = version, row
        self.step()

    def view(self) -> Counter[PageviewOutcome]:
        """Return what the view `outcomes` says."""
        total = Counter[PageviewOutcome]()
        for _, row in self.outcomes.values():
            arrays = (row[name] for name in ("minutes", "sites", "clients", "outcomes", "counts"))
            for minute, site, client, outcome, number in zip(*arrays, strict=True):
                total[PageviewOutcome(minute, site.to_bytes(16), client.to_bytes(16), outcome)] += number
        return Counter({outcome: number for outcome, number in total.items() if number})


class Store:
    """The look-up and the insert of rows, which may be cut off in the middle."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def stored_of(self, seen: Sequence[ProcessedMessage]) -> dict[PageviewKey, bytes]:
        ids = {each.headers.batch_id.bytes for each in seen if each.headers is not None and each.times}
        return {key: site for key, (_, site, _) in self._world.stored.items() if key[0] in ids}

    async def counted(self, seen: Sequence[ProcessedMessage]) -> Earlier:
        days, ids = {each.key.day for each in seen}, {each.key.batch_id for each in seen}
        return read_earlier(
            [
                row["batch_id"], row["part"], [datetime.fromtimestamp(minute, UTC) for minute in row["minutes"]],
                [uuid.UUID(int=site) for site in row["sites"]], [uuid.UUID(int=each) for each in row["clients"]],
                row["outcomes"], row["counts"], row["dead_positions"], row["dead_entries"], version,
            ]
            for (day, batch_id, _), (version, row) in self._world.outcomes.items()
            if day in days and batch_id in ids
        )  # fmt: skip

    async def insert(self, rows: Sequence[PositionedRow], *, again: bool) -> list[RefusedRow]:
        self._world.step()
        refused = [row for row in rows if (row.batch_id, row.position) in self._world.refused]
        good = [row for row in rows if row not in refused]
        for row in self._world.chance.sample(good, len(good)):
            view = row.row
            key = row.batch_id, row.position
            assert key not in self._world.stored, "stored twice"
            self._world.stored[key] = view.received_ms // 60_000 * 60, row.row.site.site_id, view.client_id.to_bytes(16)
            self._world.step()
        return [RefusedRow(row, "VIOLATED_CONSTRAINT") for row in refused]


class Publisher(DeadLetterPublisher):
    """Puts dead letters into the model's queue, one by one."""

    world: World

    async def _until_confirmed(self, letters: Sequence[aio_pika.Message]) -> None:
        for letter in letters:
            self.world.step()
            self.world.dead.append(letter)
        self.world.step()


class Delivery(FakeDelivery):
    """A delivery that leaves the queue once it is acknowledged, with all before it if these are meant too."""

    world: World
    channel: list[FakeDelivery]

    async def ack(self, multiple: bool = False) -> None:
        self.world.step()
        for tag, each in enumerate(self.channel, 1):
            if each is self or (multiple and tag < (self.delivery_tag or 0)):
                self.world.queue = [left for left in self.world.queue if left is not each]


def delivery_of(message: aio_pika.Message) -> FakeDelivery:
    return Delivery(
        message.body, dict(message.headers), message.message_id, message.content_type, message.type, message.timestamp
    )


def publish(world: World, number: int, clients: Sequence[bytes]) -> list[Any]:
    """Accept a message of some pageviews around midnight; returns these."""
    accepted_at = MIDNIGHT + timedelta(seconds=world.chance.randrange(-90, 90))
    views = [
        pageview(
            client_id=world.chance.choice(clients),
            received_ms=int(accepted_at.timestamp() * 1000) - world.chance.randrange(1, 70_000),
            timestamp_ms=int(accepted_at.timestamp() * 1000) - world.chance.randrange(1, 10**9),
        )
        for _ in range(world.chance.randrange(1, 5))
    ]
    batch_id = uuid.UUID(int=world.chance.getrandbits(128), version=4)
    sealer = Sealer([KEYS[number % 2]])
    message = messages.build(messages.Headers(batch_id, len(views), 0), join(list(map(pack, views))), sealer)
    message.timestamp = accepted_at
    world.queue.append(delivery_of(message))
    return views


def process(world: World, delivery: FakeDelivery, opener: Opener, fates: Sequence[str]) -> ProcessedMessage:
    """Do what the pipeline does, which decides by chance."""
    opened = open_message(delivery, opener)
    if isinstance(opened, ProcessedMessage):
        return opened
    rows, ends, poison = {}, {}, []
    for position, item in enumerate(opened.items, opened.headers.first_position):
        view = parse(item, opened.headers.schema)
        fate = world.chance.choice(fates)
        ended = PageviewOutcome(view.received_ms // 60_000 * 60, SITE.site_id, view.client_id, Outcome.STORED)
        if fate == "poison":
            poison.append(Poison(position, item, "pipeline failed"))
            ended = ended._replace(site_id=NIL, outcome=Outcome.DEAD_LETTERED)
        elif fate in ("dnt", "unknown_site"):
            ended = ended._replace(site_id=SITE.site_id if fate == "dnt" else NIL, outcome=fate)
        else:
            site = OTHER_SITE if fate == "other site" else SITE
            rows[position] = row_of(**view._asdict())._replace(site=site)
            ended = ended._replace(site_id=site.site_id)
            if fate == "refused":
                world.refused.add((opened.headers.batch_id.bytes, position))
        ends[position] = ended
    return ProcessedMessage(
        delivery, opened.headers, rows, ends, tuple(poison), opened.size, (1, 2), reopen=lambda: opened.items
    )


async def work(world: World, keys: Iterable[bytes], fates: Sequence[str]) -> None:
    """Be one worker, from its start until the queue is empty or it is killed."""
    limiter = DeadLetterLimiter(itertools.count(0, 10**6).__next__)  # never pauses
    publisher = Publisher(None, Sealer(KEYS), limiter)  # type: ignore[arg-type]
    publisher.world = world
    settler = MessageSettler(world, Impatient(), publisher, limiter)  # type: ignore[arg-type]
    store = Store(world)
    writer = BatchWriter(store, store, settler)  # type: ignore[arg-type]
    channel = list(world.queue)
    for tag, delivery in enumerate(channel, 1):
        assert isinstance(delivery, Delivery)
        delivery.world, delivery.channel, delivery.delivery_tag = world, channel, tag
    world.refused.clear()
    opener = Opener(tuple(keys))
    batch = Batch(0)
    try:
        for delivery in channel:
            processed = process(world, delivery, opener, fates)
            if batch.overlaps(processed) or len(batch.messages) >= 3:
                await writer.write(batch)
                batch = Batch(0)
            batch.add(processed)
        await writer.write(batch)
    except Killed:
        for delivery in world.queue:
            delivery.redelivered = True


def replay(world: World, share: float) -> None:
    for letter in list(world.dead):
        if world.chance.random() < share:
            message = DeadLetter(letter).to_replay()  # type: ignore[arg-type]
            world.queue.append(delivery_of(message))
            world.dead.remove(letter)


async def drain(world: World, keys: Iterable[bytes], fates: Sequence[str]) -> None:
    for life in range(500):
        world.deadly = 0.1 if life < 100 else 0
        if not world.queue:
            return
        await work(world, keys, fates)
        if world.chance.random() < 0.3:  # somebody replays meanwhile, and several workers take what is in the queue
            replay(world, 0.5)
            world.chance.shuffle(world.queue)
    raise AssertionError("the queue is never empty")


@pytest.mark.parametrize("seeds", [range(start, start + 50) for start in range(0, 200, 50)], ids=str)
async def test_each_pageview_has_one_outcome_whatever_happens(seeds: range) -> None:
    for seed in seeds:
        world = World(seed)
        clients = (b"a" * 16, b"b" * 16)
        views = [view for number in range(6) for view in publish(world, number, clients)]
        for round_ in range(4):
            await drain(world, KEYS[: 1 + min(round_, 1)], FATES)
            view = world.view()
            assert view.total() == len(views), f"seed {seed}: each pageview counts once"
            assert min(view.values()) > 0
            check_stored(world, view, seed)
            replay(world, 0.6)
        replay(world, 1)
        await drain(world, KEYS, FINAL)
        assert not world.dead
        view = world.view()
        check_stored(world, view, seed)
        accepted = Counter((each.received_ms // 60_000 * 60, each.client_id) for each in views)
        ended = Counter[tuple[int, bytes]]()
        for end, number in view.items():
            assert end.outcome in ("stored", "dnt", "unknown_site")
            ended[end.minute, end.client_id] += number
        assert ended == accepted, f"seed {seed}: by minute and client"


def check_stored(world: World, view: Counter[PageviewOutcome], seed: int) -> None:
    """By minute, site and client, as many are counted as stored as are stored; a message's rows are of its day."""
    counted = {end[:3]: number for end, number in view.items() if end.outcome == Outcome.STORED}
    assert counted == Counter(world.stored.values()), f"seed {seed}"
    days = {(batch_id, day) for day, batch_id, _ in world.outcomes}
    assert len(days) == len({batch_id for batch_id, _ in days}), f"seed {seed}: a message's rows are of its day"
