"""A real SMTP server that fails as often as it is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from tests.service import Inbox

SLOW_SECONDS = 1.0


class Unreliable(Inbox):
    """failures: so many first tries of each message fail. Every third of those is taken, and its answer lost.

    failed: tries that have failed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._tries: Counter[str] = Counter()
        self.failures = self.failed = 0

    def ids_by_file(self) -> dict[str, set[str]]:
        """The Message-IDs that told of each file, by its name without the suffix."""
        found: dict[str, set[str]] = {}
        for message in self.messages():
            name = message["subject"].rpartition(": ")[2].removesuffix(".mp4")
            found.setdefault(name, set()).add(message["Message-ID"])
        return found

    async def handle_DATA(self, server: Any, session: object, envelope: Any) -> str:
        identity = next(line for line in envelope.content.split(b"\r\n") if line.lower().startswith(b"message-id"))
        tries = self._tries[identity.decode()]
        self._tries[identity.decode()] += 1
        if tries >= self.failures:
            return await super().handle_DATA(server, session, envelope)
        self.failed += 1
        way = (len(self._tries) + tries) % 3
        if way == 0:
            return "451 4.3.0 Try again later"
        if way == 1:
            await asyncio.sleep(SLOW_SECONDS)
            return "421 4.4.2 Too busy"
        await super().handle_DATA(server, session, envelope)
        server.transport.abort()
        return "250 OK"
