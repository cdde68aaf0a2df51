"""When an ended server is started again: at once after a stable run, else after pauses that grow. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """All values are seconds. There is no pause before the first restart, `first_pause` before the second; it doubles.

    longest_pause: the upper bound of the pauses. stable: after a run of this length, the count of failures restarts.
    """

    first_pause: float = 0.5
    longest_pause: float = 30.0
    stable: float = 120.0

    def failures_after(self, failures: int, ran_seconds: float | None) -> int:
        """Returns the number of failures in a row, including the present one.

        failures: the number before. ran_seconds: how long the server was usable; None when it did not start.
        """
        return 1 if ran_seconds is not None and ran_seconds >= self.stable else failures + 1

    def pause_after(self, failures: int) -> float:
        """Returns the pause before the next start. failures: in a row, including the last one."""
        if failures <= 1:
            return 0.0
        # The exponent is bounded, because a float can't represent 2**1024.
        return min(self.longest_pause, self.first_pause * 2.0 ** min(failures - 2, 64))
