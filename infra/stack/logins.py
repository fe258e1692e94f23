"""Logins for the roles that the migrations define: one a process, and one analyst an organisation.

Roles such as `restartix_ingest` cannot log in; a login is a member of exactly one. Passwords are derived from one
secret, so that whoever holds it (the state folder, a test run) can name every URL without keeping a list.

Belongs here: login names, passwords, URLs. Does not belong here: what a role may do (migrations).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

# Every login of the stack, and the role it is a member of. Analysts' logins come one an organisation, on demand.
ROLE_OF_LOGIN = {
    login: f"restartix_{login}"
    for login in (
        "owner",
        "ingest",
        "finaliser",
        "sweeper",
        "core_api",
        "subscriber",
        "analytics_builder",
        "console",
    )
}
ANALYST_ROLE = "restartix_analyst"
_LOCK = 0x7265_7374  # logins are shared by all databases of a server: one provisioning at a time


class UnknownLoginError(ValueError):
    """No such login, or an analyst without the organisation it reads."""


@dataclass(frozen=True, slots=True)
class Logins:
    """The logins of one database: made by `provision`, named by `url`.

    `admin_url` is the database's URL for a superuser (or a role that may create roles); `secret` derives passwords.
    """

    admin_url: str
    secret: str = field(repr=False)

    def url(self, role: str, *, organisation_id: int | None = None) -> str:
        """The URL by which `role` (`ingest`, `core_api`, `analyst`, ..., or `admin`) reaches the database.

        An analyst's login exists once `provision_analyst` made it. Raises UnknownLoginError.
        """
        if role == "admin":
            return self.admin_url
        login = login_name(role, organisation_id=organisation_id)
        parts = urlsplit(self.admin_url)
        address = (parts.netloc).rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{login}:{quote(self._password(login))}@{address}"))

    def provision(self) -> None:
        """Create every login whose role exists, or set its password anew. Safe to repeat and to race."""
        with psycopg.connect(server_url(self.admin_url)) as connection:
            connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
            existing = {name for (name,) in connection.execute("select rolname from pg_roles")}
            for login, role in ROLE_OF_LOGIN.items():
                if role in existing:
                    self._ensure(connection, login, role, exists=login in existing)

    def provision_analyst(self, organisation_id: int) -> str:
        """Create the login of an organisation's analyst, map it to the organisation, and return its URL.

        Raises psycopg.errors.ForeignKeyViolation where the organisation does not exist.
        """
        login = login_name("analyst", organisation_id=organisation_id)
        with psycopg.connect(self.admin_url) as connection:
            connection.execute(
                "insert into core.analyst_organisations (login, organisation_id) values (%s, %s)"
                " on conflict do nothing",
                [login, organisation_id],
            )
        with psycopg.connect(server_url(self.admin_url)) as connection:
            connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
            found = connection.execute("select 1 from pg_roles where rolname = %s", [login]).fetchone()
            self._ensure(connection, login, ANALYST_ROLE, exists=found is not None)
        return self.url("analyst", organisation_id=organisation_id)

    def _ensure(
        self, connection: psycopg.Connection[tuple[object, ...]], login: str, role: str, *, exists: bool
    ) -> None:
        verb = sql.SQL("alter role {} login password {}" if exists else "create role {} login password {}")
        connection.execute(verb.format(sql.Identifier(login), sql.Literal(self._password(login))))
        connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(role), sql.Identifier(login)))

    def _password(self, login: str) -> str:
        return hmac.new(self.secret.encode(), f"login:{login}".encode(), hashlib.sha256).hexdigest()


def login_name(role: str, *, organisation_id: int | None = None) -> str:
    """The login of a role; `restartix_` before the role is understood. Raises UnknownLoginError."""
    name = role.removeprefix("restartix_")
    if name == "analyst":
        if organisation_id is None:
            raise UnknownLoginError("an analyst reads one organisation: say which")
        return f"analyst_{organisation_id}"
    if name not in ROLE_OF_LOGIN:
        raise UnknownLoginError(f"no login {role!r}; there are {', '.join(sorted([*ROLE_OF_LOGIN, 'analyst']))}")
    return name


def database_url(url: str, database: str) -> str:
    """`url` with its database replaced."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{quote(database, safe='')}"))


def server_url(url: str) -> str:
    """The same login at the server's maintenance database, where server-wide locks are held."""
    return database_url(url, "postgres")
