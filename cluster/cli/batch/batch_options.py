"""The options of a batch that do not say which frames are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cluster.cli.shared_options import Unpacking
from cluster.client.api_types import Failure


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """folder: of the results. images: how they are unpacked, None when they are not. no_clobber: archives that are
    there stay as they are. timeout: seconds of waiting, None for no end. shown_names: of files that are not shown by
    their paths."""

    folder: Path
    images: Unpacking | None = None
    no_clobber: bool = False
    timeout: float | None = None
    as_json: bool = False
    shown_names: Mapping[Path, str] = field(default_factory=dict)


def deadline_after(seconds: float | None) -> float | None:
    """Returns the time of the running event loop at which the batch stops; None for never."""
    return None if seconds is None else asyncio.get_running_loop().time() + seconds


def timeout_failure(seconds: float | None, extraction_id: str | None = None) -> Failure:
    """Returns what is told about a video that was not finished in time. extraction_id: on a service that goes on."""
    remedy = f"Fetch it later: fotograma download {extraction_id}" if extraction_id else "Give it a longer --timeout."
    return Failure("wait_timeout", f"It was not finished after {seconds or 0:g} s.", "service", remedy)
