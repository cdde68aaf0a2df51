"""Where a client's tokens live."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cluster.client.api_types import Tokens

OnTokens = Callable[[Tokens | None], None]


class TokenStore:
    """Tokens in memory; `on_change` is told each new pair, None after a logout, so that it can be kept.

    A refresh token works once: whoever keeps tokens must keep the new pair before the old one is needed again.
    Subclasses share tokens between processes.
    """

    def __init__(self, tokens: Tokens | None = None, on_change: OnTokens | None = None) -> None:
        self._tokens = tokens
        self._on_change = on_change

    @property
    def tokens(self) -> Tokens | None:
        return self._tokens

    def change(self, tokens: Tokens | None) -> None:
        self._tokens = tokens
        if self._on_change is not None:
            self._on_change(tokens)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keeps other processes that share these tokens from renewing them; on entry `tokens` is what they left."""
        yield
