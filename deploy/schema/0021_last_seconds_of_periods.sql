-- The last second of a period.  ClickHouse 26.9 takes `timestamp < toDateTime(...)` for "not after the second before" where it
-- looks for what it need not read, and passes over parts and granules that begin within the last second.  Both views as they
-- were, with ends that have milliseconds as the column has.

-- The same rows of one site on the days from `from` to `to` (both included) of the calendar of `zone`: quick also where sessions
-- are derived, since only those days are read.
CREATE OR REPLACE VIEW hitline.pageviews_between AS
SELECT *
FROM
(
    SELECT site_id, hostname, timestamp, received_at, session_id, page_id, path, query, referrer, referrer_host, source,
           channel, utm_source, utm_medium, utm_campaign, utm_term, utm_content, qr_id, user_agent, browser,
           browser_version, os, os_version, device, is_bot, bot_kind, language, country, region, city, provider, asn,
           asn_org, screen_width, screen_height, viewport_width, viewport_height, client_id, stored_at
    FROM hitline.pageviews_raw FINAL
    WHERE reinterpretAsUInt128(visitor_id) = 0 AND site_id = {site:UUID}
    UNION ALL
    SELECT site_id, hostname, timestamp, received_at, reinterpretAsUUID(reinterpretAsUInt128(visitor_id) +
           bitShiftLeft(toUInt128(began_ms % 86400000), 64)) AS session_id, page_id, path, query, referrer,
           referrer_host, source, channel, utm_source, utm_medium, utm_campaign, utm_term, utm_content, qr_id,
           user_agent, browser, browser_version, os, os_version, device, is_bot, bot_kind, language, country, region,
           city, provider, asn, asn_org, screen_width, screen_height, viewport_width, viewport_height, client_id,
           stored_at
    FROM
    (
        SELECT *, max(if(ms - before_ms > 1800000, ms, 0)) OVER seen AS began_ms
        FROM
        (
            SELECT *, toUnixTimestamp64Milli(timestamp) AS ms, lagInFrame(ms) OVER seen AS before_ms
            FROM hitline.pageviews_raw FINAL
            WHERE visitor_id != toUUID('00000000-0000-0000-0000-000000000000')
              AND site_id = {site:UUID}
              AND timestamp >= toStartOfDay(toDateTime({from:Date}, {zone:String}), 'UTC')
              AND timestamp < toDateTime64(toStartOfDay(toDateTime({to:Date} + 1, {zone:String}) - 1, 'UTC') + INTERVAL 1 DAY, 3, 'UTC')
            WINDOW seen AS (PARTITION BY site_id, visitor_id ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
        )
        WINDOW seen AS (PARTITION BY site_id, visitor_id ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
)
WHERE timestamp >= toDateTime({from:Date}, {zone:String}) AND timestamp < toDateTime64({to:Date} + 1, 3, {zone:String})
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- The sessions of one site that have a pageview on a day from `from` to `to` (both included) of the calendar of `zone`, whole
-- as far as they reach no further than seven days before or after these: so it reads the period and two weeks, not all of
-- the site's history.  Date32, since a Date can't be before 1970.
-- SELECT ... FROM hitline.sessions_between(site = '...', zone = 'Asia/Kolkata', from = '2026-01-01', to = '2026-01-31')
CREATE OR REPLACE VIEW hitline.sessions_between AS
WITH (timestamp, toUInt128(page_id)) AS viewed
SELECT
    site_id,
    session_id,
    is_bot,
    min(timestamp) AS started_at,
    max(timestamp) AS ended_at,
    dateDiff('millisecond', started_at, ended_at) / 1000 AS duration_s,
    count() AS pageviews,
    pageviews = 1 AS bounced,
    argMin(path, viewed) AS entry_page,
    argMax(path, viewed) AS exit_page,
    argMin(hostname, viewed) AS hostname,
    argMin(referrer, viewed) AS referrer,
    argMin(referrer_host, viewed) AS referrer_host,
    argMin(utm_source, viewed) AS utm_source,
    argMin(utm_medium, viewed) AS utm_medium,
    argMin(utm_campaign, viewed) AS utm_campaign,
    argMin(utm_term, viewed) AS utm_term,
    argMin(utm_content, viewed) AS utm_content,
    argMin(country, viewed) AS country,
    argMin(region, viewed) AS region,
    argMin(city, viewed) AS city,
    argMin(language, viewed) AS language,
    argMin(device, viewed) AS device,
    argMin(browser, viewed) AS browser,
    argMin(os, viewed) AS os
FROM
(
    SELECT site_id, hostname, timestamp, session_id, page_id, path, referrer, referrer_host, utm_source, utm_medium,
           utm_campaign, utm_term, utm_content, browser, os, device, is_bot, language, country, region, city
    FROM hitline.pageviews_raw FINAL
    WHERE reinterpretAsUInt128(visitor_id) = 0 AND site_id = {site:UUID}
      AND timestamp >= toDateTime64(toDate32({from:Date}) - 7, 3, {zone:String})
      AND timestamp < toDateTime64(toDate32({to:Date}) + 8, 3, {zone:String})
      AND session_id IN
    (
        SELECT session_id
        FROM hitline.pageviews_raw
        WHERE site_id = {site:UUID}
          AND timestamp >= toDateTime({from:Date}, {zone:String}) AND timestamp < toDateTime64({to:Date} + 1, 3, {zone:String})
    )
    UNION ALL
    SELECT site_id, hostname, timestamp, reinterpretAsUUID(reinterpretAsUInt128(visitor_id) +
           bitShiftLeft(toUInt128(began_ms % 86400000), 64)) AS session_id, page_id, path, referrer, referrer_host,
           utm_source, utm_medium, utm_campaign, utm_term, utm_content, browser, os, device, is_bot, language,
           country, region, city
    FROM
    (
        SELECT *, max(if(ms - before_ms > 1800000, ms, 0)) OVER seen AS began_ms
        FROM
        (
            SELECT *, toUnixTimestamp64Milli(timestamp) AS ms, lagInFrame(ms) OVER seen AS before_ms
            FROM hitline.pageviews_raw FINAL
            WHERE visitor_id != toUUID('00000000-0000-0000-0000-000000000000')
              AND site_id = {site:UUID}
              AND timestamp >= toStartOfDay(toDateTime({from:Date}, {zone:String}), 'UTC')
              AND timestamp < toDateTime64(toStartOfDay(toDateTime({to:Date} + 1, {zone:String}) - 1, 'UTC') + INTERVAL 1 DAY, 3, 'UTC')
            WINDOW seen AS (PARTITION BY site_id, visitor_id ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
        )
        WINDOW seen AS (PARTITION BY site_id, visitor_id ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
)
GROUP BY site_id, session_id, is_bot
-- Of a bot and a person under one session_id, the one that has no pageview in the period is not one of its sessions.
HAVING countIf(timestamp >= toDateTime({from:Date}, {zone:String})
               AND timestamp < toDateTime64({to:Date} + 1, 3, {zone:String})) > 0
SETTINGS do_not_merge_across_partitions_select_final = 1;
