-- Questions about a period read what the period is in.

-- By the time of receipt, for `hitline reconcile`.  Parts that are there get it by and by (and are read as a whole until then).
ALTER TABLE hitline.pageviews_raw ADD INDEX IF NOT EXISTS received_at received_at TYPE minmax GRANULARITY 1;
ALTER TABLE hitline.pageviews_raw MATERIALIZE INDEX IF EXISTS received_at;

-- How far `hitline reconcile` has verified that every row was counted: the next run goes on from there.
CREATE TABLE IF NOT EXISTS hitline_control.reconciled
(
    verified_to  DateTime('UTC'),
    first        DateTime('UTC'),
    pageviews    UInt64,
    stored       Int64,
    noted_at     DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree ORDER BY verified_to
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

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
