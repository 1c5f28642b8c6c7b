"""Users of a ClickHouse configuration file, with rights that the engine enforces.

chDB logs every session in as `default` and can't change that. So each user of the file becomes a role of an
engine user `default` that has no rights of its own, and a request runs with only its user's role. Grants, roles,
readonly, profiles with constraints and row filters are thus the engine's; only the password is checked here.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.clickhouse.engine import Connection, identifier
from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.refusals import refuse_sources
from deploy.local.clickhouse.statement import Statement

_CURRENT_USER = re.compile(r"\b(?:currentUser|current_user|user)\(\)", re.IGNORECASE)
_GRANT_ROLE = re.compile(r"^\s*GRANT\s+(?!.*\bON\b)(.+?)\s*$", re.IGNORECASE | re.DOTALL)
_ENGINE_USER = "default: "
# The engine's role for putting external data into temporary tables.
_EXTERNAL_DATA = "front_external_data"
_PASSWORDS = ("no_password", "password", "password_sha256_hex", "password_double_sha1_hex")


@dataclass(frozen=True)
class User:
    """A user: how to check the password, and what to set on a connection."""

    name: str
    kind: str = "no_password"
    secret: str = ""
    role: str | None = None
    granted_roles: tuple[str, ...] = ()
    profile: str = "default"
    settings: dict[str, str] = field(default_factory=dict)
    may_kill: bool = True
    may_use_sources: bool = True

    def knows(self, password: str) -> bool:
        """Return whether this is the user's password, in constant time."""
        given = password.encode()
        if self.kind == "no_password":
            return True
        if self.kind == "password_sha256_hex":
            given = hashlib.sha256(given).hexdigest().encode()
        elif self.kind == "password_double_sha1_hex":
            inner = hashlib.sha1(given).digest()  # noqa: S324 - ClickHouse's own choice, for MySQL clients
            given = hashlib.sha1(inner).hexdigest().encode()  # noqa: S324
        expected = self.secret if self.kind == "password" else self.secret.lower()
        return hmac.compare_digest(given, expected.encode())

    def may_run(self, statement: Statement, expressions: Iterable[bytes]) -> None:
        """Refuse what the engine, which knows only one user, would allow; raises ClickHouseError.

        `expressions`: all texts of the request that the engine reads as SQL.
        """
        words = statement.words[:3]
        if self.role and words[:1] == (b"SET",) and b"ROLE" in words:
            raise ClickHouseError(512, "SET ROLE is not possible here: use the parameter role")
        if statement.kind == "KILL" and not self.may_kill:
            raise ClickHouseError(
                497, f"{self.name}: Not enough privileges. It's necessary to have the grant KILL QUERY"
            )
        if self.may_use_sources:
            return
        try:
            for text in expressions:
                refuse_sources(text)
        except ClickHouseError as error:
            raise ClickHouseError(error.code, f"{self.name}: {error.message}") from None

    def named_in(self, error: ClickHouseError) -> ClickHouseError:
        """Return the engine's error with this user's name instead of the engine's only one."""
        if not error.message.startswith(_ENGINE_USER):
            return error
        message = f"{self.name}: {error.message.removeprefix(_ENGINE_USER)}"
        return ClickHouseError(error.code, message, error.name, error.status)

    def put_on(self, connection: Connection, roles: tuple[str, ...] = ()) -> None:
        """Give a new connection this user's rights and profile only."""
        self._set_roles(connection, roles)
        if self.profile != "default":
            connection.set({"profile": self.profile})  # its constraints
        # chDB sends its own values with each query, so a profile's values are set one by one.
        connection.set({name: value for name, value in self.settings.items() if name != "readonly"})
        if "readonly" in self.settings:
            connection.set({"readonly": self.settings["readonly"]})

    def _set_roles(self, connection: Connection, roles: tuple[str, ...], *more: str) -> None:
        if self.role:
            unknown = [role for role in roles if role not in self.granted_roles]
            if unknown:
                raise ClickHouseError(512, f"Role {unknown[0]} should be granted to set as a current")
            names = [self.role, *(roles or self.granted_roles), *more]
            connection.query("SET ROLE " + ", ".join(identifier(name) for name in names))

    @contextmanager
    def with_temporary_tables(self, connection: Connection, roles: tuple[str, ...]) -> Iterator[None]:
        """Give the connection the right to create temporary tables as well."""
        self._set_roles(connection, roles, _EXTERNAL_DATA)
        try:
            yield
        finally:
            self._set_roles(connection, roles)


class Users:
    """All users of a configuration file."""

    def __init__(self, users: list[User]):
        self._users = {user.name: user for user in users}

    def check(self, name: str, password: str) -> User:
        """Return the user of these credentials; raises ClickHouseError 516 with the server's text."""
        user = self._users.get(name)
        if user is None or not user.knows(password):
            raise ClickHouseError(
                516,
                f"{name}: Authentication failed: password is incorrect, or there is no user with such name",
            )
        return user


def load(config_file: Path, into: Path, memory_bytes: int | None = None) -> tuple[Users, Path]:
    """Read the users of a ClickHouse configuration and write the configuration for the engine.

    `config_file` holds `<users>`, or names the file that does (`users_config`, `user_directories`). The written files
    have no password. `memory_bytes`: what all queries together may use; None: half of the machine's memory.
    Raises ClickHouseError for what can't be read or enforced.
    """
    root = _users_root(config_file)
    users = [_user(element, root) for element in root.find("users") or ()]
    if not users:
        raise ClickHouseError(36, f"{config_file}: no users")
    if root.find("quotas//interval") is not None:
        print(f"{config_file}: quotas are not enforced by the embedded ClickHouse", file=sys.stderr, flush=True)
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = _for_the_engine(root)
    (into / "users.xml").write_bytes(ET.tostring(written))
    main = ET.Element("clickhouse")
    ET.SubElement(main, "users_config").text = str(into / "users.xml")
    # In this database of chDB's, the name of any file is a table's: it must not be `default`, which clients use.
    ET.SubElement(main, "default_database").text = "_files"
    # chDB has 2, with which a mutation, and what stops merges (TRUNCATE, DROP PARTITION), waits for up to a second.
    ET.SubElement(main, "background_pool_size").text = "4"
    if memory_bytes:
        ET.SubElement(main, "max_server_memory_usage").text = str(memory_bytes)
    else:
        ET.SubElement(main, "max_server_memory_usage_to_ram_ratio").text = "0.5"
    (into / "config.xml").write_bytes(ET.tostring(main))
    return Users(users), into / "config.xml"


def _users_root(config_file: Path) -> ET.Element:
    try:
        root = ET.parse(config_file).getroot()  # noqa: S314 - the operator's own file
        if root.find("users") is None:
            named = root.findtext("users_config") or root.findtext("user_directories/users_xml/path")
            if not named:
                raise ClickHouseError(36, f"{config_file}: neither <users> nor <users_config>")
            root = ET.parse(config_file.parent / named).getroot()  # noqa: S314
        return root
    except (OSError, ET.ParseError) as error:
        raise ClickHouseError(36, f"{config_file}: {error}") from None


def _user(element: ET.Element, root: ET.Element) -> User:
    name = element.tag
    kind = next((kind for kind in _PASSWORDS if element.find(kind) is not None), None)
    if kind is None or element.find("allow_databases") is not None:
        raise ClickHouseError(36, f"user {name}: only {', '.join(_PASSWORDS)} and <grants> are supported here")
    secret = _secret(name, element.find(kind))
    if kind == "password" and not secret:
        kind = "no_password"
    grants = _grants(element)

    def granted(what: str) -> bool:
        return not grants or any(re.search(rf"\b(?:{what}|ALL)\b", grant, re.IGNORECASE) for grant in grants)

    profile = (element.findtext("profile") or "default").strip()
    return User(
        name=name,
        kind=kind,
        secret=secret,
        role=f"user_{name}",
        granted_roles=tuple(role for grant in grants for role in _roles_in(grant)),
        profile=profile,
        settings=_profile_settings(root, profile),
        may_kill=granted("KILL QUERY"),
        may_use_sources=granted("FILE|SOURCES"),
    )


def _secret(name: str, element: ET.Element | None) -> str:
    """Return a password or its hash, from the file or, as ClickHouse does with `from_env`, from the environment."""
    if element is None:
        return ""
    secret = (element.text or "").strip()
    if not secret and (variable := element.get("from_env")) and not (secret := os.environ.get(variable, "")):
        raise ClickHouseError(36, f"user {name}: set {variable} to the {element.tag.replace('_', ' ')}")
    return secret


def _grants(element: ET.Element) -> list[str]:
    return [(query.text or "").strip() for query in element.findall("grants/query")]


def _roles_in(grant: str) -> list[str]:
    found = _GRANT_ROLE.match(grant)
    return [name.strip(" `\"'") for name in found.group(1).split(",")] if found else []


def _profile_settings(root: ET.Element, name: str) -> dict[str, str]:
    """Return a profile's values, with those of the profiles that it inherits from."""
    settings: dict[str, str] = {}
    for child in root.find(f"profiles/{name}") or ():
        if child.tag == "profile":
            settings.update(_profile_settings(root, (child.text or "").strip()))
        elif child.tag != "constraints":
            settings[child.tag] = (child.text or "").strip()
    return settings


def _for_the_engine(root: ET.Element) -> ET.Element:
    """Return the engine's users file: one user without rights, and a role for each user of the original."""
    out = ET.Element("clickhouse")
    default = ET.SubElement(ET.SubElement(out, "users"), "default")
    ET.SubElement(default, "password")
    ET.SubElement(default, "profile").text = "default"
    ET.SubElement(default, "quota").text = "default"
    ET.SubElement(ET.SubElement(default, "networks"), "ip").text = "::/0"
    roles = ET.SubElement(out, "roles")
    roles.extend(root.find("roles") or ())
    for element in root.find("users") or ():
        queries = ET.SubElement(ET.SubElement(roles, f"user_{element.tag}"), "grants")
        for grant in _grants(element) or ["GRANT ALL ON *.* WITH GRANT OPTION"]:
            if not _roles_in(grant):
                ET.SubElement(queries, "query").text = grant
    for_external = ET.SubElement(ET.SubElement(roles, _EXTERNAL_DATA), "grants")
    ET.SubElement(for_external, "query").text = "GRANT CREATE TEMPORARY TABLE ON *.*"
    grants = ET.SubElement(default, "grants")
    for role in roles:
        ET.SubElement(grants, "query").text = f"GRANT {identifier(role.tag)}"
    _add_row_filters(root, default)
    profiles = ET.SubElement(out, "profiles")
    profiles.extend(root.find("profiles") or ())
    if profiles.find("default") is None:
        ET.SubElement(profiles, "default")
    # Every session is the engine's `default`, so a quota would count all users together: none is kept.
    ET.SubElement(ET.SubElement(out, "quotas"), "default")
    return out


def _add_row_filters(root: ET.Element, default: ET.Element) -> None:
    """Add each table's filters of all users as one, which checks the role that the request runs with."""
    filters: dict[tuple[str, str], list[str]] = {}
    for user in root.find("users") or ():
        for database in user.find("databases") or ():
            for table in database:
                text = _CURRENT_USER.sub(f"'{user.tag}'", (table.findtext("filter") or "1").strip())
                filters.setdefault((database.tag, table.tag), []).append(
                    f"has(currentRoles(), 'user_{user.tag}'), toBool({text})"
                )
    databases = ET.SubElement(default, "databases") if filters else default
    for (database_name, table_name), parts in filters.items():
        found = databases.find(database_name)
        parent = found if found is not None else ET.SubElement(databases, database_name)
        filter_ = ET.SubElement(ET.SubElement(parent, table_name), "filter")
        filter_.text = f"multiIf({', '.join(parts)}, true)"
