"""What a user agent tells: browser, system, device class, and whether it is a person's at all.

Browser and system come from ua-parser's regular expressions (https://github.com/ua-parser/uap-core), matched by its
Rust engine; bots from `bots.py`.  All answers are cached, bounded in number and in length.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

from ua_parser import OS, Domain, UserAgent
from ua_parser.regex import Resolver
from ua_parser_builtins.matchers import MATCHERS

from worker.lengths import USER_AGENT
from worker.lookups.bots import Bots, names_nothing
from worker.lookups.devices import device_class

_CACHED_AGENTS: Final = 16_384


class Agent(NamedTuple):
    """A user agent and what it tells; versions are `major.minor`, `device` is a class of `devices.py`."""

    user_agent: str
    browser: str
    browser_version: str
    os: str
    os_version: str
    device: str
    is_bot: bool


class Agents:
    """Cached answers about user agents."""

    def __init__(self) -> None:
        self.bots = Bots()
        self._resolve = Resolver(MATCHERS)  # type: ignore[arg-type]  # a list of a subtype
        self.find: Callable[[str], Agent] = lru_cache(maxsize=_CACHED_AGENTS)(self.parse)

    def parse(self, user_agent: str) -> Agent:
        """Tell what the user agent (at most `USER_AGENT` characters of it) says."""
        user_agent = user_agent[:USER_AGENT]
        found = self._resolve(user_agent, Domain.ALL)
        family = found.device.family if found.device else ""
        os = found.os.family if found.os else ""
        is_bot = family == "Spider" or names_nothing(user_agent, os, family) or self.bots.find(user_agent) is not None
        return Agent(
            user_agent,
            found.user_agent.family if found.user_agent else "",
            _version(found.user_agent),
            os,
            _version(found.os),
            "bot" if is_bot else device_class(user_agent, os, family),
            is_bot,
        )


def _version(found: UserAgent | OS | None) -> str:
    if found is None or not found.major:
        return ""
    return f"{found.major}.{found.minor}" if found.minor else found.major
