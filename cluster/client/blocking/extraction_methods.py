"""The methods of `Client` for extractions."""

from __future__ import annotations

from cluster.client.api_types import Extraction
from cluster.client.blocking.flow_runner import BlockingFlowRunner
from cluster.client.calls import extraction_calls


class ExtractionMethods(BlockingFlowRunner):
    def extraction(self, extraction_id: str) -> Extraction:
        """Returns one extraction, with its progress.

        >>> client.extraction(extraction.id).status.ended
        True
        """
        return self._call(extraction_calls.extraction(self._session, extraction_id))

    def cancel(self, extraction: Extraction | str) -> Extraction:
        """Cancels an extraction that has not ended. Raises WrongState when it has.

        >>> client.cancel(client.upload(clip).extraction).status.value
        'cancelled'
        """
        return self._call(extraction_calls.cancel(self._session, extraction))

    def retry(self, extraction: Extraction | str, *, idempotency_key: str | None = None) -> Extraction:
        """Starts an extraction like this failed or cancelled one. Raises WrongState for others.

        >>> client.retry(client.cancel(client.upload(clip).extraction)).video_id
        'v-2'
        """
        return self._call(extraction_calls.retry(self._session, extraction, idempotency_key))

    def wait(
        self,
        extraction: Extraction | str,
        *,
        timeout_seconds: float | None = None,
        on_progress: extraction_calls.OnProgress | None = None,
    ) -> Extraction:
        """Waits until the extraction has succeeded. An outage of the server only delays it.

        on_progress: called with each state that is read. Also raises ExtractionFailed and WaitTimeout.

            >>> client.wait(client.upload(clip).extraction, timeout_seconds=600).result.frames
            2
        """
        return self._call(extraction_calls.wait(self._session, extraction, timeout_seconds, on_progress))
