"""Rollups by hour and by day, kept up by the difference that changed sessions make.

`run` is one run, and `progress` how far runs have come: `touched` finds the sessions that are due, `changes` and
`differences` compute them and correct the sums in the order of `settle`, `check` compares days that are over, `zones`
and `zone_rules` follow the registry and the time zone database, `lease` lets one process write at a time, `forget`
takes what was replaced off the disk.  `dimensions` says what is counted.
"""
