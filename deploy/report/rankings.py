"""What a report ranks: headings, and the dimensions of rollups behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Ranking(NamedTuple):
    """`key` names it in JSON and CSV; `caption` says what a line is, where the heading does not."""

    key: str
    heading: str
    caption: str = ""


#: By dimension, in the order in which they are shown.
RANKINGS: Final[Mapping[str, Ranking]] = {
    "path": Ranking("pages", "Pages"),
    "entry_page": Ranking("entry_pages", "Entry pages", "the first page of sessions, with all of their pageviews"),
    "exit_page": Ranking("exit_pages", "Exit pages", "the last page of sessions, with all of their pageviews"),
    "hostname": Ranking("hostnames", "Hostnames"),
    "country": Ranking("countries", "Countries"),
    "city": Ranking("cities", "Cities"),
    "language": Ranking("languages", "Languages"),
    "source": Ranking("sources", "Sources", "what brought visitors: search engines, networks, campaigns, sites"),
    "channel": Ranking("channels", "Channels", "the kinds of sources; visits without any are direct"),
    "referrer_host": Ranking("referrers", "Referrers", "the hosts of pages that link here"),
    "utm_source": Ranking("utm_sources", "UTM sources"),
    "utm_medium": Ranking("utm_mediums", "UTM media"),
    "utm_campaign": Ranking("campaigns", "Campaigns"),
    "device": Ranking("devices", "Devices"),
    "browser": Ranking("browsers", "Browsers"),
    "os": Ranking("systems", "Systems"),
    "bot_kind": Ranking("bots", "Bots by kind", "always counted apart from people"),
}
#: From here on they stand in the second column, where there are two.
SECOND_COLUMN: Final = ("source", "channel", "referrer_host")
#: Values that are no answer to the question: nothing known, or (of a channel) nothing there.
LEFT_OUT: Final[Mapping[str, tuple[str, ...]]] = {"path": (), "channel": ("", "direct")}
