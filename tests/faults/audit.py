"""Checks what became of accepted submissions: the clients' own list against rows, events and the bytes of the results.

Every submitted clip is valid, so only a complete result fulfils the promise.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from db.acceptance.acceptance_audit import Ledger, compare
from db.connection import open_database
from tests.faults.injection.failing_receiver import Receiver
from tests.faults.injection.submission_load import Submission, call_seconds
from tests.faults.injection.whole_service import POLL_SECONDS, System
from tests.faults.row_outcome import Outcome, p99

GIVE_UP_SECONDS = 180.0
"""After this long without a single end, no more ends are expected. What has not ended counts as lost."""
IDLE_OUTBOX_SECONDS = 5.0
"""After this long without a delivery, notifications that are still leased belong to a killed maintenance process."""
ENDS = ("published", "failed", "cancelled")

UNFINISHED_EXTRACTIONS = "SELECT count(*) FROM extractions WHERE finished_at IS NULL"
UNSENT_NOTIFICATIONS = "SELECT count(*) FROM outbox WHERE delivered_at IS NULL AND given_up_at IS NULL"
# In every row the pause after a failed try is shorter than this minute: only leases of notifications are longer.
EXPIRE_NOTIFICATION_LEASES = """
    UPDATE outbox SET due_at = clock_timestamp()
    WHERE delivered_at IS NULL AND given_up_at IS NULL AND due_at > clock_timestamp() + interval '1 minute'
    RETURNING 1
"""

# A result is stale when a later attempt had claimed the task before the result was published: that claim took the lease
# away. Each segment is a task of its own. The attempts before and after a plan belong to different tasks.
STALE = """
    SELECT count(*) FROM events ended
    WHERE ended.kind IN ('published', 'segment_published', 'split') AND EXISTS (
        SELECT FROM events claimed
        WHERE claimed.extraction_id = ended.extraction_id AND claimed.kind = 'claimed' AND claimed.id < ended.id
          AND claimed.data->>'segment' IS NOT DISTINCT FROM ended.data->>'segment'
          AND (claimed.data->>'attempt')::int > (ended.data->>'attempt')::int
          AND NOT EXISTS (
              SELECT FROM events planned
              WHERE planned.extraction_id = ended.extraction_id AND planned.kind IN ('split', 'replanned')
                AND planned.id > claimed.id AND planned.id < ended.id
          )
    )
"""


async def audit(
    system: System,
    sent: Sequence[Submission],
    *,
    name: str,
    how: str,
    faults: Sequence[float] = (),
    note: str = "",
) -> Outcome:
    """Waits for the ends and their notifications, then counts.

    sent: what the clients sent. faults: when each fault ended, in seconds of the epoch. Raises AssertionError when
    nothing is lost but the ledger does not balance, or when a webhook has an invalid signature.
    """
    _wait_until_idle(system, UNFINISHED_EXTRACTIONS)
    ledger = await _ledger(system)
    lost = _unfulfilled_keys(system, sent)
    assert lost or ledger.total.balanced, ledger.total
    _wait_until_idle(
        system, UNSENT_NOTIFICATIONS, idle_seconds=IDLE_OUTBOX_SECONDS, when_idle=EXPIRE_NOTIFICATION_LEASES
    )
    notifications = [count_notifications(channel, sent) for channel in (system.inbox, system.hook)]
    assert not system.hook.invalid_signatures, "the signature of a webhook is invalid"
    return Outcome(
        name=name,
        how=how,
        accepted=sum(bool(submission.answers) for submission in sent),
        lost=len(lost.union(*(counts.missing for counts in notifications))),
        duplicated=_count_duplicates(system, sent) + sum(counts.duplicated for counts in notifications),
        stale=system.fetch_count(STALE),
        redelivered=sum(counts.repeated for counts in notifications),
        accept_p99_seconds=p99(call_seconds(sent)),
        recover_seconds=max((_recovery_seconds(system, since) for since in faults), default=None),
        note=note,
    )


@dataclass(frozen=True, slots=True)
class NotificationCounts:
    """What one channel received about the accepted submissions.

    missing: keys of submissions without a message. duplicated: further messages about the same submission, with
    another id. repeated: messages that came again with the same id.
    """

    missing: frozenset[str]
    duplicated: int
    repeated: int


def count_notifications(channel: Receiver, sent: Sequence[Submission]) -> NotificationCounts:
    """Compares the messages that a channel received with the accepted submissions."""
    received = channel.received_ids()
    ids = {submission.key: received.get(submission.key, []) for submission in sent if submission.answers}
    return NotificationCounts(
        missing=frozenset(key for key, message_ids in ids.items() if not message_ids),
        duplicated=sum(len(set(message_ids)) - 1 for message_ids in ids.values() if message_ids),
        repeated=sum(len(message_ids) - len(set(message_ids)) for message_ids in ids.values()),
    )


def charged_retries(system: System, sent: Sequence[Submission]) -> list[dict[str, object]]:
    """The data of the events of tries that failed and were counted against a limit."""
    ids = [extraction for submission in sent for _, extraction in submission.answers]
    rows = system.fetch_rows(
        "SELECT data FROM events WHERE kind = 'retried' AND extraction_id::text = ANY(%s) ORDER BY id", ids
    )
    return [data for (data,) in rows]


def _wait_until_idle(
    system: System, statement: str, *, idle_seconds: float = GIVE_UP_SECONDS, when_idle: str = ""
) -> None:
    """Waits until the statement counts 0, or its count has not changed for GIVE_UP_SECONDS.

    when_idle: a statement that is run once, when the count has not changed for idle_seconds.
    """
    previous, changed = -1, time.monotonic()
    while (idle := time.monotonic() - changed) < GIVE_UP_SECONDS:
        try:
            remaining = system.fetch_count(statement)
            if when_idle and idle > idle_seconds:
                system.fetch_rows(when_idle)
                when_idle = ""
        except psycopg.OperationalError:
            remaining = previous
        if remaining == 0:
            return
        if remaining != previous:
            previous, changed = remaining, time.monotonic()
        time.sleep(10 * POLL_SECONDS)


def _unfulfilled_keys(system: System, sent: Sequence[Submission]) -> set[str]:
    """Keys of answered submissions without an acceptance, or without a result whose bytes have the row's digest."""
    objects = system.service.data_dir / "objects"
    rows = system.fetch_rows("""
        SELECT extractions.id::text, result_key, result_sha256 FROM extractions
        JOIN acceptances ON acceptances.extraction_id = extractions.id WHERE status = 'succeeded'
    """)
    fulfilled = set()
    for extraction, key, digest in rows:
        archive = objects / key / "frames.zip"
        if archive.is_file() and hashlib.sha256(archive.read_bytes()).hexdigest() == digest:
            fulfilled.add(extraction)
    return {submission.key for submission in sent if submission.answers and submission.answers[-1][1] not in fulfilled}


def _count_duplicates(system: System, sent: Sequence[Submission]) -> int:
    """Counts further answers of a key, videos of a key, extractions of a video and ends of an extraction.

    Videos under a key that no client has used count as well.
    """
    repeated_answers = sum(len(set(submission.answers)) - 1 for submission in sent if submission.answers)
    videos = Counter(name for (name,) in system.fetch_rows("SELECT filename FROM videos"))
    extractions = Counter(video for (video,) in system.fetch_rows("SELECT video_id FROM extractions"))
    ends = Counter(
        extraction
        for (extraction,) in system.fetch_rows("SELECT extraction_id FROM events WHERE kind = ANY(%s)", list(ENDS))
    )
    repeated_rows = sum(sum(counter.values()) - len(counter) for counter in (videos, extractions, ends))
    unknown = len(videos.keys() - {f"{key}.mp4" for key in system.used_keys})
    return repeated_answers + repeated_rows + unknown


def _recovery_seconds(system: System, since: float) -> float:
    """Seconds from a moment (seconds of the epoch) to the next published result; 0 when no result followed."""
    ((seconds,),) = system.fetch_rows(
        "SELECT extract(epoch FROM min(at)) - %s FROM events WHERE kind = 'published' AND at > to_timestamp(%s)",
        since,
        since,
    )
    return float(seconds or 0.0)


async def _ledger(system: System) -> Ledger:
    database = open_database(system.postgres.url(), name="audit")
    try:
        return await compare(database)
    finally:
        await database.dispose()
