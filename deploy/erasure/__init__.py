"""Deleting pageviews for good: on request, and when their site's retention is over.

In two steps.  `request` (on request, by its `conditions`) and `retention` (by its `cutoffs`) make pageviews unreadable
at once: lightweight deletes (`deletes`) mark rows, and every reader leaves these out.  `rewrite` then takes what is
marked off the disk, all of it in one rewrite of each partition.  `record` knows what was asked when, and how far it is;
`clocks` keeps retention from erasing by a wrong clock, `months` merges the parts of old months, `daily` does what is to
be done once a day.
"""
