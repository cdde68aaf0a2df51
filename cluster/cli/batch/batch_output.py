"""The results of a batch and lists of videos, as lines for people and as JSON objects for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from cluster.cli.batch.video_outcome import TAKEN, OutcomeKind, VideoOutcome, count_kinds, exit_code
from cluster.cli.output.terminal_output import printable
from cluster.cli.output.warned_status import AMBER, warned_status


class OutputLine(NamedTuple):
    """A line for people. style: of rich, for terminals."""

    text: str
    style: str = ""


_UNFINISHED_TEXTS = {
    OutcomeKind.FAILED: "failed",
    OutcomeKind.UNFINISHED: "not finished",
    OutcomeKind.REFUSED: "refused",
    OutcomeKind.NOT_SENT: "not sent",
}


def outcome_lines(outcome: VideoOutcome) -> list[OutputLine]:
    """Returns the outcome of a video as a line, followed by a line for each warning."""
    if outcome.kind is OutcomeKind.KEPT:
        return [OutputLine(f"{outcome.name}: kept, {outcome.archive} is there")]
    if outcome.failure is not None or outcome.result is None:
        return [OutputLine(f"{outcome.name}: {_UNFINISHED_TEXTS[outcome.kind]}")]
    path = f"{outcome.folder}/" if outcome.folder else str(outcome.archive)
    frames = outcome.result.frames
    unchanged = " (unchanged)" if outcome.is_unchanged else ""
    line = f"{frames} {'frame' if frames == 1 else 'frames'} → {path}{unchanged}"
    if not outcome.warnings:
        return [OutputLine(f"{outcome.name}: {line}")]
    warnings = [
        OutputLine(f"{outcome.name}: warning: {warning.detail} ({warning.code})", AMBER) for warning in outcome.warnings
    ]
    return [OutputLine(f"{outcome.name}: {warned_status(outcome.warnings)}: {line}", AMBER), *warnings]


def failures(outcomes: Sequence[VideoOutcome]) -> list[str]:
    """Returns the videos that are not done with code, detail and remedy; empty when all are."""
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    lines = [f"{len(failed)} of {len(outcomes)} not done:"] if failed else []
    for outcome in failed:
        assert outcome.failure is not None
        lines.append(printable(f"  {outcome.name}: {outcome.failure.detail} ({outcome.failure.code})"))
        if outcome.failure.remedy:
            lines.append(f"    {outcome.failure.remedy}")
    return lines


def summary(outcomes: Sequence[VideoOutcome], seconds: float) -> dict[str, Any]:
    """Returns the counts of a batch as an object for `--json`.

    videos = taken + refused + not_sent + kept; taken = done + done_with_warnings + failed + unfinished.
    """
    counts = count_kinds(outcomes)
    finished = [outcome for outcome in outcomes if outcome.kind in {OutcomeKind.DONE, OutcomeKind.WARNED}]
    code = exit_code(outcomes)
    return {
        "status": "done" if code is None else code.name.lower(),
        "exit_code": 0 if code is None else code.value,
        "videos": len(outcomes),
        "taken": sum(counts[kind] for kind in TAKEN),
        **{kind.value: count for kind, count in counts.items()},
        "unchanged": sum(outcome.is_unchanged for outcome in finished),
        "frames": sum(outcome.result.frames for outcome in finished if outcome.result),
        "sent_bytes": sum(outcome.sent_bytes for outcome in outcomes),
        "seconds": round(seconds, 1),
    }


def summary_line(counts: Mapping[str, Any]) -> str:
    """Returns the counts as a sentence. Those of the parts that are 0 are left out."""
    unchanged = f" ({counts['unchanged']} unchanged)" if counts["unchanged"] else ""
    given = [f"{counts['taken']} taken", *_counts(counts, refused="refused", not_sent="not sent", kept="kept")]
    taken = [f"{counts['done']} done", *_counts(counts, done_with_warnings="done with warnings")]
    taken += _counts(counts, failed="failed", unfinished="not finished")
    sent = f", {counts['sent_bytes'] / 1e6:.1f} MB sent" if counts["sent_bytes"] else ""
    videos = f"{counts['videos']} {'video' if counts['videos'] == 1 else 'videos'}"
    return (
        f"{videos}: {', '.join(given)}; {', '.join(taken)}{unchanged}; "
        f"{counts['frames']} frames{sent} in {timedelta(seconds=round(counts['seconds']))}"
    )


def _counts(counts: Mapping[str, Any], **texts: str) -> list[str]:
    return [f"{counts[name]} {text}" for name, text in texts.items() if counts[name]]


def json_object(outcome: VideoOutcome) -> dict[str, Any]:
    """Returns an outcome as an object for `--json`."""
    extraction = outcome.extraction
    return {
        "file": outcome.name,
        "outcome": outcome.kind.value,
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
