from __future__ import annotations

import pytest

from shared.outcomes import Outcome
from tests.worker.factories import SITE, FakeRegistry, pageview
from worker.lookups.own_hosts import OwnHosts
from worker.lookups.spam import Spam
from worker.steps.drop_spam_referrer import drop_spam_referrer
from worker.steps.put_referrer import put_referrer

LIST = "spam.example\nspam.info\nbad.example.com\nexample.com\nexample.net\nshop.example.org\nexample.org\n"


@pytest.mark.parametrize(
    ("referrer", "dropped"),
    [
        ("", False),
        ("https://spam.example/", True),
        ("http://www.SPAM.example:8080/x?y", True),
        ("https://www2.spam.example/", True),
        ("spam.info/landing", True),
        ("http%3A%2F%2Fspam.example%2F", True),
        ("http://spam%2Eexample/", True),
        ("http:/spam.example", True),
        ("http:\\\\spam.example\\", True),
        ("http://sp\tam.exa\nmple/", True),
        ('"http://spam.example/"', True),
        ("view-source:http://spam.example/", True),
        ("https://notspam.example/", False),
        ("https://spam.example.invalid/", False),
        ("-", False),
        # listed, and yet the site's own: its hostnames, and what is below them
        ("https://example.com/", False),
        ("https://bad.example.com/", False),
        ("https://deep.bad.example.com/", False),
        ("https://example.net/", False),
        ("https://sub.example.net/", False),
        ("https://shop.example.org/", False),
        # listed, and a parent or neighbour of a hostname only
        ("https://example.org/", True),
        ("https://www2.example.org/", True),
    ],
)
def test_drops_visits_from_listed_hosts_but_the_site_s_own(tmp_path, referrer, dropped):
    (tmp_path / "list.txt").write_text(LIST)
    registry = FakeRegistry()
    found = put_referrer(OwnHosts(registry), pageview(referrer=referrer), SITE)
    drop = drop_spam_referrer(Spam([tmp_path]), registry, found, SITE)
    assert (drop is not None) is dropped
    if drop:
        assert (drop.reason, drop.site_id) == (Outcome.SPAM_REFERRER, SITE.site_id)
        assert drop.rule.endswith("of list.txt")
