from __future__ import annotations

import pytest

from shared.outcomes import Outcome
from tests.worker.factories import OTHER_SITE, SITE, FakeRegistry, pageview
from worker.drop import Drop
from worker.steps.put_site import put_site


@pytest.mark.parametrize(
    ("hostname", "site"),
    [("example.com", SITE), ("shop.example.org", SITE), ("a.b.example.net", SITE), ("other.example", OTHER_SITE)],
)
def test_finds_the_site_of_a_hostname(hostname, site):
    assert put_site(FakeRegistry(), pageview(hostname=hostname)) is site


@pytest.mark.parametrize("hostname", ["nobody.example", "example.net", "", "a." * 30_000 + "example.net"])
def test_an_unknown_hostname_is_dropped(hostname):
    drop = put_site(FakeRegistry(), pageview(hostname=hostname))
    assert isinstance(drop, Drop)
    assert (drop.reason, drop.site_id) == (Outcome.UNKNOWN_SITE, None)
    assert len(drop.rule) < 300
