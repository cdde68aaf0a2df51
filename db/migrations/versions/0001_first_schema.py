"""The first schema: one file of SQL a subject, with its tables, their rules, their indexes and their triggers."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

FOLDER = Path(__file__).with_name("first_schema")
# A table stands after those that its foreign keys name.
STEPS = (
    "accounts",
    "videos",
    "uploads",
    "extractions",
    "planned_durations",
    "tasks",
    "task_indexes",
    "fair_shares",
    "running_limit",
    "events",
    "notifications",
    "objects",
    "acceptances_and_tombstones",
    "idempotency_keys",
)


def upgrade() -> None:
    for step in STEPS:
        op.execute((FOLDER / f"{step}.sql").read_text(encoding="utf-8"))
