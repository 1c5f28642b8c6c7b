from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.factories import agents, pageview
from worker.lengths import USER_AGENT
from worker.lookups.bot_kinds import KINDS
from worker.lookups.devices import CLASSES
from worker.steps.put_agent import put_agent

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"
)
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        (CHROME, ("Chrome", "138.0", "Windows", "10", "desktop", False, "")),
        (IPHONE, ("Mobile Safari", "17.5", "iOS", "17.5", "mobile", False, "")),
        (
            IPHONE.replace("iPhone; CPU iPhone", "iPad; CPU"),
            ("Mobile Safari", "17.5", "iOS", "17.5", "tablet", False, ""),
        ),
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            ("Googlebot", "2.1", "", "", "bot", True, "search"),
        ),
        ("curl/8.5.0", ("curl", "8.5", "", "", "bot", True, "library")),
        ("nonsense", ("", "", "", "", "bot", True, "other")),
        ("some browser", ("", "", "", "", "other", False, "")),
        ("\x00\u202e🙂", ("", "", "", "", "bot", True, "other")),
    ],
)
def test_tells_browser_system_device_and_bots(user_agent, expected):
    agent = put_agent(agents(), pageview(user_agent=user_agent))
    assert agent == (user_agent, *expected)


def test_cuts_what_is_too_long_and_counts_it_each_time(counted):
    for _ in range(2):
        agent = put_agent(agents(), pageview(user_agent=CHROME + " ü" * 50_000))
        assert len(agent.user_agent) == USER_AGENT
        assert agent.browser == "Chrome"
    assert counted() == {"user_agent": 2}


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_no_user_agent_raises(text):
    agent = put_agent(agents(), pageview(user_agent=text))
    assert agent.device in CLASSES
    assert agent.is_bot is (agent.device == "bot") is (agent.bot_kind in KINDS)


def test_the_beginning_of_what_is_not_ascii_is_matched_and_all_of_it_stored():
    for fits, os in ((True, "Android"), (False, "")):
        user_agent = "中" * (250 if fits else 257) + "; Android 14; x)"
        agent = put_agent(agents(), pageview(user_agent=user_agent))
        assert (agent.os, agent.user_agent) == (os, user_agent)
