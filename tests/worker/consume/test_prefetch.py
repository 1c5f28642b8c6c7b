"""How the prefetch follows the messages' size."""

from __future__ import annotations

from worker.consume.prefetch import FIRST, LARGEST, MAX_SEALED_BYTES, SMALLEST_SHARE, Prefetch


def after(pageviews: int, sealed_bytes: int) -> int:
    prefetch = Prefetch(20_000)
    for _ in range(50):
        prefetch.observe(pageviews, sealed_bytes)
        prefetch.adjust()
    return prefetch.count


def test_small_messages_are_held_in_numbers_that_the_protocol_can_say() -> None:
    assert after(1, 300) == LARGEST <= 65_535


def test_large_messages_fill_three_batches() -> None:
    assert after(500, 20_000) == 3 * 20_000 // 500 or after(500, 20_000) == FIRST


def test_the_largest_messages_stay_within_the_bound() -> None:
    assert after(500, 256 * 1024) * 256 * 1024 <= MAX_SEALED_BYTES


def test_among_several_workers_none_holds_more_than_its_share_of_work() -> None:
    prefetch = Prefetch(20_000)
    for _ in range(200):
        prefetch.observe(1, 300, 0.001)
        prefetch.adjust(0.8)
    assert 400 <= prefetch.count <= 1_600

    prefetch.adjust(None)
    assert prefetch.count == LARGEST, "messages wait although all hold their share"
    for _ in range(200):
        prefetch.observe(500, 20_000, 1.0)
        prefetch.adjust(0.8)
    assert SMALLEST_SHARE <= prefetch.count <= 2 * SMALLEST_SHARE
