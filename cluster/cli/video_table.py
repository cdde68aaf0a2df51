"""The table of `fotograma list`. The file is always in it, however narrow the terminal is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from cluster.cli.output.terminal_output import console, printable
from cluster.cli.output.video_lines import frames_text
from cluster.cli.output.warned_status import AMBER, warned_status
from cluster.cli.stored_items import short_ids
from cluster.client.api_types import Status, Video

GAP = "  "
MIN_FILE_CELLS = 20
_STYLES = {Status.FAILED: "red", Status.SUCCEEDED: "green", Status.CANCELLED: "dim"}


def show_table(videos: Sequence[Video]) -> None:
    """Prints the table, as wide as the terminal."""
    screen = console()
    for line in table_lines(videos, screen.width, datetime.now(UTC)):
        screen.print(line, soft_wrap=True)


def table_lines(videos: Sequence[Video], width: int, now: datetime) -> list[Text]:
    """Returns the table with its head. On a narrow terminal it has no WHEN and no FRAMES, and less of STATUS."""
    statuses = [_status(video) for video in videos]
    columns = {
        "ID": short_ids([video.id for video in videos]),
        "FILE": [printable(video.filename) for video in videos],
        "STATUS": [text for text, _ in statuses],
        "FRAMES": [frames_text(video) for video in videos],
        "WHEN": [when_text(video.created_at, now) for video in videos],
    }
    widths = {title: max(map(cell_len, [title, *cells])) for title, cells in columns.items()}
    needed = min(MIN_FILE_CELLS, widths["FILE"])
    for title in ("WHEN", "FRAMES"):
        if _rest(widths, width) < needed:
            del widths[title]
    widths["STATUS"] = max(len("STATUS"), widths["STATUS"] - max(0, needed - _rest(widths, width)))
    widths["FILE"] = max(len("FILE"), min(widths["FILE"], _rest(widths, width)))
    lines = [_line({title: title for title in widths}, widths, "")]
    for number, (_, style) in enumerate(statuses):
        lines.append(_line({title: columns[title][number] for title in widths}, widths, style))
    return lines


def _rest(widths: dict[str, int], width: int) -> int:
    """Returns the cells that the other columns leave to the file."""
    return width - sum(cells + len(GAP) for title, cells in widths.items() if title != "FILE")


def _line(row: dict[str, str], widths: dict[str, int], status_style: str) -> Text:
    line = Text()
    for title, cells in widths.items():
        text = _shortened(row[title], cells)
        padded = text.rjust(cells) if title == "FRAMES" else set_cell_size(text, cells)
        line.append(padded, status_style if title == "STATUS" else "").append(GAP)
    line.rstrip()
    return line


def _shortened(text: str, cells: int) -> str:
    """Leaves out the middle: the end of a file name tells as much as its beginning."""
    if cell_len(text) <= cells:
        return text
    head, tail = text, text
    while cell_len(head) > (cells - 1) // 2 + (cells - 1) % 2:
        head = head[:-1]
    while cell_len(tail) > (cells - 1) // 2:
        tail = tail[1:]
    return f"{head}…{tail}"


def _status(video: Video) -> tuple[str, str]:
    """Returns the status as text, and its style."""
    result = video.extraction.result
    if result is not None and result.warnings:
        return warned_status(result.warnings), AMBER
    return video.status.value, _STYLES.get(video.status, "")


def when_text(at: datetime, now: datetime) -> str:
    """Returns how long ago it was; the date after a week."""
    ago = now - at
    if ago >= timedelta(days=7):
        return at.astimezone().date().isoformat()
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if ago >= unit:
            return f"{ago // unit} {name} ago"
    return "just now"
