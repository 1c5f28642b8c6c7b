"""Which policies and arguments of a queue break the promise that an accepted pageview is kept."""

from __future__ import annotations

from typing import Any

import pytest

from shared.queue import DEAD_ARGUMENTS, DEAD_QUEUE, QUEUE, QUEUE_ARGUMENTS
from shared.queue_policies import problems

DECLARED = {"type": "quorum", "arguments": QUEUE_ARGUMENTS}
DEAD = {"type": "quorum", "arguments": DEAD_ARGUMENTS}


def by_policy(**policy: Any) -> dict[str, Any]:
    definition = {key.replace("_", "-"): value for key, value in policy.items()}
    return {"policy": "ours", "operator_policy": None, "effective_policy_definition": definition}


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"max_length": 1_000_000},
        {"max_length_bytes": 1, "overflow": "reject-publish"},
        {"delivery_limit": 1_000},
        {"delivery_limit": -1},
        {"queue_leader_locator": "balanced", "target_group_size": 5},
    ],
)
def test_what_is_allowed(policy: dict[str, Any]) -> None:
    assert problems(QUEUE, {**DECLARED, **by_policy(**policy)}) == []


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"overflow": "drop-head", "max_length": 5}, "a full queue drops what was accepted"),
        ({"overflow": "drop-head", "max_length_bytes": 5}, "a full queue drops what was accepted"),
        ({"message_ttl": 86_400_000}, "pageviews that wait for longer are deleted"),
        ({"expires": 3_600_000}, "the queue is deleted while no worker consumes"),
        ({"delivery_limit": 20}, "it drops in long outages"),
        ({"delivery_limit": 0}, "it drops in long outages"),
    ],
)
def test_what_deletes_accepted_pageviews(policy: dict[str, Any], says: str) -> None:
    (problem,) = problems(QUEUE, {**DECLARED, **by_policy(**policy)})
    assert problem.loses
    assert problem.text.startswith("policy ours sets ")
    assert says in problem.text


@pytest.mark.parametrize("policy", [{"overflow": "drop-head"}, {"dead_letter_exchange": "elsewhere"}])
def test_what_deletes_nothing_by_itself(policy: dict[str, Any]) -> None:
    (problem,) = problems(QUEUE, {**DECLARED, **by_policy(**policy)})
    assert not problem.loses


def test_an_operator_policy_is_named() -> None:
    state = {**DECLARED, **by_policy(expires=1), "policy": None, "operator_policy": "theirs"}
    assert problems(QUEUE, state)[0].text.startswith("policy theirs sets expires")


def test_the_dead_letter_queue_has_its_own_time() -> None:
    assert problems(DEAD_QUEUE, DEAD) == []
    assert problems(DEAD_QUEUE, {**DEAD, **by_policy(message_ttl=31 * 86_400_000)}) == []
    assert problems(DEAD_QUEUE, {**DEAD, **by_policy(message_ttl=60_000)})[0].loses


def test_a_queue_that_was_declared_by_others() -> None:
    classic = {"type": "classic", "arguments": {"x-max-length": 10}, "effective_policy_definition": []}
    found = problems(QUEUE, classic)
    assert [problem.loses for problem in found] == [False, True]
    assert found[0].text.startswith("hitline.pageviews is a classic queue")
    assert found[1].text.startswith("its declaration sets overflow drop-head")
    assert {problem.cure for problem in found} == {"drain it, delete it, run `hitline migrate`"}
