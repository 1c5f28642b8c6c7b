"""What makes each alert fire, done to a running stack and undone when its context is left.

Each yields what is to be done again and again until the alerts fire.
"""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from shared import queue
from tests import http, parts, services, shifted
from tests.delivery import poison_kinds
from tests.deploy.observability.watched import Watched
from tests.deploy.observe.instance import fill
from tests.file_server import HOSTS
from tests.worker.factories import ASN_RECORDS, CITY_RECORDS, write_database

Again = Callable[[], object]
_DAY_S = 86_400
#: After which pageviews are stored late: the alert's threshold, and a little.
_LATE_S = 70
#: More than the alert's threshold.
_MESSAGES = 11_000


async def _publish(amqp_url: str, count: int) -> None:
    """Publish copies of a message as fast as the broker takes them, without waiting for confirms."""
    message = poison_kinds.sealed([poison_kinds.queued()])
    connection = await queue.connect([amqp_url], "hitline tests")
    async with connection:
        channel = await connection.channel(publisher_confirms=False)
        exchange = await channel.get_exchange(queue.EXCHANGE, ensure=False)
        for _ in range(count):
            await exchange.publish(message, queue.PAGEVIEWS)


@contextmanager
def no_worker(stack: Watched) -> Iterator[Again]:
    """The worker is killed, and the queue grows beyond its threshold."""
    (worker,) = stack.system.workers
    broker = stack.system.broker.amqp_url
    worker.kill()
    parts.run_apart(lambda: _publish(broker, _MESSAGES))
    yield lambda: parts.run_apart(lambda: _publish(broker, 100))
    parts.run_apart(lambda: parts.empty_queues(broker))
    worker.start()
    stack.look_again()


@contextmanager
def no_redis(stack: Watched) -> Iterator[Again]:
    stack.redis.kill()
    yield stack.system.post
    stack.redis.start()
    services.wait_for(lambda: stack.system.post().status == 202)


@contextmanager
def wrong_pageviews(stack: Watched) -> Iterator[Again]:
    yield lambda: stack.system.post(url="nothing")


@contextmanager
def many_connections(stack: Watched) -> Iterator[Again]:
    """A gateway with room for few connections has many."""
    gateway = stack.start("hitline-gateway", "gateway", HTTP_PORT="0", MAX_CONNECTIONS="16")
    held: list[socket.socket] = []

    def again() -> None:
        held.extend(socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(20))

    yield again
    for connection in held:
        connection.close()
    services.wait_for(lambda: "HitlineTooManyConnections" not in stack.prometheus.firing())
    stack.end("hitline-gateway", gateway)


@contextmanager
def harmful_policy(stack: Watched) -> Iterator[Again]:
    """A policy that would drop what was accepted, and a gateway that can see it."""
    policy = "planted", f"^{queue.QUEUE}$", '{"overflow": "drop-head", "max-length": 1000000}', "--apply-to", "queues"
    gateway = stack.start("hitline-gateway", "gateway", HTTP_PORT="0", RABBITMQ_API_URL=stack.broker_api)
    stack.system.broker.ctl("set_policy", *policy)
    yield lambda: None
    stack.system.broker.ctl("clear_policy", "planted")
    services.wait_for(lambda: "HitlineQueueUnsafe" not in stack.prometheus.firing(), 60)
    stack.end("hitline-gateway", gateway)


@contextmanager
def wrong_clock(stack: Watched) -> Iterator[Again]:
    """A worker ten minutes ahead."""
    worker = stack.start("hitline-worker", "worker", shifted.command("worker", 600))
    yield lambda: None
    stack.end("hitline-worker", worker)


@contextmanager
def silent_broker(stack: Watched) -> Iterator[Again]:
    """The broker takes messages and confirms none, as with a disk that hangs."""
    broker = stack.system.broker.pid
    os.kill(broker, signal.SIGSTOP)
    yield lambda: stack.system.post()
    os.kill(broker, signal.SIGCONT)
    services.wait_for(lambda: stack.system.post().status == 202, 60)


@contextmanager
def no_broker(stack: Watched) -> Iterator[Again]:
    stack.system.broker.kill()
    yield lambda: None
    stack.system.broker.start()
    services.wait_for(lambda: stack.system.post().status == 202, 60)


@contextmanager
def poison(stack: Watched) -> Iterator[Again]:
    """More messages that nobody can open than a worker puts aside without asking."""
    broker = stack.system.broker.amqp_url
    messages = [poison_kinds.foreign() for _ in range(4)]
    for message in messages:
        message.headers["pageviews"] = 500
    parts.run_apart(lambda: poison_kinds.publish(broker, messages))
    yield lambda: None
    services.hitline(stack.system.env, "dead", "allow", "all", "--minutes", "1")


@contextmanager
def broken_list(stack: Watched) -> Iterator[Again]:
    """A spam list of the operator's own is not a list."""
    file = Path(stack.system.env["HITLINE_SPAM_DIR"]) / "mine.txt"
    file.write_bytes(b"\x00\xff no list")
    yield lambda: None
    file.unlink()


@contextmanager
def no_clickhouse(stack: Watched) -> Iterator[Again]:
    """ClickHouse is down, and a gateway starts with a copy of the registry that is a day old."""
    state = stack.system.logs.parent / "old-gateway"
    gateway = stack.start(
        "hitline-gateway", "gateway", HTTP_PORT="0", STATE_DIR=str(state), REGISTRY_MAX_AGE_SECONDS="3600"
    )
    services.wait_for(lambda: http.ready(gateway.admin_port))
    gateway.stop()
    with closing(sqlite3.connect(state / "registry-gateway-0.sqlite")) as file, file:
        file.execute("UPDATE polled SET at_s = ?", (time.time() - _DAY_S,))
    stack.system.clickhouse.stop()
    until = time.monotonic() + _LATE_S
    gateway.start()
    stack.look_again()
    yield stack.system.post
    time.sleep(max(0.0, until - time.monotonic()))
    stack.system.clickhouse.start()
    services.wait_for(lambda: http.ready(gateway.admin_port), 60)
    stack.end("hitline-gateway", gateway)


@contextmanager
def slow_loop(stack: Watched) -> Iterator[Again]:
    """A gateway that gets no CPU for seconds."""

    def again() -> None:
        os.kill(stack.system.gateway.pid, signal.SIGSTOP)
        time.sleep(2)
        os.kill(stack.system.gateway.pid, signal.SIGCONT)
        time.sleep(1)

    yield again


#: A worker whose feeds are at the address of its argument.
_WORKER = """
import sys
from functools import partial
from worker.lookups import lookups
from worker.lookups.updates.feeds import FEEDS
feeds = [feed._replace(url=f"{sys.argv[1]}/{feed.file}") for feed in FEEDS]
lookups.FeedTimer = partial(lookups.FeedTimer, feeds=feeds)
from worker.__main__ import main
main()
"""


@contextmanager
def old_files(stack: Watched) -> Iterator[Again]:
    """A worker with a geo database and spam lists that are old, since each feed is refused or can't be fetched."""
    state = stack.system.logs.parent / "old-worker"
    with mock.patch("time.time", return_value=time.time() - 100 * _DAY_S):
        fill(state)
    spam = state / "feeds" / "referrer_spam.txt"
    spam.write_bytes(HOSTS)
    os.utime(spam, (time.time() - 8 * _DAY_S,) * 2)
    stack.files.put("referrer_spam.txt", b"one.example\n")
    command = [sys.executable, "-c", _WORKER, stack.files.url]
    settings = {"STATE_DIR": str(state), "SPAM_DIR": str(state / "spam"), "FEEDS_HOURS": "0.0005"}
    worker = stack.start("hitline-worker", "worker", command, **settings)
    yield lambda: None
    for name, records, kind in (("city", CITY_RECORDS, "City"), ("asn", ASN_RECORDS, "ASN")):
        write_database(state / "geo" / f"{name}.mmdb", records, kind)
    stack.serve_feeds()
    services.wait_for(lambda: not stack.prometheus.firing() & set(OLD_FILES), 60)
    stack.end("hitline-worker", worker)


@contextmanager
def old_erasure(stack: Watched) -> Iterator[Again]:
    """An erasure of three days ago that nothing has taken off the disk."""
    insert = (
        "INSERT INTO hitline_control.erasures (erasure_id, kind, done, requested_at, unreadable_at, gone_at, noted_at)"
        " SELECT '00000000-0000-0000-0000-000000000001', 'request', 1, now() - INTERVAL 3 DAY, now(), {}, now64(6)"
    )
    (rollup,) = stack.processes["hitline-rollup"]

    def note(gone_at: str) -> None:
        parts.execute(stack.system.clickhouse, insert.format(gone_at))
        rollup.kill()  # it looks once a minute, and as it starts
        rollup.start()
        stack.look_again()

    note("NULL")
    yield lambda: None
    note("now()")


OLD_FILES = ("HitlineGeoOld", "HitlineSpamListsOld", "HitlineFeedRefused", "HitlineFeedFails")


class Cause(NamedTuple):
    """What to do, the alerts that fire while it lasts, and those that only come when it is over."""

    bring_about: Callable[[Watched], AbstractContextManager[Again]]
    during: tuple[str, ...]
    afterwards: tuple[str, ...] = ()

    @property
    def alerts(self) -> tuple[str, ...]:
        return self.during + self.afterwards


_OUTAGE = (
    "HitlineRegistryOld",
    "HitlineInsertsFail",
    "HitlineRetentionRefused",
    "HitlineRollupsOld",
    "HitlineRegistryTooOld",
)
CAUSES = (
    Cause(no_worker, ("HitlineDown", "HitlineQueueGrows")),
    Cause(no_redis, ("HitlineRateLimitFallback",)),
    Cause(wrong_pageviews, ("HitlineRefusesPageviews",)),
    Cause(many_connections, ("HitlineTooManyConnections",)),
    Cause(harmful_policy, ("HitlineQueueUnsafe",)),
    Cause(wrong_clock, ("HitlineClocksDiffer",)),
    Cause(silent_broker, ("HitlineConfirmsMissing",)),
    Cause(no_broker, ("HitlineBrokerUnreachable",)),
    Cause(poison, ("HitlineDeadLetters", "HitlineWorkerPaused")),
    Cause(broken_list, ("HitlineLookupStale",)),
    Cause(slow_loop, ("HitlineLoopLags",)),
    Cause(old_files, OLD_FILES),
    Cause(old_erasure, ("HitlineErasureWaits",)),
    Cause(no_clickhouse, _OUTAGE, ("HitlineStoredLate",)),
)
