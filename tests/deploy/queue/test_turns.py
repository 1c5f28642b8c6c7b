"""Replaying letters while the broker is silent."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deploy.queue.connection import BrokerError
from deploy.queue.dead_letters import DeadLetter
from deploy.queue.turns import Turn


class Silent:
    """A channel and its exchange, of a broker that confirms nothing."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def get_exchange(self, _: str, **__: Any) -> Silent:
        return self

    async def publish(self, *_: Any, **__: Any) -> None:
        raise self._error


class Letter:
    """A dead letter; `removed` says whether it was taken from the queue."""

    removed = False

    def __init__(self) -> None:
        self.message = self

    def to_replay(self) -> bytes:
        return b""

    async def ack(self) -> None:
        self.removed = True


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError()])
async def test_a_letter_that_is_not_confirmed_stays_and_the_broker_is_named(error: Exception) -> None:
    letter = Letter()
    turn = Turn(cast(Any, Silent(error)), cast(Any, None), 1)

    with pytest.raises(BrokerError, match="the broker did not confirm a letter"):
        await turn.replay([cast(DeadLetter, letter)])

    assert not letter.removed
