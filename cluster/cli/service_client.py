"""The client of the service for commands that ask once: it gives up soon, and says what it waits for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from cluster.cli.reachability import say_when_unreachable
from cluster.cli.server_url import server_url
from cluster.cli.time_limit import TimeIsOver, time_limit
from cluster.client.errors import ConnectionFailed
from cluster.client.retry_policy import RetryPolicy
from cluster.client.sync_client import Client

SHORT_RETRY_POLICY = RetryPolicy(attempts=None, max_seconds=2.0, patience_seconds=10.0, retry_after_seconds=30.0)


@contextmanager
def open_client(timeout: float | None = None) -> Iterator[Client]:
    """Gives a client with the stored log-in. timeout: seconds after which the block ends, however far it is.

    Raises NotLoggedIn, BadAddress, TimeIsOver.
    """
    with open_client_at(server_url(os.environ), timeout) as client:
        yield client


@contextmanager
def open_client_at(url: str, timeout: float | None = None) -> Iterator[Client]:
    """As `open_client`, for the service at `url`, with or without a log-in."""
    policy = SHORT_RETRY_POLICY if timeout is None else replace(SHORT_RETRY_POLICY, patience_seconds=timeout)
    reason = None
    try:
        with time_limit(timeout):
            reason = say_when_unreachable(url, policy.patience_seconds)
            with Client(url, retry=policy) as client:
                yield client
    except TimeIsOver as error:
        if reason is None:
            raise
        raise ConnectionFailed(url, reason) from error
