"""Rollups by hour and by day: which of a site's days are due, and computing them from the exact pageviews.

`sql` holds the two statements that compute, `days` finds the days of pageviews in their sites' time zones, `run` puts
both together.  `hitline rollup` runs it; erasing and retention (`deploy.erasure`) use it for the days they touch.
"""
