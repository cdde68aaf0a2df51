"""The ingestion of a prefix: what is decided about each object, and that the counts add up."""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter

import pytest

from cluster.cli.ops import ingest
from cluster.cli.output.exit_codes import CommandExitCode
from cluster.client.api_types import Failure, Video
from cluster.client.error_families import error_class
from cluster.client.errors import ConnectionFailed, FotogramaError
from cluster.client.json_decoding import decode
from cluster.submit.prefix_ingest import (
    IngestSummary,
    ObjectOutcome,
    OutcomeKind,
    Submission,
    failed_outcome,
    ingest_prefix,
    is_included,
)
from cluster.submit.ray_job_submission import IngestJob
from db.object_store.object_sources import Location, SourceObject, location_of
from db.values.error_catalogue import CATALOGUE, CatalogueError
from serve_app.http.problem_details import HTTP_STATUS
from serve_app.in_cluster_calls import source_key

PREFIX = "s3://footage/2026"
VIDEO = decode(
    Video,
    b'{"id":"v","filename":"a.mp4","size":1,"status":"queued","created_at":"2026-01-01T00:00:00Z","extraction":'
    b'{"id":"e","video_id":"v","spec":{},"status":"queued","progress":{},"created_at":"2026-01-01T00:00:00Z"}}',
)


def error_of(code: str) -> FotogramaError:
    """The error that the SDK raises for a code of the catalogue."""
    status, fault = HTTP_STATUS[code], CATALOGUE[code].fault.value
    return error_class(status, fault)(status=status, code=code, detail="", fault=fault, remedy="")


class Bucket:
    """A service with so many objects, of which it refuses some. It measures how much is asked at a time."""

    def __init__(self, objects: int, errors: dict[int, FotogramaError] | None = None, broken_page: int = -1) -> None:
        self._objects, self._errors, self._broken_page = objects, errors or {}, broken_page
        self.submitted: Counter[str] = Counter()
        self.running = self.most_running = self.listed = self.most_ahead = 0

    async def list_sources(self, url: str, after: str | None = None) -> list[str]:
        first = 0 if after is None else int(after.rpartition("/")[2]) + 1
        if first // 1000 == self._broken_page:
            raise error_of("unavailable")
        page = [f"{url}/{n:06}" for n in range(first, min(first + 1000, self._objects))]
        self.listed += len(page)
        return page

    async def submit(self, url: str, spec: str | None = None) -> Submission:
        self.running += 1
        self.submitted[url] += 1
        self.most_running = max(self.most_running, self.running)
        self.most_ahead = max(self.most_ahead, self.listed - self.submitted.total())
        await asyncio.sleep(0)
        self.running -= 1
        number = int(url.rpartition("/")[2])
        if error := self._errors.get(number):
            raise error
        return Submission(VIDEO, reused=number % 2 == 1)


async def test_many_objects_are_submitted_once_each_with_bounded_concurrency_and_memory() -> None:
    bucket = Bucket(20_500)
    summary = await ingest_prefix(bucket, PREFIX, concurrency=7)
    assert (summary.objects, summary.counts) == (20_500, {OutcomeKind.ACCEPTED: 10_250, OutcomeKind.REUSED: 10_250})
    assert set(bucket.submitted.values()) == {1}
    assert bucket.most_running == 7
    assert bucket.most_ahead <= 1000 + 7


async def test_refused_and_failed_objects_do_not_stop_the_others() -> None:
    bucket = Bucket(10, {2: error_of("not_a_video"), 4: error_of("queue_full"), 5: error_of("quota_exceeded")})
    outcomes: list[ObjectOutcome] = []
    summary = await ingest_prefix(bucket, PREFIX, on_outcome=lambda outcome, _: outcomes.append(outcome))
    assert ingest.summary_document(summary) == {
        "objects": 10,
        "accepted": 3,
        "reused": 4,
        "refused": 2,
        "failed": 1,
        "listing_error": None,
        "exit_code": CommandExitCode.TRY_AGAIN,
    }
    assert ingest.summary_line(summary) == "10 objects: 3 accepted, 4 reused, 2 refused, 1 failed"
    assert {outcome.url for outcome in outcomes} == set(bucket.submitted)


async def test_what_was_listed_is_submitted_when_the_list_breaks_off() -> None:
    summary = await ingest_prefix(Bucket(3000, broken_page=2), PREFIX)
    assert (summary.objects, summary.counts.total()) == (2000, 2000)
    assert summary.listing_failure is not None
    assert ingest.exit_code(summary) is CommandExitCode.TRY_AGAIN


async def test_empty_prefix_is_no_failure() -> None:
    summary = await ingest_prefix(Bucket(0), PREFIX)
    assert (ingest.exit_code(summary), ingest.summary_line(summary)) == (
        None,
        "0 objects: 0 accepted, 0 reused, 0 refused, 0 failed",
    )


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("not_a_video", OutcomeKind.REFUSED),
        ("too_large", OutcomeKind.REFUSED),
        ("invalid_field", OutcomeKind.REFUSED),
        ("quota_exceeded", OutcomeKind.REFUSED),
        ("minutes_exceeded", OutcomeKind.REFUSED),
        ("unauthenticated", OutcomeKind.REFUSED),
        ("too_many_waiting", OutcomeKind.FAILED),
        ("too_many_requests", OutcomeKind.FAILED),
        ("idempotency_in_progress", OutcomeKind.FAILED),
        ("storage_full", OutcomeKind.FAILED),
        ("unavailable", OutcomeKind.FAILED),
        ("internal", OutcomeKind.FAILED),
    ],
)
def test_object_has_failed_only_if_the_same_run_again_can_help(code: str, kind: OutcomeKind) -> None:
    assert failed_outcome("s3://b/a", error_of(code)).kind is kind


def test_object_has_failed_when_the_api_is_away() -> None:
    outcome = failed_outcome("s3://b/a", ConnectionFailed("The API", "ActorDiedError"))
    assert (outcome.kind, outcome.failure and outcome.failure.code) == (OutcomeKind.FAILED, "connection_failed")


@pytest.mark.parametrize(
    ("counts", "listing_fault", "code"),
    [
        ({"accepted": 2, "reused": 1}, None, None),
        ({"accepted": 2, "refused": 1}, None, CommandExitCode.PARTIAL),
        ({"reused": 2, "refused": 1}, None, CommandExitCode.PARTIAL),
        ({"refused": 3}, None, CommandExitCode.REFUSED),
        ({"refused": 3, "failed": 1}, None, CommandExitCode.TRY_AGAIN),
        ({"accepted": 3}, "service", CommandExitCode.TRY_AGAIN),
        ({}, "request", CommandExitCode.REFUSED),
    ],
)
def test_exit_code_says_whether_the_same_command_again_helps(
    counts: dict[str, int], listing_fault: str | None, code: CommandExitCode | None
) -> None:
    kinds = Counter({OutcomeKind(name): count for name, count in counts.items()})
    failure = None if listing_fault is None else Failure("x", "", listing_fault)
    assert ingest.exit_code(IngestSummary(kinds.total(), kinds, failure)) is code


@pytest.mark.parametrize(
    ("path", "patterns", "included"),
    [
        ("a.txt", (), True),
        ("a.mp4", ("*.mp4",), True),
        ("cam 1/a.mp4", ("*.mp4",), True),
        ("cam 1/a.MP4", ("*.mp4",), False),
        ("cam 1/a.mov", ("*.mp4", "*.mov"), True),
        ("cam 1/a.mp4", ("cam 1/*",), True),
        ("cam 2/a.mp4", ("cam 1/*",), False),
    ],
)
def test_patterns_choose_by_path_or_name(path: str, patterns: tuple[str, ...], included: bool) -> None:
    for prefix in (PREFIX, f"{PREFIX}/"):
        assert is_included(f"{PREFIX}/{path}", prefix, patterns) is included


def test_job_runs_the_same_command_in_the_cluster() -> None:
    spec = '{"sample": {"mode": "keyframes"}}'
    job = IngestJob("s3://b/it's a prefix", "ana@example.org", spec, ("*.mp4", "*.mov"), 3, as_json=True)
    command = ["fotograma", "ops", "ingest", "s3://b/it's a prefix", "--account", "ana@example.org", "--spec", spec]
    command += ["--include", "*.mp4", "--include", "*.mov", "--concurrency", "3", "--json"]
    assert shlex.split(job.entrypoint()) == command


def test_key_of_a_source_changes_with_what_the_video_depends_on() -> None:
    source = SourceObject("s3://b/a.mp4", 10, '"etag"')
    others = [
        SourceObject("s3://b/b.mp4", 10, '"etag"'),
        SourceObject("s3://b/a.mp4", 11, '"etag"'),
        SourceObject("s3://b/a.mp4", 10, '"other"'),
    ]
    keys = {source_key(source, "{}"), source_key(source, '{"x":1}'), *(source_key(other, "{}") for other in others)}
    assert len(keys) == 5
    assert source_key(SourceObject("s3://b/a.mp4", 10, '"etag"'), "{}") in keys


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("s3://bucket", Location("s3://bucket", "")),
        ("gs://bucket/a/b c%20#?.mp4", Location("gs://bucket", "a/b c%20#?.mp4")),
        ("az://container/a/", Location("az://container", "a")),
        ("file:///a/b.mp4", Location("file://", "a/b.mp4")),
        ("file:///", Location("file://", "")),
    ],
)
def test_url_names_a_bucket_and_a_path(url: str, location: Location) -> None:
    assert location_of(url) == location
    assert location_of(location.url if location.path else url) == location


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.mp4",
        "/a",
        "s3:/b/a",
        "s3:///a",
        "https://b/a",
        "file://host/a",
        "s3://b/a//c",
        "s3://b/../c",
        "s3://b/./c",
    ],
)
def test_other_urls_are_refused_with_an_example(url: str) -> None:
    with pytest.raises(CatalogueError, match=r"invalid_field: url: .*"):
        location_of(url)


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("s3://b/a", "s3://b/a", True),
        ("s3://b", "s3://b/a", True),
        ("s3://b/a/x", "s3://b/a", True),
        ("s3://b/ab", "s3://b/a", False),
        ("s3://b2/a", "s3://b/a", False),
        ("file:///", "file:///a", True),
        ("file:///b", "file:///a", False),
    ],
)
def test_prefixes_overlap_when_one_contains_the_other(one: str, other: str, overlap: bool) -> None:
    assert location_of(one).overlaps(location_of(other)) is overlap
    assert location_of(other).overlaps(location_of(one)) is overlap
