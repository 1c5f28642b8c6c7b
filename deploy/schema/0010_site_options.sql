-- What a site's owner may choose beside the contract: which query parameters are stored, whether fragments are paths, and
-- whether pageviews without a session get their visitor's.
ALTER TABLE hitline_control.sites
    ADD COLUMN IF NOT EXISTS query_keep Array(String),
    ADD COLUMN IF NOT EXISTS query_drop Array(String),
    ADD COLUMN IF NOT EXISTS hash_paths Bool DEFAULT false,
    ADD COLUMN IF NOT EXISTS derived_sessions Bool DEFAULT false;
