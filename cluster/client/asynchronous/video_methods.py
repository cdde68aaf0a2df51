"""The methods of `AsyncClient` for videos."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from cluster.client.api_types import Estimate, Extraction, Media, Page, Status, Video
from cluster.client.asynchronous.flow_runner import AsyncFlowRunner
from cluster.client.calls import video_calls
from cluster.client.extraction_spec import Spec, spec_text
from cluster.client.local_files.local_file import AnyPath, OnRead, OnSent
from cluster.client.uploads.submit_files import submit


class AsyncVideoMethods(AsyncFlowRunner):
    async def upload(
        self,
        path: AnyPath,
        spec: Spec | None = None,
        *,
        idempotency_key: str | None = None,
        by_content: bool = False,
        on_sent: OnSent | None = None,
        on_read: OnRead | None = None,
    ) -> Video:
        """As `Client.upload`."""
        (video,) = await self.submit(
            [path], spec, idempotency_key=idempotency_key, by_content=by_content, on_sent=on_sent, on_read=on_read
        )
        return video

    async def submit(
        self,
        paths: AnyPath | Iterable[AnyPath],
        spec: Spec | None = None,
        *,
        idempotency_key: str | None = None,
        by_content: bool = False,
        on_sent: OnSent | None = None,
        on_read: OnRead | None = None,
    ) -> list[Video]:
        """As `Client.submit`."""
        return await self._call(
            submit(
                self._session,
                paths,
                spec,
                key=idempotency_key,
                by_content=by_content,
                on_sent=on_sent,
                on_read=on_read,
            )
        )

    async def videos(
        self, *, status: Status | str | None = None, q: str | None = None, sha256: str | None = None
    ) -> AsyncIterator[Video]:
        """As `Client.videos`."""
        filters, cursor = video_calls.video_filters(status, q, sha256), None
        while True:
            page = await self._call(video_calls.next_video_page(self._session, filters, cursor))
            for video in page.items:
                yield video
            if (cursor := page.next_cursor) is None:
                return

    async def video_page(
        self,
        *,
        status: Status | str | None = None,
        q: str | None = None,
        sha256: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Video]:
        """As `Client.video_page`."""
        return await self._call(
            video_calls.video_page(self._session, status=status, q=q, sha256=sha256, limit=limit, cursor=cursor)
        )

    async def video(self, video_id: str) -> Video:
        """As `Client.video`."""
        return await self._call(video_calls.video(self._session, video_id))

    async def delete(self, video: Video | str) -> None:
        """As `Client.delete`."""
        await self._call(video_calls.delete(self._session, video))

    async def extract_again(self, video: Video | str, spec: Spec, *, idempotency_key: str | None = None) -> Extraction:
        """As `Client.extract_again`."""
        return await self._call(video_calls.extract(self._session, video, spec_text(spec), idempotency_key))

    async def estimate(self, video: Video | str | Media | Mapping[str, Any], spec: Spec | None = None) -> Estimate:
        """As `Client.estimate`."""
        text = None if spec is None else spec_text(spec)
        return await self._call(video_calls.estimate(self._session, video, text))
