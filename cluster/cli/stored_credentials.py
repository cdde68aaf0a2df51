"""The server and the tokens of the command line, which needs a log-in for most of its commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.client.credentials.credentials_file import credentials_file
from cluster.client.credentials.server_choice import choose_server, token_store
from cluster.client.credentials.token_store import TokenStore
from cluster.client.errors import FotogramaError


class NotLoggedIn(FotogramaError):
    """There is no token for the server."""

    default_code, default_fault = "unauthenticated", "request"

    def __init__(self, url: str) -> None:
        command = f"fotograma login --url {url}"
        super().__init__(f"You are not logged in at {url}. Log in with: {command}", remedy=f"Log in: {command}")


@dataclass(frozen=True, slots=True)
class ServerCredentials:
    """The server of the command line, and the tokens for it."""

    url: str
    store: TokenStore


def server_credentials(environ: Mapping[str, str]) -> ServerCredentials:
    """Returns the server and its tokens. Raises NotLoggedIn."""
    choice = choose_server(None, None, environ, credentials_file(environ).current_url)
    store = token_store(choice, environ)
    if store.tokens is None:
        raise NotLoggedIn(choice.url)
    return ServerCredentials(choice.url, store)
