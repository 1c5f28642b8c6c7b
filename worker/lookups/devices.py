"""The class of device that a user agent runs on; ua-parser tells models, not classes.

Order matters: televisions and tablets say `Mobile` and `Linux` too.  An iPad that asks for desktop pages says it is a
Mac, and can't be told from one.
"""

from __future__ import annotations

import re
from typing import Final

#: Every class; `bot` is given before the device is looked at.
CLASSES: Final = ("desktop", "mobile", "tablet", "tv", "bot", "other")

_TV: Final = re.compile(
    r"smart-?tv|smart_tv|\btv\b|hbbtv|appletv|apple tv|google ?tv|android tv|\baft[a-z]{1,4}[0-9]*\b|bravia|roku|crkey|"
    r"web0s|webos\.tv|netcast|viera|tizen[^)]*\btv|opera tv|dtv\b|inettvbrowser|nettv|philipstv|technisat|"
    r"chromecast|mibox|mitv",
    re.IGNORECASE,
)
_TABLET: Final = re.compile(
    r"ipad|tablet(?! pc)|playbook|kindle|silk(?!.*mobile)|\bkf[a-z]{2,5}\b|xoom|"
    r"touchpad|nexus (?:7|9|10)\b|sm-t[0-9]|gt-p[0-9]",
    re.IGNORECASE,
)
_MOBILE: Final = re.compile(
    r"mobi|iphone|ipod|windows phone|iemobile|blackberry|\bbb10\b|opera mini|opera mobi|symbian|series ?60|"
    r"\bs60\b|nokia|midp|j2me|kaios|fennec|palm|\bwap\b|up\.browser|maui|windows ce|meego|bada/|phone",
    re.IGNORECASE,
)
_DESKTOP_SYSTEMS: Final = re.compile(
    r"windows|mac os|linux|ubuntu|debian|fedora|red hat|gentoo|suse|mandriva|arch|mint|slackware|cent ?os|"
    r"chrome ?os|bsd|solaris|sunos|haiku|beos|os/2|puppy|vre|dragonfly|aix|hp-ux|irix",
    re.IGNORECASE,
)
_CONSOLE: Final = re.compile(r"playstation|xbox|nintendo|oculusbrowser", re.IGNORECASE)
#: Systems of phones and tablets alike; without a word that says tablet, the smaller one is the likelier.
_HAND_HELD: Final = frozenset(
    {"iOS", "Windows Phone", "BlackBerry OS", "Symbian OS", "Firefox OS", "KaiOS", "HarmonyOS"}
)
#: Browsers on Android say `Mobile` on phones only (developer.chrome.com, "User-Agent strings"); apps say it nowhere.
_BROWSER: Final = re.compile(r"^Mozilla/.*(?:Safari|Gecko)/")


def device_class(user_agent: str, os: str, family: str) -> str:
    """Return one of `CLASSES` but `bot`; `os` and `family` are ua-parser's system and device family."""
    if _CONSOLE.search(user_agent):
        return "other"
    if _TV.search(user_agent):
        return "tv"
    if _TABLET.search(user_agent) or family == "iPad":
        return "tablet"
    if _MOBILE.search(user_agent) or os in _HAND_HELD or family == "Generic Smartphone":
        return "mobile"
    if os == "Android":
        return "tablet" if _BROWSER.search(user_agent) else "mobile"
    return "desktop" if _DESKTOP_SYSTEMS.search(os) else "other"
