-- Erasing in two steps: unreadable at once (lightweight deletes), and off the disk in one rewrite of each partition.

-- The record of who asked for what, when: kept for good, its conditions only until the pageviews are unreadable.
--   reference      what the operator calls the request; empty for retention
--   requested_at   NULL: erased by a version that rewrote at once, at noted_at
--   unreadable_at  no reader finds the pageviews any more, in rollups neither
--   gone_at        every part of a table that held them has been written again without them
--   paths, prefixes  the spellings of `path`, so that no statement contains any of them
ALTER TABLE hitline_control.erasures
    ADD COLUMN IF NOT EXISTS kind Enum8('request' = 0, 'retention' = 1),
    ADD COLUMN IF NOT EXISTS reference String,
    ADD COLUMN IF NOT EXISTS paths Array(String),
    ADD COLUMN IF NOT EXISTS prefixes Array(String),
    ADD COLUMN IF NOT EXISTS requested_at Nullable(DateTime64(3, 'UTC')),
    ADD COLUMN IF NOT EXISTS unreadable_at Nullable(DateTime64(3, 'UTC')),
    ADD COLUMN IF NOT EXISTS gone_at Nullable(DateTime64(3, 'UTC'));

-- Of one run of retention, gone when it is done: what is older than `before` is to go, which is where the local day
-- `first_day` begins.
CREATE TABLE IF NOT EXISTS hitline_control.retention_cutoffs
(
    run             UInt64,
    site_id         UUID,
    retention_days  UInt32,
    timezone        LowCardinality(String),
    first_day       Date,
    before          DateTime64(3, 'UTC')
)
ENGINE = MergeTree PARTITION BY run ORDER BY site_id;

-- When the daily work (retention, rewriting, merging) was finished last.
CREATE TABLE IF NOT EXISTS hitline_control.upkeep
(
    kind         LowCardinality(String),
    finished_at  DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(finished_at) ORDER BY kind
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
