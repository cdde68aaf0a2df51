"""The methods of `Client` for the result of an extraction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cluster.client.api_types import Extraction, TimelineEvent
from cluster.client.blocking.flow_runner import BlockingFlowRunner
from cluster.client.calls import frame_calls, result_calls
from cluster.client.local_files.local_file import AnyPath
from cluster.client.local_files.resumable_download import OnReceived
from cluster.client.result_types import ContactSheet, FrameImage, Manifest


class ResultMethods(BlockingFlowRunner):
    def download(self, extraction: Extraction | str, path: AnyPath, *, on_received: OnReceived | None = None) -> Path:
        """Writes the archive to the file `path`, whole and with the right digest, or not at all. A file with
        the same bytes is not downloaded again.

        Resumes after a broken connection. Also raises DownloadCorrupt and LocalFileError.

            >>> client.download(extraction, folder / "clip.zip").name
            'clip.zip'
        """
        return self._call(result_calls.download(self._session, extraction, path, on_received))

    def frames(self, extraction: Extraction | str, numbers: Iterable[int] | None = None) -> Iterator[FrameImage]:
        """Iterates over images of a result, without its archive being downloaded.

        numbers: of the wanted images, from 1; None: all of them. They come in the order of the numbers. Only their
        bytes are fetched, by ranges of the archive, several at a time, and compared with the manifest's SHA-256.
        Also raises DownloadCorrupt, and InvalidArgument for a number that the result does not have.

            >>> [(image.frame.n, image.to_pillow().size) for image in client.frames(extraction, [2, 1])]
            [(2, (64, 48)), (1, (64, 48))]
        """
        plan = self._call(frame_calls.plan_frames(self._session, extraction, numbers))
        for window in plan.windows():
            yield from self._call(frame_calls.fetch_window(self._session, plan, window))

    def manifest(self, extraction: Extraction | str) -> Manifest:
        """Returns the manifest of the archive: its images with their times.

        >>> [frame.time for frame in client.manifest(extraction).frames]
        [0.0, 1.0]
        """
        return self._call(result_calls.manifest(self._session, extraction))

    def report(self, extraction: Extraction | str) -> Mapping[str, Any]:
        """Returns how a result was made: reader, engine version, frames decoded and missing, seconds.

        >>> client.report(extraction)["reader"]
        'pyav'
        """
        return self._call(result_calls.report(self._session, extraction))

    def sheet(self, extraction: Extraction | str) -> ContactSheet:
        """Returns the contact sheet of a result: all images, small, in one. While the extraction runs, a preview.

        >>> client.sheet(extraction).to_pillow().size
        (64, 48)
        """
        return self._call(result_calls.sheet(self._session, extraction))

    def timeline(self, extraction: Extraction | str) -> tuple[TimelineEvent, ...]:
        """Returns the events of an extraction, oldest first.

        >>> [event.kind for event in client.timeline(extraction)]
        ['accepted', 'published']
        """
        return self._call(result_calls.timeline(self._session, extraction))
