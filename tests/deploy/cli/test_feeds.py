from __future__ import annotations

from click.testing import CliRunner

from deploy.cli.feeds import feeds
from tests.file_server import DROP


def run(file_server, tmp_path):
    names = {"--drop-v4-url": "drop_v4.json", "--drop-v6-url": "drop_v6.json", "--referrers-url": "referrer_spam.txt"}
    options = ["--sources-url", f"{file_server.url}/sources"]
    options += [part for name, file in names.items() for part in (name, f"{file_server.url}/{file}")]
    return CliRunner().invoke(feeds, ["update", *options], env={"HITLINE_STATE_DIR": str(tmp_path)})


def test_fetches_the_lists_and_reports_each(file_server, tmp_path):
    result = run(file_server, tmp_path)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "feeds" / "drop_v4.json").read_bytes() == DROP
    assert [line.partition(": ")[2] for line in result.output.splitlines()] == [
        "2 networks", "1 networks", "4 hosts", "1 sources", "1 sources", "2 sources",
    ]  # fmt: skip


def test_a_failed_feed_is_reported_with_exit_code_1(file_server, tmp_path):
    file_server.put("drop_v6.json", b"", 503)
    result = run(file_server, tmp_path)
    assert result.exit_code == 1
    assert "drop_v6.json: the server answered 503" in result.output
    assert (tmp_path / "feeds" / "referrer_spam.txt").exists()
