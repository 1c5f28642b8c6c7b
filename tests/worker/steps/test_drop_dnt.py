from __future__ import annotations

from shared.outcomes import Outcome
from tests.worker.factories import SITE, pageview
from worker.steps.drop_dnt import drop_dnt


def test_drops_visitors_who_ask_for_it_and_no_others():
    drop = drop_dnt(pageview(dnt=True), SITE)
    assert (drop.reason, drop.site_id) == (Outcome.DNT, SITE.site_id)
    assert drop_dnt(pageview(dnt=False), SITE) is None
