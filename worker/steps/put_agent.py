"""What a visitor browses with."""

from __future__ import annotations

from shared.pageview import QueuedPageview
from worker.lengths import USER_AGENT, cut
from worker.lookups.agents import Agent, Agents


def put_agent(agents: Agents, pageview: QueuedPageview) -> Agent:
    """Return browser, system and device class, from the user agent's first `USER_AGENT` characters."""
    user_agent = pageview.user_agent
    if len(user_agent) > USER_AGENT:
        user_agent = cut(user_agent, USER_AGENT, "user_agent")
    return agents.find(user_agent)
