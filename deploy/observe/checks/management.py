"""What only RabbitMQ's management API says: policies that break a promise, alarms, bindings, the clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from yarl import URL

from deploy.observe.finding import Finding, error, unknown, warning
from shared.management_api import ManagementApi, Unanswered
from shared.queue import DEAD_QUEUE, EXCHANGE, QUEUE, vhost_of
from shared.queue_policies import problems

_PART: Final = "broker"
_PORT: Final = 15672
_CLOCK_S: Final = 5.0
#: The API's figures are this old at most, and not all of the same moment.
_SAMPLED_S: Final = 6.0
_GIVE_BACK: Final = (
    "restart the broker node that leads the queue (rabbitmq-queues quorum_status), which gives them back"
)


async def check_management(urls: Sequence[str], management_url: str) -> AsyncIterator[Finding]:
    """Yield what the API at `management_url`, else of the first broker that has one, says; or that none answers."""
    addresses = [URL(management_url)] if management_url else _guesses(urls)
    vhost = vhost_of(urls[0])
    for address in addresses:
        try:
            async with ManagementApi(address) as api:
                found = [finding async for finding in _look(api, vhost)]
        except Unanswered as failure:
            reason = str(failure)
            continue
        for finding in found:
            yield finding
        return
    problem = f"policies and alarms can't be seen: no management API ({reason})"
    cure = "enable the plugin rabbitmq_management and set HITLINE_RABBITMQ_API_URL=http://user:password@host:15672"
    yield unknown(_PART, problem, cure)


def _guesses(urls: Sequence[str]) -> list[URL]:
    found = []
    for text in urls:
        url = URL(text)
        secure = url.scheme == "amqps"
        scheme, port = ("https", _PORT - 1) if secure else ("http", _PORT)
        base = URL.build(scheme=scheme, host=url.host or "", port=port, user=url.user, password=url.password)
        found.append(base)
    return found


async def _look(api: ManagementApi, vhost: str) -> AsyncIterator[Finding]:
    name = quote(vhost, safe="")
    there = set()
    for queue in (QUEUE, DEAD_QUEUE):
        state = await api.queue(vhost, queue)
        if state is not None:
            there.add(queue)
            for finding in _queue(queue, state):
                yield finding
    for queue in there:
        if held := await held_by_nobody(api, vhost, queue):
            problem = (
                f"{held:,} messages of {queue} are delivered, and no channel has them: nobody will acknowledge them"
            )
            yield warning(_PART, problem, _GIVE_BACK)
    bindings = await api.get(f"/api/exchanges/{name}/{EXCHANGE}/bindings/source")
    if bindings is not None:
        for queue in there - {each["destination"] for each in bindings}:
            yield error(_PART, f"{queue} is not bound to {EXCHANGE}", "run `hitline migrate`")
    for node in await api.get("/api/nodes") or []:
        for finding in _node(node):
            yield finding
    if abs(api.ahead_s) > _CLOCK_S:
        problem = f"the broker's clock is {api.ahead_s:+.0f} s from this machine's"
        yield warning(_PART, problem, "synchronise the clocks of both (NTP)")


async def held_by_nobody(api: ManagementApi, vhost: str, queue: str, wait_s: float = _SAMPLED_S) -> int:
    """Return how many messages a queue counts as delivered although no channel has any, in two looks.

    Seen with RabbitMQ 3.10 after a queue was deleted and declared again under its consumers.  Over AMQP nobody sees it.
    """
    held = []
    for look in range(2):
        if look:
            await asyncio.sleep(wait_s)
        state = await api.queue(vhost, queue) or {}
        channels = await api.get(f"/api/vhosts/{quote(vhost, safe='')}/channels") or []
        if not state.get("messages_unacknowledged") or any(each.get("messages_unacknowledged") for each in channels):
            return 0
        held.append(int(state["messages_unacknowledged"]))
    return min(held)


def _queue(name: str, state: Mapping[str, Any]) -> Iterator[Finding]:
    for found in problems(name, state):
        yield error(_PART, found.text, found.cure)
    online, members = state.get("online") or [], state.get("members") or []
    if members and len(online) * 2 <= len(members):
        problem = f"{len(online)} of {len(members)} replicas of {name} are up: no majority, nothing is confirmed"
        yield error(_PART, problem, "start the broker nodes that are down")
    elif len(online) < len(members):
        problem = f"{len(online)} of {len(members)} replicas of {name} are up"
        yield warning(_PART, problem, "start the broker nodes that are down")


def _node(node: Mapping[str, Any]) -> Iterator[Finding]:
    name = node.get("name", "a node")
    if not node.get("running", True):
        yield warning(_PART, f"{name} is down", "start it")
    if node.get("mem_alarm"):
        yield error(_PART, f"{name} has a memory alarm: it accepts nothing", "more memory, or let workers drain it")
    if node.get("disk_free_alarm"):
        yield error(_PART, f"{name} has a disk alarm: it accepts nothing", "make room on its disk")
