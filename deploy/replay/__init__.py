"""`hitline replay`: access logs as pageviews.  `run.py` shows the whole way of a line."""
