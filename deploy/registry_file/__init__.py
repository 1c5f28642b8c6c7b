"""The registry as a file, for `hitline apply` and `hitline export`.

`parse` reads YAML or NDJSON into `entries`, `state` is what the registry has, `plan` what differs, `execute` makes it
so, and `write` writes such a file.
"""
