"""When to start again what has ended: at once after it ran well, then after pauses that grow. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Seconds each. The first restart comes at once; the pause before the second is `first_pause`, and doubles then.

    longest_pause: no pause is longer. stable: whoever ran this long counts as healthy, and begins anew.
    """

    first_pause: float = 0.5
    longest_pause: float = 30.0
    stable: float = 120.0

    def failures_after(self, failures: int, ran_seconds: float | None) -> int:
        """Failures in a row, with the end that was just seen.

        failures: before it. ran_seconds: how long the server was usable; None when it did not get that far.
        """
        return 1 if ran_seconds is not None and ran_seconds >= self.stable else failures + 1

    def pause_after(self, failures: int) -> float:
        """How long to wait before the next start. failures: in a row, the last one with them."""
        if failures <= 1:
            return 0.0
        # The exponent is bounded: a float holds no power of two above 1023.
        return min(self.longest_pause, self.first_pause * 2.0 ** min(failures - 2, 64))
