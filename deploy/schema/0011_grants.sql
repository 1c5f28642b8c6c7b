-- Grants as rows of their own: a change of one writes one row, and what is replaced goes with merges.  Before, a client's
-- grants were one array that was written again, whole, at each change.
--   site_id    nil: every site, those added later included
--   version    as in the other tables.  It is in the partition key, which is the same for all, so that the newest version of
--              each part is known without reading it; the index finds the rows of a change in a part of millions.
CREATE TABLE IF NOT EXISTS hitline_control.grants
(
    client_id   UUID,
    permission  LowCardinality(String),
    site_id     UUID,
    created_at  DateTime64(6, 'UTC') DEFAULT now64(6),
    removed     Bool DEFAULT false,
    version     UInt64 DEFAULT toUnixTimestamp64Micro(now64(6)),
    INDEX by_version version TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY intDiv(version, 18446744073709551615)
ORDER BY (client_id, permission, site_id)
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;

-- Whether a client's row was written by a command that keeps grants in rows.
ALTER TABLE hitline_control.clients ADD COLUMN IF NOT EXISTS grants_in_rows Bool DEFAULT false;

-- What commands of the version before write into the array goes on into rows.
CREATE MATERIALIZED VIEW IF NOT EXISTS hitline_control.grants_from_arrays TO hitline_control.grants AS
SELECT
    client_id,
    listed.2 AS permission,
    if(listed.1 = '*', toUUID('00000000-0000-0000-0000-000000000000'), assumeNotNull(toUUIDOrNull(listed.1))) AS site_id,
    created_at,
    removed,
    version
FROM hitline_control.clients
ARRAY JOIN grants AS listed
WHERE NOT grants_in_rows AND NOT removed AND (listed.1 = '*' OR toUUIDOrNull(listed.1) IS NOT NULL);

-- And what is in arrays so far.  Run once more, it brings back nothing that was taken away meanwhile.
INSERT INTO hitline_control.grants (client_id, permission, site_id, version)
SELECT client_id, listed.2 AS permission,
    if(listed.1 = '*', toUUID('00000000-0000-0000-0000-000000000000'), assumeNotNull(toUUIDOrNull(listed.1))) AS site_id,
    greatest(toUInt64(toUnixTimestamp64Micro(now64(6))), 1 + (SELECT max(version) FROM hitline_control.clients))
FROM (SELECT * FROM hitline_control.clients ORDER BY version DESC LIMIT 1 BY client_id) AS clients
ARRAY JOIN grants AS listed
WHERE NOT removed AND NOT grants_in_rows AND (listed.1 = '*' OR toUUIDOrNull(listed.1) IS NOT NULL)
    AND (client_id, permission, site_id) NOT IN (SELECT client_id, permission, site_id FROM hitline_control.grants);
