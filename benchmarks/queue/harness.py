"""The servers of a run, and databases that SQL fills with any number of rows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from cluster.local.servers.embedded_postgres import Postgres
from cluster.local.servers.embedded_valkey import Valkey
from cluster.local.servers.os_user import server_user
from cluster.local.servers.postgres_programs import programs_for
from db import migrate

WAITING_MAX = 20_000
USERS_MAX = 1_000
ROWS_A_USER = 25
# Durable, as in production. Several databases have open pools at the same time.
SETTINGS = {"max_connections": "200", "synchronous_commit": "on", "fsync": "on"}
SPEC = '{"sample":{"mode":"all"}}'


@dataclass(frozen=True, slots=True)
class BenchmarkServers:
    """programs: PostgreSQL's, pgbench among them. folder: for files, open to the account of the server."""

    postgres: Postgres
    valkey: Valkey
    programs: Path
    folder: Path

    def database(self, name: str) -> str:
        """The address of a new and migrated database."""
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        migrate.upgrade(self.postgres.url(name))
        return self.postgres.url(name)


@contextmanager
def run_servers() -> Iterator[BenchmarkServers]:
    """Runs a durable PostgreSQL and a Valkey for this run; their data is deleted at the end."""
    # Sockets need a short path.
    folder = Path(tempfile.mkdtemp(prefix="fotograma-queue-", dir="/tmp"))
    folder.chmod(0o755)
    account = server_user()
    programs = programs_for(account, folder)
    postgres = Postgres(
        folder / "postgres",
        folder / "sockets",
        folder / "postgres.log",
        password="benchmark",
        os_user=account,
        programs=programs,
        settings=SETTINGS,
    )
    valkey = Valkey(folder / "valkey", folder / "valkey.sock", folder / "valkey.log", password="benchmark")
    try:
        postgres.start()
        valkey.start()
        yield BenchmarkServers(postgres, valkey, programs, folder)
    finally:
        valkey.stop()
        postgres.stop()
        shutil.rmtree(folder)


# Oldest first: row n belongs to user n % users; the last rows are waiting. The ids are in the order of time, as in the
# service.
_GENERATE_ROWS = """
    CREATE TEMPORARY TABLE owners AS SELECT uuidv7() AS id, n FROM generate_series(0, %(users)s - 1) AS n;
    INSERT INTO users (id, email, password_hash) SELECT id, n || '@benchmark.example', 'x' FROM owners;
    INSERT INTO shares (user_id) SELECT id FROM owners;
    CREATE TEMPORARY TABLE generated AS
    SELECT series.n, series.n > %(rows)s - %(waiting)s AS waits, owners.id AS user_id, uuidv7(ages.age) AS video_id,
        uuidv7(ages.age) AS extraction_id, uuidv7(ages.age) AS task_id, clock_timestamp() + ages.age AS at
    FROM generate_series(1, %(rows)s) AS series (n)
    JOIN owners ON owners.n = series.n %% %(users)s
    CROSS JOIN LATERAL (SELECT (series.n - %(rows)s) * interval '1 second' AS age) AS ages;
"""
_INSERT_ROWS = """
    INSERT INTO videos (id, user_id, filename, size, sha256, object_key, created_at)
    SELECT video_id, user_id, 'clip ' || n || '.mp4', 1000000, md5(n::text) || md5(n::text), 'videos/' || video_id, at
    FROM generated ORDER BY n;
    INSERT INTO results (key, extraction_id, user_id, bytes)
    SELECT 'results/' || extraction_id, extraction_id, user_id, 1000000 FROM generated WHERE NOT waits ORDER BY n;
    INSERT INTO extractions (id, video_id, user_id, spec, status, attempt, frames_done, frames_total, result_engine,
        result_key, result_frames, result_bytes, result_sha256, result_warnings, swept, created_at, started_at,
        finished_at)
    SELECT extraction_id, video_id, user_id, %(spec)s, 'succeeded', 1, 100, 100, 'pyav', 'results/' || extraction_id,
        100, 1000000, md5(n::text) || md5(n::text), '[]', true, at, at, at
    FROM generated WHERE NOT waits ORDER BY n;
    INSERT INTO extractions (id, video_id, user_id, spec, created_at)
    SELECT extraction_id, video_id, user_id, %(spec)s, at FROM generated WHERE waits ORDER BY n;
    INSERT INTO tasks (id, extraction_id, user_id, state, virtual_finish, cost, claimed_at, attempt, ready_at)
    SELECT task_id, extraction_id, user_id, CASE WHEN waits THEN 'ready' ELSE 'done' END::task_state, n, 1000000,
        CASE WHEN waits THEN NULL ELSE at END, (NOT waits)::integer, at
    FROM generated ORDER BY n;
    INSERT INTO acceptances (extraction_id, video_id, user_id, accepted_at)
    SELECT extraction_id, video_id, user_id, at FROM generated ORDER BY n;
    INSERT INTO events (extraction_id, kind, at) SELECT extraction_id, 'accepted', at FROM generated ORDER BY n;
    INSERT INTO events (extraction_id, kind, at)
    SELECT extraction_id, 'published', at FROM generated WHERE NOT waits ORDER BY n;
    UPDATE shares SET last_finish = %(rows)s, running_limit = 1000000,
        open = (SELECT count(*) FROM generated WHERE waits AND generated.user_id = shares.user_id);
"""


def fill(url: str, rows: int, users: int | None = None) -> None:
    """Makes `rows` videos with an extraction each: most ended, up to a fifth waiting. users: by default, many."""
    values = {
        "rows": rows,
        "users": users or min(USERS_MAX, max(1, rows // ROWS_A_USER)),
        "waiting": min(WAITING_MAX, rows // 5),
        "spec": SPEC,
    }
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        # The generated rows satisfy triggers and foreign keys already, and these would take most of the time.
        connection.execute("SET session_replication_role = replica")
        connection.execute(_GENERATE_ROWS, values)
        connection.execute(_INSERT_ROWS, values)
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")
