"""The client of the service for commands that ask once: it gives up soon, and says what it waits for."""

from __future__ import annotations

import os

from cluster.cli.reachability import say_when_unreachable
from cluster.cli.stored_credentials import server_credentials
from cluster.client.retry_policy import RetryPolicy
from cluster.client.sync_client import Client

SHORT_RETRY_POLICY = RetryPolicy(attempts=None, max_seconds=2.0, patience_seconds=10.0, retry_after_seconds=30.0)


def open_client() -> Client:
    """Returns a client with the stored log-in. Raises NotLoggedIn, BadAddress."""
    server = server_credentials(os.environ)
    say_when_unreachable(server.url, SHORT_RETRY_POLICY.patience_seconds)
    return Client(server.url, store=server.store, retry=SHORT_RETRY_POLICY)


def open_client_at(url: str) -> Client:
    """Returns a client without a log-in."""
    say_when_unreachable(url, SHORT_RETRY_POLICY.patience_seconds)
    return Client(url, retry=SHORT_RETRY_POLICY)
