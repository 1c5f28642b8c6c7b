from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.lookups.spam_files import BadList, parse_list, read_list

META = '{"type":"metadata","timestamp":1,"size":2,"records":%d,"copyright":"(c)","terms":"https://example.com"}'


def text(*lines: str) -> bytes:
    return "\n".join(lines).encode()


def test_reads_drop_records():
    found = parse_list(text('{"cidr":"192.0.2.0/24","sblid":"SBL1","rir":"x"}', '{"cidr":"2001:db8::/32"}', META % 2))
    assert [(str(network), name) for network, name in found.networks] == [
        ("192.0.2.0/24", "192.0.2.0/24 (SBL1)"),
        ("2001:db8::/32", "2001:db8::/32"),
    ]
    assert found.hosts == ()


def test_reads_the_older_text_format():
    found = parse_list(text("; Spamhaus DROP List", "192.0.2.0/24 ; SBL1", "", "198.51.100.7"))
    assert [name for _, name in found.networks] == ["192.0.2.0/24 (SBL1)", "198.51.100.7/32"]


def test_reads_hosts_in_any_spelling():
    found = parse_list(text("semalt.com", "WWW.Buttons.Example\r", "# comment", "bücher.example", "0-0.fr"))
    assert found.hosts == ("semalt.com", "buttons.example", "xn--bcher-kva.example", "0-0.fr")


def test_reads_comments_behind_an_entry_and_wildcards():
    found = parse_list(text("spam.test # since May", "*.ads.test\t# all", "192.0.2.0/24 ; mine # x", "*.www.b.test"))
    assert found.hosts == ("spam.test", "ads.test", "b.test")
    assert [name for _, name in found.networks] == ["192.0.2.0/24 (mine)"]


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "nothing"),
        (b"# nothing\n", "nothing"),
        (b"\xff\xfe", "UTF-8"),
        (b"<html><body>404</body></html>", "is a web page"),
        (text('{"cidr":"192.0.2.0/24"}'), "cut short"),
        (text('{"cidr":"192.0.2.0/24"}', META % 2), "1 records"),
        (text(META % 0), "nothing"),
        (text('{"cidr":"192.0.2.0/24"', META % 1), "line 1 is not JSON"),
        (text('{"cidr":"192.0.2.0/99"}', META % 1), "line 1 is not an IPv4"),
        (text('{"cidr":"0.0.0.0/0"}', META % 1), "every address"),
        (text('{"sblid":"x"}', META % 1), "line 1"),
        (text('{"cidr":"192.0.2.0/24"}', "[1]", META % 2), "line 2 is not a JSON object"),
        (text("192.0.2.0/24", "192.0.2.0/99"), "line 2"),
        (text("semalt.com", "com"), "line 2 lists a whole"),
        (text("semalt.com", "not a host"), "line 2"),
        (text("*.com # all"), "line 1 lists a whole"),
        (text("spam.test#x"), "line 1"),
        (gzip.compress(b"semalt.com", mtime=0), "UTF-8"),
    ],
)
def test_refuses_incomplete_lists(content, wrong):
    with pytest.raises(BadList, match=wrong):
        parse_list(content)


def test_refuses_what_can_not_be_read(tmp_path: Path):
    with pytest.raises(BadList, match="can't be read"):
        read_list(tmp_path / "missing")


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_no_content_raises_anything_else(content):
    with contextlib.suppress(BadList):
        parse_list(content)
