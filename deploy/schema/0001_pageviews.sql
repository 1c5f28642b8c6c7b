-- The stored pageviews and the exact view that analysts read.

CREATE DATABASE IF NOT EXISTS hitline;

-- One row for every pageview a worker stored.  The sort key is a pageview's identity, so that what is inserted twice
-- (a client's retry with the same ids) merges into one row; the partition is a function of the sort key, since rows
-- merge only within a partition.  (batch_id, position) name the row's place in the queue's message: workers look them
-- up before they insert a redelivered message again.  The deduplication window makes insert tokens count.
--
-- Choices, measured on generated pageviews (tests/bench/analysts; 3 to 20 million, merged parts, bytes a row):
--   codec        ZSTD(1) for every column: 70 bytes a row on disk against 89 with LZ4, for queries that take 8 % (a year) to
--                28 % (a month) longer where all is in the page cache (2.5 million rows).  With no codec named, a server
--                made 70 bytes of 20 million rows and 89 of 2.5 million: named, it is the same everywhere.  ZSTD(3) saves
--                1 % more.  35 of the bytes are ids (page_id 16, batch_id 13, session_id 6), which nothing compresses.
--   times        Delta: 3.2 bytes, DoubleDelta 4.1 (gaps between pageviews have no second order to find).
--   strings      LowCardinality also for user agents and cities, of which a month has thousands: 1.1 bytes, a plain
--                String 3.7.  Paths, queries and referrers are too many for a dictionary.
--   sort key     by site, then time.  Sorting a day's rows by session first saves nothing, since a session's rows lie near
--                to each other anyway, and a query for one hour would read the whole day.
--   partitions   months: what retention or an erasure deletes rewrites those only, and a batch of a replayed decade
--                touches 120.
--   merging      a month whose parts are older than a day becomes one part, on which the view costs as much as the bare
--                table (ratio 0.8 to 1.1); while every insert is still a separate part it was up to 1.8.
--   indexes      batch_id for the workers' look-up; stored_at for rollups, which ask for what is new; session_id for one
--                session's rows, for erasing them among others.  1.5, 0 and 0.4 bytes a row.
CREATE TABLE IF NOT EXISTS hitline.pageviews_raw
(
    site_id          UUID,
    hostname         LowCardinality(String),
    timestamp        DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    session_id       UUID,
    page_id          UUID,
    path             String,
    query            String,
    referrer         String,
    referrer_host    LowCardinality(String),
    utm_source       LowCardinality(String),
    utm_medium       LowCardinality(String),
    utm_campaign     LowCardinality(String),
    utm_term         LowCardinality(String),
    utm_content      LowCardinality(String),
    qr_id            Nullable(UUID),
    user_agent       LowCardinality(String),
    browser          LowCardinality(String),
    browser_version  LowCardinality(String),
    os               LowCardinality(String),
    os_version       LowCardinality(String),
    device           LowCardinality(String),
    is_bot           Bool,
    language         LowCardinality(String),
    country          LowCardinality(String),
    region           LowCardinality(String),
    city             LowCardinality(String),
    provider         LowCardinality(String),
    asn              UInt32,
    asn_org          LowCardinality(String),
    screen_width     UInt16,
    screen_height    UInt16,
    viewport_width   UInt16,
    viewport_height  UInt16,
    client_id        UUID,
    batch_id         UUID,
    position         UInt16,
    stored_at        DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    INDEX batch_id batch_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX stored_at stored_at TYPE minmax GRANULARITY 1,
    INDEX session_id session_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY (site_id, timestamp, session_id, page_id)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1,
         default_compression_codec = 'ZSTD(1)',
         min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1;

-- One row a pageview, at all times, merged or not.  Equal sort keys share a partition, so partitions need not be
-- looked at together.
CREATE VIEW IF NOT EXISTS hitline.pageviews AS
SELECT site_id, hostname, timestamp, received_at, session_id, page_id, path, query, referrer, referrer_host, utm_source,
       utm_medium, utm_campaign, utm_term, utm_content, qr_id, user_agent, browser, browser_version, os, os_version,
       device, is_bot, language, country, region, city, provider, asn, asn_org, screen_width, screen_height,
       viewport_width, viewport_height, client_id, stored_at
FROM hitline.pageviews_raw FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;
