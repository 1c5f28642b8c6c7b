"""Which user agents are programs rather than people's browsers, and of what kind.

Any of these suffices: ua-parser's device family `Spider` (see `agents.py`), monperrus/crawler-user-agents (released
weekly as a package) but for the patterns that flag people (`distrusted_patterns.py`), patterns of our own, the way
programs are written that no list has, and that a user agent names nothing that a person could hold or look at.
docs/bots.md has the reasons.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from worker.lookups.bot_kinds import (
    AI_PATTERNS,
    ARCHIVE,
    FEED,
    LIBRARY,
    MONITOR,
    OTHER,
    SEARCH,
    SEO,
    SOCIAL_PREVIEW,
    kind_of_tags,
)
from worker.lookups.distrusted_patterns import DISTRUSTED
from worker.lookups.engine import first_match

#: Decided by hand where the lists disagree or have nothing; the reasons are in docs/bots.md.
OWN_PATTERNS: Final = {
    OTHER: (
        r"^\W*$", r"^Mozilla/[0-9.]+(?: \(compatible;?\))?$", r"^Mozilla/5\.0 \(platform; rv:geckoversion\)",
        r"^User-Agent:",
        r"Ezooms", r"Robosourcer", r"Protocol Discovery", r"DTS Agent", r"Google Desktop/",
        r"^(?:distilator|portscout)/",
        r"^Superblock-Denim", r"via docs\.google\.com/viewer", r"^Chef ", r"Prerender", r"wkhtmlto",
        r"Google-(?:Ads|Adwords|Assess|HotelAds|Publisher|Sites)", r"DuplexWeb-Google", r"googleweblight",
        r"baidu Transcoder",
        r"Google Web Preview", r"Google-Read-Aloud", r"Google-Safety", r"Google-Test", r"Google-Ads-",
        r"Google-CloudVertex",
        r"EmailProxy/", r"[Ii]mage[Pp]roxy\b", r"ImageCache/", r"CheckerProxy", r"Convertify",
        r"internal dummy connection",
        r"[0-9a-f]{32}$", r"Time/[0-9]{10,}", r"YourUserAgent", r"NetworkMeasurement", r"Assetnote", r"deepcrawl",
    ),
    SOCIAL_PREVIEW: (r"GoogleMessages", r"Bluesky Cardyb", r"^IrssiUrlLog/", r"LiveJournal\.com",
        r"[Gg]o[Tt]o[Ss]ocial", r"^Viber$"),
    FEED: (
        r"UniversalFeedParser", r"Feed ?Fetcher", r"Liferea/", r"^(?:Reeder|Newsify)/", r"\bRSS", r"Newsboat/",
        r"FeedDemon/",
    ),
    LIBRARY: (
        r"libfetch", r"^HTTP_Request", r"^Ruby$", r"(?i:^http|http-?client|libcurl)",
        r"^(?:node|undici|Deno|Bun|Java|PostmanRuntime|insomnia|bruno-runtime)(?:/|$)",
        r"^(?:Needle|node-urllib|nscurl|rest-client)/", r"MS Web Services Client", r"BrowserKit$", r"HeadlessChrome",
        r"\b(?:Puppeteer|Playwright|Selenium|PhantomJS|Cypress/|Functionize)",
    ),
    MONITOR: (
        r"CloudflareObservatory", r"DebugBear", r"YottaaMonitor", r"Siege/", r"Link Validator", r"Browsershots",
        r"Lighthouse",
        r"PTST/", r"360JK yunjiankong", r"HLB/[0-9]",
    ),
    SEO: (r"AlliAI/",),
    ARCHIVE: (r"archive\.org_bot", r"\barchiver\b"),
    SEARCH: (r"[Mm]ediapartners-[Gg]oogle", r"Sogou [A-Za-z]+ [Ss]pider", r"Sogou-Test-Spider"),
}  # fmt: skip
#: A program's own way of saying who it is and where to read about it; looked for behind all lists.
_GENERIC: Final = (r"\+https?:", r"\+mailto:")

#: How programs are written that no list has: `(compatible; NAME` behind a browser's own parenthesis; more in that
#: of `(KHTML, like Gecko; Google-Assess)`; an e-mail address.  Nothing in them repeats without a bound.
_COMPATIBLE: Final = re.compile(r"\(compatible; ?(?!MSIE|Linux)[A-Za-z]")
_LIKE_GECKO: Final = re.compile(r"\(KHTML, like Gecko; ?[A-Za-z]|like Gecko; ?compatible;")
_EMAIL: Final = re.compile(r"\w ?(?:@|\[at\]) ?[\w-]{1,63}\.[A-Za-z]{2}")
#: The same of user agents in which ua-parser finds no system: `(compatible; NAME/1.0)`, a bare token, a URL.
_WRITTEN_WITHOUT_A_SYSTEM: Final = re.compile(
    r"^Mozilla/[0-9.]+ \(compatible; ?(?!MSIE|Konqueror|iCab|OmniWeb|NetPositive|X11|Linux|Windows|Mac|U;)[A-Za-z0-9]"
    r"|^Mozilla/[0-9.]+ \([A-Za-z]+\) AppleWebKit/[0-9.]+ \(KHTML, like Gecko\)$"
    r"|^Mozilla/[0-9.]+ [^()]*$"
    r"|https?://"
)
#: User agents without a known system or device that are still people's browsers or apps.
_BROWSER: Final = (
    r"(?i)^(?:mozilla/|opera\b)|browser|\b(?:wap|midp|lynx|e?links|w3m|dillo|netsurf|netfront|hbbtv|dvp|j2me|ucweb|"
    r"presto)\b"
    r"|\bFB(?:AN|AV|DV)\b|\b(?:OPR|OMI|KreaTV|YouViewHTML|ViziOS|GOGGalaxyClient|NativeClientPlatform)/|^Amazon;|"
    r"AppleWebKit/|\(AppleTv "
)


#: What makes ua-parser find a spider in a person's browser: `bot` inside a word, a toolbar of Ask.
_NOT_A_SPIDER: Final = re.compile(r"Caboto|CUBOT|\bCubot|; Teoma;")


_browsers: Final = first_match([(_BROWSER, "browser")])


class Bot(NamedTuple):
    """Why a user agent is a bot's: the pattern that it matches, and its kind."""

    pattern: str
    kind: str


class Bots:
    """The patterns, all matched at once by ua-parser's Rust engine, which filters them by the literals in them."""

    def __init__(self, bots: Sequence[Bot] | None = None) -> None:
        self._bots = tuple(all_bots() if bots is None else bots)
        self._extractor = first_match((bot.pattern, str(number)) for number, bot in enumerate(self._bots))
        # Names are written in lower case by some; of browsers' only those of scripts are.
        self._lower = first_match((f"(?i:{bot.pattern})", str(number)) for number, bot in enumerate(self._bots))

    def find(self, user_agent: str) -> Bot | None:
        """Return the first pattern that the user agent matches."""
        extractor = self._lower if user_agent.islower() else self._extractor
        found = extractor.extract(user_agent)
        return self._bots[int(found.family)] if found else None


def all_bots() -> list[Bot]:
    """Return our patterns and those of the package that are believed, the narrowest kinds first."""
    own = [
        Bot(pattern, kind)
        for patterns in (AI_PATTERNS, OWN_PATTERNS)
        for kind in patterns
        for pattern in patterns[kind]
    ]
    listed = [
        Bot(str(entry["pattern"]), kind_of_tags(entry.get("tags", ())))
        for entry in CRAWLER_USER_AGENTS_DATA
        if entry["pattern"] not in DISTRUSTED
    ]
    return [*own, *listed, *(Bot(pattern, OTHER) for pattern in _GENERIC)]


def may_be_a_spider(user_agent: str) -> bool:
    """Tell whether ua-parser's device family `Spider` is to be believed; it also finds the bank Caboto."""
    return not _NOT_A_SPIDER.search(user_agent)


def is_written_as_a_program(user_agent: str, os: str, family: str) -> bool:
    """Tell programs that are on no list by how they write their names; `os` and `family` are ua-parser's."""
    first_end = user_agent.find(")")
    if first_end >= 0 and _COMPATIBLE.search(user_agent, first_end):
        return True
    if _LIKE_GECKO.search(user_agent) or (_may_have_email(user_agent) and _EMAIL.search(user_agent)):
        return True
    if os or family:
        return False
    return bool(_WRITTEN_WITHOUT_A_SYSTEM.search(user_agent)) or not _browsers.extract(user_agent)


def _may_have_email(user_agent: str) -> bool:
    return "@" in user_agent or "[at]" in user_agent
