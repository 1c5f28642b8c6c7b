-- Rollups by hour and by day, sessions, and up to when they are complete.

-- A rollup's unit is one day of one site, in the site's own time zone, for one dimension.  Each unit is ONE row of
-- parallel arrays, and `hitline rollup` writes it again from `pageviews` whenever anything of that day has changed; the
-- newest version replaces the others.  So a reader sees a day either as it was or as it is, a value that is gone
-- (erased, or corrected by a retry) needs no marker, and two runs at once do each other no harm.  Adding up new rows,
-- as an incremental materialized view does, would count every duplicate and never forget what was erased.
CREATE TABLE IF NOT EXISTS hitline.daily_raw
(
    site_id      UUID,
    dimension    LowCardinality(String),
    is_bot       Bool,
    day          Date,
    version      UInt64,
    computed_at  DateTime64(3, 'UTC'),
    `values`     Array(String),
    pageviews    Array(UInt64) CODEC(T64, ZSTD(1)),
    sessions     Array(UInt64) CODEC(T64, ZSTD(1)),
    bounces      Array(UInt64) CODEC(T64, ZSTD(1)),
    seconds      Array(UInt64) CODEC(T64, ZSTD(1)),
    -- In the row of the whole site (dimension ''): the ids themselves, so that sessions can be counted once over any days.
    session_ids  Array(UUID)
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYear(day)
ORDER BY (site_id, dimension, is_bot, day)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, default_compression_codec = 'ZSTD(1)';

CREATE TABLE IF NOT EXISTS hitline.hourly_raw
(
    site_id      UUID,
    dimension    LowCardinality(String),
    is_bot       Bool,
    day          Date,
    version      UInt64,
    computed_at  DateTime64(3, 'UTC'),
    hours        Array(DateTime('UTC')) CODEC(ZSTD(1)),
    `values`     Array(String),
    pageviews    Array(UInt64) CODEC(T64, ZSTD(1)),
    sessions     Array(UInt64) CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYear(day)
ORDER BY (site_id, dimension, is_bot, day)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, default_compression_codec = 'ZSTD(1)';

-- One row a run of `hitline rollup`: everything stored before complete_to is in the rollups.
CREATE TABLE IF NOT EXISTS hitline.rollup_runs
(
    complete_to  DateTime64(3, 'UTC'),
    site_days    UInt64,
    pageviews    UInt64,
    finished_at  DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree ORDER BY finished_at
TTL toDateTime(finished_at) + INTERVAL 90 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What analysts may know of the registry, copied by `hitline rollup`: they can't read hitline_control.  The time zone is
-- the one that a site's days were computed in: where the registry has another one by now, all of them are due.
CREATE TABLE IF NOT EXISTS hitline.sites_raw
(
    site_id    UUID,
    name       String,
    hostnames  Array(String),
    timezone   String,
    version    UInt64
)
ENGINE = ReplacingMergeTree(version) ORDER BY site_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE VIEW IF NOT EXISTS hitline.sites AS
SELECT site_id, name, hostnames, timezone FROM hitline.sites_raw FINAL;

CREATE VIEW IF NOT EXISTS hitline.daily AS
SELECT site_id, day, is_bot, dimension, value, pageviews, sessions, bounces, seconds
FROM
(
    SELECT site_id, day, is_bot, dimension, `values`, pageviews AS p, sessions AS s, bounces AS b, seconds AS t
    FROM hitline.daily_raw FINAL
    SETTINGS do_not_merge_across_partitions_select_final = 1
)
ARRAY JOIN `values` AS value, p AS pageviews, s AS sessions, b AS bounces, t AS seconds;

CREATE VIEW IF NOT EXISTS hitline.hourly AS
SELECT site_id, day, hour, is_bot, dimension, value, pageviews, sessions
FROM
(
    SELECT site_id, day, is_bot, dimension, hours, `values`, pageviews AS p, sessions AS s
    FROM hitline.hourly_raw FINAL
    SETTINGS do_not_merge_across_partitions_select_final = 1
)
ARRAY JOIN hours AS hour, `values` AS value, p AS pageviews, s AS sessions;

-- Sessions of several days, each counted once: uniqExactArray(session_ids) over this view's rows.
CREATE VIEW IF NOT EXISTS hitline.daily_sessions AS
SELECT site_id, day, is_bot, session_ids
FROM hitline.daily_raw FINAL
WHERE dimension = ''
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Up to when the rollups of each site are complete: they hold every pageview stored before complete_to.
CREATE VIEW IF NOT EXISTS hitline.freshness AS
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
WHERE daily.dimension = ''
GROUP BY site_id;

-- One row a session, from exact pageviews.  What belongs to the session's source is taken from its first pageview.
-- A bot's and a person's pageviews under one session_id are two sessions, so that `NOT is_bot` means the same everywhere.
CREATE VIEW IF NOT EXISTS hitline.sessions AS
SELECT
    site_id,
    session_id,
    is_bot,
    min(timestamp) AS started_at,
    max(timestamp) AS ended_at,
    dateDiff('millisecond', started_at, ended_at) / 1000 AS duration_s,
    count() AS pageviews,
    pageviews = 1 AS bounced,
    argMin(path, (timestamp, page_id)) AS entry_page,
    argMax(path, (timestamp, page_id)) AS exit_page,
    argMin(hostname, (timestamp, page_id)) AS hostname,
    argMin(referrer, (timestamp, page_id)) AS referrer,
    argMin(referrer_host, (timestamp, page_id)) AS referrer_host,
    argMin(utm_source, (timestamp, page_id)) AS utm_source,
    argMin(utm_medium, (timestamp, page_id)) AS utm_medium,
    argMin(utm_campaign, (timestamp, page_id)) AS utm_campaign,
    argMin(utm_term, (timestamp, page_id)) AS utm_term,
    argMin(utm_content, (timestamp, page_id)) AS utm_content,
    argMin(country, (timestamp, page_id)) AS country,
    argMin(region, (timestamp, page_id)) AS region,
    argMin(city, (timestamp, page_id)) AS city,
    argMin(language, (timestamp, page_id)) AS language,
    argMin(device, (timestamp, page_id)) AS device,
    argMin(browser, (timestamp, page_id)) AS browser,
    argMin(os, (timestamp, page_id)) AS os
FROM hitline.pageviews
GROUP BY site_id, session_id, is_bot;

-- The same for the sessions of one site that have a pageview in [from, to), whole: quick, since only their rows are read.
-- SELECT ... FROM hitline.sessions_between(site = '...', from = '2026-01-01 00:00:00', to = '2026-02-01 00:00:00')
CREATE VIEW IF NOT EXISTS hitline.sessions_between AS
SELECT *
FROM hitline.sessions
WHERE site_id = {site:UUID} AND session_id IN
(
    SELECT session_id
    FROM hitline.pageviews_raw
    WHERE site_id = {site:UUID} AND timestamp >= {from:DateTime64(3, 'UTC')} AND timestamp < {to:DateTime64(3, 'UTC')}
);

-- Requests to erase, each with the site-days it touches.  One that is not done (its process died) is finished by
-- `hitline erase --resume`.  What was asked for (a path, a session) is blanked out once it is done.
CREATE TABLE IF NOT EXISTS hitline_control.erasures
(
    erasure_id  UUID,
    sites       Array(UUID),
    session_id  Nullable(UUID),
    path        String,
    time_from   Nullable(DateTime64(3, 'UTC')),
    time_to     Nullable(DateTime64(3, 'UTC')),
    days        Array(Tuple(site_id UUID, day Date)),
    pageviews   UInt64,
    done        Bool,
    noted_at    DateTime64(6, 'UTC') DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(noted_at) ORDER BY erasure_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Pageviews being erased of which older states are stored (a client's retry with another path replaced them):
-- those have to go as well, or they would become visible again.
CREATE TABLE IF NOT EXISTS hitline_control.erased_pageviews
(
    erasure_id  UUID,
    site_id     UUID,
    timestamp   DateTime64(3, 'UTC'),
    session_id  UUID,
    page_id     UUID
)
ENGINE = MergeTree ORDER BY erasure_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
