"""A task that is inserted as ready is counted by what inserts it"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP TRIGGER tasks_slot_taken ON tasks")
    op.execute("DROP FUNCTION tasks_slot_taken()")
