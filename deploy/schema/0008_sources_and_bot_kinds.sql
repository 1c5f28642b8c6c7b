-- Where visits come from, and what bots are for.  Rows stored before have these empty, and `path` as it was sent: from
-- here on it is in the canonical form of RFC 3986 section 6.2.2 (docs/analysts.md shows how to read both).

ALTER TABLE hitline.pageviews_raw
    ADD COLUMN IF NOT EXISTS source LowCardinality(String) AFTER referrer_host,
    ADD COLUMN IF NOT EXISTS channel LowCardinality(String) AFTER source,
    ADD COLUMN IF NOT EXISTS bot_kind LowCardinality(String) AFTER is_bot;

CREATE OR REPLACE VIEW hitline.pageviews AS
SELECT site_id, hostname, timestamp, received_at, session_id, page_id, path, query, referrer, referrer_host, source,
       channel, utm_source, utm_medium, utm_campaign, utm_term, utm_content, qr_id, user_agent, browser,
       browser_version, os, os_version, device, is_bot, bot_kind, language, country, region, city, provider, asn,
       asn_org, screen_width, screen_height, viewport_width, viewport_height, client_id, stored_at
FROM hitline.pageviews_raw FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;
