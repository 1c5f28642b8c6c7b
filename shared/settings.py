"""Settings come from environment variables named `HITLINE_…`, are read once at the start, and never change.

Each process declares the part it uses as a frozen pydantic model whose field names are the variables' names in
lower case without the prefix; `load` reads it.  A missing or malformed variable prevents the start, with an error that
names it (never its value: several are secrets); an unknown one is a warning that suggests the nearest known one.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError

from shared.secret_files import SECRETS, UnreadableSecretError, resolve

PREFIX = "HITLINE_"

#: Every variable that any Hitline process reads, so that each of them notices a misspelt one.
KNOWN = frozenset(
    """
    AMQP_URL CLICKHOUSE_URL CLICKHOUSE_CLUSTER QUEUE_KEYS ID_SECRET HTTP_HOST HTTP_PORT ADMIN_HOST ADMIN_PORT
    TRUSTED_PROXIES RATE_LIMIT RATE_LIMIT_STORAGE GEO_CITY_DB GEO_ASN_DB GEO_ISP_DB SPAM_DIR STATE_DIR FLUSH_ROWS
    FLUSH_SECONDS RETENTION_DAYS
    REGISTRY_MAX_AGE_SECONDS KEEPALIVE_SECONDS MAX_CONNECTIONS MAX_CONNECTIONS_PER_ADDRESS STOP_DELAY_SECONDS
    LOG_FORMAT CONFIRM_SECONDS DRAIN_SECONDS REFUSALS_SECONDS FEEDS_HOURS MAXMIND_ACCOUNT_ID MAXMIND_LICENSE_KEY
    RABBITMQ_API_URL TRACES_RATIO URL TOKEN REPLAY_SECRET DEMO_TOKEN CLICKHOUSE_PORT WORKER_ADMIN_PORT
    """.split()  # noqa: SIM905 - thirty names are easier to read in lines
)

log = logging.getLogger(__name__)


class SettingsError(Exception):
    """A setting is missing or malformed; the message names every such variable and what is wrong with it."""


def split_words(text: object) -> object:
    """Turn `a, b c` into `("a", "b", "c")`; anything other than a string is left for pydantic to check."""
    return tuple(text.replace(",", " ").split()) if isinstance(text, str) else text


def _decode_keys(words: tuple[str, ...]) -> tuple[bytes, ...]:
    keys = []
    for number, word in enumerate(words, 1):
        try:
            key = base64.b64decode(word, validate=True)
        except binascii.Error:
            raise ValueError(f"key {number} is not base64; make one with: openssl rand -base64 32") from None
        if len(key) != 32:
            raise ValueError(f"key {number} has {len(key)} bytes instead of 32; make one with: openssl rand -base64 32")
        keys.append(key)
    if not keys:
        raise ValueError("contains no key; make one with: openssl rand -base64 32")
    return tuple(keys)


def _long_enough(secret: str) -> str:
    if len(secret) < 16:
        raise ValueError("is shorter than 16 characters; make one with: openssl rand -hex 32")
    return secret


def _amqp(words: tuple[str, ...]) -> tuple[str, ...]:
    for number, word in enumerate(words, 1):
        try:
            parts = urlsplit(word)
            valid = parts.scheme in ("amqp", "amqps") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(f"address {number} is malformed; use a URL like amqp://user:password@host:5672/")
    return words


def _api(text: str) -> str:
    try:
        parts = urlsplit(text)
        valid = not text or (parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0)
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("is malformed; use a URL like http://user:password@host:15672")
    return text


Words = Annotated[tuple[str, ...], BeforeValidator(split_words), Field(min_length=1)]
#: AES-256 keys, base64 and separated by commas: the first seals, all open.
QueueKeys = Annotated[tuple[bytes, ...], PlainValidator(lambda text: _decode_keys(split_words(text)))]
Secret = Annotated[str, AfterValidator(_long_enough)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseModel):
    """What every Hitline process needs; each process extends it with its own settings."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True)

    #: AMQP addresses of the broker's nodes, tried in turn.
    amqp_url: Annotated[Words, AfterValidator(_amqp)] = ("amqp://guest:guest@127.0.0.1:5672/",)
    #: HTTP address of ClickHouse, with user and password if it requires them; of a cluster, those of its replicas.
    clickhouse_url: str = "http://127.0.0.1:8123"
    #: RabbitMQ's management API, `http://user:password@host:15672`, to see policies; empty: they are not seen.
    rabbitmq_api_url: Annotated[str, AfterValidator(_api)] = ""
    #: The name of ClickHouse's cluster, whose replicas `clickhouse_url` lists or leads to; empty: a single server.
    clickhouse_cluster: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]*$")] = ""
    #: Directory for what must outlive the process, such as the registry's last known good copy.
    state_dir: Path = Path("/var/lib/hitline")
    log_format: Annotated[str, Field(pattern="^(text|json)$")] = "text"
    #: The share of requests whose way is traced with OpenTelemetry; 0: none, and nothing of it is loaded.
    traces_ratio: Annotated[float, Field(ge=0, le=1)] = 0


SomeSettings = TypeVar("SomeSettings", bound=BaseModel)


def load(model: type[SomeSettings], environ: Mapping[str, str] = os.environ) -> SomeSettings:
    """Read `model`'s fields from `environ`.

    A secret may come in a file instead: see `shared/secret_files.py`.
    Raises `SettingsError` naming every variable that is missing or malformed.  Empty variables count as absent, since
    `docker run -e NAME=` and many deployment tools set them.
    """
    try:
        environ = resolve(environ, PREFIX)
    except UnreadableSecretError as error:
        raise SettingsError(str(error)) from None
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX) and value != ""}
    values = {}
    for name in unknown_names(environ):
        log.warning("unknown setting %s is ignored%s", name, nearest(name))
    for name, value in given.items():
        short = name.removeprefix(PREFIX)
        if short.lower() in model.model_fields:
            values[short.lower()] = value
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """Return the variables that look like settings and are none, or none any more."""
    names = (name for name, value in environ.items() if name.startswith(PREFIX) and value != "")
    known = KNOWN | {f"{secret}_FILE" for secret in SECRETS}
    return [name for name in names if name.removeprefix(PREFIX) not in known]


def nearest(name: str) -> str:
    """Return `; did you mean …?` for a misspelt variable, empty where nothing is near."""
    match = difflib.get_close_matches(name.removeprefix(PREFIX), KNOWN, n=1)
    return f"; did you mean {PREFIX}{match[0]}?" if match else ""


def _explain(error: ValidationError) -> str:
    problems = []
    for found in error.errors(include_input=False, include_url=False, include_context=False):
        name = PREFIX + str(found["loc"][0]).upper()
        rule = "is required and not set" if found["type"] == "missing" else found["msg"].removeprefix("Value error, ")
        problems.append(f"{name}: {rule}")
    return "; ".join(problems)
