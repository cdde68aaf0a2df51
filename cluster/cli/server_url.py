"""The server of the command line, which needs a log-in for most of its commands."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.client.credentials.credentials_file import credentials_file
from cluster.client.credentials.server_choice import choose_server, token_store
from cluster.client.errors import FotogramaError


class NotLoggedIn(FotogramaError):
    """There is no token for the server."""

    default_code, default_fault = "unauthenticated", "request"

    def __init__(self, url: str) -> None:
        command = f"fotograma login --url {url}"
        super().__init__(f"You are not logged in at {url}. Log in with: {command}", remedy=f"Log in: {command}")


def server_url(environ: Mapping[str, str]) -> str:
    """Returns the address of the server, for which there is an API key or a log-in. Raises NotLoggedIn, BadAddress."""
    choice = choose_server(None, None, environ, credentials_file(environ).current_url)
    if token_store(choice, environ).tokens is None:
        raise NotLoggedIn(choice.url)
    return choice.url
