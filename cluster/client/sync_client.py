"""The blocking client."""

from __future__ import annotations

import httpx

from cluster.client import httpx_adapter
from cluster.client.api_types import Tokens
from cluster.client.blocking.account_methods import AccountMethods
from cluster.client.blocking.extract_methods import ExtractMethods
from cluster.client.blocking.extraction_methods import ExtractionMethods
from cluster.client.blocking.result_methods import ResultMethods
from cluster.client.blocking.video_methods import VideoMethods
from cluster.client.blocking.webhook_methods import WebhookMethods
from cluster.client.credentials.client_configuration import open_session
from cluster.client.credentials.token_store import OnTokens
from cluster.client.local_files.local_file import AnyPath
from cluster.client.retry_policy import RetryPolicy


class Client(ExtractMethods, VideoMethods, ExtractionMethods, ResultMethods, AccountMethods, WebhookMethods):
    """Fotograma over HTTP. Threads may share one client.

    url: without it, FOTOGRAMA_URL, else the server of the command line's latest log-in, else this machine.
    api_key: an API key or an access token; without it, FOTOGRAMA_API_KEY, else the command line's log-in there.
    tokens: of a session, instead of `api_key`. on_tokens: called with each new pair of tokens, to be kept, because a
    refresh token works once; and with None after a log-out. timeout_seconds: for each read and write.
    retry: how often and how long to repeat. upload_state: a file that records unfinished uploads, so that the same call
    continues them after a crash of this program; several programs may share it. `extract` has one without it.

    Every call raises subclasses of FotogramaError, such as ApiError and ConnectionFailed.

        >>> with Client("http://127.0.0.1:8000", "fg_key") as service:
        ...     service.url
        'http://127.0.0.1:8000'
        >>> kept = []
        >>> service = Client("http://127.0.0.1:8000", tokens=Tokens("access", "refresh"), on_tokens=kept.append)
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        tokens: Tokens | None = None,
        on_tokens: OnTokens | None = None,
        timeout_seconds: float | None = None,
        retry: RetryPolicy | None = None,
        upload_state: AnyPath | None = None,
    ) -> None:
        session = open_session(url, api_key, tokens=tokens, on_tokens=on_tokens, retry=retry, upload_state=upload_state)
        arguments = httpx_adapter.client_arguments(session.base_url, timeout_seconds)
        self._set_up(session, httpx.Client(**arguments))

    @property
    def url(self) -> str:
        """The address of the server.

        >>> client.url
        'http://fotograma'
        """
        return self._session.base_url

    @property
    def tokens(self) -> Tokens | None:
        """The tokens in use; None before a log-in.

        >>> client.tokens is None
        False
        """
        return self._session.store.tokens
