"""Pageviews through two workers in any order of what may happen: each is stored once, and counted as what it became.

The workers are real, the broker and ClickHouse are simulated (`tests.worker.simulated`): anything that a worker asks
of them may succeed, fail before or after it was done, or stay unknown; a worker may be killed, or lose its channel,
between any two requests; messages are redelivered, dead letters replayed, rules and keys changed.
"""

from __future__ import annotations

import logging

import aio_pika
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from deploy.queue.dead_letters import DeadLetter
from shared.pageview import SCHEMA_VERSION
from tests.worker.simulated.accepted import AGES_MS, CLIENTS, FATES, Plan, check_always, check_end
from tests.worker.simulated.stage import Stage

KEYS = bytes(range(32)), bytes(range(1, 33))
#: How each request may fail.
FAILURES = {
    "rows": ["failed", "failed after", "partly", "unknown", "crashed", "too large"],
    "outcomes": ["failed", "failed after"],
    "letter": ["lost before", "refused", "silent", "confirmed late", "lost after"],
    "ack": ["lost before", "lost after"],
    "kill": ["failed", "partly"],
    "look": ["failed"],
}
#: Steps in which a request is waited for.
AT_MOST = 40

plans = st.builds(
    Plan,
    st.sampled_from(["stored", "stored", "stored", "refused", "poison", *FATES]),
    st.sampled_from(CLIENTS),
    st.sampled_from([*AGES_MS[:1] * 6, *AGES_MS]),
    st.sampled_from([-70, -5, 5, 70]),
)
messages = st.lists(st.lists(plans, min_size=1, max_size=5), min_size=1, max_size=3)
workers = st.integers(0, 1)
numbers = st.integers(0, 30)
requests = st.sampled_from(list(FAILURES))
rarely = st.sampled_from([False] * 5 + [True])


class AnyOrder(RuleBasedStateMachine):
    """What may happen to two workers."""

    def __init__(self) -> None:
        super().__init__()
        logging.disable(logging.CRITICAL)
        self.stage = Stage(KEYS[:1])
        self.accepted, self.engine, self.broker = self.stage.accepted, self.stage.engine, self.stage.broker

    # What gateways and operators do.

    @initialize(messages=messages)
    def begin(self, messages: list[list[Plan]]) -> None:
        self.accept(messages, False)

    @rule(messages=messages, unknown_key=rarely)
    def accept(self, messages: list[list[Plan]], unknown_key: bool) -> None:
        for each in messages:
            self.broker.publish(self.accepted.accept(each, KEYS[unknown_key]))

    @precondition(lambda self: self.broker.dead)
    @rule(number=numbers)
    def replay(self, number: int) -> None:
        letter = self.broker.dead.pop(number % len(self.broker.dead))
        self.broker.publish(DeadLetter(letter).to_replay())  # type: ignore[arg-type]

    @precondition(lambda self: not self.engine.running)
    @rule(number=numbers, fate=st.sampled_from(FATES))
    def change_rules(self, number: int, fate: str) -> None:
        self.accepted.change(number, fate)

    @rule(what=st.sampled_from(["learn key", "set clock back", "publish newer", "stop first", "stop second"]))
    def do(self, what: str) -> None:
        """Do what is needed now and then."""
        if what == "learn key":
            self.stage.keys = KEYS
        elif what == "set clock back":
            self.engine.clock_us -= 100
        elif what == "publish newer" and not self.stage.newer:
            self.broker.publish(aio_pika.Message(b"?", message_id="newer", headers={"schema": SCHEMA_VERSION + 1}))
            self.stage.newer += 1
        elif what.startswith("stop"):  # as by SIGTERM: it ends what it has begun, and then another is started
            self.stage.workers[what == "stop second"].stop.set()
            self.stage.loop.settle()

    # What goes well, and what fails.

    @rule(number=st.integers(1, 10), which=numbers)
    def go_on(self, number: int, which: int) -> None:
        """Let messages be delivered and requests succeed, and time pass where there are none."""
        self.stage.steps(number, which)

    @rule(name=requests, which=numbers, how=numbers)
    def fail(self, name: str, which: int, how: int) -> None:
        """Let the next request of a kind fail, in some way."""
        if request := self.stage.until(name, which, AT_MOST):
            ways = FAILURES[name]
            self.stage.resolve(request, ways[how % len(ways)])

    @precondition(lambda self: self.stage.abandoned)
    @rule(how=st.sampled_from(["stored", "partly", "failed"]))
    def end_insert(self, how: str) -> None:
        """End an insert that nobody waits for."""
        self.engine.finish(self.stage.abandoned[0], how)

    def _worker_at(self, name: str, which: int) -> int:
        """Go on until a worker waits for such a request, and return which."""
        request = self.stage.until(name, which, AT_MOST)
        return [each.process for each in self.stage.workers].index(request.process) if request else which

    @rule(name=requests, which=workers, arrive=st.integers(0, 3))
    def kill(self, name: str, which: int, arrive: int) -> None:
        """Kill a worker at some request, and start another; the first of what was sent still arrives."""
        which = self._worker_at(name, which)
        self.stage.let_arrive(which, arrive)
        self.stage.restart(which)

    @rule(name=requests, which=workers, arrive=st.integers(0, 3))
    def cut(self, name: str, which: int, arrive: int) -> None:
        """Close the channel of a worker at some request."""
        which = self._worker_at(name, which)
        self.stage.let_arrive(which, arrive)
        self.stage.cut(which)

    @invariant()
    def always(self) -> None:
        if self.stage.wrong:
            raise self.stage.wrong[0]
        self.stage.replace_stopped()
        check_always(self.accepted, self.engine, self.broker)

    def teardown(self) -> None:
        """Let everything go well from now on: in the end, all is as it should be."""
        try:
            self.accepted.end_well()
            self.stage.keys = KEYS
            for which in range(2):
                self.stage.restart(which)
            self.stage.drain()
            while self.broker.dead:
                self.replay(0)
            self.stage.drain()
            self.always()
            assert not self.broker.dead, "nothing is poison any more"
            check_end(self.accepted, self.engine)
        finally:
            self.stage.close()
            logging.disable(logging.NOTSET)


def test_each_pageview_is_stored_once_and_counted_as_what_it_became() -> None:
    run_state_machine_as_test(AnyOrder, settings=settings(max_examples=40, stateful_step_count=60))


@pytest.mark.full
def test_each_pageview_is_stored_once_in_thousands_of_orders() -> None:
    run_state_machine_as_test(AnyOrder, settings=settings(max_examples=3_000, stateful_step_count=80))
