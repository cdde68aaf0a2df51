"""The rows that need no whole service: queue functions, workers and the API in this process, on a real PostgreSQL."""

from tests.faults.outcome import Row
from tests.faults.rows_queue_answers import commit_answer_lost
from tests.faults.rows_queue_races import cancel_races_publish, last_segments_race, rescue_races_publish, unequal_users
from tests.faults.rows_queue_work import disk_full, poison_video, store_faulty, worker_clock_off

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
