"""Checks what its user may do in the database, and names the GRANT statements that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from cluster.checks.finding import Finding, fail
from db.service_rights import FUNCTIONS, TABLE_RIGHTS

SHOWN_TABLES = 4
Missing = tuple[str, str, str]
"""The user, the rights, and the table or function; names quoted for SQL."""
CLOSED_SCHEMA = """
    SELECT quote_ident(nspname) AS schema, quote_ident(current_user) AS name
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relname = 'acceptances' AND relkind = 'r' AND NOT has_schema_privilege(relnamespace, 'USAGE')
"""
# Names are looked up in the search path, as the service's statements do. A table that does not exist gives no row.
MISSING_ON_TABLES = """
    SELECT quote_ident(current_user), string_agg(wanted.privilege, ', ' ORDER BY wanted.place), quote_ident(wanted.name)
    FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS wanted (name, privilege, place)
    WHERE NOT has_table_privilege(to_regclass(wanted.name), wanted.privilege)
    GROUP BY wanted.name ORDER BY 2, 3
"""
MISSING_ON_FUNCTIONS = """
    SELECT quote_ident(current_user), 'EXECUTE', wanted.name FROM unnest(%s::text[]) AS wanted (name)
    WHERE NOT has_function_privilege(to_regprocedure(wanted.name), 'EXECUTE') ORDER BY 3
"""


def schema_right_findings(connection: Any, subject: str, where: str) -> list[Finding]:
    """Of a user who sees no tables: whether that is because their schema is closed to the user."""
    row = connection.execute(CLOSED_SCHEMA).fetchone()
    if row is None:
        return []
    schema, user = row
    text = f"The user {user} may not use the schema {schema}, which has the tables."
    return [fail(subject, text, _remedy([f"GRANT USAGE ON SCHEMA {schema} TO {user};"]), where)]


def table_right_findings(connection: Any, subject: str, where: str, tables: Sequence[str] = ()) -> list[Finding]:
    """tables: only these; all, and the functions, without them."""
    wanted = [(name, right) for name in tables or TABLE_RIGHTS for right in TABLE_RIGHTS[name]]
    names, rights = [name for name, _ in wanted], [right for _, right in wanted]
    on_tables: list[Missing] = connection.execute(MISSING_ON_TABLES, (names, rights)).fetchall()
    on_functions: list[Missing] = (
        [] if tables else connection.execute(MISSING_ON_FUNCTIONS, [list(FUNCTIONS)]).fetchall()
    )
    missing = [*on_tables, *on_functions]
    if not missing:
        return []
    text = f"The user {missing[0][0]} does not have all rights that the service needs. Missing: {_shown(missing)}."
    return [fail(subject, text, _remedy([*_grants("", on_tables), *_grants("FUNCTION ", on_functions)]), where)]


def _shown(missing: Sequence[Missing]) -> str:
    parts = [f"{rights} on {name}" for _, rights, name in missing[:SHOWN_TABLES]]
    more = len(missing) - len(parts)
    return "; ".join([*parts, *([f"and on {more} more"] if more else [])])


def _grants(kind: str, missing: Sequence[Missing]) -> list[str]:
    """One statement for all that lack the same rights. missing: in the order of the rights."""
    return [
        f"GRANT {rights} ON {kind}{', '.join(name for _, _, name in group)} TO {user};"
        for (user, rights), group in groupby(missing, itemgetter(0, 1))
    ]


def _remedy(statements: Sequence[str]) -> str:
    return f"Let the owner of the tables run: {' '.join(statements)}"
