-- Sessions that Hitline derives, for sites that ask for it (docs/decisions/derived-sessions.md).

-- The visitor of a pageview without a session: a hash under a salt of its UTC day, nil where there is none.  It is beside
-- `session_id`, which stays part of a pageview's identity: once the salt is gone, the same pageview must still be the same.
ALTER TABLE hitline.pageviews_raw
    ADD COLUMN IF NOT EXISTS visitor_id UUID AFTER session_id,
    ADD INDEX IF NOT EXISTS visitor_id visitor_id TYPE bloom_filter(0.01) GRANULARITY 1,
    ADD INDEX IF NOT EXISTS is_derived visitor_id TYPE minmax GRANULARITY 1;

-- The salts, sealed with the workers' queue keys.  One goes 48 hours after its day has ended, by the server's own clock:
-- TTL drops the whole partition, and its files a second later.  Workers drop what is overdue by their clock as well.
CREATE TABLE IF NOT EXISTS hitline_control.salts
(
    day         Date,
    salt        String CODEC(NONE),
    created_at  DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = MergeTree PARTITION BY day ORDER BY created_at
TTL toDateTime(day, 'UTC') + INTERVAL 3 DAY
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1,
         ttl_only_drop_parts = 1, merge_with_ttl_timeout = 60, old_parts_lifetime = 1;

-- A visitor's pageviews of a day are in one session as long as no 30 minutes lie between two of them.  Which session a
-- pageview is in depends on the others, in whatever order they come, so it is found when it is asked for.  A session's id is
-- the visitor's, its last 28 bits (zero in a visitor's) the millisecond of the day at which the session begins.
-- Rows with a session of their own are read as ever; of the others a filter on other columns than site_id is applied afterwards.
-- The first condition is written so that no index on visitor_id answers it: FINAL would make ClickHouse read more because of it.
CREATE OR REPLACE VIEW hitline.pageviews AS
SELECT site_id, hostname, timestamp, received_at, session_id, page_id, path, query, referrer, referrer_host, source,
       channel, utm_source, utm_medium, utm_campaign, utm_term, utm_content, qr_id, user_agent, browser,
       browser_version, os, os_version, device, is_bot, bot_kind, language, country, region, city, provider, asn,
       asn_org, screen_width, screen_height, viewport_width, viewport_height, client_id, stored_at
FROM hitline.pageviews_raw FINAL
WHERE reinterpretAsUInt128(visitor_id) = 0
UNION ALL
SELECT site_id, hostname, timestamp, received_at, reinterpretAsUUID(reinterpretAsUInt128(visitor_id) +
       bitShiftLeft(toUInt128(began_ms % 86400000), 64)) AS session_id, page_id, path, query, referrer, referrer_host,
       source, channel, utm_source, utm_medium, utm_campaign, utm_term, utm_content, qr_id, user_agent, browser,
       browser_version, os, os_version, device, is_bot, bot_kind, language, country, region, city, provider, asn,
       asn_org, screen_width, screen_height, viewport_width, viewport_height, client_id, stored_at
FROM
(
    SELECT *, max(if(ms - before_ms > 1800000, ms, 0)) OVER seen AS began_ms
    FROM
    (
        SELECT *, toUnixTimestamp64Milli(timestamp) AS ms, lagInFrame(ms) OVER seen AS before_ms
        FROM hitline.pageviews_raw FINAL
        WHERE visitor_id != toUUID('00000000-0000-0000-0000-000000000000')
        WINDOW seen AS (PARTITION BY site_id, visitor_id ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
    WINDOW seen AS (PARTITION BY site_id, visitor_id ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
SETTINGS do_not_merge_across_partitions_select_final = 1;

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
              AND timestamp < toStartOfDay(toDateTime({to:Date} + 1, {zone:String}) - 1, 'UTC') + INTERVAL 1 DAY
            WINDOW seen AS (PARTITION BY site_id, visitor_id ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
        )
        WINDOW seen AS (PARTITION BY site_id, visitor_id ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
)
WHERE timestamp >= toDateTime({from:Date}, {zone:String}) AND timestamp < toDateTime({to:Date} + 1, {zone:String})
SETTINGS do_not_merge_across_partitions_select_final = 1;

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
    WHERE reinterpretAsUInt128(visitor_id) = 0 AND site_id = {site:UUID} AND session_id IN
    (
        SELECT session_id
        FROM hitline.pageviews_raw
        WHERE site_id = {site:UUID}
          AND timestamp >= toDateTime({from:Date}, {zone:String}) AND timestamp < toDateTime({to:Date} + 1, {zone:String})
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
              AND timestamp < toStartOfDay(toDateTime({to:Date} + 1, {zone:String}) - 1, 'UTC') + INTERVAL 1 DAY
            WINDOW seen AS (PARTITION BY site_id, visitor_id ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
        )
        WINDOW seen AS (PARTITION BY site_id, visitor_id ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
    )
)
GROUP BY site_id, session_id, is_bot
-- Of a bot and a person under one session_id, the one that has no pageview in the period is not one of its sessions.
HAVING countIf(timestamp >= toDateTime({from:Date}, {zone:String})
               AND timestamp < toDateTime({to:Date} + 1, {zone:String})) > 0
SETTINGS do_not_merge_across_partitions_select_final = 1;
