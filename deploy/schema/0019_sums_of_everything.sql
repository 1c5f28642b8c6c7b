-- What is asked of everything reads a row a site (up to when rollups are complete), or sums (what became of all pageviews).

-- The first and the last day that a site has pageviews on in the rollups, and the run that changed any of its days last; written by
-- `hitline rollup`, in every run for the sites that change.  A site that has none left begins after it ends.
CREATE TABLE IF NOT EXISTS hitline.site_days_raw
(
    site_id    UUID,
    first_day  Date,
    last_day   Date,
    run        UInt64
)
ENGINE = ReplacingMergeTree(run) ORDER BY site_id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Whether the run that a row is of has kept site_days_raw: one of an older version has not, and the next run of this one makes
-- up for it.
ALTER TABLE hitline.rollup_moments ADD COLUMN IF NOT EXISTS site_days Bool DEFAULT false;

-- Up to when the rollups of each site are complete: they hold every pageview stored before complete_to.
CREATE OR REPLACE VIEW hitline.freshness AS
SELECT
    site_id,
    any(sites.name) AS name,
    any(sites.timezone) AS timezone,
    if((SELECT countIf(kind = 'complete') FROM hitline.rollup_progress) > 0,
       (SELECT argMaxIf(moment, number, kind = 'complete') FROM hitline.rollup_moments),
       (SELECT max(complete_to) FROM hitline.rollup_runs)) AS complete_to,
    min(days.begins) AS first_day,
    max(days.ends) AS last_day,
    max(days.changed_at) AS last_change
FROM
(
    SELECT site_id, spans.first_day AS begins, spans.last_day AS ends,
           toDateTime64(fromUnixTimestamp64Micro(toInt64(run)), 3, 'UTC') AS changed_at
    FROM hitline.site_days_raw AS spans FINAL
    WHERE begins <= ends AND (SELECT countIf(kind = 'complete') FROM hitline.rollup_progress) > 0
      AND (SELECT argMaxIf(site_days, number, kind = 'complete') FROM hitline.rollup_moments)
    UNION ALL
    SELECT site_id, day, day, toDateTime64(fromUnixTimestamp64Micro(toInt64(run)), 3, 'UTC')
    FROM hitline.daily_counts_raw FINAL
    WHERE dimension = '' AND pageviews > 0 AND (SELECT countIf(kind = 'complete') FROM hitline.rollup_progress) > 0
      AND NOT (SELECT argMaxIf(site_days, number, kind = 'complete') FROM hitline.rollup_moments)
    UNION ALL
    SELECT site_id, day, day, computed_at
    FROM hitline.daily_raw FINAL
    WHERE dimension = '' AND notEmpty(session_ids) AND (SELECT countIf(kind = 'complete') FROM hitline.rollup_progress) = 0
) AS days
LEFT JOIN hitline.sites AS sites USING (site_id)
GROUP BY site_id;

-- What became of everything that was received before verified_to, as `hitline reconcile` has verified it; the row that reaches
-- the furthest counts.
CREATE TABLE IF NOT EXISTS hitline_control.verified_sums
(
    verified_to    DateTime('UTC'),
    noted_at       DateTime64(6, 'UTC'),
    pageviews      Int64,
    stored         Int64,
    dead_lettered  Int64,
    dropped        Map(String, Int64)
)
ENGINE = MergeTree ORDER BY verified_to
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- By when it was counted: what replays of dead letters have changed since.
ALTER TABLE hitline.outcomes_raw ADD INDEX IF NOT EXISTS version version TYPE minmax GRANULARITY 1;
ALTER TABLE hitline.outcomes_raw MATERIALIZE INDEX IF EXISTS version;
