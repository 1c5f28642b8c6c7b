"""What a user agent says: browser, operating system, device class, and whether it is a bot.

Browser and system come from ua-parser's regular expressions (https://github.com/ua-parser/uap-core), matched by its
Rust engine, with what `systems.py` knows better; bots from `bots.py`, device classes from `devices.py`.  All answers
are cached, bounded in number and in length.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Final, NamedTuple

from ua_parser import OS, Domain, UserAgent
from ua_parser.regex import Resolver
from ua_parser_builtins.matchers import MATCHERS

from worker.lengths import USER_AGENT, read_agent
from worker.lookups.bot_kinds import OTHER
from worker.lookups.bots import Bots, is_written_as_a_program, may_be_a_spider
from worker.lookups.devices import DeviceClasses
from worker.lookups.systems import Named, Systems

_CACHED_AGENTS: Final = 16_384
_RESOLVER: Final = cache(lambda: Resolver(MATCHERS))  # type: ignore[arg-type]  # a list of a subtype


class Agent(NamedTuple):
    """A user agent and what it says; versions are `major.minor`, `device` is a class of `devices.py`.

    `bot_kind` is one of `bot_kinds.KINDS`, empty for people.
    """

    user_agent: str
    browser: str
    browser_version: str
    os: str
    os_version: str
    device: str
    is_bot: bool
    bot_kind: str


class Agents:
    """Cached answers about user agents."""

    def __init__(self) -> None:
        self.bots = Bots()
        self._devices = DeviceClasses()
        self._systems = Systems()
        self._resolve = _RESOLVER()
        self.find: Callable[[str], Agent] = lru_cache(maxsize=_CACHED_AGENTS)(self.parse)

    def parse(self, user_agent: str) -> Agent:
        """Tell what the user agent (at most `USER_AGENT` characters of it) says."""
        user_agent = user_agent[:USER_AGENT]
        text = read_agent(user_agent)
        found = self._resolve(text, Domain.ALL)
        family = found.device.family if found.device else ""
        system = self._systems.system(text, _named(found.os))
        browser = self._systems.browser(text, _named(found.user_agent))
        kind = self._bot_kind(text, system.name, family)
        device = "bot" if kind else self._devices.find(text, system.name, family)
        return Agent(user_agent, *browser, *system, device, bool(kind), kind)

    def _bot_kind(self, user_agent: str, os: str, family: str) -> str:
        """Return the kind of program, empty for a person's browser."""
        if bot := self.bots.find(user_agent):
            return bot.kind
        is_bot = (family == "Spider" and may_be_a_spider(user_agent)) or is_written_as_a_program(user_agent, os, family)
        return OTHER if is_bot else ""


def _named(found: UserAgent | OS | None) -> Named:
    if found is None:
        return Named("", "")
    return Named(found.family, f"{found.major}.{found.minor}" if found.major and found.minor else found.major or "")
