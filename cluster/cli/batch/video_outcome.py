"""What became of each video of a batch, and the exit code of the batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from cluster.cli.output.exit_codes import NOT_ALLOWED_CODES, CommandExitCode, exit_code_of
from cluster.client.api_types import Extraction, Failure, Result, ResultWarning, Status, Video


class OutcomeKind(StrEnum):
    """What became of a video. The service, or the engine of this machine, has taken those of the first four kinds."""

    DONE = "done"
    WARNED = "done_with_warnings"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    """The service has it and goes on, but the result is not here."""
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    """The service could not be reached, or is not to be used without a log-in."""
    KEPT = "kept"
    """Its archive was there before, and was not to be replaced."""


TAKEN = (OutcomeKind.DONE, OutcomeKind.WARNED, OutcomeKind.FAILED, OutcomeKind.UNFINISHED)


@dataclass(frozen=True, slots=True)
class VideoOutcome:
    """The outcome of one video. archive, folder: the written files, else None. failure: None after success. result:
    None after a failure. video, extraction: on the server. sent_bytes: of the file, in this run. is_unchanged: the
    archive is from an earlier run. is_kept: nothing was done, because the archive was there. is_local: taken by the
    engine of this machine."""

    name: str
    video: Video | None = None
    extraction: Extraction | None = None
    archive: Path | None = None
    folder: Path | None = None
    failure: Failure | None = None
    result: Result | None = None
    sent_bytes: int = 0
    is_unchanged: bool = False
    is_kept: bool = False
    is_local: bool = False

    @property
    def warnings(self) -> tuple[ResultWarning, ...]:
        return self.result.warnings if self.result else ()

    @property
    def kind(self) -> OutcomeKind:
        if self.is_kept:
            return OutcomeKind.KEPT
        if self.failure is None:
            return OutcomeKind.WARNED if self.warnings else OutcomeKind.DONE
        by_service = self.failure.fault == "service" or self.failure.code in NOT_ALLOWED_CODES
        if self.extraction is None and not self.is_local:
            return OutcomeKind.NOT_SENT if by_service else OutcomeKind.REFUSED
        has_ended = self.extraction is None or self.extraction.status in {Status.FAILED, Status.CANCELLED}
        return OutcomeKind.UNFINISHED if by_service and not has_ended else OutcomeKind.FAILED


def count_kinds(outcomes: Sequence[VideoOutcome]) -> dict[OutcomeKind, int]:
    """Returns how many videos ended in each way, with zeros."""
    counts = Counter(outcome.kind for outcome in outcomes)
    return {kind: counts[kind] for kind in OutcomeKind}


def exit_code(outcomes: Sequence[VideoOutcome]) -> CommandExitCode | None:
    """Returns the exit code of a batch; None when no video failed.

    What the user can do about decides: log in, then repeat, then look at the videos.
    """
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    codes = {exit_code_of(failure) for failure in failures}
    for code in (CommandExitCode.NOT_ALLOWED, CommandExitCode.UNREACHABLE, CommandExitCode.TRY_AGAIN):
        if code in codes:
            return code
    if not failures:
        return None
    if len(failures) < len(outcomes):
        return CommandExitCode.PARTIAL
    all_refused = all(outcome.kind is OutcomeKind.REFUSED for outcome in outcomes)
    return CommandExitCode.REFUSED if all_refused else CommandExitCode.FAILED
