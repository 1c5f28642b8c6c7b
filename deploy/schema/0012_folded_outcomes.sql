-- Outcomes of messages that can't return are folded into sums by minute, site, client and outcome.

-- Sums are rows of outcomes_raw themselves, with the day that they were folded from and a batch_id of no message, and so are the
-- markers that replace a folded message's row until its month is folded (deploy/outcomes/statements.py): one table, so that
-- readers see a day before or after its fold, and nothing between the two.  The view `outcomes` needs no change.

-- A row that replaces another one gets a later version than that has, whatever the server's clock was by which it was
-- written: workers insert the version of the row that they found as `after`.
ALTER TABLE hitline.outcomes_raw ADD COLUMN IF NOT EXISTS after UInt64 EPHEMERAL;
ALTER TABLE hitline.outcomes_raw
    MODIFY COLUMN version UInt64 DEFAULT greatest(toUInt64(toUnixTimestamp64Micro(now64(6))), after + 1);

-- One process folds at a time: as rollup_lease.
CREATE TABLE IF NOT EXISTS hitline_control.fold_lease
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
