"""Nothing of a batch outlives its request, whatever was wrong with it, and a long one holds up no other."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any, cast

import pytest

from gateway.batch import Batch
from gateway.intake import Intake
from gateway.items import Items, split
from gateway.publish import Publisher
from gateway.replies import Rejected
from gateway.results import Results
from gateway.slices import SLICE_S, Slices
from gateway.validate import validate
from shared.clocks import Clocks
from shared.registry import Client
from tests.services import pageview
from tests.turns import turns_during

CLIENT = Client(b"c" * 16, "client")
NOTHING = cast("Any", None)


def empty_batch(slice_s: float = SLICE_S) -> Batch:
    intake = Intake(NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, Clocks())
    return Batch(intake, cast("Publisher", None), CLIENT, None, Slices(slice_s))


async def bad_batch() -> tuple[Results, weakref.ref[Items]]:
    body = b"\n".join(json.dumps(pageview(visitor_ip="unknown", url=f"https://x.test/{n}")).encode() for n in range(20))
    items = await split(bytearray(body + b"\n{broken"), Slices())
    return await empty_batch().publish(items), weakref.ref(items)


async def test_200_bad_batches_leave_nothing_behind_even_while_their_results_are_kept() -> None:
    """pydantic's errors hold the request by their traceback, and are invisible to the garbage collector."""
    batches = [await bad_batch() for _ in range(200)]
    gc.collect()

    assert [len(results.errors) for results, _ in batches] == [21] * 200
    assert [items() for _, items in batches] == [None] * 200


@pytest.mark.parametrize(("number", "size"), [(320, 10), (40, 60_000)])
async def test_a_batch_lets_others_have_their_turn_by_items_and_by_bytes(number: int, size: int) -> None:
    items = await split(bytearray(b"\n".join([b'{"x":"' + b"x" * size + b'"}'] * number)), Slices())
    assert await turns_during(empty_batch(0).publish(items)) >= 2 * 40


def test_a_rejection_refers_to_no_other_error() -> None:
    for value in ({}, pageview(visitor_ip="unknown"), pageview(timestamp="1980-01-01T00:00:00Z")):
        with pytest.raises(Rejected) as rejected:
            validate(value, 1_800_000_000_000)
        assert rejected.value.__context__ is None
