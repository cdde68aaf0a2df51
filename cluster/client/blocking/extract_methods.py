"""The method of `Client` that extracts many videos by one call."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.client.batch.outcome import ExtractOutcome, OnExtractProgress
from cluster.client.batch.sources import Source
from cluster.client.blocking.flow_runner import BlockingFlowRunner
from cluster.client.extraction_spec import Spec


class ExtractMethods(BlockingFlowRunner):
    def extract(
        self,
        sources: Source | Iterable[Source],
        spec: Spec | None = None,
        *,
        progress: bool = False,
        on_progress: OnExtractProgress | None = None,
    ) -> list[ExtractOutcome]:
        """Extracts frames of many videos, and waits for them. Returns what became of each, in their order.

        sources: paths, bytes, or files that are opened for reading bytes; one of them, or several. progress: shows
        bars, in a notebook too. on_progress: called with each step.

        A failure stops no other video: its outcome has the `error`. The same call again does nothing twice. Content
        that the service has is not sent, an upload that was interrupted goes on, and an extraction that is there is
        used again. One that the service itself made fail is tried again, as is one whose result has expired.

            >>> outcomes = client.extract([clip, b"video in memory"], ExtractionSpec(fps=1))
            >>> [(outcome.name, outcome.result.frames) for outcome in outcomes]
            [('clip.mp4', 2), ('video-2', 2)]
        """
        from cluster.client.batch.extract_call import extract_call  # noqa: PLC0415 - only batches need it

        with extract_call(self._session, sources, spec, progress, on_progress) as flow:
            return self._call(flow)
