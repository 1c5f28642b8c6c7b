-- Sessions that are on several days, once more and by themselves: sums by day count them on each of these, and a report of a
-- period once.  To find them among all sessions of a month, and what they have in common on their days, takes most of its time.

-- The parts of such sessions as in session_days_raw, written by the same runs.  A part that is here may be its session's only
-- one: then the rest of it was erased.  A session of which a part is missing here, or has another fingerprint than in
-- session_days_raw, is looked up in its pageviews: one whose days are apart, or that was counted before this table was there.
--   began                                  when the part begins; it ends `milliseconds` later
--   entry_page, exit_page, each of values  cityHash64(dimension, value) of what it is counted with in `daily`, without what is
--                                          unknown: a report has the values themselves in the sums
CREATE TABLE IF NOT EXISTS hitline.several_days_raw
(
    site_id       UUID,
    day           Date,
    session_id    UUID,
    is_bot        Bool,
    run           UInt64,
    pageviews     UInt32 CODEC(T64, ZSTD(1)),
    began         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    milliseconds  UInt32 CODEC(T64, ZSTD(1)),
    entry_page    UInt64,
    exit_page     UInt64,
    `values`      Array(UInt64),
    fingerprint   UInt64
)
ENGINE = ReplacingMergeTree(run)
PARTITION BY toYYYYMM(day)
ORDER BY (site_id, day, session_id, is_bot)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, default_compression_codec = 'ZSTD(1)';

-- Besides, of what sessions are to be counted with, when it begins.
ALTER TABLE hitline_control.rollup_changes ADD COLUMN IF NOT EXISTS began DateTime64(3, 'UTC');
