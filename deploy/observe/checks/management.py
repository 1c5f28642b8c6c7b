"""What only RabbitMQ's management API says: policies that break a promise, alarms, bindings, the clock."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote, unquote

import aiohttp
from yarl import URL

from deploy.observe.finding import Finding, error, unknown, warning
from shared.queue import DEAD_ARGUMENTS, DEAD_QUEUE, EXCHANGE, QUEUE, QUEUE_ARGUMENTS

_PART: Final = "broker"
_SECONDS: Final = 5.0
_PORT: Final = 15672
_CLOCK_S: Final = 5.0
#: Keys of a policy that override what Hitline declares, and what then happens.
_HARMFUL: Final = {
    "message-ttl": "pageviews that wait for longer are deleted",
    "expires": "the queue is deleted while no worker consumes",
    "dead-letter-exchange": "pageviews may be moved elsewhere",
}


class _Unanswered(Exception):
    """The API can't be used; the message says why."""


async def check_management(urls: Sequence[str], management_url: str) -> AsyncIterator[Finding]:
    """Yield what the API at `management_url`, else of the first broker that has one, says; or that none answers."""
    addresses = [URL(management_url)] if management_url else _guesses(urls)
    vhost = _vhost(urls[0])
    for address in addresses:
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as session:
                api = _Api(session, address)
                found = [finding async for finding in _look(api, vhost)]
        except (_Unanswered, aiohttp.ClientError, TimeoutError, ValueError) as failure:
            reason = str(failure) if isinstance(failure, _Unanswered) else type(failure).__name__
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


def _vhost(url: str) -> str:
    path = URL(url).raw_path.removeprefix("/")
    return unquote(path) or "/"


class _Api:
    """Asks the API; users with the tag `monitoring` may see all that is asked here."""

    def __init__(self, session: aiohttp.ClientSession, address: URL) -> None:
        self._session = session
        self._base = address.with_user(None)
        login = address.user or "guest", address.password or "guest"
        self._headers = {"Authorization": aiohttp.encode_basic_auth(*login)}
        #: How far ahead of this machine's clock the broker's is, in seconds.
        self.ahead_s = 0.0

    async def get(self, path: str) -> Any:
        """Return what is at the path, or None if there is nothing; raises `_Unanswered`."""
        url = URL(f"{self._base}".rstrip("/") + path, encoded=True)
        async with self._session.get(url, headers=self._headers) as answer:
            if date := answer.headers.get("Date"):
                self.ahead_s = parsedate_to_datetime(date).timestamp() - time.time()
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise _Unanswered(f"it answers {answer.status}: the user needs the tag monitoring")
            return await answer.json()


async def _look(api: _Api, vhost: str) -> AsyncIterator[Finding]:
    name = quote(vhost, safe="")
    there = set()
    for queue, declared in ((QUEUE, QUEUE_ARGUMENTS), (DEAD_QUEUE, DEAD_ARGUMENTS)):
        state = await api.get(f"/api/queues/{name}/{queue}")
        if state is not None:
            there.add(queue)
            for finding in _queue(queue, state, dict(declared)):
                yield finding
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


def _queue(name: str, state: Mapping[str, Any], declared: Mapping[str, Any]) -> Iterator[Finding]:
    policies = [state.get("policy"), state.get("operator_policy")]
    named = " and ".join(policy for policy in policies if policy)
    effective = state.get("effective_policy_definition") or {}
    for key, harm in _HARMFUL.items():
        if key in effective and not (key == "message-ttl" and name == DEAD_QUEUE):
            yield error(_PART, f"policy {named} sets {key} on {name}: {harm}", f"take {key} out of the policy")
    if effective.get("overflow", "reject-publish") != "reject-publish":
        problem = (
            f"policy {named} sets overflow {effective['overflow']} on {name}: a full queue drops what was accepted"
        )
        yield error(_PART, problem, "take overflow out of the policy, or set it to reject-publish")
    if effective.get("delivery-limit", declared["x-delivery-limit"]) < 1_000:
        problem = (
            f"policy {named} sets delivery-limit {effective['delivery-limit']} on {name}: it drops in long outages"
        )
        yield error(_PART, problem, "take delivery-limit out of the policy")
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
