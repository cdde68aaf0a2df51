"""What `Client.extract` tells: the progress of each video, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cluster.client.api_types import Extraction, Result, ResultWarning, Video
from cluster.client.errors import FotogramaError


class ExtractStage(StrEnum):
    """The stage that a video has reached. READING: its SHA-256 is computed.

    >>> ExtractStage.READING.value
    'reading'
    """

    READING = "reading"
    UPLOADING = "uploading"
    QUEUED = "queued"
    EXTRACTING = "extracting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ExtractProgress:
    """How far one video is. index: of the video in the call, from 0.

    done, total: bytes of READING and UPLOADING, images of EXTRACTING. total: None until it is known.

        >>> steps = []
        >>> outcomes = client.extract(clip, on_progress=steps.append)
        >>> steps[-1].stage.value
        'succeeded'
    """

    index: int
    name: str
    stage: ExtractStage
    done: int = 0
    total: int | None = None


OnExtractProgress = Callable[[ExtractProgress], None]
"""Called with each step of each video. Another thread may call it."""


@dataclass(frozen=True, slots=True)
class ExtractOutcome:
    """What became of one video. error: why it failed; None when it succeeded.

    video, extraction: on the service, as far as it came.

        >>> for outcome in client.extract([clip, folder / "missing.mp4"]):
        ...     print(outcome.name, outcome.result.frames if outcome.error is None else outcome.error.code)
        clip.mp4 2
        missing.mp4 local_file
    """

    name: str
    video: Video | None = None
    extraction: Extraction | None = None
    error: FotogramaError | None = None

    @property
    def result(self) -> Result | None:
        """The result; None when the extraction failed."""
        return None if self.extraction is None or self.error is not None else self.extraction.result

    @property
    def warnings(self) -> tuple[ResultWarning, ...]:
        """What is not perfect in the result, such as frames that can't be decoded."""
        return () if self.result is None else self.result.warnings

    def to_dict(self) -> dict[str, Any]:
        """Returns the outcome as an object that JSON can hold.

        >>> client.extract(folder / "missing.mp4")[0].to_dict()["error"]["fault"]
        'request'
        """
        error = self.error
        return {
            "name": self.name,
            "video": None if self.video is None else self.video.to_dict(),
            "extraction": None if self.extraction is None else self.extraction.to_dict(),
            "error": None
            if error is None
            else {"code": error.code, "detail": error.detail, "fault": error.fault, "remedy": error.remedy},
        }
