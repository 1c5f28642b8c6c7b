"""Turns: few at the same time, and a client waits for itself only."""

from __future__ import annotations

import pytest

from gateway.replies import Reason, Rejected
from gateway.turns import Turns


async def test_a_client_waits_behind_itself_and_nobody_else_does() -> None:
    turns = Turns(10, 1, 0.05)
    async with turns.turn(b"a"):
        async with turns.turn(b"b"):
            pass
        with pytest.raises(Rejected) as refused:
            async with turns.turn(b"a"):
                pass
        assert refused.value.reason is Reason.BUFFER_FULL
    async with turns.turn(b"a"):
        pass
    assert not turns._of_client
