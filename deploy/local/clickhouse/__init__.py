"""The real ClickHouse engine (chDB), embedded in one process behind ClickHouse's HTTP interface."""
