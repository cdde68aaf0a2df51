"""Shows the progress of a batch: bars on a terminal, lines elsewhere, nothing with `--json`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from cluster.cli.batch.batch_output import outcome_lines
from cluster.cli.batch.batch_types import BatchObserver, Stage
from cluster.cli.batch.video_outcome import VideoOutcome
from cluster.cli.output.terminal_output import print_line, printable

BYTE_STAGES = frozenset({Stage.READING, Stage.UPLOADING, Stage.DOWNLOADING})


class Display(BatchObserver, AbstractContextManager["Display"], Protocol):
    """An observer of a batch. It shows the progress inside its `with` block."""


class SilentDisplay:
    """Shows nothing, for programs: they read only the result."""

    def __enter__(self) -> SilentDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def stage(self, index: int, name: str, stage: Stage, done: int = 0, total: int | None = None) -> None:
        """Shows nothing."""

    def end(self, index: int, outcome: VideoOutcome) -> None:
        """Shows nothing."""


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
            print_line(self._console, f"{name}: accepted")

    def end(self, index: int, outcome: VideoOutcome) -> None:
        for line in outcome_lines(outcome):
            print_line(self._console, line.text, line.style)


class ProgressBars(SilentDisplay):
    """A bar for each active video and one for the batch. Ended videos become lines above the bars."""

    def __init__(self, console: Console, videos: int) -> None:
        self._console = console
        self._bars: dict[int, TaskID] = {}
        self._stages: dict[int, Stage] = {}
        self._progress = Progress(
            TextColumn("{task.fields[name]}", markup=False),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[amount]}"),
            _RateColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._all = self._progress.add_task("", total=videos, name="all", amount=f"0/{videos}", visible=videos > 1)
        self._uploads = self._progress.add_task(Stage.UPLOADING.value, total=None, name="all", amount="", visible=False)
        self._upload_total = UploadTotal()
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
        bar = self._bars[index]
        if self._stages.get(index) is not stage:
            # The rate is that of one stage, from its first byte on.
            self._progress.reset(bar, completed=done, total=total)
            self._stages[index] = stage
        self._show_uploads(index, stage, done, total)
        self._progress.update(
            bar,
            description=stage.value,
            completed=done,
            total=total,
            amount=_amount(stage, done, total),
            # Ten thousand waiting videos would fill the screen.
            visible=stage is not Stage.WAITING and (stage is not Stage.QUEUED or self._videos <= 20),
        )

    def _show_uploads(self, index: int, stage: Stage, done: int, total: int | None) -> None:
        """Shows one bar for all uploads while there are several."""
        sums = self._upload_total
        if stage is Stage.UPLOADING and total is not None:
            sums.report(index, done, total)
        elif not sums.end(index):
            return
        self._progress.update(
            self._uploads,
            completed=sums.sent,
            total=sums.size,
            amount=_amount(Stage.UPLOADING, sums.sent, sums.size),
            visible=sums.active > 1,
        )

    def end(self, index: int, outcome: VideoOutcome) -> None:
        self._upload_total.end(index)
        if index in self._bars:
            self._progress.remove_task(self._bars.pop(index))
        self._ended += 1
        self._progress.update(self._all, completed=self._ended, amount=f"{self._ended}/{self._videos}")
        for line in outcome_lines(outcome):
            print_line(self._console, line.text, line.style)


@dataclass(slots=True)
class UploadTotal:
    """Sums up the uploads that have begun. sent, size: bytes, without those that the server had before."""

    sent: int = 0
    size: int = 0
    _parts: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def active(self) -> int:
        return len(self._parts)

    def report(self, index: int, sent: int, size: int) -> None:
        if index not in self._parts:
            self._parts[index] = (sent, sent)
            self.size += size - sent
        start, sent_before = self._parts[index]
        self._parts[index] = (start, sent)
        self.sent += sent - sent_before

    def end(self, index: int) -> bool:
        """Ends an upload. Returns whether it was active."""
        return self._parts.pop(index, None) is not None


class _RateColumn(ProgressColumn):
    """Shows bytes per second and the remaining time."""

    def render(self, task: Task) -> Text:
        has_rate = task.description in BYTE_STAGES
        return Text(rate_text(task.speed, task.time_remaining) if has_rate else "")


def rate_text(bytes_per_second: float | None, seconds_left: float | None) -> str:
    if not bytes_per_second:
        return ""
    left = "" if seconds_left is None else f", {timedelta(seconds=int(seconds_left))} left"
    return f"{bytes_per_second / 1e6:.1f} MB/s{left}"


def display_for(console: Console, videos: int, *, silent: bool) -> Display:
    if silent:
        return SilentDisplay()
    bars = console.is_terminal and not console.is_dumb_terminal
    return ProgressBars(console, videos) if bars else LineDisplay(console)


def _amount(stage: Stage, done: int, total: int | None) -> str:
    if stage in BYTE_STAGES and (done or total):
        return f"{done / 1e6:.1f}/{total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
    if stage is Stage.RUNNING:
        return f"{done}/{'?' if total is None else total} frames"
    return ""


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= 32 else f"{name[:20]}…{name[-11:]}"
