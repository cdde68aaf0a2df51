"""A user of a test's database who is not its owner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from db.service_rights import FUNCTIONS, TABLE_RIGHTS

ROLE = "guest"


@dataclass(frozen=True, slots=True)
class DatabaseRole:
    """url: the database as this user reaches it. owner: a connection of the owner."""

    url: str
    owner: psycopg.Connection

    def run(self, statement: str) -> None:
        """Runs an owner's statement."""
        self.owner.execute(sql.SQL(statement))


@contextmanager
def database_role(database_url: str) -> Iterator[DatabaseRole]:
    """A user without any right in the database, whose hardened schema leaves nothing to everybody."""
    owned = make_url(database_url).set(drivername="postgresql")
    url = owned.set(username=ROLE, password=ROLE).render_as_string(hide_password=False)
    # A statement for EXPLAIN may have $1, so none is prepared.
    with psycopg.connect(owned.render_as_string(hide_password=False), autocommit=True, prepare_threshold=None) as owner:
        role = DatabaseRole(url, owner)
        role.run(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{ROLE}'")
        try:
            role.run(f"REVOKE ALL ON DATABASE {owned.database} FROM public")
            role.run("REVOKE ALL ON SCHEMA public FROM public")
            role.run("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM public")
            role.run(f"GRANT CONNECT ON DATABASE {owned.database} TO {ROLE}")
            yield role
        finally:
            role.run(f"DROP OWNED BY {ROLE}")
            role.run(f"DROP ROLE {ROLE}")


def grant_service_rights(role: DatabaseRole) -> None:
    """Grants what `db.service_rights` says, and no more."""
    role.run(f"GRANT USAGE ON SCHEMA public TO {ROLE}")
    for table, rights in TABLE_RIGHTS.items():
        role.run(f"GRANT {', '.join(rights)} ON {table} TO {ROLE}")
    for function in FUNCTIONS:
        role.run(f"GRANT EXECUTE ON FUNCTION {function} TO {ROLE}")
