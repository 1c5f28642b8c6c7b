"""`hitline apply` and `hitline export`."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from deploy.cli.apply import DIFFERS
from deploy.local.clickhouse.process import ClickHouseProcess
from deploy.registry_file import execute
from shared.registry import token_hash
from tests import parts
from tests.deploy.cli.conftest import Hitline
from tests.parts import execute as sql

FILE = """
sites:
  - name: example.com
    hostnames: [www.example.org, "*.example.net"]
    timezone: Europe/Berlin
    retention_days: 30
    query_keep: [page]
    hash_paths: true
  - name: bücher.example
clients:
  - name: edge
    rate: 600/second
    burst: 5000
    grants: [www.example.org, bücher.example]
  - {name: everything, grants: "*"}
exclusions:
  - country: NO
  - {site: example.net.example.net, path: /admin}
""".replace("example.net.example.net", "example.com")


def write(directory: Path, text: str, name: str = "registry.yaml") -> str:
    (directory / name).write_text(text)
    return str(directory / name)


def tokens_of(output: str) -> dict[str, str]:
    lines = [line.removeprefix("token of ").split(": ") for line in output.splitlines() if line.startswith("token of")]
    return dict(lines)


def test_a_file_is_applied_and_the_second_time_changes_nothing(
    hitline: Hitline, tables: ClickHouseProcess, tmp_path: Path
) -> None:
    file = write(tmp_path, FILE)
    assert hitline("apply", "--dry-run", file, expect=DIFFERS).stdout.endswith("9 to add, 0 to change, 0 to remove\n")
    assert sql(tables, "SELECT count() FROM hitline_control.sites").strip() == "0"

    tokens = tokens_of(hitline("apply", file).stdout)

    assert set(tokens) == {"edge", "everything"}
    stored = sql(tables, "SELECT token_sha256 FROM hitline_control.clients")
    assert all(token_hash(token) in stored for token in tokens.values())
    for more in ([], ["--dry-run"], ["--prune"], ["--dry-run", "--prune"]):
        assert hitline("apply", *more, file).stdout == "0 to add, 0 to change, 0 to remove\n"
    listed = json.loads(hitline("client", "list", "--json").stdout)
    assert {each["name"]: [grant["site"] for grant in each["grants"]] for each in listed} == {
        "edge": ["example.com", "xn--bcher-kva.example"],
        "everything": ["*"],
    }
    assert {(each["site"], each["value"]) for each in json.loads(hitline("exclude", "list", "--json").stdout)} == {
        (None, "NO"),
        ("example.com", "/admin"),
    }


@pytest.mark.parametrize("form", ["yaml", "ndjson"])
def test_what_is_exported_is_what_was_applied(
    hitline: Hitline, tables: ClickHouseProcess, tmp_path: Path, form: str
) -> None:
    hitline("apply", write(tmp_path, FILE))
    exported = hitline("export", "--format", form).stdout
    assert exported == hitline("export", "--format", form).stdout
    assert "token" not in exported
    assert hitline("apply", "--prune", write(tmp_path, exported, f"again.{form}")).stdout.startswith("0 to add, 0 to")

    parts.empty_tables(tables)
    hitline("apply", str(tmp_path / f"again.{form}"))
    assert hitline("export", "--format", form).stdout == exported


def test_nothing_is_taken_away_unless_asked(hitline: Hitline, tmp_path: Path) -> None:
    hitline("apply", write(tmp_path, FILE))
    less = write(tmp_path, "sites: [{name: example.com, timezone: UTC}]\nclients: [{name: edge, grants: []}]\n", "less")

    output = hitline("apply", less).stdout

    assert output.splitlines()[0] == "~ site example.com: timezone Europe/Berlin → UTC"
    assert "left alone, since the file does not have them: 2 hostnames, 1 site, 2 grants, 1 client" in output
    assert "exclusion" not in output, "the file does not speak of them"
    pruned = hitline("apply", "--prune", less).stdout
    assert pruned.splitlines()[-1] == "0 to add, 1 to change, 4 to remove"
    assert json.loads(hitline("site", "list", "--json").stdout)[0]["hostnames"] == ["example.com"]
    assert [each["grants"] for each in json.loads(hitline("client", "list", "--json").stdout)] == [[]]
    assert len(json.loads(hitline("exclude", "list", "--json").stdout)) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sites:\n  - name: example.com\n    timezone: Mars/Olympus\n", "2: timezone: unknown time zone"),
        ("sites:\n  - name: example.com\n    retention_days: soon\n", "3: sites[0].retention_days: must be a whole"),
        ("sites:\n  - name: example.com\n    timezon: UTC\n", "3: sites[0].timezon: is unknown"),
        ("sites:\n  - hostnames: [a.example]\n", "2: sites[0]: name: is missing"),
        ("sites:\n  - name: a.example\n  - name: a.example\n", "3: hostname a.example is there twice"),
        ("sites:\n  - name: https://example.com/\n", "2: sites[0].name: 'https://example.com/'"),
        ("clients:\n  - name: edge\n    rate: fast\n", "3: clients[0].rate: 'fast' must be a rate"),
        ("clients:\n  - {name: edge, grants: [nowhere.example]}\n", "2: there is no site with the hostname nowhere"),
        ("exclusions:\n  - cidr: 10.0.0.1/8\n", "2: exclusions[0]: cidr: '10.0.0.1/8' has host bits set"),
        ("exclusions:\n  - {cidr: 10.0.0.0/8, path: /a}\n", "2: exclusions[0]: must have one of"),
        ("pages: []\n", "1: pages: is unknown"),
        ("sites: {name: x}\n", "1: sites: must be a list"),
        ("sites: [\n", "2: "),
        ('{"kind": "site", "name": "a.example"}\n{"kind": "page"}\n', "2: kind: must be one of"),
        ('{"kind": "site", "name": "a.example"}\n\n{"kind": "client", "name": "c", "burst": true}', "3: client.burst:"),
        ('{"kind": "site", name}\n', "1: is not JSON"),
    ],
)
def test_a_mistake_is_named_by_line_and_field_and_nothing_is_changed(
    hitline: Hitline, tables: ClickHouseProcess, tmp_path: Path, text: str, problem: str
) -> None:
    file = write(tmp_path, text)
    assert f"{file}:{problem}" in hitline("apply", file, expect=1).stderr
    assert sql(tables, "SELECT count() FROM hitline_control.sites").strip() == "0"


def test_tokens_go_into_files_that_only_their_owner_reads(hitline: Hitline, tmp_path: Path) -> None:
    directory = tmp_path / "tokens"
    file = write(tmp_path, 'clients: [{name: edge}, {name: "../a b"}]')

    assert "token of" not in hitline("apply", "--tokens-dir", str(directory), file).output

    assert {path.name for path in directory.iterdir()} == {"edge", "%2E.%2Fa b"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert (directory / "edge").read_text().startswith("hl_")


def test_two_at_once_lose_nothing_of_each_other(
    hitline: Hitline, tables: ClickHouseProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one runs whole between the first one's look and its writing."""
    hitline("apply", write(tmp_path, FILE))
    mine = "sites: [{name: example.com, timezone: UTC, hostnames: [mine.example]}, {name: both.example}]\n"
    mine += "clients: [{name: edge, burst: 7}, {name: both, grants: [both.example]}]\n"
    others = "sites: [{name: example.com, retention_days: 5, hostnames: [theirs.example]}, {name: both.example}]\n"
    others += "clients: [{name: edge, rate: 5/second, grants: ['*']}, {name: both}]\n"
    first, second = write(tmp_path, mine, "mine"), write(tmp_path, others, "others")
    whole = execute._write
    outputs = []

    async def write_later(*arguments: object, **more: object) -> None:
        monkeypatch.setattr(execute, "_write", whole)
        outputs.append(hitline("apply", second).stdout)
        await whole(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(execute, "_write", write_later)
    outputs.append(hitline("apply", first).stdout)

    (both, example, _) = json.loads(hitline("site", "list", "--json").stdout)
    assert both["name"] == "both.example"
    assert (example["timezone"], example["retention_days"]) == ("UTC", 5)
    assert {"mine.example", "theirs.example"} < set(example["hostnames"])
    clients = {each["name"]: each for each in json.loads(hitline("client", "list", "--json").stdout)}
    assert (clients["edge"]["burst"], clients["edge"]["rate"]) == (7, "5/second")
    assert [grant["site"] for grant in clients["both"]["grants"]] == ["both.example"]
    assert len(clients["edge"]["grants"]) == 3
    issued = [tokens_of(output).get("both") for output in outputs]
    assert [token is not None for token in issued] == [True, False], "of a client that both added, one has the token"
    in_force = f"SELECT max(removed) FROM hitline_control.clients WHERE token_sha256 = '{token_hash(str(issued[0]))}'"
    assert sql(tables, in_force).strip() == "false"
