"""The exceptions of the SDK. Each has `code`, `detail`, `fault` ("request", "file" or "service") and `remedy`.

    FotogramaError
    ├── ApiError              the server answered with an error; also status, request_id, retry_after
    │   ├── NotAuthenticated      the token or the password is wrong
    │   ├── NotAllowed            the server does not let this caller do it
    │   ├── NotFound              the caller has nothing of this id
    │   ├── Gone                  it was there, and its time is over
    │   ├── WrongState            the resource is in a state that does not allow this
    │   ├── BadRequest            a field, a header or the specification is wrong
    │   ├── FileRefused           the file is no video that can be taken
    │   ├── LimitReached          too large, too many or too often
    │   └── ServiceUnavailable    a part of the service is full, away or broken
    ├── ConnectionFailed      no response arrived, after all retries
    ├── UnexpectedAnswer      the response is not one of this API
    ├── InvalidArgument       an argument can't be used (a ValueError)
    │   ├── BadAddress            the URL is not the address of a server
    │   └── InvalidSpec           the specification can't be written as JSON
    ├── LocalFileError        a local file can't be read or written (an OSError)
    │   └── LocalFileNotFound     it is not there (a FileNotFoundError)
    ├── UnsendableFile        a local file can't be sent: it is a folder or device, or changed while it was sent
    ├── ExtractionFailed      the extraction ended without a result: failed or cancelled
    ├── WaitTimeout           the extraction did not end in the given time; the server continues it
    ├── DownloadCorrupt       the downloaded bytes have another digest than the result
    ├── PackageMissing        an optional package is not installed (an ImportError)
    └── BadSignature          a webhook message was not signed with this secret, or is old

`cluster.client.error_families` chooses the subclass of ApiError.
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

        >>> try:
        ...     client.video("01890c5e-0000-7000-8000-000000000000")
        ... except FotogramaError as error:
        ...     print(error.code, error.fault, bool(error.remedy))
        not_found request True
    """

    default_code, default_fault = "failed", "service"
    default_remedy = "Read the message; it says what failed."

    def __init__(
        self, *args: object, code: str | None = None, fault: str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(*args)
        # Set on the instance: the wrapper that Ray raises looks up class attributes first.
        self.code = code or self.default_code
        self.fault = fault or self.default_fault
        self.remedy = remedy or self.default_remedy
        self.detail = str(args[0]) if args else self.code
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
        super().__init__(f"{detail} ({code})", code=code, fault=fault, remedy=remedy)
        self.status, self.detail = status, detail
        self.request_id, self.retry_after, self.tries = request_id, retry_after, tries


class NotAuthenticated(ApiError):
    """The token or the password is wrong, or the session has ended."""


class NotAllowed(ApiError):
    """The server does not let this caller do it."""


class NotFound(ApiError):
    """The caller has nothing of this id."""


class Gone(ApiError):
    """It was there, and its time is over."""


class WrongState(ApiError):
    """The resource is in a state that does not allow this, such as a result that is not ready."""


class BadRequest(ApiError):
    """A field, a header or the specification is wrong."""


class FileRefused(ApiError):
    """The file is no video that the service can take."""


class LimitReached(ApiError):
    """The request is too large, or there are too many of them, or a quota is used up."""


class ServiceUnavailable(ApiError):
    """A part of the service is full, away or broken."""


class ConnectionFailed(FotogramaError):
    """No response arrived. It is not known whether the server handled the last request."""

    default_code = "connection_failed"
    default_remedy = "Check the address and the network. What the server has accepted goes on."

    def __init__(self, base_url: str, reason: str) -> None:
        super().__init__(f"{base_url} can't be reached: {reason}")
        self.base_url, self.reason = base_url, reason


class UnexpectedAnswer(FotogramaError):
    """The response is not one of this API."""

    default_code = "unexpected_answer"
    default_remedy = "Check the server's address and version."


class InvalidArgument(FotogramaError, ValueError):
    """An argument can't be used."""

    default_code, default_fault = "invalid_argument", "request"
    default_remedy = "Correct the argument that the message names."

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)


class BadAddress(InvalidArgument):
    """The given URL is not the address of a server."""

    default_code = "bad_address"

    def __init__(self, url: str, example: str) -> None:
        super().__init__(f"{url!r} is not the address of a server; one looks like {example}", f"Write it as {example}.")


class InvalidSpec(InvalidArgument):
    """The specification can't be written as JSON."""

    default_code = "invalid_spec"


class LocalFileError(FotogramaError, OSError):
    """A local file can't be read or written. errno, strerror, filename: as in OSError."""

    default_code, default_fault = "local_file", "request"
    default_remedy = "Check the path, its permissions and the free space."

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.errno, self.strerror, self.filename = error.errno, error.strerror, error.filename

    def __str__(self) -> str:
        return self.detail

    def __reduce__(self) -> tuple[Any, ...]:
        # An OSError keeps its facts outside `__dict__`.
        facts = (self.errno, self.strerror, self.filename) if self.errno is not None else (self.detail,)
        return type(self), (OSError(*facts),), self.__dict__


class LocalFileNotFound(LocalFileError, FileNotFoundError):
    """A local file is not there."""

    default_remedy = "Check the path."


def local_file_error(error: OSError) -> LocalFileError:
    """Returns the error as one of the SDK."""
    return LocalFileNotFound(error) if isinstance(error, FileNotFoundError) else LocalFileError(error)


class UnsendableFile(FotogramaError):
    """A local file can't be sent."""

    default_code, default_fault = "unsendable_file", "request"
    default_remedy = "Correct the file and send it again."

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path, self.reason = path, reason


class ExtractionFailed(FotogramaError):
    """The extraction ended as `failed` or `cancelled`. The code, detail, fault and remedy are those of its `error`."""

    default_code, default_fault = "cancelled", "request"
    default_remedy = "Extract the video again."

    def __init__(self, extraction: Extraction) -> None:
        failure = extraction.error
        reason = f"{failure.detail} ({failure.code})" if failure else "it was cancelled."
        super().__init__(f"Extraction {extraction.id} gave no result: {reason}")
        self.extraction = extraction
        self.detail = "The extraction was cancelled."
        if failure is not None:
            self.code, self.detail, self.fault, self.remedy = (
                failure.code, failure.detail, failure.fault, failure.remedy,
            )  # fmt: skip


class WaitTimeout(FotogramaError):
    """The extraction did not end in time. extraction: its last known state."""

    default_code = "wait_timeout"
    default_remedy = "The service goes on with it: wait again, or longer."

    def __init__(self, extraction: Extraction, seconds: float) -> None:
        super().__init__(f"Extraction {extraction.id} is still {extraction.status} after {seconds:g} s.")
        self.extraction, self.seconds = extraction, seconds


class DownloadCorrupt(FotogramaError):
    """The downloaded bytes have another digest than the result. Nothing was written to `path`."""

    default_code = "corrupt_archive"
    default_remedy = "Download it again."

    def __init__(self, path: Path, expected: str, actual: str) -> None:
        super().__init__(f"The bytes received for {path} have SHA-256 {actual}, the result has {expected}.")
        self.path, self.expected, self.actual = path, expected, actual


class PackageMissing(FotogramaError, ImportError):
    """An optional package is not installed."""

    default_code, default_fault = "package_missing", "request"

    def __init__(self, package: str, extra: str) -> None:
        command = f'pip install "fotograma[{extra}]"'
        super().__init__(f"{package} is not installed. Install it with: {command}", remedy=f"Install it: {command}")
        self.package = package


class BadSignature(FotogramaError):
    """A webhook message was not signed with this secret, or is old."""

    default_code, default_fault = "bad_signature", "request"
    default_remedy = "Refuse the message. Check that the secret is that of this webhook, and this machine's clock."
