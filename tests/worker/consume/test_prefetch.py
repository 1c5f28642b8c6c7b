"""How the prefetch follows the messages' size."""

from __future__ import annotations

from worker.consume.prefetch import FIRST, LARGEST, MAX_SEALED_BYTES, Prefetch


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
