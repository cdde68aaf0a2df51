"""Progress of a batch: bars on a terminal, lines elsewhere, nothing with `--json`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cluster.cli.server_batch import BatchObserver, Stage, VideoOutcome
from cluster.client.api_types import Video


class Display(BatchObserver, AbstractContextManager["Display"], Protocol):
    """An observer of a batch that is shown from enter to exit."""


class SilentDisplay:
    """For programs: only the result is printed."""

    def __enter__(self) -> SilentDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def stage(self, index: int, name: str, stage: Stage, done: int = 0, total: int | None = None) -> None:
        """Says nothing."""

    def end(self, index: int, outcome: VideoOutcome) -> None:
        """Says nothing."""


class LineDisplay(SilentDisplay):
    """One line when a video is accepted, one when it ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._accepted: set[int] = set()

    def __enter__(self) -> LineDisplay:
        return self

    def stage(self, index: int, name: str, stage: Stage, done: int = 0, total: int | None = None) -> None:
        if stage in {Stage.QUEUED, Stage.RUNNING} and index not in self._accepted:
            self._accepted.add(index)
            say(self._console, f"{name}: accepted")

    def end(self, index: int, outcome: VideoOutcome) -> None:
        for line in lines_of(outcome):
            say(self._console, line)


class ProgressBars(SilentDisplay):
    """A bar for each active video and one for the batch. Ended videos become lines above the bars."""

    def __init__(self, console: Console, videos: int) -> None:
        self._console = console
        self._bars: dict[int, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.fields[name]}", markup=False),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._all = self._progress.add_task("", total=videos, name="all", amount=f"0/{videos}", visible=videos > 1)
        self._ended, self._videos = 0, videos

    def __enter__(self) -> ProgressBars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def stage(self, index: int, name: str, stage: Stage, done: int = 0, total: int | None = None) -> None:
        if index not in self._bars:
            self._bars[index] = self._progress.add_task("", name=_short(name), amount="", total=None)
        self._progress.update(
            self._bars[index],
            description=stage.value,
            completed=done,
            total=total,
            amount=_amount(stage, done, total),
            # Ten thousand waiting videos would fill the screen.
            visible=stage is not Stage.WAITING and (stage is not Stage.QUEUED or self._videos <= 20),
        )

    def end(self, index: int, outcome: VideoOutcome) -> None:
        if index in self._bars:
            self._progress.remove_task(self._bars.pop(index))
        self._ended += 1
        self._progress.update(self._all, completed=self._ended, amount=f"{self._ended}/{self._videos}")
        for line in lines_of(outcome):
            say(self._console, line)


def display_for(console: Console, videos: int, *, silent: bool) -> Display:
    if silent:
        return SilentDisplay()
    bars = console.is_terminal and not console.is_dumb_terminal
    return ProgressBars(console, videos) if bars else LineDisplay(console)


def say(console: Console, line: str) -> None:
    """Prints a line as it is: not wrapped, not coloured, not read as markup."""
    console.print(Text(printable(line)), soft_wrap=True)


def printable(text: str) -> str:
    """Replaces control characters, which file names may hold, by visible ones."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def lines_of(outcome: VideoOutcome) -> list[str]:
    """Returns how a video ended: one line, and one for each warning."""
    if outcome.failure is not None or outcome.result is None:
        return [f"{outcome.name}: failed"]
    place = f"{outcome.folder}/" if outcome.folder else str(outcome.archive)
    frames = outcome.result.frames
    warnings = [f"{outcome.name}: warning: {warning.detail} ({warning.code})" for warning in outcome.warnings]
    return [f"{outcome.name}: {frames} {'frame' if frames == 1 else 'frames'} → {place}", *warnings]


def failures(outcomes: Sequence[VideoOutcome]) -> list[str]:
    """Returns the failed videos with code, detail and remedy; empty when none failed."""
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    lines = [f"{len(failed)} of {len(outcomes)} failed:"] if failed else []
    for outcome in failed:
        assert outcome.failure is not None
        lines.append(f"  {outcome.name}: {outcome.failure.detail} ({outcome.failure.code})")
        if outcome.failure.remedy:
            lines.append(f"    {outcome.failure.remedy}")
    return lines


def document(outcome: VideoOutcome) -> dict[str, Any]:
    """Returns an outcome as an object for `--json`."""
    extraction = outcome.extraction
    return {
        "file": outcome.name,
        "video_id": outcome.video.id if outcome.video else None,
        "extraction_id": extraction.id if extraction else None,
        "status": extraction.status.value if extraction else None,
        "frames": outcome.result.frames if outcome.result else None,
        "archive": str(outcome.archive) if outcome.archive else None,
        "folder": str(outcome.folder) if outcome.folder else None,
        "warnings": [dataclasses.asdict(warning) for warning in outcome.warnings],
        "error": dataclasses.asdict(outcome.failure) if outcome.failure else None,
    }


def json_text(value: Any) -> str:
    """Returns JSON text; times as RFC 3339."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=_plain)


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


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"{type(value).__name__} is not JSON")


def _amount(stage: Stage, done: int, total: int | None) -> str:
    if stage in {Stage.UPLOADING, Stage.DOWNLOADING}:
        return f"{done / 1e6:.1f}/{total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
    if stage is Stage.RUNNING:
        return f"{done}/{'?' if total is None else total} frames"
    return ""


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:20]}…{name[-11:]}"
