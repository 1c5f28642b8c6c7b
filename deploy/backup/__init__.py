"""`hitline backup` and `hitline restore`: what ClickHouse's own BACKUP of the pageviews does not hold together."""
