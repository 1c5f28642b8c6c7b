"""Turns: few at the same time, none for long where others wait, and a client waits for itself only."""

from __future__ import annotations

import asyncio

import pytest

from gateway.replies import Reason, Rejected
from gateway.turns import Turns


async def test_a_client_waits_behind_itself_and_nobody_else_does() -> None:
    turns = Turns(None, 1, 0.05)
    async with turns.turn(b"a"):
        async with turns.turn(b"b"):
            pass
        with pytest.raises(Rejected) as refused:
            async with turns.turn(b"a"):
                pass
        assert refused.value.reason is Reason.BUFFER_FULL
    async with turns.turn(b"a"):
        pass


async def test_a_turn_that_takes_long_ends_for_others_and_is_given_back_once() -> None:
    turns = Turns(None, 1, 5, longest_s=0.02)
    async with turns.turn(b"a"), turns.turn(b"a"):  # the second one, while the first goes on
        pass
    async with turns.turn(b"a"):
        waiting = asyncio.create_task(_hold(turns))
        await asyncio.sleep(0)
        assert not waiting.done()  # there is still one turn at a time
        await waiting
    assert not turns._of_client


async def _hold(turns: Turns) -> None:
    async with turns.turn(b"a"):
        await asyncio.sleep(0)
