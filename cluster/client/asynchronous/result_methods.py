"""The methods of `AsyncClient` for the result of an extraction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

from cluster.client.api_types import Extraction, TimelineEvent
from cluster.client.asynchronous.flow_runner import AsyncFlowRunner
from cluster.client.calls import frame_calls, result_calls
from cluster.client.local_files.local_file import AnyPath
from cluster.client.local_files.resumable_download import OnReceived
from cluster.client.result_types import ContactSheet, FrameImage, Manifest


class AsyncResultMethods(AsyncFlowRunner):
    async def download(
        self, extraction: Extraction | str, path: AnyPath, *, on_received: OnReceived | None = None
    ) -> Path:
        """As `Client.download`."""
        return await self._call(result_calls.download(self._session, extraction, path, on_received))

    async def frames(
        self, extraction: Extraction | str, numbers: Iterable[int] | None = None
    ) -> AsyncIterator[FrameImage]:
        """As `Client.frames`."""
        plan = await self._call(frame_calls.plan_frames(self._session, extraction, numbers))
        for window in plan.windows():
            for image in await self._call(frame_calls.fetch_window(self._session, plan, window)):
                yield image

    async def manifest(self, extraction: Extraction | str) -> Manifest:
        """As `Client.manifest`."""
        return await self._call(result_calls.manifest(self._session, extraction))

    async def report(self, extraction: Extraction | str) -> Mapping[str, Any]:
        """As `Client.report`."""
        return await self._call(result_calls.report(self._session, extraction))

    async def sheet(self, extraction: Extraction | str) -> ContactSheet:
        """As `Client.sheet`."""
        return await self._call(result_calls.sheet(self._session, extraction))

    async def timeline(self, extraction: Extraction | str) -> tuple[TimelineEvent, ...]:
        """As `Client.timeline`."""
        return await self._call(result_calls.timeline(self._session, extraction))
