from __future__ import annotations

import pytest

from shared.outcomes import Outcome
from tests.worker.factories import SITE, pageview
from worker.lookups.spam import Spam
from worker.steps.drop_spam_network import drop_spam_network


@pytest.mark.parametrize(
    ("address", "dropped"),
    [
        ("192.0.2.1", True),
        ("::ffff:192.0.2.1", True),
        ("192.0.3.1", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("", False),
    ],
)
def test_drops_visitors_from_listed_networks(tmp_path, address, dropped):
    (tmp_path / "drop.txt").write_text("192.0.2.0/24 ; SBL1\n2001:db8::/32 ; SBL2\n")
    drop = drop_spam_network(Spam([tmp_path]), pageview(visitor_ip=address), SITE)
    assert (drop is not None) is dropped
    if drop:
        assert (drop.reason, drop.site_id) == (Outcome.SPAM_NETWORK, SITE.site_id)
        assert "of drop.txt" in drop.rule
        assert address not in drop.rule
