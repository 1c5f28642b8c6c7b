"""What ua-parser gets wrong, or does not know, of systems and of apps that show pages inside themselves."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ua_parser_rs import UserAgentExtractor

from worker.lookups.devices import is_ipad_as_a_mac
from worker.lookups.engine import first_match


class Named(NamedTuple):
    """A browser's or a system's name and its version as `major.minor`."""

    name: str
    version: str


#: From here on Safari names the true version in `Version/`, and a frozen one of the system (webkit.org, WWDC25).
_FROZEN_FROM: Final = 26
_SAFARI: Final = re.compile(r"Version/([0-9]{2,3})(?:\.([0-9]{1,3}))?")
#: Systems by what is in the user agent, in this order; ua-parser calls them Android, Linux, Mac or nothing.
_SYSTEMS: Final = (
    (r"(OpenHarmony)[ /-]?([0-9]+)?(?:\.([0-9]+))?", "OpenHarmony"),
    (r"(HarmonyOS)[ /]?([0-9]+)?(?:\.([0-9]+))?", "HarmonyOS"),
    (r"(Web0S|WEBOS|webOS\.TV)[-/]?([0-9]+)?(?:\.([0-9]+))?", "webOS"),
    (r"(PlayStation) (?:4|5|Vita)[ /]?([0-9]+)?(?:\.([0-9]+))?", "PlayStation"),
    (r"(Wear ?OS|Android Wear|; SM-R[0-9]{3})[ /]?([0-9]+)?(?:\.([0-9]+))?", "Wear OS"),
)
#: Apps that people open pages in, before the browser engine that they use; with their versions if given.
_APPS: Final = (
    (r"(Instagram)[ /]([0-9]+)\.([0-9]+)", "Instagram"),
    (r"(Barcelona)[ /]([0-9]+)\.([0-9]+)", "Threads"),
    (r"(FBAN/Messenger|Orca-Android|MessengerForiOS|FBAN/MessengerLite)()()", "Messenger"),
    (r"(FBAV|FB_IAB/FB4A;FBAV)/([0-9]+)\.([0-9]+)", "Facebook"),
    (r"(FBAN|FB_IAB)()()", "Facebook"),
    (r"(MicroMessenger)/([0-9]+)\.([0-9]+)", "WeChat"),
    (r"(?i)(KAKAOTALK)[ /]([0-9]+)\.([0-9]+)", "KakaoTalk"),
    (r"(LinkedInApp)(?:\]?/([0-9]+)\.([0-9]+))?", "LinkedIn"),
    (r"(musical_ly|BytedanceWebview|TikTok|trill)(?:[_ /]([0-9]+)\.([0-9]+))?", "TikTok"),
    (r"(Snapchat)/([0-9]+)\.([0-9]+)", "Snapchat"),
    (r"(\[?Pinterest)/(?:iOS|Android|([0-9]+)\.([0-9]+))", "Pinterest"),
    (r"(Twitter for iPhone|Twitter for iPad|TwitterAndroid)(?:/([0-9]+)\.([0-9]+))?", "X"),
    (r"(Line)/([0-9]+)\.([0-9]+)", "LINE"),
    (r"(Viber)/([0-9]+)\.([0-9]+)", "Viber"),
    (r"(Telegram-Android|TelegramBotApp)(?:/([0-9]+)\.([0-9]+))?", "Telegram"),
    (r"(Reddit)/(?:Version ([0-9]+)\.([0-9]+))?", "Reddit"),
    (r"(PlayStation (?:4|5|Vita))()()", "PlayStation"),
)


class Systems:
    """The rules, matched at once by ua-parser's Rust engine."""

    def __init__(self) -> None:
        self._systems = first_match(_SYSTEMS, version=True)
        self._apps = first_match(_APPS, version=True)

    def system(self, user_agent: str, parsed: Named) -> Named:
        """Return the system, `parsed` as ua-parser has it where that is right."""
        if parsed.name == "iOS":
            return Named("iOS", _unfrozen(user_agent) or parsed.version)
        if is_ipad_as_a_mac(user_agent):
            return Named("iOS", _unfrozen(user_agent))
        return _found(self._systems, user_agent) or parsed

    def browser(self, user_agent: str, parsed: Named) -> Named:
        """Return the app or browser, `parsed` as ua-parser has it where no app is named."""
        return _found(self._apps, user_agent) or parsed


def _unfrozen(user_agent: str) -> str:
    """Return the system's version derived from Safari's, or an empty string if the user agent's own is right."""
    safari = _SAFARI.search(user_agent)
    if safari is None or int(safari[1]) < _FROZEN_FROM:
        return ""
    return f"{safari[1]}.{safari[2]}" if safari[2] else safari[1]


def _found(extractor: UserAgentExtractor, user_agent: str) -> Named | None:
    found = extractor.extract(user_agent)
    if found is None:
        return None
    return Named(found.family, f"{found.major}.{found.minor}" if found.major and found.minor else found.major or "")
