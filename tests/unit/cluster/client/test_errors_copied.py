"""Copied errors keep all their facts: Ray and multiprocessing pickle errors to send them to another process."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from actors.sandbox.child_process import ServiceErrorReport
from cluster import unpack_archive
from cluster.cli import presets, server_url, stored_items, time_limit
from cluster.client import errors as sdk
from cluster.client.api_types import Extraction, Failure, Progress, Status, Video
from cluster.operations import operation_errors
from db.values.error_catalogue import CatalogueError
from fotograma import EngineError
from serve_app.http.multipart_parser import BodyError
from serve_app.http.problem_details import ProblemError

AT = datetime(2026, 1, 2, tzinfo=UTC)
RUNNING = Extraction("e-1", "v-1", {"snap": "exact"}, Status.RUNNING, Progress(3, 7), AT)
FAILED = replace(RUNNING, status=Status.FAILED, error=Failure("no_frames", "It has none.", "file", "Look."))
SDK_ERRORS = [
    sdk.FotogramaError("Something."),
    sdk.ApiError(
        status=429,
        code="too_many_requests",
        detail="Slowly.",
        fault="request",
        remedy="Wait.",
        request_id="r-1",
        retry_after=7.5,
        tries=3,
    ),
    *(
        error_class(status=400, code="no", detail="No.", fault="request", remedy="Do not.")
        for error_class in sdk.ApiError.__subclasses__()
    ),
    sdk.ConnectionFailed("http://127.0.0.1:1", "refused"),
    sdk.InvalidArgument("It is empty."),
    sdk.InvalidSpec("It is no JSON.", "Write JSON."),
    sdk.LocalFileError(OSError(28, "No space left on device", "a.zip")),
    sdk.LocalFileNotFound(FileNotFoundError(2, "No such file or directory", "a.mp4")),
    sdk.PackageMissing("Pillow", "images"),
    sdk.BadSignature("It is old."),
    sdk.UnexpectedAnswer("It speaks another language."),
    sdk.UnsendableFile(Path("a.mp4"), "is too large."),
    sdk.ExtractionFailed(FAILED),
    sdk.WaitTimeout(RUNNING, 2.5),
    sdk.DownloadCorrupt(Path("a.zip"), "ab", "cd"),
    sdk.BadAddress("here", "http://there"),
    stored_items.UnknownId("None."),
    stored_items.AmbiguousId("Two."),
    presets.DamagedPresets("It is damaged."),
    server_url.NotLoggedIn("http://127.0.0.1:1"),
    operation_errors.OperationError("It was refused."),
    operation_errors.NoService(Path("data")),
    operation_errors.MissingSetting("FOTOGRAMA_REDIS_URL", "it says where the events are"),
    operation_errors.ServerAway("The database", "refused"),
    operation_errors.StoreRefused("AccessDenied"),
    operation_errors.WrongSchema(),
    time_limit.TimeIsOver(2.5),
    operation_errors.NoAccount("ana@example.org"),
    EngineError(code="no_frames", detail="It has none.", fault="file", remedy="Look."),
    unpack_archive.BadArchive("It is damaged."),
    unpack_archive.FolderNotReplaceable("It is not empty."),
]
SERVICE_ERRORS = [
    CatalogueError("queue_full", "Many wait.", retry_after=15),
    CatalogueError("queue_full"),
    BodyError("too_large", "64 MiB.", retry_after=9),
    ServiceErrorReport("storage_full", "The worker's disk is full.", retry_after=60),
    ProblemError(
        "wrong_state", "It runs.", retry_after=3, headers={"A": "b"}, extensions={"current_status": "running"}
    ),
]


def error_classes(root: type[BaseException]) -> Iterator[type[BaseException]]:
    yield root
    for error_class in root.__subclasses__():
        yield from error_classes(error_class)


@pytest.mark.parametrize(("root", "errors"), [(sdk.FotogramaError, SDK_ERRORS), (CatalogueError, SERVICE_ERRORS)])
def test_every_class_of_errors_has_an_example(root: type[BaseException], errors: list[BaseException]) -> None:
    assert {type(error) for error in errors} == set(error_classes(root))


def by_pickle(protocol: int) -> Callable[[BaseException], BaseException]:
    return lambda error: pickle.loads(pickle.dumps(error, protocol))


COPY_FUNCTIONS = {f"protocol {n}": by_pickle(n) for n in range(pickle.HIGHEST_PROTOCOL + 1)}
COPY_FUNCTIONS |= {"copy": copy.copy, "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("name", COPY_FUNCTIONS)
@pytest.mark.parametrize("error", [*SDK_ERRORS, *SERVICE_ERRORS], ids=lambda error: type(error).__name__)
def test_copy_has_every_fact(error: Any, name: str) -> None:
    copied = COPY_FUNCTIONS[name](error)
    assert type(copied) is type(error)
    assert copied is not error
    assert str(copied) == str(error)
    assert copied.args == error.args
    assert vars(copied) == vars(error)


def test_copy_has_the_videos_submitted_before_the_error_and_the_notes() -> None:
    error = sdk.ConnectionFailed("http://127.0.0.1:1", "refused")
    video = Video("v-1", "a.mp4", 9, Status.RUNNING, AT, RUNNING)
    error.submitted = (video,)
    error.add_note("It was the third file.")
    copied = pickle.loads(pickle.dumps(error))
    assert copied.submitted == (video,)
    assert copied.__notes__ == ["It was the third file."]
