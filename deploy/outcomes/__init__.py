"""Outcomes of messages that can't return, folded into sums by minute, site, client and outcome.

`fold` is one run, `statements` has its SQL; docs/decisions/outcomes.md says why it counts nothing twice.
"""
