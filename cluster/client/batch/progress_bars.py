"""Shows the progress of `Client.extract`: bars on a terminal and in a notebook, lines elsewhere."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cluster.client.batch.outcome import ExtractProgress, ExtractStage

ENDS = frozenset({ExtractStage.SUCCEEDED, ExtractStage.FAILED})
_BYTES = frozenset({ExtractStage.READING, ExtractStage.UPLOADING})


class ProgressDisplay(Protocol):
    """Shows progress inside its `with` block."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, progress: ExtractProgress) -> None:
        """Threads may call it at the same time."""


def display_for(videos: int, console: Console | None = None) -> ProgressDisplay:
    """Returns the display that the console can show. rich draws bars in a notebook by ipywidgets."""
    chosen = Console(stderr=True, highlight=False) if console is None else console
    has_bars = chosen.is_terminal and not chosen.is_dumb_terminal
    if chosen.is_jupyter:
        has_bars = find_spec("ipywidgets") is not None
    return ProgressBars(chosen, videos) if has_bars else ProgressLines(chosen)


class ProgressLines:
    """One line for each video that ends."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, progress: ExtractProgress) -> None:
        if progress.stage in ENDS:
            self._console.print(f"{printable(progress.name)}: {progress.stage}", markup=False, soft_wrap=True)


class ProgressBars:
    """A bar for all videos and one for each that is being worked on."""

    def __init__(self, console: Console, videos: int) -> None:
        self._videos, self._ended = videos, 0
        self._bars: dict[int, TaskID] = {}
        self._stages: dict[int, ExtractStage] = {}
        self._lock = threading.Lock()
        self._progress = Progress(
            TextColumn("{task.fields[name]}", markup=False),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeElapsedColumn(),
            console=console,
        )
        self._all = self._progress.add_task("", total=videos, name="all", amount=f"0/{videos}", visible=videos > 1)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, progress: ExtractProgress) -> None:
        with self._lock:
            if progress.stage in ENDS:
                self._end(progress)
                return
            if progress.index not in self._bars:
                name = printable(progress.name)
                self._bars[progress.index] = self._progress.add_task("", name=name, amount="", total=None)
            bar = self._bars[progress.index]
            if self._stages.get(progress.index) is not progress.stage:
                self._progress.reset(bar, total=progress.total)
                self._stages[progress.index] = progress.stage
            self._progress.update(
                bar,
                description=progress.stage.value,
                completed=progress.done,
                total=progress.total,
                amount=amount_text(progress),
                # Thousands of waiting videos would fill the screen.
                visible=progress.stage is not ExtractStage.QUEUED or self._videos <= 20,
            )

    def _end(self, progress: ExtractProgress) -> None:
        if progress.index in self._bars:
            self._progress.remove_task(self._bars.pop(progress.index))
        self._ended += 1
        self._progress.update(self._all, completed=self._ended, amount=f"{self._ended}/{self._videos}")
        self._progress.console.print(f"{printable(progress.name)}: {progress.stage}", markup=False, soft_wrap=True)


def amount_text(progress: ExtractProgress) -> str:
    """Returns how much is done of the stage. Pure."""
    total = progress.total
    if progress.stage in _BYTES and total:
        return f"{progress.done / 1e6:.1f}/{total / 1e6:.1f} MB"
    if progress.stage is ExtractStage.EXTRACTING:
        return f"{progress.done}/{'?' if total is None else total} frames"
    return ""


def printable(text: str) -> str:
    """Escapes control characters, which file names may contain. Pure."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
