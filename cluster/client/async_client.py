"""The asyncio client."""

from __future__ import annotations

import httpx

from cluster.client import httpx_adapter
from cluster.client.api_types import Tokens
from cluster.client.asynchronous.account_methods import AsyncAccountMethods
from cluster.client.asynchronous.extract_methods import AsyncExtractMethods
from cluster.client.asynchronous.extraction_methods import AsyncExtractionMethods
from cluster.client.asynchronous.result_methods import AsyncResultMethods
from cluster.client.asynchronous.video_methods import AsyncVideoMethods
from cluster.client.asynchronous.webhook_methods import AsyncWebhookMethods
from cluster.client.credentials.client_configuration import open_session
from cluster.client.credentials.token_store import OnTokens
from cluster.client.local_files.local_file import AnyPath
from cluster.client.retry_policy import RetryPolicy


class AsyncClient(
    AsyncExtractMethods,
    AsyncVideoMethods,
    AsyncExtractionMethods,
    AsyncResultMethods,
    AsyncAccountMethods,
    AsyncWebhookMethods,
):
    """Fotograma over HTTP, for asyncio: `Client` with coroutines. The tasks of one event loop may share one client.

    >>> async def email() -> str:
    ...     async with AsyncClient("http://127.0.0.1:8000", "fg_key") as client:
    ...         return (await client.me()).email
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
        self._set_up(session, httpx.AsyncClient(**arguments))

    @property
    def url(self) -> str:
        """As `Client.url`."""
        return self._session.base_url

    @property
    def tokens(self) -> Tokens | None:
        """As `Client.tokens`."""
        return self._session.store.tokens
