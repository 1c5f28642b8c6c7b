-- What `hitline dead allow` lets paused workers dead-letter beyond their limit, and who allowed it.

CREATE TABLE IF NOT EXISTS hitline_control.dead_letter_allowances
(
    allowance_id  UUID DEFAULT generateUUIDv4(),
    pageviews     UInt32 COMMENT 'for each worker; 0 for any number',
    created_at    DateTime64(6, 'UTC') DEFAULT now64(6),
    expires_at    DateTime64(6, 'UTC'),
    created_by    String
)
ENGINE = MergeTree ORDER BY (created_at, allowance_id)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;
