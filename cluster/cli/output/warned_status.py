"""How a result with warnings is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.client.api_types import ResultWarning

AMBER = "yellow"


def warned_status(warnings: Sequence[ResultWarning]) -> str:
    """Returns the status of a result with warnings, such as `Done, 9 frames missing`."""
    missing = sum(map(_missing_frames, warnings))
    if missing:
        return f"Done, {missing} {'frame' if missing == 1 else 'frames'} missing"
    return "Done, with a warning" if len(warnings) == 1 else f"Done, {len(warnings)} warnings"


def _missing_frames(warning: ResultWarning) -> int:
    """Returns the first number of the sentence about missing frames; 0 for other warnings."""
    found = re.match(r"\d+", warning.detail) if warning.code == "frames_missing" else None
    return int(found[0]) if found else 0
