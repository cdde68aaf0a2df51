"""What a user is told about an error."""

from __future__ import annotations

from cluster.cli.output.exit_codes import CONNECTION_FAILED
from cluster.client.api_types import Failure
from cluster.client.errors import (
    ApiError,
    ConnectionFailed,
    DownloadCorrupt,
    ExtractionFailed,
    FotogramaError,
    UnsendableFile,
)
from cluster.unpack_archive import BadArchive, FolderNotReplaceable


def failure_of(error: FotogramaError | OSError) -> Failure:
    """Converts any error to a failure with code, detail, fault and remedy."""
    match error:
        case ApiError(status=401) if error.code != "bad_credentials":
            return Failure(error.code, error.detail, error.fault, "Log in again: fotograma login")
        case ApiError():
            return Failure(error.code, error.detail, error.fault, error.remedy)
        case ExtractionFailed() if error.extraction.error is not None:
            return error.extraction.error
        case ExtractionFailed():
            return Failure("cancelled", "The extraction was cancelled.", "request", "Extract the video again.")
        case ConnectionFailed():
            remedy = "Check the address and the network; what the server accepted goes on: fotograma list"
            return Failure(CONNECTION_FAILED, str(error), "service", remedy)
        case UnsendableFile():
            return Failure("unsendable_file", str(error), "request", "Correct the file and send it again.")
        case DownloadCorrupt() | BadArchive():
            remedy = "Fetch it again: fotograma download ID -o DIR"
            return Failure("corrupt_archive", str(error), "service", remedy)
        case FolderNotReplaceable():
            return Failure("folder_taken", str(error), "request", "Choose another folder with -o.")
        case OSError():
            return Failure("local_file", str(error), "request", "Check the path, its permissions and the free space.")
        case _:
            return Failure(error.code, error.detail, error.fault, error.remedy)
