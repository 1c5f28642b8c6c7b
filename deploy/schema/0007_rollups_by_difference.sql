-- Rollups that are kept up by the difference that changed sessions make.

-- A session's part on one day of its site, and what it was counted with: the values of each dimension with their
-- pageviews.  When pageviews of it arrive, `hitline rollup` computes it again and adds the difference to the counts
-- below, so a run costs what is new and not what the day holds.  What it was counted with has to be kept: a repetition
-- hides the row that was counted, once both are merged.  pageviews = 0: nothing of it is left.
--   dimensions, values, hours, counts   run in parallel; in `daily` where the hour is 0, else in `hourly`
--   fingerprint                         a hash of all of it, to tell whether anything has changed
--   run                                 a number that grows; the last one counts
CREATE TABLE IF NOT EXISTS hitline.session_days_raw
(
    site_id       UUID,
    day           Date,
    session_id    UUID,
    is_bot        Bool,
    run           UInt64,
    pageviews     UInt32 CODEC(T64, ZSTD(1)),
    milliseconds  UInt32 CODEC(T64, ZSTD(1)),
    entry_page    String,
    exit_page     String,
    dimensions    Array(LowCardinality(String)),
    `values`      Array(String),
    hours         Array(DateTime('UTC')),
    counts        Array(UInt32),
    fingerprint   UInt64
)
ENGINE = ReplacingMergeTree(run)
PARTITION BY toYYYYMM(day)
ORDER BY (site_id, day, session_id, is_bot)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, default_compression_codec = 'ZSTD(1)';

-- What sessions add up to.  A run writes the new sum of each value that it changed, under its own number: doing that
-- twice is the same as doing it once.  Zeros stay until their key is written again or erased.
CREATE TABLE IF NOT EXISTS hitline.daily_counts_raw
(
    site_id       UUID,
    dimension     LowCardinality(String),
    is_bot        Bool,
    day           Date,
    value         String,
    run           UInt64 CODEC(Delta, ZSTD(1)),
    pageviews     Int64 CODEC(T64, ZSTD(1)),
    sessions      Int64 CODEC(T64, ZSTD(1)),
    bounces       Int64 CODEC(T64, ZSTD(1)),
    milliseconds  Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree(run)
PARTITION BY toYear(day)
ORDER BY (site_id, dimension, is_bot, day, value)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, default_compression_codec = 'ZSTD(1)';

CREATE TABLE IF NOT EXISTS hitline.hourly_counts_raw
(
    site_id    UUID,
    dimension  LowCardinality(String),
    is_bot     Bool,
    day        Date,
    hour       DateTime('UTC') CODEC(Delta, ZSTD(1)),
    value      String,
    run        UInt64 CODEC(Delta, ZSTD(1)),
    pageviews  Int64 CODEC(T64, ZSTD(1)),
    sessions   Int64 CODEC(T64, ZSTD(1))
)
ENGINE = ReplacingMergeTree(run)
PARTITION BY toYear(day)
ORDER BY (site_id, dimension, is_bot, day, hour, value)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, default_compression_codec = 'ZSTD(1)';

-- How far rollups have come, few rows at any time.  `counted`: where the next run goes on; `complete`: everything stored
-- before that moment is in the rollups, and readers see them.
CREATE TABLE IF NOT EXISTS hitline.rollup_progress
(
    kind         Enum8('counted' = 1, 'complete' = 2),
    moment       DateTime64(3, 'UTC'),
    registry     UInt64,
    finished_at  DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(moment) ORDER BY kind
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- One writer at a time: the newest row tells who holds the rollups.  A new epoch is inserted under a deduplication token of
-- its number, so of several that reach for it one succeeds.  `tick` grows with every row, and gives runs their numbers.
CREATE TABLE IF NOT EXISTS hitline_control.rollup_lease
(
    slot      UInt8 DEFAULT 0,
    tick      UInt64,
    epoch     UInt64,
    owner     String,
    released  Bool,
    at        DateTime64(3, 'UTC') DEFAULT now64(3),
    version   UInt128 DEFAULT bitShiftLeft(toUInt128(epoch), 64) + tick
)
ENGINE = ReplacingMergeTree(version) ORDER BY slot
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- The time zone that a site's rollups are computed in (no row: UTC); `moving`: not all of them are yet.
CREATE TABLE IF NOT EXISTS hitline_control.rollup_zones
(
    site_id   UUID,
    timezone  LowCardinality(String),
    moving    Bool,
    version   UInt64
)
ENGINE = ReplacingMergeTree(version) ORDER BY site_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The work of a run, gone when it is done.  First which sessions are to be computed again, on which days.
CREATE TABLE IF NOT EXISTS hitline_control.rollup_touched
(
    run         UInt64,
    zone        LowCardinality(String),
    site_id     UUID,
    day         Date,
    session_id  UUID
)
ENGINE = MergeTree PARTITION BY run ORDER BY (zone, site_id, day, session_id);

-- Then what they were counted with (sign -1) and what they are to be counted with (1).  A row of sign 0, written last,
-- says that both are complete: a run that has it is finished whoever began it, one that lacks it is thrown away.
CREATE TABLE IF NOT EXISTS hitline_control.rollup_changes
(
    run           UInt64,
    sign          Int8,
    site_id       UUID,
    day           Date,
    session_id    UUID,
    is_bot        Bool,
    pageviews     UInt32,
    milliseconds  UInt32,
    entry_page    String,
    exit_page     String,
    dimensions    Array(LowCardinality(String)),
    `values`      Array(String),
    hours         Array(DateTime('UTC')),
    counts        Array(UInt32),
    fingerprint   UInt64
)
ENGINE = MergeTree PARTITION BY run ORDER BY (site_id, day, session_id, is_bot, sign)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Days that were over and compared with their pageviews, by time zone.
CREATE TABLE IF NOT EXISTS hitline_control.rollup_checks
(
    zone        LowCardinality(String),
    day         Date,
    drifted     UInt64,
    checked_at  DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(checked_at) ORDER BY zone
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The sessions that an erasure takes pageviews from, by the days of these in UTC, until it is done: their rollups are due.
CREATE TABLE IF NOT EXISTS hitline_control.erased_sessions
(
    erasure_id  UUID,
    site_id     UUID,
    day         Date,
    session_id  UUID
)
ENGINE = MergeTree ORDER BY (erasure_id, site_id, day)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Readers see the rollups of the kind before (daily_raw, hourly_raw) until the new ones are complete for the first time,
-- then the new ones, from one moment to the next.  The first run empties the tables of the kind before.
CREATE OR REPLACE VIEW hitline.daily AS
SELECT site_id, day, is_bot, dimension, value, toUInt64(counts.pageviews) AS pageviews,
       toUInt64(counts.sessions) AS sessions, toUInt64(counts.bounces) AS bounces, counts.milliseconds / 1000 AS seconds
FROM hitline.daily_counts_raw AS counts FINAL
WHERE counts.pageviews > 0 AND (SELECT countIf(kind = 'complete') FROM hitline.rollup_progress) > 0
UNION ALL
SELECT site_id, day, is_bot, dimension, value, pageviews, sessions, bounces, toFloat64(seconds)
FROM
(
    SELECT site_id, day, is_bot, dimension, `values`, pageviews AS p, sessions AS s, bounces AS b, seconds AS t
    FROM hitline.daily_raw FINAL
    WHERE (SELECT countIf(kind = 'complete') FROM hitline.rollup_progress) = 0
)
ARRAY JOIN `values` AS value, p AS pageviews, s AS sessions, b AS bounces, t AS seconds
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW hitline.hourly AS
SELECT site_id, day, hour, is_bot, dimension, value, toUInt64(counts.pageviews) AS pageviews,
       toUInt64(counts.sessions) AS sessions
FROM hitline.hourly_counts_raw AS counts FINAL
WHERE counts.pageviews > 0 AND (SELECT countIf(kind = 'complete') FROM hitline.rollup_progress) > 0
UNION ALL
SELECT site_id, day, hour, is_bot, dimension, value, pageviews, sessions
FROM
(
    SELECT site_id, day, is_bot, dimension, hours, `values`, pageviews AS p, sessions AS s
    FROM hitline.hourly_raw FINAL
    WHERE (SELECT countIf(kind = 'complete') FROM hitline.rollup_progress) = 0
)
ARRAY JOIN hours AS hour, `values` AS value, p AS pageviews, s AS sessions
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Sessions of several days, each counted once: uniqExactArray(session_ids) over this view's rows.
CREATE OR REPLACE VIEW hitline.daily_sessions AS
SELECT site_id, day, is_bot, groupArray(session_id) AS session_ids
FROM hitline.session_days_raw FINAL
WHERE pageviews > 0 AND (SELECT countIf(kind = 'complete') FROM hitline.rollup_progress) > 0
GROUP BY site_id, day, is_bot
UNION ALL
SELECT site_id, day, is_bot, session_ids
FROM hitline.daily_raw FINAL
WHERE dimension = '' AND notEmpty(session_ids) AND (SELECT countIf(kind = 'complete') FROM hitline.rollup_progress) = 0
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Up to when the rollups of each site are complete: they hold every pageview stored before complete_to.
CREATE OR REPLACE VIEW hitline.freshness AS
SELECT
    site_id,
    any(sites.name) AS name,
    any(sites.timezone) AS timezone,
    if((SELECT countIf(kind = 'complete') FROM hitline.rollup_progress) > 0,
       (SELECT maxIf(moment, kind = 'complete') FROM hitline.rollup_progress),
       (SELECT max(complete_to) FROM hitline.rollup_runs)) AS complete_to,
    min(days.day) AS first_day,
    max(days.day) AS last_day,
    max(days.changed_at) AS last_change
FROM
(
    SELECT site_id, day, toDateTime64(fromUnixTimestamp64Micro(toInt64(run)), 3, 'UTC') AS changed_at
    FROM hitline.daily_counts_raw FINAL
    WHERE dimension = '' AND pageviews > 0 AND (SELECT countIf(kind = 'complete') FROM hitline.rollup_progress) > 0
    UNION ALL
    SELECT site_id, day, computed_at
    FROM hitline.daily_raw FINAL
    WHERE dimension = '' AND notEmpty(session_ids) AND (SELECT countIf(kind = 'complete') FROM hitline.rollup_progress) = 0
) AS days
LEFT JOIN hitline.sites AS sites USING (site_id)
GROUP BY site_id;
