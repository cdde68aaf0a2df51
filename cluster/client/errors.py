"""The exceptions of the SDK.

    FotogramaError
    ├── ApiError            the server answered with an error: code, detail, fault, remedy, status, request_id
    ├── ConnectionFailed    no response arrived, after all retries
    ├── UnexpectedAnswer    the response is not one of this API
    ├── UnsendableFile      a local file can't be sent: it is a folder or device, or changed while it was sent
    ├── ExtractionFailed    the extraction ended without a result: failed or cancelled
    ├── WaitTimeout         the extraction did not end in the given time; the server continues it
    └── DownloadCorrupt     the downloaded bytes have another digest than the result

A local file that can't be opened raises OSError, as usual.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.client.api_types import Extraction, Video


class FotogramaError(Exception):
    """The base class.

    submitted: videos that the same `submit` has uploaded all the same; they stay on the server. failed_file: the file
    that `submit` could not upload.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        # Set on the instance: the wrapper that Ray raises looks up class attributes first.
        self.submitted: tuple[Video, ...] = ()
        self.failed_file: Path | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies the attributes without `__init__`: subclasses take other arguments than `args`."""
        return _without_init, (type(self), *self.args), self.__dict__


def _without_init(kind: type[FotogramaError], *args: object) -> FotogramaError:
    return kind.__new__(kind, *args)


class ApiError(FotogramaError):
    """The server refused the request.

    code: stable, of the server's catalogue; `http_<status>` when the answer was no problem object.
    fault: "request", "file" or "service".
    retry_after: seconds the server asks to wait, or None. tries: how often the request was sent.
    """

    def __init__(
        self,
        *,
        status: int,
        code: str,
        detail: str,
        fault: str,
        remedy: str,
        request_id: str | None = None,
        retry_after: float | None = None,
        tries: int = 1,
    ) -> None:
        super().__init__(f"{detail} ({code})")
        self.status, self.code, self.detail, self.fault, self.remedy = status, code, detail, fault, remedy
        self.request_id, self.retry_after, self.tries = request_id, retry_after, tries


class ConnectionFailed(FotogramaError):
    """No response arrived. It is not known whether the server handled the last request."""

    def __init__(self, base_url: str, reason: str) -> None:
        super().__init__(f"{base_url} can't be reached: {reason}")
        self.base_url, self.reason = base_url, reason


class UnexpectedAnswer(FotogramaError):
    """The response is not one of this API."""


class UnsendableFile(FotogramaError):
    """A local file can't be sent."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path, self.reason = path, reason


class ExtractionFailed(FotogramaError):
    """The extraction ended as `failed` or `cancelled`; its `error` says why when it failed."""

    def __init__(self, extraction: Extraction) -> None:
        failure = extraction.error
        reason = f"{failure.detail} ({failure.code})" if failure else "it was cancelled."
        super().__init__(f"Extraction {extraction.id} gave no result: {reason}")
        self.extraction = extraction


class WaitTimeout(FotogramaError):
    """The extraction did not end in time. extraction: its last known state."""

    def __init__(self, extraction: Extraction, seconds: float) -> None:
        super().__init__(f"Extraction {extraction.id} is still {extraction.status} after {seconds:g} s.")
        self.extraction, self.seconds = extraction, seconds


class DownloadCorrupt(FotogramaError):
    """The downloaded archive has another digest than the result. Nothing was written to `path`."""

    def __init__(self, path: Path, expected: str, actual: str) -> None:
        super().__init__(f"The bytes received for {path} have SHA-256 {actual}, the result has {expected}.")
        self.path, self.expected, self.actual = path, expected, actual
