"""The main function of a decoding child, which runs one job and ends. `actors.sandbox.fork_server_entry` calls it.

The child is started before its job is known. It waits for the job and sets the kernel's limits for itself; only then it
opens the untrusted file.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import threading
import time
from typing import BinaryIO, assert_never

from actors.engine.assemble_segments import assemble
from actors.engine.checksummed_json import ChecksumMismatchError
from actors.engine.extract import extract_or_split
from actors.engine.extract_segment import extract_segment
from actors.engine.plan_file import EngineMismatchError
from actors.extraction_types import Extracted, OnProgress, Progress, ProgressEvent, SegmentExtracted, Split
from actors.sandbox.child_protocol import (
    CHECKSUM_MISMATCH_EXIT,
    HEADER,
    MAX_JOB_BYTES,
    MEMORY_EXIT,
    STORAGE_EXIT,
    AssembleWork,
    ChildMessage,
    ExtractWork,
    Job,
    Limits,
    Ready,
    Refused,
    SegmentWork,
    decode_job,
    encode_message,
)
from actors.sandbox.parent_death import watch_pipe
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import parse

PR_SET_NAME = 15
PROCESS_NAME = "decoding-child"
PROGRESS_SECONDS = 0.2
MAX_OPEN_FILES = 64
MAX_OPEN_FILES_WITH_GPU = 1024


def main() -> None:
    """Reads a job from stdin, runs it, and writes messages to stdout. Errors of the service become exit codes."""
    # `sys.stdin` belongs to the file that the fork server has there.
    jobs, pipe = os.fdopen(0, "rb", closefd=False), _take_stdout()
    _send(pipe, Ready())
    body = _read_message(jobs)
    if body is None:
        return
    job = decode_job(body)
    set_process_name(PROCESS_NAME)
    threading.Thread(target=watch_pipe, args=(jobs,), daemon=True).start()
    apply_limits(job.limits)
    try:
        _send(pipe, _run_job(job, pipe))
    except MemoryError:
        os._exit(MEMORY_EXIT)
    except ChecksumMismatchError:
        os._exit(CHECKSUM_MISMATCH_EXIT)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            os._exit(STORAGE_EXIT)
        raise


def set_process_name(name: str) -> None:
    """Gives this process its name in `ps` and `top`, of at most 15 bytes: an operator sees which children decode."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def apply_limits(limits: Limits) -> None:
    """Sets this process's limits. They can't be raised again."""
    for limit, value in (
        (resource.RLIMIT_DATA if limits.uses_gpu else resource.RLIMIT_AS, limits.address_space_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES_WITH_GPU if limits.uses_gpu else MAX_OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _run_job(job: Job, pipe: BinaryIO) -> ChildMessage:
    sent_at = 0.0

    def on_progress(event: ProgressEvent) -> None:
        nonlocal sent_at
        now = time.monotonic()
        if not isinstance(event, Progress) or now - sent_at >= PROGRESS_SECONDS:
            sent_at = now
            _send(pipe, event)

    try:
        return _run_work(job, on_progress)
    except EngineMismatchError as error:
        return error.outcome
    except CatalogueError as error:
        return Refused(error.code, error.detail)


def _run_work(job: Job, on_progress: OnProgress) -> Extracted | Split | SegmentExtracted:
    spec, source, out, options, engine = parse(job.spec), job.source, job.out, job.options, job.engine
    match job.work:
        case ExtractWork(max_seconds, segment_engine):
            return extract_or_split(
                source,
                spec,
                out,
                max_task_seconds=max_seconds,
                engine=segment_engine,
                sha256=job.sha256,
                options=options,
                on_progress=on_progress,
            )
        case SegmentWork(plan, segment):
            return extract_segment(
                source, plan, segment, spec, out, engine=engine, options=options, on_progress=on_progress
            )
        case AssembleWork(plan, segments):
            return assemble(source, plan, segments, spec, out, engine=engine, options=options, on_progress=on_progress)
        case _:
            assert_never(job.work)


def _take_stdout() -> BinaryIO:
    """Returns the pipe to the worker. File descriptor 1 becomes stderr: native code may print to it."""
    pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return pipe


def _send(pipe: BinaryIO, message: ChildMessage) -> None:
    pipe.write(encode_message(message))


def _read_message(pipe: BinaryIO) -> bytes | None:
    """Returns the body of one message; None when the pipe ends before it is complete, or it is too long."""
    header = pipe.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (length,) = HEADER.unpack(header)
    body = pipe.read(length) if length <= MAX_JOB_BYTES else b""
    return body if len(body) == length else None
