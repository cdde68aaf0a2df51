"""The methods of `AsyncClient` for extractions."""

from __future__ import annotations

from cluster.client.api_types import Extraction
from cluster.client.asynchronous.flow_runner import AsyncFlowRunner
from cluster.client.calls import extraction_calls


class AsyncExtractionMethods(AsyncFlowRunner):
    async def extraction(self, extraction_id: str) -> Extraction:
        """As `Client.extraction`."""
        return await self._call(extraction_calls.extraction(self._session, extraction_id))

    async def cancel(self, extraction: Extraction | str) -> Extraction:
        """As `Client.cancel`."""
        return await self._call(extraction_calls.cancel(self._session, extraction))

    async def retry(self, extraction: Extraction | str, *, idempotency_key: str | None = None) -> Extraction:
        """As `Client.retry`."""
        return await self._call(extraction_calls.retry(self._session, extraction, idempotency_key))

    async def wait(
        self,
        extraction: Extraction | str,
        *,
        timeout_seconds: float | None = None,
        on_progress: extraction_calls.OnProgress | None = None,
    ) -> Extraction:
        """As `Client.wait`."""
        return await self._call(extraction_calls.wait(self._session, extraction, timeout_seconds, on_progress))
