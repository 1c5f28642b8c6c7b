"""Ids: the same in every run, different where they should be."""

from __future__ import annotations

import json
import uuid

from deploy.replay.ids import IdMaker

KEY = bytes(range(32))
MINUTE = 60_000
T0 = 1_772_706_000_000


def sessions(moments: list[int], by_clock: bool = False) -> list[str]:
    ids = IdMaker(KEY, by_clock=by_clock)
    return [ids.session("198.51.100.7", "x", T0 + moment * MINUTE) for moment in moments]


def numbered(names: list[str]) -> list[int]:
    """Return each name's number by first appearance."""
    order = list(dict.fromkeys(names))
    return [order.index(name) for name in names]


def test_a_pause_of_more_than_thirty_minutes_begins_a_session() -> None:
    assert numbered(sessions([0, 10, 39, 69, 100, 101])) == [0, 0, 0, 0, 1, 1]


def test_lines_may_be_out_of_order() -> None:
    assert numbered(sessions([0, 20, 5, 49])) == [0, 0, 0, 0]


def test_half_hours_of_the_clock_depend_on_no_other_line() -> None:
    whole = sessions([10, 20, 39, 40, 69], by_clock=True)
    assert numbered(whole) == [0, 0, 0, 1, 1]
    assert sessions([20], by_clock=True) == whole[1:2]


def test_different_visitors_and_keys_have_different_ids() -> None:
    ids = IdMaker(KEY)
    of = {
        ids.session("198.51.100.7", "x", T0),
        ids.session("198.51.100.8", "x", T0),
        ids.session("198.51.100.7", "y", T0),
        IdMaker(b"other").session("198.51.100.7", "x", T0),
    }  # fmt: skip
    assert len(of) == 4
    assert {uuid.UUID(each).version for each in of} == {8}


def test_equal_lines_are_pageviews_of_their_own() -> None:
    first, second = IdMaker(KEY), IdMaker(KEY)
    pages = [first.page(b"a", T0), first.page(b"a", T0), first.page(b"b", T0)]
    assert len(set(pages)) == 3
    assert [second.page(b"a", T0), second.page(b"a", T0), second.page(b"b", T0)] == pages
    assert IdMaker(KEY, "web-2").page(b"a", T0) not in pages


def test_a_snapshot_goes_on_as_if_there_had_been_no_interruption() -> None:
    moments = [T0 + index * 7 * MINUTE * (1 + index % 6) for index in range(200)]
    visitors = [f"198.51.100.{index % 5}" for index in range(200)]

    def follow(ids: IdMaker, begin: int, end: int) -> list[tuple[str, str]]:
        return [
            (ids.session(visitors[n], "x", moments[n]), ids.page(str(n // 2).encode(), moments[n]))
            for n in range(begin, end)
        ]

    whole = follow(IdMaker(KEY), 0, 200)
    for cut in (1, 63, 64, 150):
        before = IdMaker(KEY)
        head = follow(before, 0, cut)
        after = IdMaker(KEY)
        after.restore(json.loads(json.dumps(before.snapshot())))
        assert head + follow(after, cut, 200) == whole


def test_memory_is_bounded_and_when_it_is_tidied_changes_nothing() -> None:
    ids = IdMaker(KEY)
    for index in range(20_000):
        ids.session(f"198.51.{index % 250}.{index // 250}", "x", T0 + index * MINUTE)
        ids.page(str(index).encode(), T0 + index * MINUTE)
    snapshot = ids.snapshot()
    assert len(snapshot["sessions"]) < 200
    assert len(snapshot["seen"]) < 10
    assert "198.51" not in json.dumps(snapshot)
