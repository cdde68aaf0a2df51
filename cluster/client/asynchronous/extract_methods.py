"""The method of `AsyncClient` that extracts many videos by one call."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.client.asynchronous.flow_runner import AsyncFlowRunner
from cluster.client.batch.outcome import ExtractOutcome, OnExtractProgress
from cluster.client.batch.sources import Source
from cluster.client.extraction_spec import Spec


class AsyncExtractMethods(AsyncFlowRunner):
    async def extract(
        self,
        sources: Source | Iterable[Source],
        spec: Spec | None = None,
        *,
        progress: bool = False,
        on_progress: OnExtractProgress | None = None,
    ) -> list[ExtractOutcome]:
        """As `Client.extract`."""
        from cluster.client.batch.extract_call import extract_call  # noqa: PLC0415 - only batches need it

        with extract_call(self._session, sources, spec, progress, on_progress) as flow:
            return await self._call(flow)
