-- A tenant: an analyst who sees some sites only.  Replace TENANT and SITE_ID (`hitline site list --json` prints it; several:
-- site_id IN ('...', '...')), and run it as an administrator after roles.sql:
--
--     CREATE USER someone IDENTIFIED WITH sha256_password BY '...' DEFAULT ROLE hitline_tenant_TENANT;

CREATE ROLE IF NOT EXISTS hitline_tenant_TENANT SETTINGS PROFILE hitline_analyst;
GRANT SELECT ON hitline.* TO hitline_tenant_TENANT;
GRANT SELECT(run, sign, site_id) ON hitline_control.rollup_changes TO hitline_tenant_TENANT;
GRANT SELECT(erasure_id, site_id, day, session_id) ON hitline_control.erased_sessions TO hitline_tenant_TENANT;
GRANT SELECT(site_id, timezone, moving, version) ON hitline_control.rollup_zones TO hitline_tenant_TENANT;
GRANT SELECT(site_id, first_day) ON hitline_control.retention_cutoffs TO hitline_tenant_TENANT;
CREATE QUOTA OR REPLACE hitline_tenant_TENANT KEYED BY user_name
    FOR INTERVAL 1 hour MAX queries = 10000, errors = 1000, execution_time = 3600
    TO hitline_tenant_TENANT;

CREATE ROW POLICY OR REPLACE hitline_tenant_TENANT
    ON hitline.pageviews_raw, hitline.session_days_raw, hitline.several_days_raw, hitline.daily_counts_raw,
       hitline.hourly_counts_raw, hitline.site_days_raw, hitline.daily_raw, hitline.hourly_raw, hitline.sites_raw,
       hitline_control.erased_sessions, hitline_control.rollup_zones, hitline_control.retention_cutoffs
    USING site_id = 'SITE_ID' TO hitline_tenant_TENANT;

-- A row of sign 0 is no site's: it says that the changes of a run are complete.
CREATE ROW POLICY OR REPLACE hitline_tenant_TENANT ON hitline_control.rollup_changes
    USING site_id = 'SITE_ID' OR sign = 0 TO hitline_tenant_TENANT;

-- A message holds several sites' pageviews in one row, so tenants see no outcomes.
CREATE ROW POLICY OR REPLACE hitline_tenant_TENANT ON hitline.outcomes_raw USING 0 TO hitline_tenant_TENANT;

-- Everyone else sees every row, also where the server is told that users without a policy see none.
CREATE ROW POLICY OR REPLACE hitline_everyone
    ON hitline.pageviews_raw, hitline.session_days_raw, hitline.several_days_raw, hitline.daily_counts_raw,
       hitline.hourly_counts_raw, hitline.site_days_raw, hitline.daily_raw, hitline.hourly_raw, hitline.sites_raw, hitline.outcomes_raw,
       hitline_control.rollup_changes, hitline_control.erased_sessions, hitline_control.rollup_zones,
       hitline_control.retention_cutoffs
    USING 1 TO hitline_worker, hitline_registry, hitline_keeper, hitline_analyst;
