"""Which source and channel bring a visitor: by the referrer's host, campaign parameters and click ids."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from shared.hostnames import parents
from shared.metrics import LOOKUP_STALE
from worker.lookups.domains import registered_name
from worker.lookups.source_list import (
    LARGEST_FILE_BYTES,
    BadSourceList,
    KnownSource,
    SourceList,
    parse_matomo,
    read_own,
)
from worker.lookups.watched import Signature, signature

log = logging.getLogger(__name__)

DIRECT: Final = "direct"
CHANNELS: Final = (
    "search", "paid search", "social", "paid social", "email", "ai", "referral", "campaign", DIRECT,
)  # fmt: skip

#: What `hitline feeds update` fetches, and of which kind its entries are.
DOWNLOADED: Final = {"AIAssistants.yml": "ai", "SearchEngines.yml": "search", "Socials.yml": "social"}
_BUILT_IN: Final = Path(__file__).with_name("sources.txt")
_CACHED: Final = 32_768

#: Whose click ids are; Facebook appends its own to unpaid links, too.
_CLICKED: Final = {
    "gclid": ("Google", "paid search"), "gbraid": ("Google", "paid search"), "wbraid": ("Google", "paid search"),
    "dclid": ("Google", "campaign"), "msclkid": ("Bing", "paid search"), "yclid": ("Yandex", "paid search"),
    "fbclid": ("Facebook", "social"), "ttclid": ("TikTok", "paid social"), "twclid": ("X", "paid social"),
    "li_fat_id": ("LinkedIn", "paid social"), "rdt_cid": ("Reddit", "paid social"),
    "epik": ("Pinterest", "paid social"),
    "scclid": ("Snapchat", "paid social"),
}  # fmt: skip
_PAID_SEARCH: Final = re.compile(r"(?:.*[^a-z])?(?:cpc|ppc|sem|paid[-_ ]?search)(?:[^a-z].*)?")
_PAID: Final = re.compile(r"(?:.*[^a-z])?(?:cp[amv]|paid.*|retargeting|remarketing|ads?)(?:[^a-z].*)?")
_EMAIL: Final = re.compile(r".*(?:e-?mail|newsletter).*")
_SOCIAL: Final = re.compile(r"(?:social|sm|social[-_ ](?:network|media)s?|organic[-_ ]social)")
_SEARCH: Final = re.compile(r"(?:organic|search|organic[-_ ]search)")
_AI: Final = re.compile(r"(?:ai|llm|chatbot|ai[-_ ](?:assistant|chat|search))")


class Source(NamedTuple):
    """A source's name, empty for direct visits, and one of `CHANNELS`."""

    source: str
    channel: str


class Sources:
    """The lists in use; `find` answers from them, `refresh` picks up files that `hitline feeds update` changed.

    The built-in list comes first: its names are those of the queries in the docs.  A damaged file is reported in
    `problems`, and what it listed before stays in use.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._own = read_own(_BUILT_IN)
        self._seen: dict[str, Signature | None] = {}
        self._lists: dict[str, SourceList] = {}
        self.problems: dict[str, str] = {}
        self.find: Callable[[str, str, str, bool, str], Source]
        #: By the referrer's host alone, as for most pageviews that have a source.
        self.of_referrer: Callable[[str], Source]
        self._use()
        self.refresh()

    def refresh(self) -> None:
        """Take up lists that changed on disk; safe on another thread than the look-ups'."""
        changed = False
        for file, kind in DOWNLOADED.items():
            path = self._directory / file
            state = signature(path)
            if state == self._seen.get(file):
                continue
            self._seen[file] = state
            changed = self._take(path, kind) or changed
        if changed:
            self._use()
        LOOKUP_STALE.labels("sources").set(1 if self.problems else 0)

    def _take(self, path: Path, kind: str) -> bool:
        try:
            if not path.exists():
                self.problems.pop(path.name, None)
                return self._lists.pop(path.name, None) is not None
            if path.stat().st_size > LARGEST_FILE_BYTES:
                raise BadSourceList(f"is larger than {LARGEST_FILE_BYTES >> 20} MiB")
            self._lists[path.name] = parse_matomo(path.read_bytes(), kind)
        except (BadSourceList, OSError) as error:
            self.problems[path.name] = str(error)
            log.warning("list of sources %s %s; what it listed before stays in use", path, error)
            return False
        self.problems.pop(path.name, None)
        return True

    def _use(self) -> None:
        """Build the look-up from all lists, with an empty cache, and put it in use at once."""
        lists = [self._own, *(self._lists[file] for file in DOWNLOADED if file in self._lists)]
        hosts: dict[str, KnownSource] = {}
        names: dict[str, KnownSource] = {}
        for found in lists:
            hosts = {**found.hosts, **hosts}
            names = {**found.names, **names}
        finder = Finder(hosts, names)
        self.find = lru_cache(maxsize=_CACHED)(finder.find)
        self.of_referrer = lru_cache(maxsize=_CACHED)(lambda host: finder.find(host, "", "", False, ""))


class Finder:
    """The rules, over one state of the lists."""

    def __init__(self, hosts: dict[str, KnownSource], names: dict[str, KnownSource]) -> None:
        self._hosts = hosts
        self._names = names

    def find(self, referrer_host: str, utm_source: str, utm_medium: str, has_campaign: bool, click_id: str) -> Source:
        """Return source and channel; a campaign's own parameters come before the referrer.

        Strings are empty where there is nothing: `referrer_host` also for the site's own hosts.  `has_campaign` tells
        of any utm parameter, `click_id` is the name of one.
        """
        referrer = self._by_host(referrer_host) if referrer_host else None
        clicked, clicked_channel = _CLICKED.get(click_id, ("", ""))
        named = self._by_name(utm_source) if utm_source else None
        known = named or (None if utm_source else self._names.get(clicked.lower()) or referrer)
        name = named.name if named else utm_source or clicked or (referrer.name if referrer else referrer_host)
        if channel := _channel_of_medium(utm_medium.lower(), known, clicked_channel == "paid social"):
            return Source(name, channel)
        if clicked_channel and not (named and named.kind in ("email", "ai")):
            return Source(name, clicked_channel)
        if known and (named or not has_campaign):
            return Source(name, known.kind)
        if has_campaign:
            return Source(name, "campaign")
        return Source(name, "referral" if referrer_host else DIRECT)

    def _by_host(self, host: str) -> KnownSource | None:
        for name in (host, *parents(host)):
            if name in self._hosts:
                return self._hosts[name]
        return self._hosts.get(f"{registered_name(host)}.*")

    def _by_name(self, utm_source: str) -> KnownSource | None:
        """Find what a campaign calls its source: a name, or a host (`chatgpt.com`)."""
        name = utm_source.lower()
        if name in self._names:
            return self._names[name]
        return self._by_host(name.removeprefix("www.")) if "." in name and len(name) <= 253 else None


def _channel_of_medium(medium: str, known: KnownSource | None, is_social: bool) -> str:
    """Return the channel that `utm_medium` names, empty where it names none."""
    if not medium:
        return ""
    of_search = _PAID_SEARCH.fullmatch(medium) is not None
    if of_search or _PAID.fullmatch(medium):
        if is_social or "social" in medium or (known is not None and known.kind == "social"):
            return "paid social"
        return "paid search" if of_search or (known is not None and known.kind == "search") else "campaign"
    if _EMAIL.fullmatch(medium):
        return "email"
    if _SOCIAL.fullmatch(medium):
        return "social"
    if _SEARCH.fullmatch(medium):
        return "search"
    return "ai" if _AI.fullmatch(medium) else ""
