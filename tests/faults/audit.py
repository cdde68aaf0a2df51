"""What became of what was promised: the clients' own list against rows, events and the bytes of the results.

Every clip that is submitted is good, so only a whole result fulfils the promise.
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
from tests.faults.injection.failing_receiver import Receiving
from tests.faults.injection.submission_load import Sent, seconds_of
from tests.faults.injection.whole_service import LOOK_SECONDS, System
from tests.faults.row_outcome import Outcome, p99

STILL_SECONDS = 180.0
"""So long without a single end, and nothing more is expected: what has not ended counts as lost."""
HOLD_PASSES_SECONDS = 5.0
"""So long without a single delivery, and what is still held is held by a maintenance process that was killed."""
ENDS = ("published", "failed", "cancelled")

UNENDED = "SELECT count(*) FROM extractions WHERE finished_at IS NULL"
UNTOLD = "SELECT count(*) FROM outbox WHERE delivered_at IS NULL AND given_up_at IS NULL"
# No pause after a failed try is as long in any row.
PASS_HOLDS = """
    UPDATE outbox SET due_at = clock_timestamp()
    WHERE delivered_at IS NULL AND given_up_at IS NULL AND due_at > clock_timestamp() + interval '1 minute'
    RETURNING 1
"""

# A claim by a later attempt that came before the publishing one's end took its lease away. Each segment is a task of
# its own, and so are the planning one and the one after the plan.
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
    sent: Sequence[Sent],
    *,
    name: str,
    how: str,
    faults: Sequence[float] = (),
    note: str = "",
) -> Outcome:
    """Waits for the ends and until they were told, then counts. sent: what the clients sent. faults: when each fault
    ended, in seconds of the epoch. Raises AssertionError when nothing was accepted, or the ledger does not agree with
    the count."""
    _wait_until_still(system, UNENDED)
    ledger = await _ledger(system)
    lost = _lost(system, sent)
    assert lost or ledger.total.balanced, ledger.total
    _wait_until_still(system, UNTOLD, every=HOLD_PASSES_SECONDS, meanwhile=PASS_HOLDS)
    told = [tellings(channel, sent) for channel in (system.inbox, system.hook)]
    assert not system.hook.forged, "a webhook was not signed as it should be"
    return Outcome(
        name=name,
        how=how,
        accepted=sum(bool(one.answers) for one in sent),
        lost=len(lost.union(*(one.missing for one in told))),
        duplicated=_duplicated(system, sent) + sum(one.doubled for one in told),
        stale=system.fetch_count(STALE),
        redelivered=sum(one.repeated for one in told),
        accept_p99_seconds=p99(seconds_of(sent)),
        recover_seconds=max((_recovery(system, since) for since in faults), default=None),
        note=note,
    )


@dataclass(frozen=True, slots=True)
class Tellings:
    """missing: keys of those about which nothing came. doubled: second messages about one, with an id of their own.
    repeated: messages that came again with the same id."""

    missing: frozenset[str]
    doubled: int
    repeated: int


def tellings(channel: Receiving, sent: Sequence[Sent]) -> Tellings:
    """What has come to a channel about what was accepted."""
    told = channel.told()
    ids = {one.key: told.get(one.key, []) for one in sent if one.answers}
    return Tellings(
        missing=frozenset(key for key, some in ids.items() if not some),
        doubled=sum(len(set(some)) - 1 for some in ids.values() if some),
        repeated=sum(len(some) - len(set(some)) for some in ids.values()),
    )


def burnt(system: System, sent: Sequence[Sent]) -> list[dict[str, object]]:
    """Tries of these that counted against something: what their events tell."""
    ids = [extraction for one in sent for _, extraction in one.answers]
    found = system.fetch_rows(
        "SELECT data FROM events WHERE kind = 'retried' AND extraction_id::text = ANY(%s) ORDER BY id", ids
    )
    return [data for (data,) in found]


def _wait_until_still(system: System, statement: str, *, every: float = STILL_SECONDS, meanwhile: str = "") -> None:
    """Waits until the statement counts nothing, or nothing has changed for STILL_SECONDS.

    meanwhile: run once when nothing has changed for `every` seconds.
    """
    last, changed = -1, time.monotonic()
    while (still := time.monotonic() - changed) < STILL_SECONDS:
        try:
            left = system.fetch_count(statement)
            if meanwhile and still > every:
                system.fetch_rows(meanwhile)
                meanwhile = ""
        except psycopg.OperationalError:
            left = last
        if left == 0:
            return
        if left != last:
            last, changed = left, time.monotonic()
        time.sleep(10 * LOOK_SECONDS)


def _lost(system: System, sent: Sequence[Sent]) -> set[str]:
    """Keys of promises without an acceptance, or without a result whose bytes are those that the row tells of."""
    objects = system.service.data_dir / "objects"
    found = system.fetch_rows("""
        SELECT extractions.id::text, result_key, result_sha256 FROM extractions
        JOIN acceptances ON acceptances.extraction_id = extractions.id WHERE status = 'succeeded'
    """)
    whole = set()
    for extraction, key, digest in found:
        archive = objects / key / "frames.zip"
        if archive.is_file() and hashlib.sha256(archive.read_bytes()).hexdigest() == digest:
            whole.add(extraction)
    return {one.key for one in sent if one.answers and one.answers[-1][1] not in whole}


def _duplicated(system: System, sent: Sequence[Sent]) -> int:
    """Second videos of a key, extractions of a video, ends of an extraction, results of an extraction."""
    answered = sum(len(set(one.answers)) - 1 for one in sent if one.answers)
    videos = Counter(name for (name,) in system.fetch_rows("SELECT filename FROM videos"))
    extractions = Counter(video for (video,) in system.fetch_rows("SELECT video_id FROM extractions"))
    ends = Counter(
        extraction
        for (extraction,) in system.fetch_rows("SELECT extraction_id FROM events WHERE kind = ANY(%s)", list(ENDS))
    )
    stored = sum(sum(counter.values()) - len(counter) for counter in (videos, extractions, ends))
    unasked = len(videos.keys() - {f"{key}.mp4" for key in system.known})
    return answered + stored + unasked


def _recovery(system: System, since: float) -> float:
    """Seconds from a moment to the next published result; 0 when nothing was left to do."""
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
