"""What both clients are made of, from the arguments of their constructors."""

from __future__ import annotations

import os
from pathlib import Path

from cluster.client.api_types import Tokens
from cluster.client.authorized_requests import Session
from cluster.client.credentials.credentials_file import credentials_file, upload_state_path
from cluster.client.credentials.server_choice import choose_server, token_store
from cluster.client.credentials.token_store import OnTokens, TokenStore
from cluster.client.errors import InvalidArgument, local_file_error
from cluster.client.local_files.local_file import AnyPath
from cluster.client.local_files.upload_state_file import UploadStateFile
from cluster.client.retry_policy import RetryPolicy


def open_session(
    url: str | None,
    api_key: str | None,
    *,
    tokens: Tokens | None,
    on_tokens: OnTokens | None,
    retry: RetryPolicy | None,
    upload_state: AnyPath | None,
) -> Session:
    """Chooses server and tokens (`choose_server`). Raises BadAddress, InvalidArgument, LocalFileError."""
    has_own_session = tokens is not None or on_tokens is not None
    if api_key is not None and has_own_session:
        raise InvalidArgument("Give api_key, or tokens and on_tokens, not both.")
    try:
        choice = choose_server(url, api_key, os.environ, credentials_file(os.environ).current_url)
        store = TokenStore(tokens, on_tokens) if has_own_session else token_store(choice, os.environ)
    except OSError as error:
        raise local_file_error(error) from error
    return Session(
        base_url=choice.url,
        store=store,
        policy=retry or RetryPolicy(),
        upload_state=None if upload_state is None else UploadStateFile(Path(upload_state)),
        extract_state=UploadStateFile(upload_state_path(os.environ)),
    )
