"""Checks the database: reachable, of a version that the service knows, with its schema, writable, and its clock."""

from __future__ import annotations

import re
import time
from typing import Any

from cluster.checks.database_rights import schema_right_findings, table_right_findings
from cluster.checks.finding import Finding, fail, ok, reason_of, warn
from cluster.settings import Settings
from db.schema_revision import HEAD

SUBJECT, WHERE = "database", "FOTOGRAMA_DATABASE_URL"
MIN_MAJOR = 14
"""The oldest PostgreSQL in which the schema and all statements are valid."""
CONNECT_SECONDS = 5
CLOCK_SECONDS = 5.0
API_CONNECTIONS, WORKER_CONNECTIONS, OTHER_CONNECTIONS = 20, 3, 15
NO_CONNECT_RIGHT = "FATAL:  permission denied for database"
HAS_SCHEMA = "SELECT to_regclass('alembic_version') IS NOT NULL AS has_schema"
FACTS = """
    SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS version_text,
        pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS read_only,
        current_setting('max_connections')::int AS max_connections, extract(epoch FROM clock_timestamp()) AS now,
        to_regclass('alembic_version') IS NOT NULL AS has_schema
"""


def database_findings(settings: Settings) -> list[Finding]:
    """Asks the server. A finding of level fail about the version or the schema is lasting; one about reach is not."""
    import psycopg  # noqa: PLC0415

    url = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", settings.database_url)
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_SECONDS, application_name="fotograma ops") as connection:
            before = time.time()
            facts = _row(connection, FACTS)
            local = (before + time.time()) / 2
            found = version_findings(facts["version"], facts["version_text"])
            if found:
                return found
            found = schema_findings(connection, has_schema=facts["has_schema"])
            found += _server_findings(settings, facts, local)
            return found or [ok(SUBJECT, f"PostgreSQL {facts['version_text']} with the schema {HEAD}.", WHERE)]
    except psycopg.OperationalError as error:
        return [_unreachable(error, settings.database_url, url)]
    except psycopg.Error as error:
        return [
            fail(
                SUBJECT,
                f"PostgreSQL can't be asked: {reason_of(error)}.",
                "Check the address.",
                WHERE,
                is_lasting=False,
            )
        ]


def _unreachable(error: Exception, settings_url: str, url: str) -> Finding:
    # An error of a connection has no SQLSTATE.
    if NO_CONNECT_RIGHT in str(error):
        from psycopg import conninfo  # noqa: PLC0415

        words = conninfo.conninfo_to_dict(url)
        text = f"The user {words.get('user')} may not connect to the database {words.get('dbname')}."
        grant = f'GRANT CONNECT ON DATABASE "{words.get("dbname")}" TO "{words.get("user")}";'
        return fail(SUBJECT, text, f"Let the owner of the database run: {grant}", WHERE)
    return fail(
        SUBJECT,
        f"PostgreSQL can't be reached: {_without_password(reason_of(error), settings_url)}.",
        "Check the address, the password, the network, and that the server runs.",
        WHERE,
        is_lasting=False,
    )


def version_findings(version: int, text: str) -> list[Finding]:
    """version: as PostgreSQL counts it, such as 160002."""
    if version >= MIN_MAJOR * 10_000:
        return []
    return [fail(SUBJECT, f"PostgreSQL {text} is too old.", f"Use PostgreSQL {MIN_MAJOR} or later.", WHERE)]


def right_findings(connection: Any) -> list[Finding]:
    """The rights that are missing in the schema of this version. None in another one: its migration comes first."""
    if not _row(connection, HAS_SCHEMA)["has_schema"]:
        return schema_right_findings(connection, SUBJECT, WHERE)
    if unreadable := table_right_findings(connection, SUBJECT, WHERE, ["alembic_version"]):
        return unreadable
    return table_right_findings(connection, SUBJECT, WHERE) if _revision(connection) == HEAD else []


def schema_findings(connection: Any, *, has_schema: bool) -> list[Finding]:
    if missing := right_findings(connection):
        return missing
    if not has_schema:
        return [
            fail(
                SUBJECT,
                "The database has no schema.",
                "Migrate it before the service starts, as the Job fotograma-migrate of kuberay/ does.",
                WHERE,
            )
        ]
    if (revision := _revision(connection)) != HEAD:
        return [
            fail(
                SUBJECT,
                f"The database has the schema {revision}, and this version of fotograma needs {HEAD}.",
                "Migrate it with this version; if it is newer than this version, use the version that made it.",
                WHERE,
            )
        ]
    return []


def _server_findings(settings: Settings, facts: dict[str, Any], local_seconds: float) -> list[Finding]:
    findings = []
    if facts["read_only"]:
        remedy = "Name the primary server; a replica or a full disk takes no writes."
        findings.append(fail(SUBJECT, "The server is read-only.", remedy, WHERE, is_lasting=False))
    needed = settings.api_replicas * API_CONNECTIONS + settings.workers * WORKER_CONNECTIONS + OTHER_CONNECTIONS
    if needed > facts["max_connections"]:
        findings.append(
            warn(
                SUBJECT,
                f"The service may open {needed} connections, and the server takes {facts['max_connections']}.",
                "Raise max_connections, put PgBouncer (in session mode) in front, or run fewer replicas.",
                WHERE,
            )
        )
    difference = local_seconds - float(facts["now"])
    if abs(difference) > CLOCK_SECONDS:
        text = f"The clock of this machine differs from the database's by {difference:+.0f} s."
        findings.append(warn(SUBJECT, text, "Set both clocks by NTP: tokens and signed URLs end by the local one."))
    return findings


def _revision(connection: Any) -> str:
    return str(_row(connection, "SELECT version_num FROM alembic_version")["version_num"])


def _row(connection: Any, statement: str) -> dict[str, Any]:
    from psycopg.rows import dict_row  # noqa: PLC0415

    with connection.cursor(row_factory=dict_row) as cursor:
        found: dict[str, Any] = cursor.execute(statement).fetchone()
    return found


def _without_password(text: str, url: str) -> str:
    from urllib.parse import unquote, urlsplit  # noqa: PLC0415

    password = urlsplit(url).password
    return text.replace(unquote(password), "***") if password else text
