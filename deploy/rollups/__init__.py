"""Rollups by hour and by day, kept up by the difference that changed sessions make.

`run` is one run: `touched` finds the sessions that are due, `changes` and `differences` compute them and correct the
sums in the order of `settle`, `check` compares days that are over, `zones` follows the registry, `lease` lets one process write at a time, `forget`
takes what was replaced off the disk.  `dimensions` says what is counted.
"""
