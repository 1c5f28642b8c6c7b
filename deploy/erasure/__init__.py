"""Deleting pageviews for good: on request, and when their site's retention is over."""
