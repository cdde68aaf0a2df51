"""`Client.extract` as a flow: many videos at a time, and a failure stops no other one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.client.authorized_requests import Session
from cluster.client.batch.outcome import ExtractOutcome, OnExtractProgress
from cluster.client.batch.sources import NamedSource
from cluster.client.batch.video_batch import MAX_IN_PROGRESS, BatchVideo, VideoBatch
from cluster.client.effects import Flow, RunConcurrently, RunInThread


def extract_sources(
    session: Session, sources: Sequence[NamedSource], spec: str | None, on_progress: OnExtractProgress | None
) -> Flow[list[ExtractOutcome]]:
    """Returns an outcome for each source, in their order. spec: JSON text. Raises OSError: no temporary folder."""
    session = replace(session, upload_state=session.upload_state or session.extract_state)
    with tempfile.TemporaryDirectory(prefix="fotograma-", ignore_cleanup_errors=True) as folder:
        batch = VideoBatch(session, spec, on_progress, Path(folder))
        yield RunInThread(lambda: batch.count(named.source for named in sources))
        flows = [batch.extract(index, BatchVideo(named.name, named.source)) for index, named in enumerate(sources)]
        outcomes: list[Any] = yield RunConcurrently(flows, MAX_IN_PROGRESS)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            # From a callback of the caller; all errors of a video are in its outcome.
            raise outcome
    return outcomes
