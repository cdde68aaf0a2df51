"""The lines of the service's log on this machine: what the replicas print, in the session folder of Ray.

Files are read backwards from their ends, newest file first, and only so far as the limits allow: a log may be large.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from cluster.operations.located_service import LocatedService

REPLICA_LOGS = "worker-*.out"
"""Ray's name for what a worker process prints."""
BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 16 << 20
"""A longer line is none of the service."""
MAX_BYTES = 512 << 20
"""How much is read of all files together, from their ends."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line of the log. file: its name. fields: the JSON object."""

    at: datetime
    file: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """What the lines are about. request_id: lines with it count, unless they name another extraction: clients choose
    the ids of their requests.
    """

    extraction_id: str
    request_id: str | None = None

    def is_in(self, line: bytes) -> bool:
        """Whether the line may be about it: cheap, before it is parsed."""
        return self.extraction_id.encode() in line or (self.request_id is not None and self.request_id.encode() in line)

    def is_of(self, fields: Mapping[str, Any]) -> bool:
        if "extraction_id" in fields:
            return bool(fields["extraction_id"] == self.extraction_id)
        return self.request_id is not None and fields.get("request_id") == self.request_id


@dataclass(slots=True)
class LogFiles:
    """A folder with logs of replicas. is_cut: whether `newest` has left older bytes unread."""

    folder: Path
    max_bytes: int = MAX_BYTES
    is_cut: bool = False
    _read_to: dict[Path, int] = field(default_factory=dict)

    def newest(self, subject: Subject, limit: int) -> list[LogRecord]:
        """The newest lines about the subject, at most `limit`, oldest first. `more` goes on from here."""
        found: list[LogRecord] = []
        left = self.max_bytes
        # A line that is being written belongs to `more`.
        ends = {path: _end_of_last_line(path) for path in self._paths()}
        self._read_to |= ends
        for path, end in ends.items():
            own: list[LogRecord] = []
            with path.open("rb") as file:
                for line, count in _lines_backwards(file, end):
                    left -= count
                    if (record := _record(path, line, subject)) is not None:
                        own.append(record)
                    if left <= 0 or len(own) >= limit:
                        self.is_cut = self.is_cut or left <= 0
                        break
            found += own
            if left <= 0:
                break
        return sorted(found, key=_time_of)[-limit:]

    def more(self, subject: Subject) -> list[LogRecord]:
        """The lines about the subject that were written since the last call, oldest first."""
        found = []
        for path in self._paths():
            start, end = self._read_to.get(path, 0), _end_of_last_line(path)
            with path.open("rb") as file:
                # A shorter file was begun anew.
                file.seek(start if start <= end else 0)
                content = file.read(end - file.tell())
            self._read_to[path] = end
            found += [record for line in content.splitlines() if (record := _record(path, line, subject)) is not None]
        return sorted(found, key=_time_of)

    def _paths(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob(REPLICA_LOGS), key=lambda path: path.stat().st_mtime, reverse=True)


def find_log_folder(service: LocatedService, environment: Mapping[str, str]) -> Path | None:
    """Where the replicas on this machine log: of the running `fotograma up`, or of Ray's present session."""
    if service.data_dir is None:
        folder = Path(environment.get("RAY_TMPDIR") or "/tmp", "ray")  # noqa: S108 - where Ray is
    else:
        from cluster.local import process_record  # noqa: PLC0415
        from cluster.local.data_dir import ray_folder  # noqa: PLC0415

        run_folder = process_record.read_record(service.data_dir.record).folder
        folder = ray_folder(run_folder) if run_folder is not None else service.data_dir.path / "none"
    logs = folder / "session_latest" / "logs"
    return logs if logs.is_dir() else None


def _lines_backwards(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int]]:
    """Yields each line before `end`, the last one first, and how many bytes were read for it."""
    rest, position = b"", end
    while position > 0:
        size = min(BLOCK_BYTES, position)
        position -= size
        file.seek(position)
        lines = (file.read(size) + rest).split(b"\n")
        rest = lines[0]
        for line in reversed(lines[1:]):
            yield line, len(line) + 1
        if len(rest) > MAX_LINE_BYTES:
            yield b"", len(rest)
            rest = b""
    yield rest, len(rest)


def _end_of_last_line(path: Path) -> int:
    with path.open("rb") as file:
        position = file.seek(0, 2)
        while position > 0:
            size = min(BLOCK_BYTES, position)
            file.seek(position - size)
            newline = file.read(size).rfind(b"\n")
            if newline >= 0:
                return position - size + newline + 1
            position -= size
    return 0


def _record(path: Path, line: bytes, subject: Subject) -> LogRecord | None:
    """None for a line that is not about the subject, or no line of the service."""
    if not subject.is_in(line):
        return None
    try:
        fields = json.loads(line)
        at = datetime.fromisoformat(fields["timestamp"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    is_own = isinstance(fields, dict) and subject.is_of(fields)
    return LogRecord(at if at.tzinfo else at.replace(tzinfo=UTC), path.name, fields) if is_own else None


def _time_of(record: LogRecord) -> datetime:
    return record.at
