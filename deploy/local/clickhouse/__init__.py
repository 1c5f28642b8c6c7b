"""The real ClickHouse engine (chDB), embedded in one process behind ClickHouse's HTTP interface.

`process.py` starts it as a process; `python -m deploy.local.clickhouse --help` lists its options. A request's way:
`app` reads it (`request`), checks the user (`users`), reads the query text (`statement`, `lexer`) and gives it to a
thread, which runs it (`execute`) on a chDB connection of its own (`engine`) or its session's (`sessions`); `replies`
and `streaming` answer.

How it differs from a server:

- chDB knows one user. Users of a configuration file become roles of it (`users`): grants, readonly, constraints and
  row filters are the engine's, but `currentUser()` is `default`, quotas are not enforced, CREATE USER is refused
  (514), and every user sees every query in system.processes.
- A query's id is in `log_comment` (`processes_view`): `system.processes` and KILL QUERY are rewritten to show it,
  when written with `system.`. `queryID()` and what KILL returns are the engine's own ids.
- There are no system logs (query_log and the like).
- A request with `readonly`, GET included, sees no temporary table of its session.
"""
