"""What became of what was promised: the clients' own list against rows, events and the bytes of the results.

Every clip that is submitted is good, so only a whole result fulfils the promise.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence

import psycopg

from db.database import open_database
from db.ledger import Ledger, compare
from tests.faults.load import Sent, seconds_of
from tests.faults.outcome import Outcome, p99
from tests.faults.system import LOOK_SECONDS, System

STILL_SECONDS = 180.0
"""So long without a single end, and nothing more is expected: what has not ended counts as lost."""
ENDS = ("published", "failed", "cancelled")

# A claim by a later attempt that came before the publishing one's end took its lease away.
STALE = """
    SELECT count(*) FROM events ended
    WHERE ended.kind = 'published' AND EXISTS (
        SELECT FROM events claimed
        WHERE claimed.extraction_id = ended.extraction_id AND claimed.kind = 'claimed' AND claimed.id < ended.id
          AND (claimed.data->>'attempt')::int > (ended.data->>'attempt')::int
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
    """Waits for the ends, then counts. sent: what the clients sent. faults: when each fault ended, in seconds of the
    epoch. Raises AssertionError when nothing was accepted, or the ledger does not agree with the count."""
    _wait_for_ends(system)
    ledger = await _ledger(system)
    lost = _lost(system, sent)
    assert lost or ledger.total.balanced, ledger.total
    return Outcome(
        name=name,
        how=how,
        accepted=sum(bool(one.answers) for one in sent),
        lost=lost,
        duplicated=_duplicated(system, sent),
        stale=system.count(STALE),
        redelivered=system.inbox.repeated,
        accept_p99_seconds=p99(seconds_of(sent)),
        recover_seconds=max((_recovery(system, since) for since in faults), default=None),
        note=note,
    )


def burnt(system: System, sent: Sequence[Sent]) -> int:
    """Tries of these that counted against something."""
    ids = [extraction for one in sent for _, extraction in one.answers]
    return system.count(
        "SELECT coalesce(sum(crashes + losses + service_errors), 0) FROM tasks WHERE extraction_id::text = ANY(%s)", ids
    )


def _wait_for_ends(system: System) -> None:
    last, changed = -1, time.monotonic()
    while time.monotonic() - changed < STILL_SECONDS:
        try:
            left = system.count("SELECT count(*) FROM extractions WHERE finished_at IS NULL")
        except psycopg.OperationalError:
            left = last
        if left == 0:
            return
        if left != last:
            last, changed = left, time.monotonic()
        time.sleep(10 * LOOK_SECONDS)


def _lost(system: System, sent: Sequence[Sent]) -> int:
    """Promises without an acceptance, or without a result whose bytes are those that the row tells of."""
    objects = system.service.home / "objects"
    found = system.rows("""
        SELECT extractions.id::text, result_key, result_sha256 FROM extractions
        JOIN acceptances ON acceptances.extraction_id = extractions.id WHERE status = 'succeeded'
    """)
    whole = set()
    for extraction, key, digest in found:
        archive = objects / key / "frames.zip"
        if archive.is_file() and hashlib.sha256(archive.read_bytes()).hexdigest() == digest:
            whole.add(extraction)
    return sum(bool(one.answers) and one.answers[-1][1] not in whole for one in sent)


def _duplicated(system: System, sent: Sequence[Sent]) -> int:
    """Second videos of a key, extractions of a video, ends of an extraction, results of an extraction."""
    answered = sum(len(set(one.answers)) - 1 for one in sent if one.answers)
    videos = Counter(name for (name,) in system.rows("SELECT filename FROM videos"))
    extractions = Counter(video for (video,) in system.rows("SELECT video_id FROM extractions"))
    ends = Counter(
        extraction for (extraction,) in system.rows("SELECT extraction_id FROM events WHERE kind = ANY(%s)", list(ENDS))
    )
    stored = sum(sum(counter.values()) - len(counter) for counter in (videos, extractions, ends))
    unasked = len(videos.keys() - {f"{key}.mp4" for key in system.known})
    return answered + stored + unasked


def _recovery(system: System, since: float) -> float:
    """Seconds from a moment to the next published result; 0 when nothing was left to do."""
    ((seconds,),) = system.rows(
        "SELECT extract(epoch FROM min(at)) - %s FROM events WHERE kind = 'published' AND at > to_timestamp(%s)",
        since,
        since,
    )
    return float(seconds or 0.0)


async def _ledger(system: System) -> Ledger:
    engine = open_database(system.postgres.url(), name="audit")
    try:
        return await compare(engine)
    finally:
        await engine.dispose()
