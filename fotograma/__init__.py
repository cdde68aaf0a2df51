"""Fotograma: exact, timestamped frames of videos.

    import fotograma

    fotograma.extract("talk.mov", fotograma.ExtractionSpec(fps=1))  # on this machine

    with fotograma.Client() as client:  # by a service
        for outcome in client.extract(["a.mp4", "b.mov"], fotograma.ExtractionSpec(fps=1), progress=True):
            if outcome.error is None:
                for image in client.frames(outcome.extraction):
                    print(image.frame.time, image.to_numpy().shape)

Only these names are public; the packages behind them are internal. Each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.client.account_types import Account, ApiKey, Delivery, Ledger, Preset, Webhook
    from cluster.client.api_types import Estimate, Extraction, Media, Page, Status, TimelineEvent, Tokens, Video
    from cluster.client.async_client import AsyncClient
    from cluster.client.batch.outcome import ExtractOutcome, ExtractProgress, ExtractStage
    from cluster.client.errors import (
        ApiError,
        BadAddress,
        BadRequest,
        BadSignature,
        ConnectionFailed,
        DownloadCorrupt,
        ExtractionFailed,
        FileRefused,
        FotogramaError,
        Gone,
        InvalidArgument,
        InvalidSpec,
        LimitReached,
        LocalFileError,
        LocalFileNotFound,
        NotAllowed,
        NotAuthenticated,
        NotFound,
        PackageMissing,
        ServiceUnavailable,
        UnexpectedAnswer,
        UnsendableFile,
        WaitTimeout,
        WrongState,
    )
    from cluster.client.extraction_spec import ExtractionSpec
    from cluster.client.result_types import ContactSheet, Frame, FrameImage, Manifest, ManifestVideo
    from cluster.client.retry_policy import RetryPolicy
    from cluster.client.sync_client import Client
    from cluster.client.webhook_messages import verify_webhook
    from fotograma.engine import EngineError, extract, extract_many

    __version__: str

_MODULES = {
    "cluster.client.account_types": ("Account", "ApiKey", "Delivery", "Ledger", "Preset", "Webhook"),
    "cluster.client.api_types": (
        "Estimate",
        "Extraction",
        "Media",
        "Page",
        "Status",
        "TimelineEvent",
        "Tokens",
        "Video",
    ),
    "cluster.client.async_client": ("AsyncClient",),
    "cluster.client.batch.outcome": ("ExtractOutcome", "ExtractProgress", "ExtractStage"),
    "cluster.client.extraction_spec": ("ExtractionSpec",),
    "cluster.client.result_types": ("ContactSheet", "Frame", "FrameImage", "Manifest", "ManifestVideo"),
    "cluster.client.retry_policy": ("RetryPolicy",),
    "cluster.client.sync_client": ("Client",),
    "cluster.client.webhook_messages": ("verify_webhook",),
    "fotograma.engine": ("EngineError", "extract", "extract_many"),
}
"""Where each name is defined. Names that are absent here are in `cluster.client.errors`."""
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Account",
    "ApiError",
    "ApiKey",
    "AsyncClient",
    "BadAddress",
    "BadRequest",
    "BadSignature",
    "Client",
    "ConnectionFailed",
    "ContactSheet",
    "Delivery",
    "DownloadCorrupt",
    "EngineError",
    "Estimate",
    "ExtractOutcome",
    "ExtractProgress",
    "ExtractStage",
    "Extraction",
    "ExtractionFailed",
    "ExtractionSpec",
    "FileRefused",
    "FotogramaError",
    "Frame",
    "FrameImage",
    "Gone",
    "InvalidArgument",
    "InvalidSpec",
    "Ledger",
    "LimitReached",
    "LocalFileError",
    "LocalFileNotFound",
    "Manifest",
    "ManifestVideo",
    "Media",
    "NotAllowed",
    "NotAuthenticated",
    "NotFound",
    "PackageMissing",
    "Page",
    "Preset",
    "RetryPolicy",
    "ServiceUnavailable",
    "Status",
    "TimelineEvent",
    "Tokens",
    "UnexpectedAnswer",
    "UnsendableFile",
    "Video",
    "WaitTimeout",
    "Webhook",
    "WrongState",
    "__version__",
    "extract",
    "extract_many",
    "verify_webhook",
]

# A type checker reads the imports above instead, and reports a name that is not among them.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "__version__":
            value = import_module("importlib.metadata").version("fotograma")
        else:
            value = getattr(import_module(_MODULE_OF.get(name, "cluster.client.errors")), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
