from __future__ import annotations

from shared.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(0.2, 1.0)
    bounds = [0.2, 0.4, 0.8, 1.0, 1.0]
    pauses = [backoff.next_s() for _ in bounds]
    assert all(bound / 2 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True)), pauses
    assert backoff.attempts == len(bounds)


def test_a_success_starts_over() -> None:
    backoff = Backoff(0.2, 10.0)
    for _ in range(2_000):  # days of an outage: no overflow
        assert backoff.next_s() <= 10.0
    backoff.reset()
    assert backoff.attempts == 0
    assert backoff.next_s() <= 0.2


def test_processes_that_failed_together_do_not_retry_together() -> None:
    assert len({Backoff(1.0, 1.0).next_s() for _ in range(20)}) > 10
