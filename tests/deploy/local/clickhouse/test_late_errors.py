"""Errors in the middle of a streamed result, in the output's format where the client asks for it."""

from __future__ import annotations

import json

import pytest
import requests

from tests.deploy.local.clickhouse.conftest import Http

SQL = "SELECT throwIf(number = 3000000) AS a FROM numbers(5000000) SETTINGS max_threads = 1 FORMAT "


@pytest.mark.parametrize("fmt", ["JSONEachRow", "JSONLines", "NDJSON", "JSONStringsEachRow"])
def test_an_error_is_the_last_row_of_a_whole_answer(http: Http, fmt: str) -> None:
    answer = http(SQL + fmt, http_write_exception_in_output_format=1)
    rows = answer.text.splitlines()
    assert len(rows) > 100_000
    assert json.loads(rows[0]) in ({"a": 0}, {"a": "0"})
    last = json.loads(rows[-1])
    assert list(last) == ["exception"]
    assert last["exception"].startswith("Code: 395. DB::Exception: ")


@pytest.mark.parametrize(("fmt", "wanted"), [("JSONEachRow", 0), ("CSV", 1)])
def test_otherwise_the_answer_has_no_end(http: Http, fmt: str, wanted: int) -> None:
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        http(SQL + fmt, http_write_exception_in_output_format=wanted)
