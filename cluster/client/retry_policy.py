"""The retry policy: whether to repeat a request, and when. Exponential backoff with full jitter. Pure.

Source of the formula: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from cluster.client.effects import ConnectionLost, Reply
from cluster.client.errors import ApiError, ConnectionFailed

TRANSIENT_STATUSES = frozenset({429, 502, 503, 504, 507})
PERMANENT_CODES = frozenset(
    {"quota_exceeded", "minutes_exceeded", "too_many_webhooks", "too_many_api_keys", "too_many_presets"}
)
"""Codes with a transient status for which a retry does not help, or only after hours."""
PROXY_CODES = frozenset({"http_404", "http_500"})
"""Responses without a problem object: from a proxy whose application is starting or has just died."""
RESUMABLE_STATUSES = frozenset({408, 409, 460})
"""Statuses below 500 after which an upload asks for its offset and continues. 460: a wrong checksum (tus)."""
IN_PROGRESS = "idempotency_in_progress"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a client repeats a request.

    attempts: requests in all, the first one included; 1 turns retries off, None means no limit.
    patience_seconds: how long after its first failure a request is still repeated.
    first_seconds, max_seconds: upper bound of the random wait before the second request; it doubles up to max_seconds.
    retry_after_seconds: when the server asks for a longer wait, the client gives up.
    in_progress_seconds: how long to wait for another request with the same Idempotency-Key; longer than its lease on
    the server. proxy_error_seconds: how long requests are repeated after errors of a proxy.

        >>> client = Client("http://127.0.0.1:8000", "fg_key", retry=RetryPolicy(attempts=2))
    """

    attempts: int | None = 6
    first_seconds: float = 0.5
    max_seconds: float = 20.0
    retry_after_seconds: float = 120.0
    in_progress_seconds: float = 90.0
    proxy_error_seconds: float = 60.0
    patience_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """tries: requests sent without success so far, at least 1. elapsed_seconds: since the first of them failed.

    in_progress_seconds: how long the server has answered, without a break, that another request with the same
    Idempotency-Key is in progress.
    """

    tries: int
    elapsed_seconds: float
    repeatable: bool
    in_progress_seconds: float = 0.0


def wait_seconds(
    policy: RetryPolicy, attempt: Attempt, outcome: Reply | ConnectionLost, code: str, jitter: float
) -> float | None:
    """Returns the seconds to wait before the next try, or None when there is none. jitter: random in [0, 1)."""
    if not _may_repeat(attempt, outcome, code):
        return None
    retry_after = retry_after_seconds(outcome.headers) if isinstance(outcome, Reply) else None
    return _backoff_seconds(policy, attempt, code, retry_after, jitter)


def resume_seconds(
    policy: RetryPolicy, attempt: Attempt, error: ApiError | ConnectionFailed, jitter: float
) -> float | None:
    """Returns the seconds to wait before an upload continues at its committed offset; None when it must not.

    The offset is a fence, so the upload may continue after any failure of the connection or the service. Status 429 is
    excluded, because `wait_seconds` has handled it.
    """
    if isinstance(error, ConnectionFailed):
        return _backoff_seconds(policy, attempt, "", None, jitter)
    if error.status < 500 and error.status not in RESUMABLE_STATUSES and error.code not in PROXY_CODES:
        return None
    return _backoff_seconds(policy, attempt, error.code, error.retry_after, jitter)


def _backoff_seconds(
    policy: RetryPolicy, attempt: Attempt, code: str, retry_after: float | None, jitter: float
) -> float | None:
    if _is_exhausted(policy, attempt, code) or (retry_after or 0) > policy.retry_after_seconds:
        return None
    bound = min(policy.max_seconds, policy.first_seconds * 2.0 ** min(attempt.tries - 1, 32))
    # The jitter is added to Retry-After, so that not all clients come back at the same moment.
    return (retry_after or 0) + jitter * bound


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Retry-After (RFC 9110 §10.2.3) in seconds; a date counts from the answer's own Date."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        seconds = (parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (TypeError, ValueError):
        return None
    return max(0.0, seconds)


def is_transient(status: int, code: str) -> bool:
    """Returns whether the error is temporary."""
    return (status in TRANSIENT_STATUSES and code not in PERMANENT_CODES) or code in PROXY_CODES


def _is_exhausted(policy: RetryPolicy, attempt: Attempt, code: str) -> bool:
    if code == IN_PROGRESS:
        return attempt.in_progress_seconds >= policy.in_progress_seconds
    patience = policy.proxy_error_seconds if code in PROXY_CODES else policy.patience_seconds
    is_out_of_tries = policy.attempts is not None and attempt.tries >= policy.attempts
    return is_out_of_tries or attempt.elapsed_seconds >= min(patience, policy.patience_seconds)


def _may_repeat(attempt: Attempt, outcome: Reply | ConnectionLost, code: str) -> bool:
    """Returns whether the request may succeed later and is safe to repeat."""
    if isinstance(outcome, ConnectionLost):
        return outcome.unsent or attempt.repeatable
    if outcome.status == 429:
        # A request over the rate limit had no effect, so it is always safe to repeat.
        return is_transient(outcome.status, code)
    return attempt.repeatable and (is_transient(outcome.status, code) or code == IN_PROGRESS)
