"""Which server a client talks to, and with which key: arguments, environment, stored log-in, this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cluster.client.api_types import Tokens
from cluster.client.credentials.credentials_file import FileTokenStore, credentials_file
from cluster.client.credentials.token_store import TokenStore
from cluster.client.errors import BadAddress, InvalidArgument

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class ServerChoice:
    """api_key: None when the stored log-in of the server is to be used, if there is one."""

    url: str
    api_key: str | None = field(repr=False)


def choose_server(
    url: str | None, api_key: str | None, environ: Mapping[str, str], stored_url: Callable[[], str | None]
) -> ServerChoice:
    """Chooses by the first of: arguments, FOTOGRAMA_URL and FOTOGRAMA_API_KEY, the stored log-in, this machine.

    The key of the environment is not sent to a server other than that of the environment. stored_url: the server of the
    latest log-in; called only when it matters. Pure. Raises BadAddress, InvalidArgument.
    """
    of_environment = environ.get("FOTOGRAMA_URL") or None
    chosen = canonical_url(url or of_environment or stored_url() or DEFAULT_URL)
    key = api_key
    if key is None and (url is None or of_environment is None or canonical_url(of_environment) == chosen):
        key = environ.get("FOTOGRAMA_API_KEY") or None
    return ServerChoice(chosen, None if key is None else _checked_key(key))


def token_store(choice: ServerChoice, environ: Mapping[str, str]) -> TokenStore:
    """Returns the tokens for the chosen server: the key, else those of the stored log-in, else none."""
    if choice.api_key is not None:
        return TokenStore(Tokens(choice.api_key))
    stored = FileTokenStore(credentials_file(environ), choice.url)
    return TokenStore() if stored.tokens is None else stored


def canonical_url(url: str) -> str:
    """Returns the URL in the form in which it is stored. Raises BadAddress."""
    address = url.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise BadAddress(address, DEFAULT_URL)
    return address


def _checked_key(key: str) -> str:
    """Returns the key without the white space that pasting adds. Raises InvalidArgument."""
    stripped = key.strip()
    if not stripped or not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        raise InvalidArgument("The API key holds characters that no key has.", "Copy the key again, without quotes.")
    return stripped
