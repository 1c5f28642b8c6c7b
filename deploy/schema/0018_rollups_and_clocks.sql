-- Rollups follow what is stored whatever ClickHouse's clock was, and the time zone database when its rules change.

-- How far rollups have come: the row with the largest number says it, since a moment is ClickHouse's clock, which may have been
-- ahead.  One row an hour of the week is kept: where the last moment turns out to lie in the future, the next run goes on from
-- the last one that does not.  rollup_progress says from now on only that rollups have been completed once.
--   kind      `counted`: where a run that was cut off goes on; `complete`: everything stored before that moment is counted
--   number    the run's, which grows whatever the clocks do
--   ahead     how many pageviews are counted that were stored in the future
--   registry  the registry's newest version that was seen
--   zones     the version of the time zone database that rollups are computed with
CREATE TABLE IF NOT EXISTS hitline.rollup_moments
(
    kind         Enum8('counted' = 1, 'complete' = 2),
    slot         UInt8 DEFAULT intDiv(toUnixTimestamp(moment), 3600) % 168,
    number       UInt64,
    moment       DateTime64(3, 'UTC'),
    ahead        UInt64,
    registry     UInt64,
    zones        String,
    finished_at  DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(number) ORDER BY (kind, slot)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

INSERT INTO hitline.rollup_moments (kind, number, moment, registry)
SELECT kind, kind = 'complete', moment, registry FROM hitline.rollup_progress FINAL
WHERE kind NOT IN (SELECT kind FROM hitline.rollup_moments);

-- The offsets of each time zone that rollups are computed in, a hash a year from 1970: a new version of the time zone database
-- may change past days, and then the rollups of sites in that zone are computed again.
CREATE TABLE IF NOT EXISTS hitline_control.rollup_zone_rules
(
    timezone  String,
    years     Array(UInt64),
    number    UInt64
)
ENGINE = ReplacingMergeTree(number) ORDER BY timezone
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Days that were over and compared with their pageviews, by time zone; ordered as above, in place of rollup_checks.
CREATE TABLE IF NOT EXISTS hitline_control.rollup_checked
(
    zone        LowCardinality(String),
    day         Date,
    drifted     UInt64,
    number      UInt64,
    checked_at  DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(number) ORDER BY zone
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Up to when the rollups of each site are complete: they hold every pageview stored before complete_to.
CREATE OR REPLACE VIEW hitline.freshness AS
SELECT
    site_id,
    any(sites.name) AS name,
    any(sites.timezone) AS timezone,
    if((SELECT countIf(kind = 'complete') FROM hitline.rollup_progress) > 0,
       (SELECT argMaxIf(moment, number, kind = 'complete') FROM hitline.rollup_moments),
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
