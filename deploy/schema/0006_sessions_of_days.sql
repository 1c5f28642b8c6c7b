-- Sessions in the order of their pageviews, those of a period asked for by its days, and no empty days.

-- One row a session, from exact pageviews.  What belongs to the session's source is taken from its first pageview.
-- A bot's and a person's pageviews under one session_id are two sessions, so that `NOT is_bot` means the same everywhere.
-- Pageviews of the same millisecond are in the order of page_id as it is written, which is the order in which UUIDv7s were
-- made; ClickHouse itself compares the second half of a UUID first.
CREATE OR REPLACE VIEW hitline.sessions AS
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
FROM hitline.pageviews
GROUP BY site_id, session_id, is_bot;

-- The same for the sessions of one site that have a pageview on a day from `from` to `to` (both included) of the calendar of
-- `zone`, whole.  Days and a time zone instead of two moments, since a parameter can't carry a moment of another time zone:
-- ClickHouse would hand over its wall clock, and the view would read that as UTC.
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
FROM hitline.pageviews
WHERE site_id = {site:UUID} AND session_id IN
(
    SELECT session_id
    FROM hitline.pageviews_raw
    WHERE site_id = {site:UUID}
      AND timestamp >= toDateTime({from:Date}, {zone:String}) AND timestamp < toDateTime({to:Date} + 1, {zone:String})
)
GROUP BY site_id, session_id, is_bot
-- Of a bot and a person under one session_id, the one that has no pageview in the period is not one of its sessions.
HAVING countIf(timestamp >= toDateTime({from:Date}, {zone:String})
               AND timestamp < toDateTime({to:Date} + 1, {zone:String})) > 0;

-- A day without pageviews (any more) is left out.
CREATE OR REPLACE VIEW hitline.daily_sessions AS
SELECT site_id, day, is_bot, session_ids
FROM hitline.daily_raw FINAL
WHERE dimension = '' AND notEmpty(session_ids)
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW hitline.freshness AS
SELECT
    site_id,
    any(sites.name) AS name,
    any(sites.timezone) AS timezone,
    (SELECT max(complete_to) FROM hitline.rollup_runs) AS complete_to,
    min(daily.day) AS first_day,
    max(daily.day) AS last_day,
    max(daily.computed_at) AS last_change
FROM hitline.daily_raw AS daily FINAL
LEFT JOIN hitline.sites AS sites USING (site_id)
WHERE daily.dimension = '' AND notEmpty(daily.session_ids)
GROUP BY site_id;
