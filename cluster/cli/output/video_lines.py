"""Videos as tab-separated lines, for programs. On a terminal, `video_table` shows them."""

from __future__ import annotations

from cluster.cli.output.terminal_output import printable
from cluster.client.api_types import Video


def video_line(video: Video) -> str:
    """Returns the whole id, status, frames, file and time."""
    when = video.created_at.astimezone().isoformat(" ", "seconds")
    return "\t".join(map(printable, (video.id, video.status.value, frames_text(video), video.filename, when)))


def frames_text(video: Video) -> str:
    """Returns the images of the result; while there is none, those that are made and all of them."""
    progress, result = video.extraction.progress, video.extraction.result
    total = "?" if progress.frames_total is None else str(progress.frames_total)
    return str(result.frames) if result else f"{progress.frames_done}/{total}"
