"""The methods of `Client` for videos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cluster.client.api_types import Estimate, Extraction, Media, Page, Status, Video
from cluster.client.blocking.flow_runner import BlockingFlowRunner
from cluster.client.calls import video_calls
from cluster.client.extraction_spec import Spec, spec_text
from cluster.client.local_files.local_file import AnyPath, OnRead, OnSent
from cluster.client.uploads.submit_files import submit


class VideoMethods(BlockingFlowRunner):
    def upload(
        self,
        path: AnyPath,
        spec: Spec | None = None,
        *,
        idempotency_key: str | None = None,
        by_content: bool = False,
        on_sent: OnSent | None = None,
        on_read: OnRead | None = None,
    ) -> Video:
        """Uploads one video and extracts its frames by `spec`. Resumes after a broken connection.

        A repeated call with the same `idempotency_key` returns the same video. by_content: does not send content that
        a video of the account has. With `by_content`, with a key, and for a large file with an `upload_state`, the file
        is read for its SHA-256 first, and the service compares it. on_read: reports the progress of reading.
        Also raises UnsendableFile and LocalFileError.

            >>> client.upload(clip, ExtractionSpec(fps=2)).filename
            'clip.mp4'
        """
        (video,) = self.submit(
            [path], spec, idempotency_key=idempotency_key, by_content=by_content, on_sent=on_sent, on_read=on_read
        )
        return video

    def submit(
        self,
        paths: AnyPath | Iterable[AnyPath],
        spec: Spec | None = None,
        *,
        idempotency_key: str | None = None,
        by_content: bool = False,
        on_sent: OnSent | None = None,
        on_read: OnRead | None = None,
    ) -> list[Video]:
        """Uploads videos as `upload` does, four at a time. Returns the videos in the order of the files.

        When an upload fails, the error's `failed_file` names the file and `submitted` has the videos of the others.

            >>> [video.status.value for video in client.submit([clip])]
            ['queued']
        """
        return self._call(
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

    def videos(
        self, *, status: Status | str | None = None, q: str | None = None, sha256: str | None = None
    ) -> Iterator[Video]:
        """Iterates over the account's videos, newest first. q: a part of the file name.

        >>> [video.filename for video in client.videos(q="clip")]
        ['clip.mp4']
        """
        filters, cursor = video_calls.video_filters(status, q, sha256), None
        while True:
            page = self._call(video_calls.next_video_page(self._session, filters, cursor))
            yield from page.items
            if (cursor := page.next_cursor) is None:
                return

    def video_page(
        self,
        *,
        status: Status | str | None = None,
        q: str | None = None,
        sha256: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Video]:
        """Returns one page of the account's videos. limit: None for as many as the service chooses.

        >>> client.video_page(limit=10).next_cursor is None
        True
        """
        return self._call(
            video_calls.video_page(self._session, status=status, q=q, sha256=sha256, limit=limit, cursor=cursor)
        )

    def video(self, video_id: str) -> Video:
        """Returns one video, with its newest extraction.

        >>> client.video(video.id).filename
        'clip.mp4'
        """
        return self._call(video_calls.video(self._session, video_id))

    def delete(self, video: Video | str) -> None:
        """Deletes a video, its extractions and their files. Cancels a running extraction first.

        >>> client.delete(video)
        """
        self._call(video_calls.delete(self._session, video))

    def extract_again(self, video: Video | str, spec: Spec, *, idempotency_key: str | None = None) -> Extraction:
        """Extracts a stored video by another specification, without uploading it again.

        >>> client.extract_again(video, ExtractionSpec(sample={"mode": "keyframes"})).video_id == video.id
        True
        """
        return self._call(video_calls.extract(self._session, video, spec_text(spec), idempotency_key))

    def estimate(self, video: Video | str | Media | Mapping[str, Any], spec: Spec | None = None) -> Estimate:
        """Estimates an extraction: the number of images, the bytes of the archive and the seconds. Queues nothing.

        video: a stored video; or the `codec`, `width`, `height`, `duration` and `fps_average` of a file.

            >>> client.estimate(video, ExtractionSpec(fps=2)).frames
            7
        """
        text = None if spec is None else spec_text(spec)
        return self._call(video_calls.estimate(self._session, video, text))
