"""A bound on what requests hold."""

from __future__ import annotations

import contextlib

import pytest

from gateway.replies import Reason, Rejected
from gateway.room import Room


def test_what_goes_beyond_the_room_is_refused_and_takes_nothing() -> None:
    room = Room(10)
    with room.share() as one, room.share() as other:
        one(4)
        other(6)
        with pytest.raises(Rejected) as refused:
            one(1)
        assert refused.value.reason is Reason.BUFFER_FULL


def test_what_was_taken_is_given_back_however_it_ends() -> None:
    room = Room(10)
    for _ in range(3):
        with contextlib.suppress(ZeroDivisionError), room.share() as take:
            take(4)
            take(6)
            raise ZeroDivisionError
    with room.share() as take:
        take(10)
