-- Old months are merged by the daily work of `hitline retain`, where that costs at most ten times what it brings: a single
-- late pageview used to rewrite its whole month a day later, and a month above 150 GiB never became one part.
ALTER TABLE hitline.pageviews_raw
    MODIFY SETTING min_age_to_force_merge_seconds = 0, min_age_to_force_merge_on_partition_only = 0;
