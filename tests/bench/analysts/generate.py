"""Makes pageviews up inside ClickHouse, as a year on a hundred sites has them: skewed, and the same every time.

Everything is a hash of the session's number, so two runs give the same rows.  Sessions are numbered in the order of
their days; the largest site has a fifth of them, the tenth a fiftieth; half of them see one page, some see thirty.
Values (paths, referrers, cities, user agents) are log-uniform in their rank, which is near to what access logs show.
"""

from __future__ import annotations

from typing import Final

SITES: Final = 100
DAYS: Final = 365
#: Pageviews a session, on average, of the distribution below.
PER_SESSION: Final = 2.92
FIRST_DAY: Final = "2025-01-01"
#: Of the registry's sites, by turns; two of them are not whole hours off UTC.
TIMEZONES: Final = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe")

#: One row a session: when it starts, who it is, and how many pages.
_SESSIONS: Final = """
    SELECT
        number AS s,
        toUInt8({sites} * pow(u(s, 1), 3)) AS site,
        intDiv(site, 12) + 1 AS size_class,
        toDateTime64('{first_day}', 3, 'UTC')
            + toIntervalSecond(86400 * toUInt32({days} * pow(s / {all_sessions}, 0.8)))
            + toIntervalMillisecond(toUInt64(43200000 * (u(s, 2) + u(s, 3)))) AS start,
        if(u(s, 4) < 0.45, 1, least(30, 2 + toUInt8(-log(u(s, 5)) * 3))) AS pages,
        arrayCumSum(arrayMap(k -> if(k = 0, 0, toUInt32(2000 - 60000 * log(u(s, 100 + k)))), range(pages))) AS offsets,
        toUInt16(exp(u(s, 6) * log(3000))) AS agent,
        toUInt8(exp(u(s, 7) * log(60))) AS land,
        u(s, 8) AS origin,
        toUInt16(exp(u(s, 9) * log(2000))) AS host,
        u(s, 10) < 0.12 AS is_campaign,
        toUInt16(exp(u(s, 11) * log(3000))) AS network,
        u(s, 12) < 0.06 AS bot
    FROM numbers({first}, {count})
"""

#: The columns of `pageviews_raw`, in its order.
_ROWS: Final = """
    SELECT
        {site_id} AS site_id,
        concat('www', toString(site), '.example.com') AS hostname,
        start + toIntervalMillisecond(offset) AS timestamp,
        timestamp + toIntervalMillisecond(50 + toUInt32(1500 * u(s, 200 + k))) AS received_at,
        toUUID(UUIDNumToString(MD5(concat('s', toString(s))))) AS session_id,
        toUUID(UUIDNumToString(MD5(concat('p', toString(s), ' ', toString(k))))) AS page_id,
        toUInt16(exp(u(s, 300 + k) * log(200 + 400 * (10 - size_class)))) AS rank,
        multiIf(rank = 1, '/', rank < 20, concat('/topics/', toString(rank)),
                concat('/articles/', substring(hex(MD5(toString(rank))), 1, 6), '-on-the-state-of-things-',
                       toString(rank))) AS path,
        multiIf(is_campaign AND k = 0,
                concat('utm_source=', utm_source, '&utm_medium=', utm_medium, '&utm_campaign=', utm_campaign),
                u(s, 400 + k) < 0.1, concat('page=', toString(rank % 7)), '') AS query,
        multiIf(k > 0, concat('https://', hostname, '/topics/', toString(rank % 20)),
                referrer_host = '', '', concat('https://', referrer_host, '/')) AS referrer,
        multiIf(k > 0, hostname, origin < 0.35, '', origin < 0.65, 'google.com', origin < 0.75, 'bing.com',
                concat('site', toString(host), '.example.org')) AS referrer_host,
        multiIf(k > 0, '', is_campaign, utm_source, referrer_host = 'google.com', 'Google',
                referrer_host = 'bing.com', 'Bing', referrer_host) AS source,
        multiIf(k > 0, 'direct', is_campaign, ['email', 'paid search', 'social', 'campaign'][1 + host % 4],
                referrer_host = '', 'direct', origin < 0.75, 'search', 'referral') AS channel,
        if(is_campaign AND k = 0, ['newsletter', 'google', 'mastodon', 'partner'][1 + host % 4], '') AS utm_source,
        if(is_campaign AND k = 0, ['email', 'cpc', 'social', 'affiliate'][1 + host % 4], '') AS utm_medium,
        if(is_campaign AND k = 0, concat('campaign-', toString(host % 200)), '') AS utm_campaign,
        '' AS utm_term,
        if(utm_campaign != '' AND host % 3 = 0, concat('button-', toString(host % 5)), '') AS utm_content,
        if(u(s, 13) < 0.005 AND k = 0, toUUID(UUIDNumToString(MD5(concat('qr', toString(host % 50))))), NULL) AS qr_id,
        concat('Mozilla/5.0 (', ['Windows NT 10.0; Win64; x64', 'iPhone; CPU iPhone OS 17_1 like Mac OS X',
               'Linux; Android 14; SM-A515F', 'Macintosh; Intel Mac OS X 10_15_7', 'X11; Linux x86_64'][1 + agent % 5],
               ') AppleWebKit/537.36 (KHTML, like Gecko) Chrome/', toString(60 + agent % 80), '.0.', toString(agent),
               '.12 Safari/537.36', if(bot, ' (compatible; Examplebot/1.0; +https://example.org/bot)', ''))
            AS user_agent,
        if(bot, 'Examplebot', ['Chrome', 'Mobile Safari', 'Chrome Mobile', 'Safari', 'Firefox'][1 + agent % 5])
            AS browser,
        toString(60 + agent % 80) AS browser_version,
        ['Windows', 'iOS', 'Android', 'Mac OS X', 'Linux'][1 + agent % 5] AS os,
        toString(10 + agent % 6) AS os_version,
        if(bot, 'bot', ['desktop', 'mobile', 'mobile', 'desktop', 'desktop'][1 + agent % 5]) AS device,
        bot AS is_bot,
        if(bot, ['search', 'ai-training', 'monitor', 'seo'][1 + agent % 4], '') AS bot_kind,
        ['en', 'de', 'fr', 'es', 'pt-br', 'ja', 'hi', 'it'][1 + land % 8] AS language,
        concat(char(65 + land % 26), char(65 + (land * 7) % 26)) AS country,
        concat(country, '-', toString(toUInt8(8 * u(s, 14)))) AS region,
        concat('City ', region, toString(toUInt8(exp(u(s, 15) * log(30))))) AS city,
        if(network % 5 = 0, '', concat('Network ', toString(network), ' Ltd')) AS provider,
        toUInt32(1000 + network * 17) AS asn,
        concat('Network ', toString(network), ' Ltd') AS asn_org,
        [1920, 390, 412, 1440, 2560][1 + agent % 5] AS screen_width,
        [1080, 844, 915, 900, 1440][1 + agent % 5] AS screen_height,
        screen_width - if(agent % 5 IN (1, 2), 0, toUInt16(u(s, 16) * 300)) AS viewport_width,
        screen_height - toUInt16(100 + u(s, 17) * 200) AS viewport_height,
        toUUID('00000000-0000-4000-8000-00000000c11e') AS client_id,
        toUUID(UUIDNumToString(MD5(concat('b', toString(intDiv(toUnixTimestamp(received_at), 10)))))) AS batch_id,
        toUInt16(cityHash64(page_id) % 500) AS position,
        received_at + toIntervalMillisecond(toUInt32(1000 * u(s, 18))) AS stored_at
    FROM ({sessions}) ARRAY JOIN offsets AS offset, range(length(offsets)) AS k
"""

COLUMNS: Final = (
    "site_id, hostname, timestamp, received_at, session_id, page_id, path, query, referrer, referrer_host, source,"
    " channel, utm_source, utm_medium, utm_campaign, utm_term, utm_content, qr_id, user_agent, browser,"
    " browser_version, os, os_version, device, is_bot, bot_kind, language, country, region, city, provider, asn,"
    " asn_org, screen_width, screen_height, viewport_width, viewport_height, client_id, batch_id, position, stored_at"
)
#: The statement that counts them all as stored, a row a message as workers write it.
OUTCOMES: Final = """
    INSERT INTO hitline.outcomes_raw (batch_id, minutes, sites, clients, outcomes, counts)
    SELECT batch_id, groupArray(minute), groupArray(site_id), groupArray(client_id), groupArray('stored'), groupArray(n)
    FROM
    (
        SELECT batch_id, toStartOfMinute(received_at) AS minute, site_id, client_id, count() AS n
        FROM hitline.pageviews_raw FINAL GROUP BY ALL
    )
    GROUP BY batch_id
    SETTINGS max_partitions_per_insert_block = 0
"""
#: A number from 0 to 1 (neither included) for a session and a purpose.
_CHANCE: Final = "WITH (x, purpose) -> ((cityHash64(x, purpose) + 1.) / 18446744073709551618.) AS u"


def site_id(number: str) -> str:
    """Return the SQL for the id of the site with this number (an expression)."""
    return f"toUUID(UUIDNumToString(MD5(concat('site', toString({number})))))"


def inserts(pageviews: int, *, table: str = "hitline.pageviews_raw", at_once: int = 300_000) -> list[str]:
    """Return the statements that insert about this many pageviews, `at_once` each, the oldest first."""
    total, step = int(pageviews / PER_SESSION), int(at_once / PER_SESSION)
    statements = []
    for first in range(0, total, step):
        sessions = _SESSIONS.format(
            sites=SITES, days=DAYS, first_day=FIRST_DAY, all_sessions=total, first=first, count=min(step, total - first)
        )
        rows = _ROWS.format(site_id=site_id("site"), sessions=sessions)
        statements.append(
            f"INSERT INTO {table} ({COLUMNS}) {_CHANCE} SELECT {COLUMNS} FROM ({rows})"
            " SETTINGS max_partitions_per_insert_block = 0, max_insert_block_size = 1000000,"
            " min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 1000000000"
        )
    return statements


def registry() -> str:
    """Return the statement that registers the sites, each with one of `TIMEZONES`."""
    zones = ", ".join(f"'{zone}'" for zone in TIMEZONES)
    return (
        "INSERT INTO hitline_control.sites (site_id, name, hostnames, timezone, created_at)"
        f" SELECT {site_id('number')}, concat('www', toString(number), '.example.com') AS name, [name],"
        f" [{zones}][1 + number % {len(TIMEZONES)}], now64(6) FROM numbers({SITES})"
    )
