"""The table of `fotograma list`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster.cli.terminal_output import printable
from cluster.client.api_types import Video


def show_videos(console: Console, videos: Sequence[Video]) -> None:
    """Prints videos as a table on a terminal, as tab-separated lines elsewhere."""
    rows = [_row(video) for video in videos]
    if not console.is_terminal:
        for row in rows:
            # Does not use rich, which turns tabs into spaces.
            console.file.write("\t".join(map(printable, row)) + "\n")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("VIDEO", "STATUS", "FRAMES", "FILE", "WHEN"):
        table.add_column(title, no_wrap=title != "FILE", justify="right" if title == "FRAMES" else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def _row(video: Video) -> tuple[str, ...]:
    progress, result = video.extraction.progress, video.extraction.result
    total = "?" if progress.frames_total is None else str(progress.frames_total)
    frames = str(result.frames) if result else f"{progress.frames_done}/{total}"
    when = video.created_at.astimezone().isoformat(" ", "seconds")
    return (video.id, video.status.value, frames, video.filename, when)
