"""Fotograma: exact, timestamped frames out of videos.

    from cluster import Client

    with Client("http://127.0.0.1:8000") as client:
        client.login("ana@example.org", "a long password")
        video = client.upload("clip.mp4", {"sample": {"mode": "fps", "fps": 1}})
        client.download(client.wait(video.extraction), "clip.zip")

The names of the SDK are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.client.asynchronous import AsyncClient
    from cluster.client.blocking import Client
    from cluster.client.errors import (
        ApiError,
        ConnectionFailed,
        DownloadCorrupt,
        ExtractionFailed,
        FotogramaError,
        UnexpectedAnswer,
        UnsendableFile,
        WaitTimeout,
    )

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "ConnectionFailed",
    "DownloadCorrupt",
    "ExtractionFailed",
    "FotogramaError",
    "UnexpectedAnswer",
    "UnsendableFile",
    "WaitTimeout",
]

_ELSEWHERE = {"Client": "cluster.client.blocking", "AsyncClient": "cluster.client.asynchronous"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, "cluster.client.errors")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
