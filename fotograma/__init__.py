"""Fotograma: exact, timestamped frames of videos.

    import fotograma

    fotograma.extract("talk.mov", fotograma.ExtractionSpec(fps=1))  # on this machine

    with fotograma.Client("http://127.0.0.1:8000") as client:  # by a service
        client.login("ana@example.org", "a long password")
        video = client.upload("talk.mov", fotograma.ExtractionSpec(fps=1))
        client.download(client.wait(video.extraction), "talk.zip")

Only these names are public; the packages behind them are internal. Each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.client.async_client import AsyncClient
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
    from cluster.client.extraction_spec import ExtractionSpec
    from cluster.client.retry_policy import RetryPolicy
    from cluster.client.sync_client import Client
    from fotograma.engine import EngineError, extract, extract_many

    __version__: str

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "ConnectionFailed",
    "DownloadCorrupt",
    "EngineError",
    "ExtractionFailed",
    "ExtractionSpec",
    "FotogramaError",
    "RetryPolicy",
    "UnexpectedAnswer",
    "UnsendableFile",
    "WaitTimeout",
    "__version__",
    "extract",
    "extract_many",
]

_MODULES = {
    "AsyncClient": "cluster.client.async_client",
    "Client": "cluster.client.sync_client",
    "EngineError": "fotograma.engine",
    "ExtractionSpec": "cluster.client.extraction_spec",
    "RetryPolicy": "cluster.client.retry_policy",
    "extract": "fotograma.engine",
    "extract_many": "fotograma.engine",
}
"""Where each name is defined. Names that are absent here are in `cluster.client.errors`."""

# A type checker reads the imports above instead, and reports a name that is not among them.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "__version__":
            value = import_module("importlib.metadata").version("fotograma")
        else:
            value = getattr(import_module(_MODULES.get(name, "cluster.client.errors")), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
