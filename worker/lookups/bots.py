"""Which user agents are programs rather than people's browsers.

Any of these suffices: ua-parser's device family `Spider` (see `agents.py`), monperrus/crawler-user-agents (released
weekly as a package), a few patterns of our own, and that a user agent names nothing that a person could hold or look
at.  docs/bots.md has the reasons.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from ua_parser_rs import UserAgentExtractor

#: Decided by hand where the lists disagree; the reasons are in docs/bots.md.
OWN_PATTERNS: Final = (
    r"^\W*$",
    r"^Mozilla/[0-9.]+(?: \(compatible;?\))?$",
    r"^User-Agent:",
    r"UniversalFeedParser",
    r"Feed ?Fetcher",
    r"LiveJournal\.com",
    r"Liferea/",
    r"^(?:Reeder|Newsify)/",
    r"libfetch",
    r"^HTTP_Request",
    r"^Ruby$",
    r"^Chef ",
    r"Link Validator",
    r"Ezooms",
    r"Robosourcer",
    r"Protocol Discovery",
    r"DTS Agent",
    r"Google Desktop/",
    r"^(?:distilator|portscout|IrssiUrlLog)/",
    r"^Superblock-Denim",
    r"via docs\.google\.com/viewer",
    r"\+https?:",
    r"(?i:^http|http-?client|libcurl)",
    r"^(?:Needle|node-urllib|nscurl|rest-client)/",
    r"MS Web Services Client",
    r"BrowserKit$",
    r"\bRSS",
    r"Newsboat/",
    r"FeedDemon/",
    r"DebugBear",
    r"YottaaMonitor",
    r"Siege/",
    r"wkhtmlto",
    r"Prerender",
)
#: What those begin with or contain who name no system or device that is known, and are a person's browser even so.
_BROWSER: Final = re.compile(
    r"^(?:mozilla/|opera\b)|browser|\b(?:wap|midp|lynx|e?links|w3m|dillo|netsurf|netfront|hbbtv|dvp)\b", re.IGNORECASE
)


class Bots:
    """The patterns, all matched at once by ua-parser's Rust engine, which filters them by the literals in them."""

    def __init__(self, patterns: Sequence[str] | None = None) -> None:
        if patterns is None:
            patterns = (*OWN_PATTERNS, *(str(entry["pattern"]) for entry in CRAWLER_USER_AGENTS_DATA))
        self._patterns = tuple(patterns)
        # The engine returns the family it is given with a pattern: here the pattern's number.
        rules = ((pattern, str(number), "", "", "", "") for number, pattern in enumerate(self._patterns))
        self._extractor = UserAgentExtractor(rules)

    def find(self, user_agent: str) -> str | None:
        """Return the first pattern that the user agent matches."""
        found = self._extractor.extract(user_agent)
        return self._patterns[int(found.family)] if found else None


def names_nothing(user_agent: str, os: str, family: str) -> bool:
    """Tell whether it names no browser, where ua-parser finds neither a system (`os`) nor a device (`family`)."""
    return not os and not family and not _BROWSER.search(user_agent)
