"""The peak memory of this process."""

from __future__ import annotations

from pathlib import Path


def peak_kibibytes() -> int:
    """The highest resident set size of this process so far (VmHWM)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0])
