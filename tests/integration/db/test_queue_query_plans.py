"""Frequent statements read few rows, from indexes, in tables of 200,000 rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, TextClause, create_engine, text

from cluster.local.servers.embedded_postgres import Postgres
from db import videos
from db.connection import database_url as url_of
from db.notification import outbox
from db.queue import queue_status, task_queue_sql
from tests.support.servers.real_servers import fresh_database

ROWS = 200_000
OWNER = UUID(int=1)
LARGE_TABLES = {"tasks", "extractions", "videos", "outbox"}

# Each table gets one row for each number from 1 to ROWS, whose id is that number. The older half has ended, as in a
# queue that has been in use for a while.
FILL_TABLES = (
    "SET session_replication_role = replica",
    "INSERT INTO users (id, email, password_hash) SELECT {id}, n || '@example.com', 'x' FROM generate_series(1, 100) n",
    "INSERT INTO shares (user_id) SELECT id FROM users",
    "INSERT INTO videos (id, user_id, filename, size, sha256, object_key)"
    " SELECT {id}, {owner}, n || '.mp4', 1000, md5(n::text), 'videos/' || n FROM generate_series(1, {rows}) n",
    "INSERT INTO extractions (id, video_id, user_id, spec)"
    " SELECT {id}, {id}, {owner}, '' FROM generate_series(1, {rows}) n",
    "INSERT INTO results (key, extraction_id, user_id, bytes)"
    " SELECT 'r', {id}, {owner}, 1 FROM generate_series(1, 1) n",
    "UPDATE extractions SET status = 'succeeded', started_at = now(), finished_at = now(), result_key = 'r',"
    " result_sha256 = 's' WHERE id IN (SELECT {id} FROM generate_series(1, {rows} / 2) n)",
    "INSERT INTO tasks (id, extraction_id, user_id, state, prefers, virtual_finish, leased_by, lease_expires_at)"
    " SELECT {id}, {id}, {owner}, state::task_state, CASE WHEN n % 7 = 0 THEN 'gpu' ELSE 'cpu' END, random() * 1e9,"
    " CASE state WHEN 'leased' THEN 'w' END,"
    " CASE state WHEN 'leased' THEN now() + (n - {rows} / 2 - 5000) * interval '1 s' END"
    " FROM generate_series(1, {rows}) n CROSS JOIN LATERAL (SELECT CASE WHEN n <= {rows} / 2 THEN 'done'"
    " WHEN n % 101 = 0 THEN 'leased' WHEN n % 3 = 0 THEN 'throttled' ELSE 'ready' END) AS chosen (state)",
    "INSERT INTO outbox (id, extraction_id, channel, due_at, delivered_at)"
    " SELECT {id}, {id}, 'email', now() - n * interval '1 s', CASE WHEN n <= {rows} / 2 THEN now() END"
    " FROM generate_series(1, {rows}) n",
    # Every task that prefers a GPU is left to the GPU workers.
    "INSERT INTO worker_kinds (kind, seen_at) VALUES ('gpu', now() + interval '1 h')",
    "UPDATE tasks SET ready_at = now() + interval '-1 s' WHERE state = 'ready'",
    "SET session_replication_role = origin",
    "ANALYZE",
)
ID = "lpad(to_hex(n), 32, '0')::uuid"
USER = "lpad(to_hex(n % 100 + 1), 32, '0')::uuid"

CLAIM: dict[str, Any] = {"worker": "w", "limit": 1, "lease_seconds": 60}
LIST = {"user_id": OWNER, "limit": 50}
# In the older half, where nothing is queued, and nowhere is anything cancelled.
LIST_FILTERS: dict[str, dict[str, object]] = {
    "all": {},
    "deep": {"before": UUID(int=ROWS // 10)},
    "one status": {"status": "queued"},
    "one status, deep": {"status": "succeeded", "before": UUID(int=ROWS // 10)},
    "no video of this status, deep": {"status": "queued", "before": UUID(int=ROWS // 3)},
    "no video of this status": {"status": "cancelled"},
    "results with warnings": {"warned": True},
    "results with warnings, deep": {"warned": True, "before": UUID(int=ROWS // 10)},
    "digest": {"sha256": "0" * 32},
    "digest, deep": {"sha256": "0" * 32, "before": UUID(int=ROWS // 10)},
    "words that all have": {"words": "MP4", "before": UUID(int=ROWS // 10)},
}
STATEMENTS: dict[str, tuple[TextClause, Mapping[str, object], set[str]]] = {
    "claim": (task_queue_sql.CLAIM, CLAIM, {"tasks_ready_idx"}),
    "claim of a GPU's work": (task_queue_sql.CLAIM_GPU_WORK, CLAIM, {"tasks_ready_gpu_idx"}),
    "claim of any work": (task_queue_sql.CLAIM_ANY, CLAIM, {"tasks_ready_idx"}),
    "positions": (videos.POSITIONS, {"ids": [OWNER], "most": 1000}, {"tasks_ready_idx", "tasks_throttled_idx"}),
    "expired": (task_queue_sql.EXPIRED, {"lease_seconds": 0, "limit": 100}, {"tasks_lease_idx"}),
    "due channels": (outbox.DUE_CHANNELS, {"without": [], "limit": 10}, {"outbox_due_idx"}),
    "take": (outbox.TAKE, {"channel": "email", "limit": 20, "lease_seconds": 120}, {"outbox_due_idx"}),
}


@pytest.fixture(scope="module")
def filled_database(postgres: Postgres, template: str) -> Iterator[Connection]:
    """A connection to a database whose tables are filled."""
    with fresh_database(postgres, template) as url:
        database = create_engine(url_of(url))
        with database.connect() as connection:
            for statement in FILL_TABLES:
                connection.execute(text(statement.format(id=ID, owner=USER, rows=ROWS)))
            connection.commit()
            yield connection
        database.dispose()


def plan_nodes(connection: Connection, statement: TextClause, values: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    """Runs the statement with EXPLAIN ANALYZE, rolls it back, and yields each node of its plan."""
    explained = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.text}")
    plan = connection.execute(explained, values).scalar_one()
    connection.rollback()
    pending = [(plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]]
    while pending:
        node = pending.pop()
        yield node
        pending += node.get("Plans", [])


def rows_read(node: dict[str, Any]) -> float:
    """Rows that the node read, whether it returned or filtered them."""
    rows: float = node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
    return rows


@pytest.mark.parametrize("name", STATEMENTS)
def test_statement_reads_few_rows_from_an_index(filled_database: Connection, name: str) -> None:
    statement, values, indexes = STATEMENTS[name]
    nodes = list(plan_nodes(filled_database, statement, values))
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE_TABLES]
    assert indexes <= {node.get("Index Name") for node in nodes}
    assert max(rows_read(node) for node in nodes if "Index Name" in node) <= 2000


@pytest.mark.parametrize("name", LIST_FILTERS)
def test_page_of_the_list_reads_hardly_more_rows_than_it_shows(filled_database: Connection, name: str) -> None:
    filters = LIST_FILTERS[name]
    nodes = list(plan_nodes(filled_database, videos.list_statement(frozenset(filters)), LIST | filters))
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LARGE_TABLES]
    assert max(rows_read(node) for node in nodes if "Relation Name" in node) <= 4 * 50


def test_search_reads_no_table(filled_database: Connection) -> None:
    with filled_database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM videos"))
    nodes = list(plan_nodes(filled_database, videos.list_statement(frozenset({"words"})), LIST | {"words": "none"}))
    (scan,) = [node for node in nodes if node.get("Index Name") == "videos_user_id_id_idx"]
    assert (scan["Node Type"], scan["Heap Fetches"]) == ("Index Only Scan", 0)


@pytest.mark.parametrize("filters", [{"words": "77"}, {"words": "77", "status": "succeeded"}])
def test_search_stops_at_a_full_page_also_where_the_table_seems_cheaper(
    filled_database: Connection, filters: dict[str, object]
) -> None:
    """As with an account that has most of the rows."""
    filled_database.execute(text("SET LOCAL random_page_cost = 1000"))
    filled_database.execute(text("SET LOCAL min_parallel_index_scan_size = 0"))
    filled_database.execute(videos.PLAN_SEARCH)
    statement = videos.list_statement(frozenset(filters))
    nodes = list(plan_nodes(filled_database, statement, LIST | filters | {"limit": 2}))
    assert not [node for node in nodes if node["Node Type"] in ("Seq Scan", "Sort", "Gather Merge")]
    (scan,) = [node for node in nodes if node.get("Index Name") == "videos_user_id_id_idx"]
    assert rows_read(scan) < ROWS // 100


@pytest.mark.parametrize("filters", [{"words": "none", "status": "succeeded"}, {"words": "mp4", "status": "cancelled"}])
def test_search_within_a_status_reads_the_extractions_of_few_videos(
    filled_database: Connection, filters: dict[str, object]
) -> None:
    nodes = list(plan_nodes(filled_database, videos.list_statement(frozenset(filters)), LIST | filters))
    assert max(rows_read(node) for node in nodes if node.get("Relation Name") == "extractions") <= 4 * 50


@pytest.mark.parametrize(
    "statement",
    [task_queue_sql.CLAIM, task_queue_sql.CLAIM_GPU_WORK, task_queue_sql.CLAIM_ANY],
    ids=["cpu", "gpu", "any"],
)
def test_claim_does_not_sort_waiting_tasks(filled_database: Connection, statement: TextClause) -> None:
    """It sorts only the rows that it returns."""
    nodes = list(plan_nodes(filled_database, statement, CLAIM))
    assert max(rows_read(node) for node in nodes if "Sort" in node["Node Type"]) <= CLAIM["limit"]


def test_queue_depth_is_counted_up_to_its_bound(filled_database: Connection) -> None:
    nodes = list(plan_nodes(filled_database, queue_status.QUEUE_DEPTH, {"max_count": 500}))
    assert sum(rows_read(node) for node in nodes if "Relation Name" in node) <= 2 * 500
