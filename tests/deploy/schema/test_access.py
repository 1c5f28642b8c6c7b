"""The shipped users, each tried against the engine: what it needs works, everything else is refused."""

from __future__ import annotations

import hashlib
import re
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.outcomes import ledger
from deploy.schema import migrations
from shared.clickhouse import ClickHouse
from tests import parts
from tests.deploy.cli.conftest import runner_with
from tests.deploy.rollups import visits

ACCESS = migrations.DIRECTORY / "access"
#: A site of its own for each of two tenants: rollups are several statements for each time zone.
SITES = visits.PAIR
MINE, OTHER = map(str, SITES)
DENIED = "497"


def row_policies() -> dict[str, dict[str, str]]:
    """Return what each role sees, by table, by the shipped SQL: the embedded engine runs no `CREATE ROW POLICY`.

    A role's policies of one table are joined by OR; a role that a table's policies leave out sees no row of it.
    """
    text = re.sub(r"--.*", "", (ACCESS / "tenant.sql").read_text())
    found: dict[str, dict[str, str]] = {}
    for statement in migrations.split(text):
        policy = re.fullmatch(
            r"CREATE ROW POLICY OR REPLACE (\w+) ON ([\w., ]+) USING (.+) TO ([\w, ]+)", " ".join(statement.split())
        )
        if policy is None:
            assert "ROW POLICY" not in statement, statement
            continue
        for table in policy[2].split(", "):
            for role in policy[4].split(", "):
                seen = found.setdefault(table, {})
                seen[role] = f"({seen[role]}) OR ({policy[3]})" if role in seen else policy[3]
    return found


def restrict(user: ET.Element) -> None:
    """Let a user of users.xml see what the row policies of the SQL let its role see."""
    databases = ET.SubElement(user, "databases")
    for table, conditions in row_policies().items():
        database, _, name = table.partition(".")
        within = databases.find(database)
        within = ET.SubElement(databases, database) if within is None else within
        ET.SubElement(ET.SubElement(within, name), "filter").text = conditions.get(user.tag, "0")


def configuration() -> str:
    """Join the shipped files as a server does, with an administrator and the users' names as their passwords."""
    users = ET.fromstring((ACCESS / "users.xml").read_text())
    tenant = ET.fromstring((ACCESS / "tenant.xml").read_text().replace("TENANT", "shop").replace("SITE_ID", MINE))
    own, others = users.find("users"), tenant.find("users")
    assert own is not None
    assert others is not None
    for user in own:
        restrict(user)
    own.extend(others)
    for user in own:
        password = user.find("password_sha256_hex")
        assert password is not None
        assert password.get("from_env")
        password.text = hashlib.sha256(user.tag.encode()).hexdigest()
    admin = ET.fromstring("<default><password>default</password><profile>hitline_service</profile></default>")
    own.append(admin)
    return ET.tostring(users, "unicode")


class Server:
    def __init__(self, process: ClickHouseProcess) -> None:
        self.process = process

    def url(self, user: str) -> str:
        return self.process.url.replace("http://", f"http://{user}:{user}@")

    def __call__(self, user: str, sql: str, **settings: object) -> str:
        """Run a statement; returns the answer, or the error's code."""
        url = f"{self.process.url}/?{urllib.parse.urlencode(settings)}"
        headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": user}
        try:
            request = urllib.request.Request(url, data=sql.encode(), headers=headers)
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            return error.headers["X-ClickHouse-Exception-Code"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("access")
    (path / "users.xml").write_text(configuration())
    with ClickHouseProcess(path / "data", config_file=path / "users.xml") as process:
        server = Server(process)
        parts.run_apart(lambda: parts.apply_schema(server.url("default")))
        registry = runner_with(parts.make_env(path / "state", CLICKHOUSE_URL=server.url("hitline_registry")))
        registry("site", "add", "added.example")
        registry("client", "add", "edge", "--grant", "added.example")
        registry("client", "list")
        registry("exclude", "add", "--path", "/admin")
        sites = ", ".join(f"('{site}', '{site.hex[-4:]}.example', '{zone}')" for site, zone in SITES.items())
        server("hitline_registry", f"INSERT INTO hitline_control.sites (site_id, name, timezone) VALUES {sites}")
        rows = visits.make(60, seed=1, sites=SITES)
        rows += [{**row, "timestamp": visits.stamp(visits.at(row) + timedelta(days=1))} for row in rows]
        columns = ", ".join(rows[0])
        values = "\n".join(visits.json.dumps(row) for row in rows)
        worker = server("hitline_worker", f"INSERT INTO hitline.pageviews_raw ({columns}) FORMAT JSONEachRow\n{values}")
        assert worker == ""
        columns = "batch_id, part, day, minutes, sites, clients, outcomes, counts"
        values = f"generateUUIDv4(), 0, today(), [now()], ['{MINE}'], ['{OTHER}'], ['stored'], [1]"
        assert server("hitline_worker", f"INSERT INTO hitline.outcomes_raw ({columns}) VALUES ({values})") == ""
        keeper = runner_with(parts.make_env(path / "state", CLICKHOUSE_URL=server.url("hitline_keeper")))
        keeper("rollup")
        keeper("erase", "--path", "/a", "--yes")
        keeper("retain", "--idle")
        keeper("erase", "--session", rows[0]["session_id"], "--yes", "--now")
        keeper("erase", "--list")
        yield server


def test_the_keeper_reconciles(server: Server) -> None:
    """`hitline reconcile` needs a broker besides; this is what it asks ClickHouse, and notes there."""

    async def verify() -> datetime | None:
        clickhouse = ClickHouse(server.url("hitline_keeper"), "hitline tests")
        try:
            counted = await ledger.count(clickhouse, ledger.Period(last=datetime(2020, 1, 1, tzinfo=UTC)))
            await ledger.count(clickhouse, ledger.Period(last=datetime(2020, 1, 1, tzinfo=UTC), client="edge"))
            return await ledger.note(clickhouse, ledger.Period(), counted, datetime.now(UTC))
        finally:
            await clickhouse.close()

    assert parts.run_apart(verify) is not None


def test_a_wrong_password_is_refused_for_every_user(server: Server) -> None:
    request = urllib.request.Request(
        server.process.url, data=b"SELECT 1", headers={"X-ClickHouse-User": "hitline_analyst"}
    )
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request, timeout=30)


def test_a_worker_looks_up_its_rows_and_reads_no_pageview(server: Server) -> None:
    worker = "hitline_worker"
    look_up = (
        "SELECT batch_id, position, site_id FROM hitline.pageviews_raw WHERE timestamp > 0 AND stored_at > 0 LIMIT 1"
    )
    assert OTHER in server(worker, look_up.replace(" LIMIT 1", "")), "it sees the rows of every site"
    assert server(worker, "SELECT query_id FROM system.processes") != DENIED
    assert server(worker, "SELECT count() FROM hitline.outcomes_raw FINAL") == "1"
    assert server(worker, "SELECT count() FROM hitline_control.exclusions") == "1"
    assert server(worker, "KILL QUERY WHERE query_id = 'none' ASYNC") != DENIED
    for column in ("path", "user_agent", "referrer", "session_id"):
        assert server(worker, f"SELECT {column} FROM hitline.pageviews_raw") == DENIED
    for sql in (
        "SELECT count() FROM hitline.pageviews",
        "SELECT * FROM hitline.daily",
        "ALTER TABLE hitline.pageviews_raw DELETE WHERE 1",
        "TRUNCATE TABLE hitline.pageviews_raw",
        "DROP TABLE hitline.pageviews_raw",
        "CREATE TABLE hitline.x (n UInt8) ENGINE = Memory",
        "INSERT INTO hitline_control.sites (site_id) VALUES (generateUUIDv4())",
        "INSERT INTO hitline_control.clients (name) VALUES ('me')",
        "SELECT * FROM hitline_control.migrations",
    ):
        assert server(worker, sql) == DENIED, sql


def test_a_gateway_reads_the_registry_only(server: Server) -> None:
    gateway = "hitline_gateway"
    assert server(gateway, "SELECT count() FROM hitline_control.clients") == "1"
    for sql in (
        "SELECT count() FROM hitline.pageviews",
        "SELECT batch_id FROM hitline.pageviews_raw",
        "INSERT INTO hitline_control.clients (name) VALUES ('me')",
        "INSERT INTO hitline.pageviews_raw (path) VALUES ('/')",
        "KILL QUERY WHERE 1",
    ):
        assert server(gateway, sql) == DENIED, sql


def test_the_registry_is_only_appended_to(server: Server) -> None:
    registry = "hitline_registry"
    for sql in (
        "ALTER TABLE hitline_control.sites DELETE WHERE 1",
        "TRUNCATE TABLE hitline_control.clients",
        "SELECT count() FROM hitline.pageviews",
        "SELECT count() FROM hitline_control.erasures",
    ):
        assert server(registry, sql) == DENIED, sql


def test_a_keeper_can_neither_insert_pageviews_nor_change_the_registry(server: Server) -> None:
    keeper = "hitline_keeper"
    for sql in (
        "INSERT INTO hitline.pageviews_raw (path) VALUES ('/')",
        "INSERT INTO hitline_control.sites (site_id) VALUES (generateUUIDv4())",
        "SELECT * FROM hitline_control.clients",
        "DROP TABLE hitline.pageviews_raw",
    ):
        assert server(keeper, sql) == DENIED, sql


def test_an_analyst_reads_hitline_and_nothing_else(server: Server) -> None:
    analyst = "hitline_analyst"
    for view in ("pageviews", "sessions", "outcomes", "daily", "hourly", "daily_sessions", "freshness", "sites"):
        assert server(analyst, f"SELECT count() >= 0 FROM hitline.{view}") in ("1", "true"), view
    for sql in (
        "SELECT * FROM hitline_control.clients",
        "SELECT token_sha256 FROM hitline_control.clients",
        "SELECT * FROM hitline_control.sites",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT file('/etc/hostname')",
        "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
        "SELECT * FROM executable('ls', 'CSV', 'a String')",
        "CREATE TEMPORARY TABLE mine (a UInt8)",
        "CREATE FUNCTION mine AS x -> x",
        "SYSTEM STOP MERGES hitline.pageviews_raw",
        "SELECT * FROM system.users",
        "SELECT * FROM system.row_policies",
        "SELECT * FROM remote('127.0.0.1', 'hitline_control.clients')",
        "INSERT INTO hitline.pageviews_raw (path) VALUES ('/')",
        "INSERT INTO FUNCTION url('http://127.0.0.1:1/', 'CSV', 'a String') SELECT 'x'",
        "ALTER TABLE hitline.pageviews_raw DELETE WHERE 1",
        "DROP VIEW hitline.pageviews",
        "KILL QUERY WHERE 1",
        "GRANT SELECT ON hitline_control.* TO default",
    ):
        assert server(analyst, sql) in (DENIED, "164"), sql


def test_an_analyst_can_not_leave_the_limits(server: Server) -> None:
    analyst = "hitline_analyst"
    assert server(analyst, "SELECT getSetting('max_execution_time'), getSetting('max_threads')") == "60\t4"
    assert server(analyst, "SELECT 1", max_execution_time=120) == "1"
    for name, value in (
        ("max_execution_time", 301), ("max_execution_time", 0), ("max_memory_usage", 9_000_000_000),
        ("max_threads", 9), ("max_result_rows", 10_000_001), ("max_concurrent_queries_for_user", 100), ("priority", 0),
        ("max_memory_usage", 0), ("max_result_rows", 0),
    ):  # fmt: skip
        assert server(analyst, "SELECT 1", **{name: value}) == "452", name
    assert server(analyst, "SELECT 1", readonly=0) == "164"
    assert server(analyst, "SELECT 1", apply_deleted_mask=0) == "452", "rows that were erased"
    assert server(analyst, "SELECT number FROM numbers(2000000) FORMAT Null") in ("", "396")


ROLLUPS = ("session_days_raw", "several_days_raw", "daily_counts_raw", "hourly_counts_raw")


def test_a_tenant_sees_its_own_sites_in_every_view(server: Server) -> None:
    tenant = "hitline_tenant_shop"
    for view in ("pageviews", "sessions", "daily", "hourly", "daily_sessions", "pageviews_raw", *ROLLUPS):
        assert server(tenant, f"SELECT DISTINCT site_id FROM hitline.{view}") == MINE, view
        assert server(tenant, f"SELECT count() FROM hitline.{view} WHERE site_id = '{OTHER}'") == "0"
        assert server("hitline_analyst", f"SELECT uniqExact(site_id) FROM hitline.{view}") == str(len(SITES))
    for source in ("merge('hitline', '_raw$')", "view(SELECT * FROM hitline.pageviews_raw)"):
        assert server(tenant, f"SELECT DISTINCT site_id FROM {source} WHERE site_id != '{UUID(int=0)}'") == MINE, source
    assert server(tenant, "SELECT * FROM mergeTreeIndex('hitline', 'pageviews_raw')") == DENIED
    # A row that is filtered away is not evaluated either: an error would tell of it.
    for table in ("pageviews", "pageviews_raw", "daily", "hourly"):
        assert server(tenant, f"SELECT throwIf(site_id != '{MINE}') FROM hitline.{table} FORMAT Null") == "", table
    assert server(tenant, "SELECT count() FROM hitline.outcomes") == "0"
    for user in ("hitline_analyst", "hitline_registry", "hitline_keeper", "hitline_worker"):
        assert server(user, "SELECT count() FROM hitline.outcomes_raw") == "1", user
    assert server(tenant, "SELECT count() FROM hitline.sites WHERE name = 'added.example'") == "0"
    assert server(tenant, f"SELECT count() FROM hitline.freshness WHERE site_id != '{MINE}'") == "0"
    between = "hitline.sessions_between(site = '{}', zone = 'UTC', from = '2020-01-01', to = '2030-01-01')"
    assert int(server(tenant, f"SELECT count() FROM {between.format(MINE)}")) > 0
    assert server(tenant, f"SELECT count() FROM {between.format(OTHER)}") == "0"
    assert server(tenant, "SELECT * FROM hitline_control.sites") == DENIED


def test_reports_show_a_user_what_it_may_see(server: Server, tmp_path: Path) -> None:
    def report(user: str, site: str, expect: int = 0) -> str:
        hitline = runner_with(parts.make_env(tmp_path, CLICKHOUSE_URL=server.url(user)))
        return hitline("report", site, "--from", "2026-03-01", "--to", "2026-04-30", expect=expect).output

    assert "Pageviews" in report("hitline_analyst", OTHER)
    assert "Pageviews" in report("hitline_tenant_shop", MINE)
    assert "that this user may see" in report("hitline_tenant_shop", OTHER, expect=1)


def test_a_tenant_sees_how_its_own_rollups_stand(server: Server) -> None:
    columns = {
        "rollup_changes": "run, sign, site_id",
        "erased_sessions": "site_id, day, session_id",
        "rollup_zones": "site_id, timezone, moving",
        "retention_cutoffs": "site_id, first_day",
    }
    values = {
        "rollup_changes": "7, {}, '{}'",
        "erased_sessions": "'{1}', today(), '{1}'",
        "rollup_zones": "'{1}', 'UTC', 0",
        "retention_cutoffs": "'{1}', today()",
    }
    for table, names in columns.items():
        for sign, site in ((1, MINE), (1, OTHER), (0, UUID(int=0))):
            row = values[table].format(sign, site)
            assert server("default", f"INSERT INTO hitline_control.{table} ({names}) VALUES ({row})") == ""
        seen = server("hitline_tenant_shop", f"SELECT DISTINCT site_id FROM hitline_control.{table}").split()
        assert set(seen) - {str(UUID(int=0))} == {MINE}, table
        assert OTHER in server("hitline_analyst", f"SELECT DISTINCT site_id FROM hitline_control.{table}"), table
    assert server("hitline_tenant_shop", "SELECT session_id FROM hitline_control.rollup_changes") == DENIED
    assert server("hitline_tenant_shop", "SELECT values FROM hitline_control.rollup_changes") == DENIED
    server("default", "ALTER TABLE hitline_control.rollup_changes DROP PARTITION 7")


def test_roles_in_sql_say_what_the_xml_says() -> None:
    sql = " ".join((ACCESS / "roles.sql").read_text().split())
    users = ET.fromstring((ACCESS / "users.xml").read_text()).find("users")
    assert users is not None
    for user in users:
        in_xml = sorted(query.text or "" for query in user.findall("grants/query"))
        in_sql = sorted(f"GRANT {what}" for what in re.findall(rf"GRANT ((?:(?!GRANT|;).)+) TO {user.tag};", sql))
        assert in_xml == in_sql, user.tag


@pytest.mark.parametrize("name", ["roles.sql", "roles-cluster.sql", "tenant.sql"])
def test_the_sql_is_what_clickhouse_reads(server: Server, name: str) -> None:
    text = (ACCESS / name).read_text().replace("TENANT", "shop").replace("SITE_ID", MINE)
    for statement in migrations.split(text):
        quoted = statement.replace("\\", "\\\\").replace("'", "\\'")
        assert server("default", f"SELECT length(formatQuery('{quoted}')) > 0") in ("1", "true"), statement


def test_every_table_that_holds_sites_has_a_tenant_filter(server: Server) -> None:
    """A table added later must not show a tenant what is not its own."""
    tables = server(
        "default",
        "SELECT DISTINCT table FROM system.columns WHERE database = 'hitline' AND name IN ('site_id', 'sites')"
        " AND table IN (SELECT name FROM system.tables WHERE database = 'hitline' AND engine LIKE '%MergeTree')",
    )
    policies = (ACCESS / "tenant.sql").read_text()
    xml = (ACCESS / "tenant.xml").read_text()
    for table in tables.split():
        assert f"hitline.{table}" in policies
        assert f"<{table}>" in xml


def test_each_tenant_has_its_own_quota() -> None:
    """A list of tenants in a shared one would be replaced by the next tenant's."""
    text = " ".join((ACCESS / "tenant.sql").read_text().split())
    assert "ALTER QUOTA" not in text
    limits = r"FOR INTERVAL 1 hour MAX queries = 10000, errors = 1000, execution_time = 3600 TO "
    assert re.search(
        rf"CREATE QUOTA OR REPLACE hitline_tenant_TENANT KEYED BY user_name {limits}hitline_tenant_TENANT;", text
    )
    assert re.search(limits, " ".join((ACCESS / "roles.sql").read_text().split()))


def test_the_servers_own_logs_are_bounded() -> None:
    config = ET.fromstring((migrations.DIRECTORY / "server" / "config.xml").read_text())
    logs = [element for element in config if element.tag.endswith("_log")]
    assert len(logs) > 10
    for log in logs:
        assert log.get("remove") == "1" or "DELETE" in (log.findtext("ttl") or ""), log.tag


def test_a_tenant_sees_the_same_by_the_sql_and_by_the_xml() -> None:
    databases = ET.fromstring((ACCESS / "tenant.xml").read_text()).find("users/hitline_tenant_TENANT/databases")
    assert databases is not None
    in_xml = {f"{database.tag}.{table.tag}": table.findtext("filter") for database in databases for table in database}
    in_sql = {table: conditions["hitline_tenant_TENANT"] for table, conditions in row_policies().items()}
    assert in_sql == in_xml
    assert in_sql["hitline.outcomes_raw"] == "0"


def test_whoever_may_read_a_table_with_row_policies_sees_all_of_it_but_for_tenants() -> None:
    """A worker that sees nothing would find nothing stored, and store everything twice."""
    roles = " ".join((ACCESS / "roles.sql").read_text().split())
    for table, conditions in row_policies().items():
        readers = {
            role
            for granted, tables, role in re.findall(r"GRANT ([^;]+?) ON (\S+) TO (\w+);", roles)
            if "SELECT" in granted and tables in (table, f"{table.partition('.')[0]}.*")
        }
        everyone = {role: condition for role, condition in conditions.items() if role != "hitline_tenant_TENANT"}
        assert readers <= everyone.keys(), table
        assert set(everyone.values()) == {"1"}, table


def test_tenant_files_are_templates() -> None:
    for name in ("tenant.sql", "tenant.xml"):
        assert "SITE_ID" in Path(ACCESS / name).read_text()
