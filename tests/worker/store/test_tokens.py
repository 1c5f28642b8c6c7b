"""An insert's token names exactly its rows: a server drops other rows that come under a token it knows."""

from __future__ import annotations

import uuid
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.worker.store.test_revise import ROW
from worker.store.batch import PositionedRow, deduplication_token

#: Of few ids and positions, so that lists differ in one thing only.
_keys = st.tuples(
    st.sampled_from([uuid.UUID(int=n).bytes for n in range(3)]), st.sampled_from([0, 1, 2, 255, 256, 499])
)
_lists = st.lists(_keys, min_size=1, max_size=4, unique=True)


def token(keys: list[Any]) -> str:
    return deduplication_token([PositionedRow(ROW, *key) for key in keys])


@given(_lists, _lists)
def test_two_lists_of_rows_have_one_token_only_if_they_are_the_same(some: list[Any], others: list[Any]) -> None:
    assert (token(some) == token(others)) == (some == others)


@given(_lists, st.data())
def test_halves_and_neighbours_have_others(keys: list[Any], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(keys)))
    parts = [part for part in (keys[:cut], keys[cut:], keys) if part]
    assert len({token(part) for part in parts}) == len({tuple(part) for part in parts})
    moved = data.draw(st.integers(0, len(keys) - 1))
    batch_id, position = keys[moved]
    assert token([*keys[:moved], (batch_id, position + 1), *keys[moved + 1 :]]) != token(keys)
    assert token([*keys[:moved], (b"x" * 16, position), *keys[moved + 1 :]]) != token(keys)


@given(_lists, st.data())
def test_the_order_of_rows_and_which_position_is_whose_count(keys: list[Any], data: st.DataObject) -> None:
    others = data.draw(st.permutations(keys))
    assert (token(others) == token(keys)) == (others == keys)
    positions = data.draw(st.permutations([position for _, position in keys]))
    exchanged = [(batch_id, position) for (batch_id, _), position in zip(keys, positions, strict=True)]
    assert (token(exchanged) == token(keys)) == (exchanged == keys)
