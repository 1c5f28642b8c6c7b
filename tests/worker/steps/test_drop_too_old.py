from __future__ import annotations

import pytest

from shared.outcomes import Outcome
from tests.worker.factories import NOW_MS, OTHER_SITE, SITE, pageview
from worker.steps.drop_too_old import drop_too_old

DAY_MS = 86_400_000


@pytest.mark.parametrize(
    ("retention_days", "site", "age_ms", "dropped"),
    [
        (0, SITE, 20 * 365 * DAY_MS, False),
        (1, SITE, DAY_MS + 1, True),
        (10, SITE, 10 * DAY_MS, False),
        (10, SITE, 10 * DAY_MS + 1, True),
        (10, SITE, -DAY_MS, False),
        (0, OTHER_SITE, 30 * DAY_MS + 1, True),
        (10, OTHER_SITE, 20 * DAY_MS, False),  # the site's own word counts, longer or shorter
        (100, OTHER_SITE, 31 * DAY_MS, True),
    ],
)
def test_drops_what_its_site_does_not_keep(retention_days, site, age_ms, dropped):
    drop = drop_too_old(retention_days, lambda: NOW_MS, pageview(timestamp_ms=NOW_MS - age_ms), site)
    assert (drop is not None) is dropped
    if drop:
        assert (drop.reason, drop.site_id) == (Outcome.TOO_OLD, site.site_id)


def test_the_rule_names_whose_retention_it_was():
    old = pageview(timestamp_ms=0)
    assert drop_too_old(7, lambda: NOW_MS, old, SITE).rule == "retention of 7 days of this instance"
    assert drop_too_old(7, lambda: NOW_MS, old, OTHER_SITE).rule == "retention of 30 days of other.example"


@pytest.mark.parametrize("wrong", ["this machine's clock", "the gateway's clock"])
def test_one_clock_alone_drops_nothing(wrong):
    ahead = NOW_MS + 2 * DAY_MS
    now_ms, received_ms = (ahead, NOW_MS) if wrong == "this machine's clock" else (NOW_MS, ahead)
    given = pageview(timestamp_ms=NOW_MS - 1000, received_ms=received_ms)
    assert drop_too_old(1, lambda: now_ms, given, SITE) is None
