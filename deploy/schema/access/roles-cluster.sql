-- On a cluster, besides roles.sql: what it takes to ask all replicas, and to wait for one.  Users and roles belong into Keeper
-- (<user_directories><replicated>), so that they exist everywhere; else run both files on each replica.

-- What is stored, and which inserts run, on every replica; ending an insert wherever it runs.
GRANT REMOTE ON *.* TO hitline_worker, hitline_keeper;
GRANT CREATE TEMPORARY TABLE ON *.* TO hitline_worker, hitline_keeper;
GRANT CLUSTER ON *.* TO hitline_worker;
GRANT SELECT ON system.clusters TO hitline_worker;
GRANT SELECT ON system.one TO hitline_worker, hitline_keeper;

-- Whether the replica that the registry is read from is up to date.
GRANT SELECT ON system.replicas TO hitline_gateway, hitline_worker;

-- Rollups, retention and erasing begin on a replica that has everything.
GRANT SYSTEM SYNC REPLICA ON hitline.* TO hitline_keeper;
GRANT SYSTEM SYNC REPLICA ON hitline_control.* TO hitline_keeper;
GRANT SELECT ON system.tables TO hitline_keeper;
