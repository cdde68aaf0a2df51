"""The tokens of a client, in memory; subclasses store them and share them between processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cluster.client.api_types import Tokens

OnTokens = Callable[[Tokens | None], None]
"""Called with new tokens; with None at the end of a session."""


class TokenStore:
    """Tokens in memory. `on_change` gets each new pair, and None after a logout, so that it can be stored.

    A refresh token works once: the new pair must be stored before the old one is needed again. account_id: of the
    account that the tokens belong to; None until it is known.
    """

    def __init__(self, tokens: Tokens | None = None, on_change: OnTokens | None = None) -> None:
        self._tokens = tokens
        self._on_change = on_change
        self.account_id: str | None = None

    @property
    def tokens(self) -> Tokens | None:
        """The present tokens; None without a session."""
        return self._tokens

    def begin(self, tokens: Tokens) -> None:
        """Takes the tokens of a session that a log-in has just started."""
        self.account_id = None
        self.change(tokens)

    def change(self, tokens: Tokens | None) -> None:
        """Takes new tokens of the same session; None at its end."""
        self._tokens = tokens
        if self._on_change is not None:
            self._on_change(tokens)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keeps other processes that share these tokens from renewing them. On entry `tokens` is up to date."""
        yield
