"""How old a copy of the registry may be for the gateway to decide by it."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from typing import Any, cast

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.authenticate import authenticate
from gateway.registry_age import FRESH_SECONDS, RegistryAge
from gateway.replies import Reason, Rejected


@dataclass
class FakePoller:
    """A poller with a copy of this age."""

    age_s: float
    failing: bool = False
    idle: bool = False
    polls_s: float = 0.0

    def used(self) -> bool:
        return self.idle

    async def refresh(self) -> bool:
        await asyncio.sleep(self.polls_s)
        self.age_s = 0
        return True


@pytest.mark.parametrize(
    ("age_s", "failing", "max_age_s", "too_old"),
    [
        (10, False, 3600, False),
        (10, True, 3600, False),
        (10, True, 5, False),  # a short outage is none
        (FRESH_SECONDS + 1, False, 3600, True),  # wait for the poll
        (FRESH_SECONDS + 1, False, 0, True),
        (FRESH_SECONDS + 1, True, 3600, False),  # ClickHouse is away
        (3601, True, 3600, True),
        (1e9, True, 0, False),
        (math.inf, False, 3600, False),  # no copy at all is another matter
    ],
)
def test_an_old_copy_waits_for_a_poll_and_is_used_up_to_the_limit_without_clickhouse(
    age_s: float, failing: bool, max_age_s: float, too_old: bool
) -> None:
    assert RegistryAge(FakePoller(age_s, failing), max_age_s).too_old is too_old


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    poller = FakePoller(10)
    age = RegistryAge(poller, 3600)
    with caplog.at_level(logging.INFO):
        for poller.age_s, poller.failing in [(10, False), (1000, True), (1001, True), (3601, True), (2, False)]:
            assert age.too_old == (poller.age_s == 3601)
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR", "INFO"]
    assert "a copy of 1000 s ago" in caplog.text


def test_a_token_is_not_looked_up_in_a_copy_that_is_too_old() -> None:
    request = make_mocked_request("POST", "/", headers={"X-API-Key": "token"})
    with pytest.raises(Rejected) as rejected:
        authenticate(request, cast("Any", None), RegistryAge(FakePoller(3601, True), 3600))
    assert rejected.value.reason is Reason.OLD_REGISTRY
    assert rejected.value.reason.retryable


async def test_the_first_request_after_a_rest_waits_for_a_poll_but_not_for_long() -> None:
    busy, idle, stuck = FakePoller(15), FakePoller(15, idle=True), FakePoller(15, idle=True, polls_s=60)
    for poller in (busy, idle, stuck):
        async with asyncio.timeout(30):
            age = RegistryAge(poller, 3600)
            if age.rested():
                await age.refresh()
    assert [poller.age_s for poller in (busy, idle, stuck)] == [15, 0, 15]
