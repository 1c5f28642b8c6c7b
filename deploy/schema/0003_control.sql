-- The registry: who may post what, and what is excluded.  Every change appends a row with a newer version; the newest
-- row of an id is the one that counts, and gateways and workers fetch only what is newer than their own copy.  Versions
-- are the server's clock in microseconds, pushed on by the `hitline` command where that clock was set back.

CREATE DATABASE IF NOT EXISTS hitline_control;

CREATE TABLE IF NOT EXISTS hitline_control.sites
(
    site_id         UUID,
    name            String,
    hostnames       Array(String),
    timezone        String DEFAULT 'UTC',
    retention_days  UInt32 DEFAULT 0,
    created_at      DateTime64(6, 'UTC'),
    removed         Bool DEFAULT false,
    version         UInt64 DEFAULT toUnixTimestamp64Micro(now64(6))
)
ENGINE = MergeTree ORDER BY (version, site_id)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS hitline_control.clients
(
    client_id     UUID,
    name          String,
    token_sha256  FixedString(64),
    grants        Array(Tuple(site String, permission String)),
    rate          String DEFAULT '',
    created_at    DateTime64(6, 'UTC'),
    removed       Bool DEFAULT false,
    version       UInt64 DEFAULT toUnixTimestamp64Micro(now64(6))
)
ENGINE = MergeTree ORDER BY (version, client_id)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS hitline_control.exclusions
(
    exclusion_id  UUID,
    site_id       Nullable(UUID),
    kind          LowCardinality(String),
    value         String,
    created_at    DateTime64(6, 'UTC'),
    removed       Bool DEFAULT false,
    version       UInt64 DEFAULT toUnixTimestamp64Micro(now64(6))
)
ENGINE = MergeTree ORDER BY (version, exclusion_id)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;
