"""The results of a batch and lists of videos, as lines for people and as JSON objects for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from cluster.cli.batch.server_batch import VideoOutcome
from cluster.cli.terminal_output import printable


def outcome_lines(outcome: VideoOutcome) -> list[str]:
    """Returns the outcome of a video as a line, followed by a line for each warning."""
    if outcome.failure is not None or outcome.result is None:
        return [f"{outcome.name}: failed"]
    path = f"{outcome.folder}/" if outcome.folder else str(outcome.archive)
    frames = outcome.result.frames
    warnings = [f"{outcome.name}: warning: {warning.detail} ({warning.code})" for warning in outcome.warnings]
    unchanged = " (unchanged)" if outcome.is_unchanged else ""
    return [f"{outcome.name}: {frames} {'frame' if frames == 1 else 'frames'} → {path}{unchanged}", *warnings]


def failures(outcomes: Sequence[VideoOutcome]) -> list[str]:
    """Returns the failed videos with code, detail and remedy; empty when none failed."""
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    lines = [f"{len(failed)} of {len(outcomes)} failed:"] if failed else []
    for outcome in failed:
        assert outcome.failure is not None
        lines.append(printable(f"  {outcome.name}: {outcome.failure.detail} ({outcome.failure.code})"))
        if outcome.failure.remedy:
            lines.append(f"    {outcome.failure.remedy}")
    return lines


def summary(outcomes: Sequence[VideoOutcome], seconds: float) -> dict[str, Any]:
    """Returns the counts of a batch as an object for `--json`."""
    succeeded = [outcome for outcome in outcomes if outcome.failure is None]
    return {
        "videos": len(outcomes),
        "succeeded": len(succeeded),
        "unchanged": sum(outcome.is_unchanged for outcome in succeeded),
        "failed": len(outcomes) - len(succeeded),
        "frames": sum(outcome.result.frames for outcome in succeeded if outcome.result),
        "sent_bytes": sum(outcome.sent_bytes for outcome in outcomes),
        "seconds": round(seconds, 1),
    }


def summary_line(counts: Mapping[str, Any]) -> str:
    unchanged = f" ({counts['unchanged']} of them unchanged)" if counts["unchanged"] else ""
    sent = f", {counts['sent_bytes'] / 1e6:.1f} MB sent" if counts["sent_bytes"] else ""
    return (
        f"{counts['videos']} videos: {counts['succeeded']} succeeded{unchanged}, {counts['failed']} failed; "
        f"{counts['frames']} frames{sent} in {timedelta(seconds=round(counts['seconds']))}"
    )


def json_object(outcome: VideoOutcome) -> dict[str, Any]:
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
        "sent_bytes": outcome.sent_bytes,
        "unchanged": outcome.is_unchanged,
        "warnings": [dataclasses.asdict(warning) for warning in outcome.warnings],
        "error": dataclasses.asdict(outcome.failure) if outcome.failure else None,
    }
