"""What a queue's type, arguments and policies do to the promise that an accepted pageview is kept.

A policy overrides what a queue declares, also to the worse (tried: with `overflow: drop-head` 65 of 84 pageviews were
lost after their 202, with a `message-ttl` 195 of 195).  Policies and operator policies may set lengths, and what does
not concern whether messages are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from shared.queue import DEAD_MS, DEAD_QUEUE

#: A queue that drops a message once it was returned so often loses some in a long outage.
_FEWEST_DELIVERIES: Final = 1_000
_FOREVER: Final = float("inf")
_REPLACE: Final = "drain it, delete it, run `hitline migrate`"
_LENGTHS: Final = ("max-length", "max-length-bytes")


class Problem(NamedTuple):
    """One thing that is wrong with a queue, and what to do about it."""

    text: str
    cure: str
    #: Messages that were accepted may be deleted because of it.
    loses: bool


def problems(name: str, state: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with a queue, by what the management API tells of it."""
    return [*_type(name, state), *_overflow(name, state), *_deleted(name, state), *_moved(name, state)]


def _type(name: str, state: Mapping[str, Any]) -> Iterator[Problem]:
    kind = state.get("type") or _arguments(state).get("x-queue-type") or "classic"
    if kind != "quorum":
        text = f"{name} is a {kind} queue, not a quorum queue: a 202 does not mean that a majority has it on disk"
        yield Problem(text, _REPLACE, loses=False)


def _overflow(name: str, state: Mapping[str, Any]) -> Iterator[Problem]:
    policy, arguments = _policy(state), _arguments(state)
    overflow = policy.get("overflow") or arguments.get("x-overflow") or "drop-head"
    if overflow == "reject-publish":
        return
    limited = any(length in policy or f"x-{length}" in arguments for length in _LENGTHS)
    source = _source(state, "overflow")
    if limited:
        text = f"{source} sets overflow {overflow} on {name}: a full queue drops what was accepted"
    else:
        text = f"{source} sets overflow {overflow} on {name}: with a length it would drop what was accepted"
    cure = _cure(state, "overflow")
    yield Problem(text, f"{cure}, or set it to reject-publish" if cure != _REPLACE else cure, loses=limited)


def _deleted(name: str, state: Mapping[str, Any]) -> Iterator[Problem]:
    policy, arguments = _policy(state), _arguments(state)
    ttl = min(policy.get("message-ttl", _FOREVER), arguments.get("x-message-ttl", _FOREVER))
    if ttl < (DEAD_MS if name == DEAD_QUEUE else _FOREVER):
        what = "dead letters" if name == DEAD_QUEUE else "pageviews"
        text = f"{_source(state, 'message-ttl')} sets message-ttl on {name}: {what} that wait for longer are deleted"
        yield Problem(text, _cure(state, "message-ttl"), loses=True)
    if "expires" in policy or "x-expires" in arguments:
        text = f"{_source(state, 'expires')} sets expires on {name}: the queue is deleted while no worker consumes"
        yield Problem(text, _cure(state, "expires"), loses=True)
    limit = policy.get("delivery-limit")
    if limit is not None and 0 <= limit < _FEWEST_DELIVERIES:
        text = f"{_source(state, 'delivery-limit')} sets delivery-limit {limit} on {name}: it drops in long outages"
        yield Problem(text, _cure(state, "delivery-limit"), loses=True)


def _moved(name: str, state: Mapping[str, Any]) -> Iterator[Problem]:
    if "dead-letter-exchange" in _policy(state) or "x-dead-letter-exchange" in _arguments(state):
        source = _source(state, "dead-letter-exchange")
        text = f"{source} sets dead-letter-exchange on {name}: pageviews may be moved elsewhere"
        yield Problem(text, _cure(state, "dead-letter-exchange"), loses=False)


def _policy(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what policy and operator policy set together; the API gives an empty list where there is none."""
    return state.get("effective_policy_definition") or {}


def _arguments(state: Mapping[str, Any]) -> Mapping[str, Any]:
    return state.get("arguments") or {}


def _source(state: Mapping[str, Any], key: str) -> str:
    if key not in _policy(state):
        return "its declaration"
    named = [policy for policy in (state.get("policy"), state.get("operator_policy")) if policy]
    return f"policy {' and '.join(named)}"


def _cure(state: Mapping[str, Any], key: str) -> str:
    return f"take {key} out of the policy" if key in _policy(state) else _REPLACE
