-- The outcome of every pageview taken from the queue.

-- One row a message, replaced when the message is processed again, so that a redelivery counts nothing twice.  The
-- arrays run in parallel: counts[i] pageviews that were received in minutes[i] for sites[i] from clients[i] ended as
-- outcomes[i].  The nil site stands for a hostname that no site claims any more.  A replayed dead letter is a
-- separate message (its part is its position in the first one, plus 1), and takes back what the first one counted as
-- dead-lettered, so counts may be below zero.
CREATE TABLE IF NOT EXISTS hitline.outcomes_raw
(
    batch_id  UUID,
    part      UInt16,
    minutes   Array(DateTime('UTC')),
    sites     Array(UUID),
    clients   Array(UUID),
    outcomes  Array(LowCardinality(String)),
    counts    Array(Int32),
    version   UInt64,
    day       Date DEFAULT toDate(minutes[1])
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
ORDER BY (day, batch_id, part)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE VIEW IF NOT EXISTS hitline.outcomes AS
SELECT minute, site_id, client_id, outcome, sum(number) AS pageviews
FROM
(
    SELECT minutes, sites, clients, outcomes, counts
    FROM hitline.outcomes_raw FINAL
    SETTINGS do_not_merge_across_partitions_select_final = 1
)
ARRAY JOIN minutes AS minute, sites AS site_id, clients AS client_id, outcomes AS outcome, counts AS number
GROUP BY minute, site_id, client_id, outcome
HAVING pageviews != 0;
