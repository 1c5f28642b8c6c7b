"""ClickHouse's errors as its HTTP interface shows them: code, text, status."""

from __future__ import annotations

import re

# src/Common/ErrorCodes.cpp, only those that this front raises itself.
NAMES = {
    36: "BAD_ARGUMENTS",
    48: "NOT_IMPLEMENTED",
    73: "UNKNOWN_FORMAT",
    89: "UNKNOWN_COMPRESSION_METHOD",
    40: "CHECKSUM_DOESNT_MATCH",
    46: "UNKNOWN_FUNCTION",
    62: "SYNTAX_ERROR",
    63: "UNKNOWN_TYPE_OF_QUERY",
    164: "READONLY",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    216: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
    271: "CANNOT_DECOMPRESS",
    309: "INTO_OUTFILE_NOT_ALLOWED",
    344: "SUPPORT_IS_DISABLED",
    372: "SESSION_NOT_FOUND",
    373: "SESSION_IS_LOCKED",
    374: "INVALID_SESSION_TIMEOUT",
    394: "QUERY_WAS_CANCELLED",
    396: "TOO_MANY_ROWS_OR_BYTES",
    497: "ACCESS_DENIED",
    512: "SET_NON_GRANTED_ROLE",
    516: "AUTHENTICATION_FAILED",
    1000: "POCO_EXCEPTION",
    1001: "STD_EXCEPTION",
}

# src/Server/HTTP/exceptionCodeToHTTPStatus.cpp; others are 500.
_STATUS = {
    401: (194,),
    403: (192, 193, 497, 512, 516),
    # Arguments, parsing, types, columns, syntax.
    400: (
        6,
        10,
        15,
        25,
        26,
        27,
        36,
        38,
        41,
        44,
        53,
        62,
        69,
        72,
        117,
        167,
        168,
        200,
        229,
        352,
        376,
        427,
        441,
        675,
        676,
    ),
    404: (46, 47, 50, 56, 60, 63, 73, 81, 115, 145, 185, 336, 511),
    408: (159,),
    411: (381,),
    413: (55,),
    501: (48,),
    503: (76, 209, 439),
}
STATUS_OF_CODE = {code: status for status, codes in _STATUS.items() for code in codes}

_MEMORY_LIMIT_EXCEEDED = 241
_CODE = re.compile(r"Code:\s*(\d+)\.\s*DB::Exception:\s*", re.DOTALL)
_REPEATED = re.compile(r"^(?:Code:\s*\d+\.\s*DB::Exception:\s*)+", re.DOTALL)
_TRAILER = re.compile(r"\s*\(([A-Z][A-Z0-9_]+)\)(?:\s*\(version [^)]*\)|\.?\s*\([A-Z][A-Z0-9_]+\))*\s*$")


class ClickHouseError(Exception):
    """An error with ClickHouse's code."""

    def __init__(self, code: int, message: str, name: str | None = None, status: int | None = None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.name = name or NAMES.get(code, "UNKNOWN_EXCEPTION")
        self.status = status or STATUS_OF_CODE.get(code, 500)

    def text(self, version: str) -> str:
        """Return the body of the answer, as the server writes it."""
        return f"Code: {self.code}. DB::Exception: {self.message} ({self.name}) (version {version})\n"


def from_engine(error: BaseException) -> ClickHouseError:
    """Return an exception of chDB as an error; its text is ClickHouse's own, without the version.

    chDB repeats the start of some texts (`Code: 115. DB::Exception: Code: 115. DB::Exception: ...`); one is kept.
    """
    text = str(error).strip()
    found = _CODE.search(text)
    if not found:
        return ClickHouseError(1001, text or type(error).__name__)
    message = _REPEATED.sub("", text[found.start() :])
    trailer = _TRAILER.search(message)
    name = None
    if trailer:
        name = trailer.group(1)
        message = message[: trailer.start()]
    code = int(found.group(1))
    if code == _MEMORY_LIMIT_EXCEEDED and "(total)" in message:
        message += "; all queries together may use half of this machine's memory here, or --max-memory-bytes"
    return ClickHouseError(code, message, name)
