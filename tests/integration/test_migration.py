"""A database of the first schema, in the middle of its work, comes to the newest with all it holds, and works on."""

import pytest
from sqlalchemy import create_engine, text

from db import ledger, migrate, outbox, queue
from db.database import database_url as url_of
from db.database import open_database
from db.queue import Lease
from tests.integration import rows
from tests.integration.test_queue import PUBLICATION, claim_one
from tests.servers import fresh_database

# One extraction in each status: the last digit of its id, of its video's and of its task's.
STATUSES = {1: "queued", 2: "running", 3: "succeeded", 4: "failed", 5: "cancelled"}
ID = "('00000000-0000-7000-8000-00000000000' || n)::uuid"
USER = "'00000000-0000-7000-8000-0000000000aa'"
OLD = (
    f"INSERT INTO users (id, email, password_hash) VALUES ({USER}, 'ana@example.com', 'x')",
    f"INSERT INTO videos (id, user_id, filename, size, sha256, object_key)"
    f" SELECT {ID}, {USER}, n || '.mp4', 1000, repeat('0', 64), 'videos/' || n FROM generate_series(1, 5) n",
    f"INSERT INTO extractions (id, video_id, user_id, spec, status, started_at, finished_at, error_code, result_key,"
    f" result_sha256, result_bytes, result_frames, attempt)"
    f" SELECT {ID}, {ID}, {USER}, '{{}}', status::extraction_status, CASE WHEN n > 1 THEN now() END,"
    f" CASE WHEN n > 2 THEN now() END, CASE n WHEN 4 THEN 'no_frames' END, CASE n WHEN 3 THEN 'results/3' END,"
    f" CASE n WHEN 3 THEN 'f' END, CASE n WHEN 3 THEN 9 END, CASE n WHEN 3 THEN 2 END, (n > 1)::integer"
    f" FROM unnest(CAST(:statuses AS text[])) WITH ORDINALITY AS old (status, n)",
    f"INSERT INTO tasks (id, extraction_id, state, attempt, leased_by, lease_expires_at)"
    f" SELECT {ID}, {ID}, state::task_state, CASE WHEN n > 1 THEN 1 ELSE 0 END, CASE n WHEN 2 THEN 'w1' END,"
    f" CASE n WHEN 2 THEN now() + interval '1 hour' END"
    f" FROM unnest(ARRAY['ready', 'leased', 'done', 'failed', 'cancelled']) WITH ORDINALITY AS old (state, n)",
    f"INSERT INTO acceptances (extraction_id, video_id, user_id)"
    f" SELECT {ID}, {ID}, {USER} FROM generate_series(1, 6) n",
    f"INSERT INTO tombstones (extraction_id, user_id, status) SELECT {ID}, {USER}, 'cancelled' FROM (SELECT 6 AS n) s",
    f"INSERT INTO events (extraction_id, kind) SELECT {ID}, 'accepted' FROM generate_series(1, 5) n",
    f"INSERT INTO events (extraction_id, kind)"
    f" SELECT {ID}, kind FROM (VALUES (3, 'published'), (4, 'failed'), (5, 'cancelled')) AS ends (n, kind)",
    f"INSERT INTO outbox (id, extraction_id, channel, delivered_at)"
    f" SELECT {ID}, {ID}, 'email', CASE n WHEN 3 THEN now() END FROM generate_series(3, 5) n",
)
KEPT = ("users", "videos", "extractions", "tasks", "acceptances", "tombstones", "events", "outbox")


def contents(connection):
    """All rows of each table, as JSON objects."""
    return {
        table: list(connection.execute(text(f"SELECT to_jsonb(t) FROM {table} t ORDER BY to_jsonb(t)::text")).scalars())
        for table in KEPT
    }


@pytest.fixture
def migrated(postgres):
    """The address of a database that was filled at the first schema, with what it held before it was migrated."""
    with fresh_database(postgres) as url:
        migrate.upgrade(url, "0001")
        database = create_engine(url_of(url))
        with database.begin() as connection:
            for statement in OLD:
                values = {"statuses": list(STATUSES.values())} if ":statuses" in statement else {}
                connection.execute(text(statement), values)
            before = contents(connection)
        migrate.upgrade(url)
        yield url, before
        database.dispose()


def test_every_row_is_there_with_what_it_held(migrated):
    url, before = migrated
    database = create_engine(url_of(url))
    with database.connect() as connection:
        after = contents(connection)
    database.dispose()
    for table, old in before.items():
        by_key = {key_of(row): row for row in after[table]}
        assert len(after[table]) == len(old) > 0
        assert all(row.items() <= by_key[key_of(row)].items() for row in comparable(old))


def key_of(row):
    return row.get("id") or row["extraction_id"]


def comparable(old):
    return [{name: value for name, value in row.items() if not isinstance(value, dict | list)} for row in old]


async def test_what_waited_is_claimed_and_what_was_held_by_a_worker_is_still_its(migrated):
    engine = open_database(migrated[0], name="test")
    assert await migrate.is_current(engine)
    share = await rows.one(engine, "SELECT open FROM shares")
    assert share.open == 2
    running = await rows.one(engine, "SELECT id, extraction_id, user_id FROM tasks WHERE state = 'leased'")
    waiting = await claim_one(engine, "w2")
    assert (await rows.extraction(engine, waiting.extraction_id)).attempt == 1
    await queue.publish(engine, Lease(running.id, 1, "w1"), PUBLICATION)
    await queue.publish(engine, waiting.lease, PUBLICATION)
    assert (await rows.one(engine, "SELECT open FROM shares")).open == 0
    assert {each.status.value for each in await outbox.take(engine, "email")} == {"failed", "cancelled", "succeeded"}
    total = (await ledger.compare(engine)).total
    assert total.balanced
    assert (total.accepted, total.succeeded, total.failed, total.cancelled, total.deleted) == (6, 3, 1, 1, 1)
    await engine.dispose()
