"""The mutants: each breaks one promise by an edit of the source, and names the test that must fail."""

from __future__ import annotations

from dataclasses import dataclass

QUEUE = "tests/integration/db/test_queue.py"
KINDS = "tests/integration/db/test_worker_kinds.py"
FAIR = "tests/integration/db/test_queue_fairness.py"
SPLIT = "tests/integration/db/test_queue_split.py"
PROMISES = "tests/faults/test_promises.py"
WORKER_LOOP = "tests/integration/actors/worker/test_worker_loop.py"
ACCEPTOR = "tests/integration/serve_app/submission/test_group_commit.py"


@dataclass(frozen=True, slots=True)
class Edit:
    """Replaces a text in a file. old: stands exactly once in the file."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """test: the id of a test that passes without the edits and fails with them."""

    name: str
    edits: tuple[Edit, ...]
    test: str


MUTANTS = (
    Mutant(
        "a claim whose answer was lost not given back",
        (Edit("actors/worker/worker_loop.py", "        self._may_hold = True\n", "        self._may_hold = False\n"),),
        f"{WORKER_LOOP}::test_claim_with_a_lost_response_is_released_and_counts_nothing",
    ),
    Mutant(
        "the fence removed from the WHERE",
        (
            Edit(
                "db/queue/task_queue_sql.py",
                "tasks.id = :task_id AND attempt = :attempt AND leased_by = :worker AND state = 'leased'",
                "tasks.id = :task_id AND state = 'leased'",
            ),
        ),
        f"{QUEUE}::test_rescued_attempt_cannot_write",
    ),
    Mutant(
        "the attempt not in the fence",
        (
            Edit(
                "db/queue/task_queue_sql.py",
                "AND attempt = :attempt AND leased_by = :worker",
                "AND leased_by = :worker",
            ),
        ),
        f"{QUEUE}::test_rescued_attempt_cannot_write",
    ),
    Mutant(
        "the attempt counted at the end, not at the claim",
        (
            Edit("db/queue/task_queue_sql.py", "SET state = 'leased', attempt = attempt + 1,", "SET state = 'leased',"),
            Edit(
                "db/queue/task_queue_sql.py",
                "UPDATE tasks SET state = 'done', frames_done = :frames,",
                "UPDATE tasks SET state = 'done', attempt = attempt + 1, frames_done = :frames,",
            ),
        ),
        f"{PROMISES}::test_unfinished_claim_has_counted_its_attempt",
    ),
    Mutant(
        "the outbox written after the transaction",
        (
            Edit(
                "db/queue/task_queue_sql.py",
                "'published', jsonb_build_object('attempt', attempt) FROM task\n    ), {INSERT_NOTIFICATIONS}\n",
                "'published', jsonb_build_object('attempt', attempt) FROM task\n    )\n",
            ),
            Edit(
                "db/queue/task_queue.py",
                "        retention_seconds=retention_seconds,\n    )\n",
                "        retention_seconds=retention_seconds,\n    )\n"
                "    async with database.begin() as late:\n"
                "        values = {'id': lease.task_id}\n"
                "        await late.execute(sql.text('INSERT INTO outbox (id, extraction_id, channel) SELECT '\n"
                "            'gen_random_uuid(), extraction_id, \\'email\\' FROM tasks WHERE id = :id'), values)\n",
            ),
        ),
        f"{PROMISES}::test_publish_and_its_notification_are_one_transaction",
    ),
    Mutant(
        "201 before the COMMIT",
        (
            Edit(
                "serve_app/submission/group_commit.py",
                "            if one.request.key is not None:\n",
                "            one.response.set_result(one.body)\n            if one.request.key is not None:\n",
            ),
        ),
        f"{PROMISES}::test_201_is_not_sent_before_the_commit",
    ),
    Mutant(
        "no look at the idempotency key",
        (
            Edit(
                "serve_app/submission/idempotent_requests.py",
                "    key = headers.get(HEADER)\n",
                "    key = None\n",
            ),
        ),
        f"{PROMISES}::test_repeated_request_with_its_key_creates_nothing",
    ),
    Mutant(
        "rescue without waiting out an outage",
        (
            Edit(
                "db/queue/task_queue_sql.py",
                "WHERE {_LATE} AND pg_postmaster_start_time() < clock_timestamp() - "
                "make_interval(secs => :lease_seconds)",
                "WHERE {_LATE} AND :lease_seconds >= 0",
            ),
        ),
        f"{QUEUE}::test_rescue_waits_until_the_database_is_up_for_a_whole_lease",
    ),
    Mutant(
        "virtual time not advanced",
        (
            Edit(
                "db/queue/fair_queueing.py",
                "greatest(share.virtual_time, share.last_finish,",
                "greatest(share.last_finish,",
            ),
        ),
        f"{FAIR}::test_virtual_time_does_not_decrease_when_claimed_tasks_are_deleted",
    ),
    Mutant(
        "claims out of turn move the virtual time of other work",
        (Edit("db/queue/fair_queueing.py", "WHERE prefers = '{kind}' AND kind = 'extract'", "WHERE kind = 'extract'"),),
        f"{KINDS}::test_work_that_gpus_take_out_of_turn_does_not_put_newcomers_behind",
    ),
    Mutant(
        "work is left to GPUs for ever",
        (Edit("db/queue/worker_kinds.py", "ready_at > clock_timestamp() - interval '{PATIENCE_SECONDS} s' AND ", ""),),
        f"{KINDS}::test_cpu_workers_end_all_work_when_no_gpu_worker_ever_comes",
    ),
    Mutant(
        "every segment adds an assembling task",
        (Edit("db/queue/task_queue_sql.py", "WHERE counted.segments_left = 0", "WHERE counted.segments_left >= 0"),),
        f"{SPLIT}::test_last_two_segments_at_once_add_one_assemble_task",
    ),
    Mutant(
        "a lost answer not read again",
        (
            Edit(
                "db/queue/task_queue.py",
                "        if not await was_published(database, lease):\n            raise\n",
                "        raise\n",
            ),
        ),
        f"{QUEUE}::test_repeated_publish_by_the_same_attempt_changes_nothing",
    ),
    Mutant(
        "the slots that accepting takes not counted",
        (Edit("db/queue/fair_queueing.py", "open = shares.open + total.admitted", "open = shares.open"),),
        f"{ACCEPTOR}::test_concurrent_requests_share_transactions_and_get_their_own_responses",
    ),
    Mutant(
        "the video's bytes not compared with the accepted ones",
        (Edit("actors/worker/stage_video.py", "    if sha256 is None:\n", "    if sha256 is None or sha256:\n"),),
        f"{PROMISES}::test_video_altered_in_the_store_is_not_decoded",
    ),
)
