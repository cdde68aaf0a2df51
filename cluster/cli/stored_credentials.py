"""The server and the tokens of the command line: from the environment, else from a file that only its owner can read.

FOTOGRAMA_URL names the server, FOTOGRAMA_TOKEN an access token or API key. The file has the sessions of several
servers; a token is sent only to the server that issued it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cluster.client.api_types import Tokens
from cluster.client.errors import FotogramaError
from cluster.client.local_files.private_json_file import DamagedFile, PrivateJsonFile
from cluster.client.token_store import TokenStore

if TYPE_CHECKING:
    from cluster.client.sync_client import Client

DEFAULT_URL = "http://127.0.0.1:8000"


class BadAddress(FotogramaError):
    """The given URL is not the address of a server."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url!r} is not the address of a server; one looks like {DEFAULT_URL}")


class NotLoggedIn(FotogramaError):
    """There is no token for the server."""

    def __init__(self, url: str) -> None:
        super().__init__(f"You are not logged in at {url}. Log in with: fotograma login --url {url}")


class CredentialsFile:
    """`{"current": url, "servers": {url: {email, access_token, refresh_token}}}`, mode 0600, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = PrivateJsonFile(path)

    def current_url(self) -> str | None:
        """Returns the URL of the server of the latest log-in."""
        url = self._read().get("current")
        return url if isinstance(url, str) else None

    def tokens(self, url: str) -> Tokens | None:
        entry = self._servers(self._read()).get(url, {})
        access, refresh = entry.get("access_token"), entry.get("refresh_token")
        return Tokens(access, refresh) if isinstance(access, str) else None

    def write_tokens(self, url: str, tokens: Tokens | None, email: str | None = None) -> None:
        """Replaces the tokens of a server; None deletes them. email: None leaves it as it is."""
        document = self._read()
        servers = self._servers(document)
        earlier = servers.pop(url, {})
        if tokens is not None:
            servers[url] = {
                "email": email or earlier.get("email"),
                "access_token": tokens.access_token,
                "refresh_token": tokens.refresh_token,
            }
        current = url if email is not None else document.get("current")
        self._file.write({"current": current, "servers": servers})

    def locked(self) -> AbstractContextManager[object]:
        """Locks out other processes. The kernel releases the lock when the process dies."""
        return self._file.locked()

    def _read(self) -> dict[str, Any]:
        try:
            return self._file.read()
        except DamagedFile as error:
            raise FotogramaError(f"{self.path} is damaged. Remove it and log in again.") from error

    @staticmethod
    def _servers(document: dict[str, Any]) -> dict[str, Any]:
        servers = document.get("servers")
        return servers if isinstance(servers, dict) else {}


class FileTokenStore(TokenStore):
    """The tokens of one server in the file. Processes that share the file renew them one after the other, because a
    refresh token works once.
    """

    def __init__(self, file: CredentialsFile, url: str) -> None:
        super().__init__(file.tokens(url))
        self._file, self._url = file, url
        self._is_locked = False

    def change(self, tokens: Tokens | None) -> None:
        with nullcontext() if self._is_locked else self._file.locked():
            self._file.write_tokens(self._url, tokens)
        super().change(tokens)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._file.locked():
            self._tokens = self._file.tokens(self._url)
            self._is_locked = True
            try:
                yield
            finally:
                self._is_locked = False


@dataclass(frozen=True, slots=True)
class ServerCredentials:
    """The server of the command line, and the tokens for it."""

    url: str
    store: TokenStore


def credentials_file(environ: Mapping[str, str]) -> CredentialsFile:
    """Returns $XDG_CONFIG_HOME/fotograma/credentials.json; without the variable, below ~/.config."""
    configured = environ.get("XDG_CONFIG_HOME")
    folder = Path(configured) if configured else Path.home() / ".config"
    return CredentialsFile(folder / "fotograma" / "credentials.json")


def upload_state_path(environ: Mapping[str, str]) -> Path:
    """Returns $XDG_STATE_HOME/fotograma/uploads.json; without the variable, below ~/.local/state.

    Raises OSError when nothing can be written there.
    """
    configured = environ.get("XDG_STATE_HOME")
    folder = (Path(configured) if configured else Path.home() / ".local" / "state") / "fotograma"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    return folder / "uploads.json"


def server_credentials(environ: Mapping[str, str]) -> ServerCredentials:
    """Returns the server and its tokens. Raises NotLoggedIn."""
    file = credentials_file(environ)
    url = canonical_url(environ.get("FOTOGRAMA_URL") or file.current_url() or DEFAULT_URL)
    token = environ.get("FOTOGRAMA_TOKEN")
    store = TokenStore(Tokens(token)) if token else FileTokenStore(file, url)
    if store.tokens is None:
        raise NotLoggedIn(url)
    return ServerCredentials(url, store)


def logged_in_client(environ: Mapping[str, str]) -> Client:
    """Returns a client with the stored credentials. Raises NotLoggedIn."""
    from cluster.client.sync_client import Client  # noqa: PLC0415

    server = server_credentials(environ)
    return Client(server.url, store=server.store)


def canonical_url(url: str) -> str:
    """Returns the URL in the form in which it is stored. Raises BadAddress."""
    address = url.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise BadAddress(address)
    return address
