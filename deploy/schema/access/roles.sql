-- Who may what: roles, limits and a quota.  Run it as an administrator after `hitline migrate`, as often as one likes;
-- then give each user the role that it needs:
--
--     CREATE USER worker IDENTIFIED WITH sha256_password BY '...' DEFAULT ROLE hitline_worker;
--     CREATE USER anna IDENTIFIED WITH sha256_password BY '...' DEFAULT ROLE hitline_analyst;
--
-- The views run with their reader's rights, so that a tenant's row policies hold in all of them.  Where users are kept in
-- files, users.xml beside this file says the same.

-- Gateways read the registry.
CREATE ROLE IF NOT EXISTS hitline_gateway;
GRANT SELECT ON hitline_control.sites TO hitline_gateway;
GRANT SELECT ON hitline_control.clients TO hitline_gateway;
GRANT SELECT ON hitline_control.grants TO hitline_gateway;
GRANT SELECT ON hitline_control.exclusions TO hitline_gateway;

-- Workers insert, look up what they inserted before, and end inserts of their own that they gave up.  They can't read
-- what a pageview says: not its path, not its referrer.
CREATE ROLE IF NOT EXISTS hitline_worker;
GRANT INSERT ON hitline.pageviews_raw TO hitline_worker;
GRANT SELECT(batch_id, position, site_id, timestamp, stored_at) ON hitline.pageviews_raw TO hitline_worker;
GRANT INSERT, SELECT ON hitline.outcomes_raw TO hitline_worker;
GRANT SELECT ON hitline_control.sites TO hitline_worker;
GRANT SELECT ON hitline_control.clients TO hitline_worker;
GRANT SELECT ON hitline_control.grants TO hitline_worker;
GRANT SELECT ON hitline_control.exclusions TO hitline_worker;
GRANT SELECT, INSERT, ALTER DELETE ON hitline_control.salts TO hitline_worker;
GRANT SELECT ON hitline_control.dead_letter_allowances TO hitline_worker;
GRANT SELECT ON system.processes TO hitline_worker;
GRANT KILL QUERY ON *.* TO hitline_worker;

-- `hitline site`, `client` and `exclude`: the registry, to which they only append; and what became of a client's pageviews.
CREATE ROLE IF NOT EXISTS hitline_registry;
GRANT SELECT, INSERT ON hitline_control.dead_letter_allowances TO hitline_registry;
GRANT SELECT, INSERT ON hitline_control.sites TO hitline_registry;
GRANT SELECT, INSERT ON hitline_control.clients TO hitline_registry;
GRANT SELECT, INSERT ON hitline_control.grants TO hitline_registry;
GRANT SELECT, INSERT ON hitline_control.exclusions TO hitline_registry;
GRANT SELECT ON system.time_zones TO hitline_registry;
GRANT SELECT ON hitline.outcomes_raw TO hitline_registry;

-- `hitline rollup`, `retain`, `erase` and `reconcile`.
CREATE ROLE IF NOT EXISTS hitline_keeper;
GRANT SELECT ON hitline.* TO hitline_keeper;
GRANT ALTER DELETE, OPTIMIZE ON hitline.pageviews_raw TO hitline_keeper;
GRANT INSERT, ALTER DELETE ON hitline.session_days_raw TO hitline_keeper;
GRANT INSERT, ALTER DELETE ON hitline.several_days_raw TO hitline_keeper;
GRANT INSERT, ALTER DELETE ON hitline.daily_counts_raw TO hitline_keeper;
GRANT INSERT, ALTER DELETE ON hitline.hourly_counts_raw TO hitline_keeper;
GRANT INSERT ON hitline.site_days_raw TO hitline_keeper;
GRANT INSERT ON hitline.rollup_progress TO hitline_keeper;
GRANT INSERT ON hitline.rollup_moments TO hitline_keeper;
GRANT INSERT, ALTER DELETE, OPTIMIZE ON hitline.outcomes_raw TO hitline_keeper;
GRANT TRUNCATE ON hitline.daily_raw TO hitline_keeper;
GRANT TRUNCATE ON hitline.hourly_raw TO hitline_keeper;
GRANT INSERT ON hitline.sites_raw TO hitline_keeper;
GRANT SELECT ON hitline_control.sites TO hitline_keeper;
GRANT SELECT, INSERT, OPTIMIZE ON hitline_control.erasures TO hitline_keeper;
GRANT SELECT, INSERT, ALTER DELETE ON hitline_control.erased_pageviews TO hitline_keeper;
GRANT SELECT, INSERT, ALTER DELETE ON hitline_control.erased_sessions TO hitline_keeper;
GRANT SELECT, INSERT, ALTER DELETE ON hitline_control.rollup_touched TO hitline_keeper;
GRANT SELECT, INSERT, ALTER DELETE ON hitline_control.rollup_changes TO hitline_keeper;
GRANT SELECT, INSERT ON hitline_control.rollup_lease TO hitline_keeper;
GRANT SELECT, INSERT ON hitline_control.fold_lease TO hitline_keeper;
GRANT SELECT, INSERT ON hitline_control.rollup_zones TO hitline_keeper;
GRANT SELECT, INSERT ON hitline_control.rollup_checked TO hitline_keeper;
GRANT SELECT, INSERT ON hitline_control.rollup_zone_rules TO hitline_keeper;
GRANT SELECT, INSERT, ALTER DELETE ON hitline_control.retention_cutoffs TO hitline_keeper;
GRANT SELECT, INSERT ON hitline_control.upkeep TO hitline_keeper;
GRANT SELECT, INSERT ON hitline_control.reconciled TO hitline_keeper;
GRANT SELECT, INSERT ON hitline_control.verified_sums TO hitline_keeper;
GRANT SELECT(client_id, name) ON hitline_control.clients TO hitline_keeper;
GRANT SELECT ON system.parts TO hitline_keeper;
GRANT SELECT ON system.mutations TO hitline_keeper;
GRANT SELECT ON system.processes TO hitline_keeper;
GRANT SELECT ON system.build_options TO hitline_keeper;

-- Analysts read `hitline`, and of which sites rollups are just being changed, which `hitline report` has to know; nothing
-- else, within limits that one query can't leave.
CREATE ROLE IF NOT EXISTS hitline_analyst;
GRANT SELECT ON hitline.* TO hitline_analyst;
GRANT SELECT(run, sign, site_id) ON hitline_control.rollup_changes TO hitline_analyst;
GRANT SELECT(erasure_id, site_id, day, session_id) ON hitline_control.erased_sessions TO hitline_analyst;
GRANT SELECT(site_id, timezone, moving, version) ON hitline_control.rollup_zones TO hitline_analyst;
GRANT SELECT(site_id, first_day) ON hitline_control.retention_cutoffs TO hitline_analyst;

CREATE SETTINGS PROFILE IF NOT EXISTS hitline_analyst SETTINGS
    readonly = 2,
    max_execution_time = 60 MIN 1 MAX 300,
    max_memory_usage = 4000000000 MIN 1 MAX 8000000000,
    max_threads = 4 MAX 8,
    max_result_rows = 1000000 MIN 1 MAX 10000000,
    max_concurrent_queries_for_user = 10 MIN 1 MAX 10,
    priority = 10 MIN 1,
    apply_deleted_mask = 1 CONST
    TO hitline_analyst;

CREATE QUOTA IF NOT EXISTS hitline_analyst KEYED BY user_name
    FOR INTERVAL 1 hour MAX queries = 10000, errors = 1000, execution_time = 3600
    TO hitline_analyst;
