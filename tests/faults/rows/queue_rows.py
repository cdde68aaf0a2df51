"""The rows without the whole service: queue functions, workers and the API in this process, on a real PostgreSQL."""

from tests.faults.row_outcome import Row
from tests.faults.rows.lost_answer_row import commit_answer_lost
from tests.faults.rows.queue_race_rows import (
    cancel_races_publish,
    last_segments_race,
    rescue_races_publish,
    unequal_users,
)
from tests.faults.rows.worker_rows import disk_full, poison_video, store_faulty, worker_clock_off

ROWS: tuple[Row, ...] = (
    store_faulty,
    disk_full,
    commit_answer_lost,
    rescue_races_publish,
    last_segments_race,
    cancel_races_publish,
    poison_video,
    unequal_users,
    worker_clock_off,
)
