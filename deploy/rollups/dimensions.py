"""What pageviews are counted by.

A new dimension is a line here; `hitline rollup --all` then counts the pageviews that are there by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Dimensions by name, each the SQL of its value for one pageview.  A region or city is named with its country,
#: since names repeat; a referrer that is the site itself counts as none.
DAILY: Final[Mapping[str, str]] = {
    "hostname": "hostname",
    "path": "path",
    "referrer_host": "if(referrer_host = hostname, '', referrer_host)",
    "source": "source",
    "channel": "channel",
    "utm_source": "utm_source",
    "utm_medium": "utm_medium",
    "utm_campaign": "utm_campaign",
    "utm_term": "utm_term",
    "utm_content": "utm_content",
    "country": "country",
    "region": "if(region = '', '', concat(country, '/', region))",
    "city": "if(city = '', '', concat(country, '/', region, '/', city))",
    "language": "language",
    "device": "device",
    "bot_kind": "bot_kind",
    "browser": "browser",
    "os": "os",
    "provider": "provider",
}
#: Those that are counted by the hour as well; '' is the whole site.
HOURLY: Final[Mapping[str, str]] = {
    "": "''",
    **{name: DAILY[name] for name in ("path", "referrer_host", "utm_source", "utm_campaign", "country", "device")},
}
#: Columns of `pageviews_raw` that these expressions use.
COLUMNS: Final = (
    "hostname, path, referrer_host, source, channel, utm_source, utm_medium, utm_campaign, utm_term, utm_content,"
    " country, region, city, language, device, bot_kind, browser, os, provider"
)


def quoted(text: str) -> str:
    """Return text as a SQL literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
