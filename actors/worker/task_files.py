"""The files of a task: fetches the inputs of the child, and stores its outputs in the object store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.engine.checksummed_json import ChecksumMismatchError, verify_file
from actors.extraction_types import (
    ARCHIVE_FILE,
    PLAN_FILE,
    REPORT_FILE,
    RESULT_FILES,
    SEGMENT_FILES,
    EngineMismatch,
    EngineOptions,
    Extracted,
    Reader,
    SegmentExtracted,
    Split,
    engine_name,
)
from actors.plan.decode_deadline import max_probe_seconds
from actors.sandbox.child_process import ChildCrashed, ChildOutcome
from actors.sandbox.child_protocol import AssembleWork, ExtractWork, Job, Limits, SegmentWork, Work
from actors.worker.scratch_folder import free_bytes
from actors.worker.stage_video import stage_video
from actors.worker.verify_child_files import BadOutputError, check_checksum, check_files, check_segment, sign_report
from actors.worker.worker_deps import WorkerDeps
from db.object_store.object_keys import result_prefix
from db.object_store.object_store import StoredObject
from db.queue.task_queue import Claim, Publication
from db.values.error_catalogue import CatalogueError
from db.values.segment import Segment
from db.values.worker_kind import WorkerKind

WRONG_RESULT = ChildCrashed("The decoder sent a result of another kind of work.")


@dataclass(frozen=True, slots=True)
class SplitStored:
    """The outcome of a plan that is split. plan_key: prefix of the object plan.json."""

    media: Mapping[str, Any]
    frames_total: int
    plan_key: str
    segments: Sequence[Segment]


@dataclass(frozen=True, slots=True)
class SegmentStored:
    """The outcome of a segment. key: prefix of its objects."""

    key: str
    frames: int


StoredOutcome = Publication | SplitStored | SegmentStored


async def fetch_job(claim: Claim, deps: WorkerDeps, folder: Path) -> Job:
    """Fetches the inputs of a claim to this machine; the child writes to `folder`/out.

    Raises as `stage_video`.
    """
    reader = reader_of(claim, deps)
    video = await stage_video(claim, deps, folder / "source")
    size = (await asyncio.to_thread(video.path.stat)).st_size
    out = await asyncio.to_thread(_make_out, folder)
    return Job(
        source=video.path.absolute(),
        spec=claim.spec,
        out=out,
        options=EngineOptions(
            reader=Reader.PYAV if claim.sequential else reader,
            threads=1 if claim.sequential else deps.threads,
            sequential=claim.sequential,
            max_frames=deps.max_frames,
            gpu=deps.gpu,
            preview_seconds=deps.preview_seconds,
        ),
        limits=Limits(
            address_space_bytes=deps.address_space_bytes,
            cpu_seconds=int(deps.seconds_max * (deps.threads + 1)) + 1,
            file_bytes=free_bytes(out),
            probe_seconds=max_probe_seconds(size),
            seconds_max=deps.seconds_max,
            uses_gpu=reader is Reader.GPU,
        ),
        work=await _fetch_work(claim, deps, folder),
        engine=engine_name(reader),
        sha256=video.sha256,
    )


def reader_of(claim: Claim, deps: WorkerDeps) -> Reader:
    """The reader for a claim. A GPU decodes what prefers one, in one task: segments are for CPU workers. It does not
    get a video again that crashed its decoder.
    """
    is_for_gpu = claim.prefers is WorkerKind.GPU and claim.kind == "extract" and not claim.crashes
    return Reader.GPU if deps.gpu is not None and is_for_gpu else deps.reader


def _make_out(folder: Path) -> Path:
    out = folder.resolve() / "out"
    out.mkdir()
    return out


async def _fetch_work(claim: Claim, deps: WorkerDeps, folder: Path) -> Work:
    if claim.plan_key is None:
        return ExtractWork(deps.segment_seconds, engine_name(deps.reader))
    plan = await deps.objects.fetch(f"{claim.plan_key}/{PLAN_FILE}", folder / PLAN_FILE)
    if claim.segment is not None:
        return SegmentWork(plan.absolute(), claim.segment)
    keys = enumerate(claim.segment_keys)
    segments = [await _fetch_segment(deps, key, folder / f"segment{number}") for number, key in keys]
    return AssembleWork(plan.absolute(), tuple(segments))


async def _fetch_segment(deps: WorkerDeps, key: str, folder: Path) -> Path:
    """Returns the folder with the segment's files."""
    await asyncio.to_thread(folder.mkdir)
    paths = [await deps.objects.fetch(f"{key}/{name}", folder / name) for name in SEGMENT_FILES]
    return paths[0].absolute().parent


async def store_outcome(
    claim: Claim, deps: WorkerDeps, job: Job, outcome: ChildOutcome
) -> StoredOutcome | ChildOutcome:
    """Stores the files of the child's result. An outcome without files is returned unchanged.

    Files that do not match the child's result are a crash of the child.
    """
    try:
        return await _store(claim, deps, job, outcome)
    except BadOutputError as error:
        return ChildCrashed(f"The decoder wrote no usable {error}.")


async def _store(claim: Claim, deps: WorkerDeps, job: Job, outcome: ChildOutcome) -> StoredOutcome | ChildOutcome:
    prefix = object_prefix(claim)
    match outcome, job.work:
        case Extracted(), ExtractWork() | AssembleWork():
            return await _publication(claim, deps, job, outcome)
        case Split(media, total, segments), ExtractWork():
            await _put(deps, prefix, job.out, (PLAN_FILE,))
            await asyncio.to_thread(check_checksum, job.out / PLAN_FILE)
            return SplitStored(media.document(), total, prefix, segments)
        case SegmentExtracted(frames), SegmentWork():
            stored = await _put(deps, prefix, job.out, SEGMENT_FILES)
            digests = {name: stored_object.sha256 for name, stored_object in stored.items()}
            await asyncio.to_thread(check_segment, job.out, digests)
            return SegmentStored(prefix, frames)
        case EngineMismatch(), SegmentWork() | AssembleWork():
            return outcome
        case Extracted() | Split() | SegmentExtracted() | EngineMismatch(), _:
            return WRONG_RESULT
        case _:
            return outcome


async def _publication(claim: Claim, deps: WorkerDeps, job: Job, extracted: Extracted) -> Publication:
    prefix = object_prefix(claim)
    await asyncio.to_thread(check_files, job.out, RESULT_FILES)
    # An object's prefix ends with the attempt that made it.
    attempts = max([claim.lease.attempt, *(int(key.rpartition("/")[2]) for key in claim.segment_keys)])
    await asyncio.to_thread(sign_report, job.out / REPORT_FILE, attempts=attempts, sequential=claim.sequential)
    archive = (await _put(deps, prefix, job.out, RESULT_FILES))[ARCHIVE_FILE]
    if archive.sha256 != extracted.sha256:
        raise BadOutputError(ARCHIVE_FILE)
    return Publication(
        key=prefix,
        engine=job.engine,
        frames=extracted.frames,
        size=archive.size,
        sha256=archive.sha256,
        warnings=[{"code": warning.code, "detail": warning.detail} for warning in extracted.warnings],
    )


async def _put(deps: WorkerDeps, prefix: str, out: Path, names: Sequence[str]) -> dict[str, StoredObject]:
    await asyncio.to_thread(check_files, out, names)
    stored = {name: await deps.objects.put_file(f"{prefix}/{name}", out / name) for name in names}
    for name, stored_object in stored.items():
        try:
            await asyncio.to_thread(verify_file, out / name, stored_object.sha256)
        except ChecksumMismatchError as error:
            raise CatalogueError("unavailable", f"{name} changed on its way to the store.") from error
    return stored


def object_prefix(claim: Claim) -> str:
    """Returns the prefix of this attempt's objects."""
    return result_prefix(claim.extraction_id, claim.lease.task_id, claim.lease.attempt)


async def delete_objects(claim: Claim, deps: WorkerDeps) -> None:
    """Deletes this attempt's objects."""
    for name in (*RESULT_FILES, *SEGMENT_FILES, PLAN_FILE):
        with contextlib.suppress(CatalogueError):
            await deps.objects.delete(f"{object_prefix(claim)}/{name}")
