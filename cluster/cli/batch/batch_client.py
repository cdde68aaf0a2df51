"""The client of commands for many videos: it runs the batch of the SDK, video by video."""

from __future__ import annotations

import os

import typer

from cluster.cli.reachability import say_when_unreachable
from cluster.cli.server_url import server_url
from cluster.client.async_client import AsyncClient
from cluster.client.batch.outcome import ExtractOutcome, OnExtractProgress
from cluster.client.batch.video_batch import BatchVideo, VideoBatch
from cluster.client.credentials.credentials_file import writable_upload_state_path
from cluster.client.retry_policy import RetryPolicy

BATCH_RETRY_POLICY = RetryPolicy(
    attempts=None, patience_seconds=900.0, retry_after_seconds=600.0, in_progress_seconds=300.0
)
"""Long enough for restarts of the server."""


class BatchClient(AsyncClient):
    def new_batch(self, spec: str | None, on_progress: OnExtractProgress) -> VideoBatch:
        """spec: JSON text for files that are uploaded."""
        return VideoBatch(self._session, spec, on_progress)

    async def extract_one(self, batch: VideoBatch, index: int, video: BatchVideo) -> ExtractOutcome:
        """Returns what became of one video of a batch. Cancelled, it leaves the video in `batch.unfinished`."""
        return await self._call(batch.extract(index, video))


def open_batch_client() -> BatchClient:
    """Returns a client that outlives restarts of the service. Says when it can't be reached. Raises NotLoggedIn."""
    url = server_url(os.environ)
    state = None
    try:
        state = writable_upload_state_path(os.environ)
    except OSError as error:
        typer.echo(f"An upload can't go on after a crash of this command: {error}", err=True)
    say_when_unreachable(url, BATCH_RETRY_POLICY.patience_seconds)
    return BatchClient(url, retry=BATCH_RETRY_POLICY, upload_state=state)
