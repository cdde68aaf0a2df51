"""The sessions of the command line, in a file that only its owner can read.

The file has the sessions of several servers; a token is sent only to the server that issued it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from cluster.client.api_types import Tokens
from cluster.client.credentials.token_store import TokenStore
from cluster.client.errors import FotogramaError
from cluster.client.local_files.private_json_file import DamagedFile, PrivateJsonFile


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
            message = f"{self.path} is damaged. Remove it and log in again."
            remedy = "Remove the file, then log in again: fotograma login"
            raise FotogramaError(message, code="credentials_damaged", fault="request", remedy=remedy) from error

    @staticmethod
    def _servers(document: dict[str, Any]) -> dict[str, Any]:
        servers = document.get("servers")
        return servers if isinstance(servers, dict) else {}


class FileTokenStore(TokenStore):
    """The tokens of one server in the file. Processes that share the file renew them one after the other, because a
    refresh token works once.

    A log-in of the client itself stays in memory: it must not replace the stored session of the command line.
    """

    def __init__(self, file: CredentialsFile, url: str) -> None:
        super().__init__(file.tokens(url))
        self._file, self._url = file, url
        self._is_locked = self._is_detached = False

    def begin(self, tokens: Tokens) -> None:
        self._is_detached = True
        super().begin(tokens)

    def change(self, tokens: Tokens | None) -> None:
        if not self._is_detached:
            with nullcontext() if self._is_locked else self._file.locked():
                self._file.write_tokens(self._url, tokens)
        super().change(tokens)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        if self._is_detached:
            yield
            return
        with self._file.locked():
            self._tokens = self._file.tokens(self._url)
            self._is_locked = True
            try:
                yield
            finally:
                self._is_locked = False


def credentials_file(environ: Mapping[str, str]) -> CredentialsFile:
    """Returns $XDG_CONFIG_HOME/fotograma/credentials.json; without the variable, below ~/.config."""
    configured = environ.get("XDG_CONFIG_HOME")
    folder = Path(configured) if configured else Path.home() / ".config"
    return CredentialsFile(folder / "fotograma" / "credentials.json")


def upload_state_path(environ: Mapping[str, str]) -> Path:
    """Returns $XDG_STATE_HOME/fotograma/uploads.json; without the variable, below ~/.local/state."""
    configured = environ.get("XDG_STATE_HOME")
    return (Path(configured) if configured else Path.home() / ".local" / "state") / "fotograma" / "uploads.json"


def writable_upload_state_path(environ: Mapping[str, str]) -> Path:
    """Returns `upload_state_path`. Raises OSError when nothing can be written there."""
    path = upload_state_path(environ)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))
    return path
