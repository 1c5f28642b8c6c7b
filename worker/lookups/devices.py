"""The class of device that a user agent runs on; ua-parser finds models, not classes.

Order matters: televisions and tablets say `Mobile` and `Linux` too.  An iPad that asks for desktop pages says that it
is a Mac; only browsers other than Safari give it away.  The words are those that makers write into models' names; they
were checked against some 18,000 user agents of public fixtures (docs/bots.md has the figures).
"""

from __future__ import annotations

import re
from typing import Final

from worker.lookups.engine import first_match

#: Every class; `bot` is given before the device is looked at.
CLASSES: Final = ("desktop", "mobile", "tablet", "tv", "bot", "other")

#: Consoles, headsets, watches, cars and displays with a voice: nothing to hold and read a page on, and no television.
_OTHER: Final = (
    r"(?i)playstation|\bxbox|nintendo|oculusbrowser|\bquest [0-9]|\bpico [0-9]|vive focus|qtcarbrowser|\btesla/|"
    r"\bwatch\b"
    r"|watch os|watchos|wear ?os|sm-r[0-9]{3}|\baeo[a-z]{2}\b|\becho(?:_|\b)|smart ?display|\bfuchsia\b|"
    r"\bps vita|\bpsp\b"
)
_TV: Final = (
    r"(?i)smart-?tv|smart_tv|\btv\b|hbbtv|appletv|apple tv|google ?tv|android tv|\baft[a-z]{1,4}[0-9]*\b|bravia|"
    r"roku|crkey|"
    r"web0s|webos\.tv|netcast|\bviera|tizen[^)]*\btv|opera tv|dtv\b|inettvbrowser|nettv|philipstv|technisat|"
    r"chromecast|mibox|mitv|dunehd|\bomi/|netrange|whaleos|brightsign|\bstbapp|[\W_]stb[\W_]|vestel|\bvizio|vizi?os/|"
    r"kreatv|youview|\bkepler/|gw-device|\bastro;|streamer20|\bce-html|\bmb9[0-9]/|nexbox|bdplayer|blu-?ray"
)
#: Android's own builds for televisions: the second letter of a build id names the branch, and T is TV's
#: (source.android.com, "Codenames, tags, and build numbers"); PPR2.180905.006.A1 is on most panels of one chip maker.
#: Both cases of the first letter: a search for one that ignores case takes eight times as long.
_TV_BUILD: Final = re.compile(r"[Bb](?i:uild/(?:[a-z]t[a-z0-9]{1,2}\.[0-9]{6}|ppr2\.180905\.006\.a1|rt\b|qt\b))")
#: Android's televisions and boxes: `43LU1204`, `LED`, DVB-T2 receivers, boxes by name.
_TV_MODEL: Final = (
    r"(?:^|[ _-])(?:19|2[0-9]|3[0-9]|4[0-9]|5[0-9]|6[0-9]|7[0-9]|8[0-6]|98)[A-Z]{2,}[0-9A-Z-]*[0-9]|"
    r"(?:LED|QLED|OLED|HTY)-?(?:19|2[0-9]|3[29]|4[0-9]|5[0-9]|6[05]|7[05])|(?:19|24|32|39|4[0-3]|5[05]|58|65|75|"
    r"86)(?:LEX|LED|UHD)|"
    r"T2S|DVB|UHD|_4K|\b4K|(?i:box\b|box[-_ ]|tv-?box|tv[ _]?stick|\bstick\b|\bott\b|smart ?tv|\batv|hgtv|tdtv|"
    r"\btv(?:[0-9_ -]|\b)|(?:^|[^d])tv\b)|"
    r" Shell [0-9]|(?i:^(?:x96|h96|t95|tx[0-9]|mxq|a95x|hk1|km[0-9]|b-stream|dreamstar|redline)|tanix|vontar|"
    r"beelink|ugoos|mecool|"
    r"\bminix|\bneo-[uxt][0-9]|rk3[0-9]{3}|tronsmart|zidoo|amlogic|magicsee|alfawise|rombica|polarline|^polar_|"
    r"hiberg|\bonvo|"
    r"\bneko_|formuler|ozonehd|openbox|orbsmart|vorke|selenga|hismart|toucan|skyworth [0-9]|\bnexon x|yndx-|"
    r"pendoo|kepler)"
)
#: Sizes in inches and a maker's code, in models of which those that say `Mobile` are phones: `TD32HFWEV1`, `NV510WAC`.
_TV_SIZE: Final = (
    r"(?:^|[ _-])[A-Z]{0,4}-?(?:24|32|39|40|42|43|49|50|55|58|65|70|75|77|82|85|86|98)[A-Z]{1,6}[0-9A-Z-]*(?:$|[ _-])"
)
_TABLET: Final = (
    r"(?i)ipad|tablet|playbook|kindle|\bkf[a-z]{2,5}\b|xoom|"
    r"touchpad|nexus (?:7|9|10)\b|sm-[tx][0-9]|sm-p[0-9]|gt-p[0-9]|/apad\b"
)
#: Android's tablets, many of which say `Mobile`: words and makers' codes of models.
_TABLET_MODEL: Final = (
    r"(?i:\btab\b|\btab[0-9_ps]|[a-z]tab\b|[a-z]tab[0-9_ ]|\btb[0-9-]|\btb_|\bpad\b|\bpad[0-9_ ]|[a-z]pad\b|"
    r"\bslate|\bkids|yoga|"
    r"\blavie|surftab|readboy|\biplay|dslide|\bimpad|archos (?:[789][0-9]|1[0-9]{2})|\bmediapad|matepad|kidspad|"
    r"e-?book)|"
    r"^(?:Lenovo )?(?:TB|YT)[-0-9]|\bBQ-(?:[78]|10)[0-9]{2,3}|^MID[0-9C_-]|\bTZ[0-9]{2,3}|\bPMT[0-9]|\bPMP[0-9]|"
    r"\bMFC[0-9]|\bTPC[0-9_-]|"
    r"\bOPD[0-9]|\bTAQ-|\bRCT[0-9]|\bRMD-|\bQC[0-9A-Z]|^CITI |^Optima |^Plane |\bPS[0-9]{4}M|\bAGS[0-9]?-|"
    r"-W[0-9]{2}$|"
    r"\bM[78][0-9]{2}|^10[0-9]{2}\b|\b10(?:\.1|BT|-inch)|[ _-](?:T|A)10\b|^MT0[0-9]{3}"
)
#: Tablets whose models look like those of televisions: `Lenovo TB3-X70L`.
_SURE_TABLET: Final = r"(?i)^(?:lenovo )?(?:tb|yt)[-0-9]|\btab\b|^lenovo tab|^mid[0-9]|\btablet\b"
#: Phones whose browser asks for desktop pages, and so leaves out `Mobile`; Windows on phones.
_PHONE_MODEL: Final = (
    r"^(?:SAMSUNG )?SM-[AEFGJMNS][0-9]|^Pixel(?: [0-9]| XL|$)|^(?:sailfish|marlin|walleye|taimen)$|"
    r"Lumia|(?i:coolpad|padfone)"
)
_MOBILE: Final = (
    r"(?i)mobi|iphone|ipod|windows phone|iemobile|blackberry|\bbb10\b|opera mini|opera mobi|symbian|series ?60|"
    r"\bs60\b|nokia|midp|j2me|kaios|fennec|palm|\bwap\b|up\.browser|maui|windows ce|meego|bada/|phone|wpdesktop|"
    r"lumia|"
    r"\biph[0-9]|jig browser|mqqbrowser/mini|foma|doco?mo|sgh-|samsung-"
)
#: Android and its descendants on computers: Chromebooks, Android-x86 and the names of notebooks.
_COMPUTER: Final = (
    r"(?i)chromebook|\bcros\b|android-x86|\bx86_64; |remix (?:mini|pro|os)|phoenix ?os|bliss ?os|\b(?:pc|"
    r"2in1); ?openharmony|inspiron|latitude [0-9]|"
    r"\baspire [a-z0-9]|travelmate|thinkpad|ideapad|easynote|probook|elitebook|pavilion|vivobook|zenbook|"
    r"macbook|bilimbook|"
    r"^safari[0-9/][0-9.]+ cfnetwork"
)
_DESKTOP_SYSTEMS: Final = re.compile(
    r"windows|mac os|linux|ubuntu|debian|fedora|red hat|gentoo|suse|mandriva|arch|mint|slackware|cent ?os|"
    r"chrome ?os|bsd|solaris|sunos|haiku|beos|os/2|puppy|vre|dragonfly|aix|hp-ux|irix|"
    r"mageia|amiga|morphos|risc ?os|inferno",
    re.IGNORECASE,
)
#: What says something else than it seems to: Windows' handwriting add-on, a television's channel.
_MISLEADING: Final = re.compile(r"Tablet PC|WatchFree")
#: Systems that ua-parser does not know, by what is in the user agent.
_OLD_DESKTOPS: Final = r"(?i)\b(?:os/2|beos|amigaos|amiga|morphos|inferno|haiku|mageia|macintosh)\b"
#: Systems of phones and tablets alike; without a word that says tablet, the smaller one is the likelier.
_HAND_HELD: Final = frozenset(
    {"iOS", "Windows Phone", "BlackBerry OS", "Symbian OS", "Firefox OS", "KaiOS", "HarmonyOS", "OpenHarmony"}
)
#: What stands between Android's version and the build: the model, behind a language and flags in older ones.
_MODEL: Final = re.compile(
    r"[Aa](?i:ndroid[^;)]{0,40}; ?(?:[a-z]{2}[-_][a-z]{2,3}; ?|[a-z]{2}; ?|wv; ?|arm(?:_64)?; ?|u; ?){0,4}"
    r"([^;)]{0,80}?)(?: build\b|[;)]|$))"
)


class DeviceClasses:
    """The rules, each list matched at once by ua-parser's Rust engine."""

    def __init__(self) -> None:
        self._first = first_match([(_OTHER, "other"), (_TV, "tv")])
        self._rest = first_match([(_COMPUTER, "desktop"), (_TABLET, "tablet"), (_MOBILE, "mobile")])
        self._model = first_match(
            [
                (_COMPUTER, "desktop"),
                (_SURE_TABLET, "tablet"),
                (_PHONE_MODEL, "mobile"),
                (_TV_MODEL, "tv"),
                (_TABLET_MODEL, "tablet"),
            ]
        )
        self._old_desktops = first_match([(_OLD_DESKTOPS, "desktop")])
        self._tv_size = first_match([(_TV_SIZE, "tv")])

    def find(self, user_agent: str, os: str, family: str) -> str:
        """Return one of `CLASSES` but `bot`; `os` and `family` are ua-parser's system and device family."""
        text = _MISLEADING.sub("", user_agent)
        if found := self._first.extract(text):
            return found.family
        if is_ipad_as_a_mac(text):
            return "tablet"
        if "ndroid" in text:
            return self._of_android(text)
        if found := self._rest.extract(text):
            return found.family
        if family == "iPad":
            return "tablet"
        if os in _HAND_HELD or family == "Generic Smartphone":
            return "mobile"
        return "desktop" if _DESKTOP_SYSTEMS.search(os) or self._old_desktops.extract(text) else "other"

    def _of_android(self, text: str) -> str:
        """Tell by build and model first: what they say is truer than `Mobile`."""
        found = _MODEL.search(text)
        model = found[1] if found else ""
        says_mobile = "Mobile" in text or "mobile" in text
        if _TV_BUILD.search(text):
            return "tv"
        if rule := self._model.extract(model):
            return rule.family
        if not says_mobile and self._tv_size.extract(model):
            return "tv"
        if (rule := self._rest.extract(text)) and rule.family != "mobile":
            return rule.family
        return "mobile" if says_mobile or not _is_browser(text) else "tablet"


def is_ipad_as_a_mac(user_agent: str) -> bool:
    """Tell an iPad that asks for desktop pages, by browsers for iOS that do not exist on a Mac."""
    return "Macintosh" in user_agent and ("CriOS/" in user_agent or "FxiOS/" in user_agent or "EdgiOS/" in user_agent)


def _is_browser(user_agent: str) -> bool:
    """Tell browsers on Android from apps: they say `Mobile` on phones only, and apps say it nowhere.

    See developer.chrome.com, "User-Agent strings".
    """
    lowered = user_agent.lower()
    return lowered.startswith("mozilla/") and ("safari/" in lowered or "gecko/" in lowered)
