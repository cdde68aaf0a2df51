"""The decoding child's own side: one job, then the end. `actors.sandbox.child_entry` starts it, isolated.

It starts ahead, does its imports, waits for its job, shuts itself in (limits of the kernel, death with its parent) and
only then opens the untrusted file.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import sys
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
    JOB_BYTES,
    MEMORY_EXIT,
    STORAGE_EXIT,
    Assembly,
    ChildMessage,
    Job,
    Limits,
    OneSegment,
    Ready,
    Refused,
    Whole,
    decode_job,
    encode_answer,
)
from db.values.error_catalogue import CatalogueError
from db.values.frame_spec import parse

PR_SET_PDEATHSIG = 1
PROGRESS_SECONDS = 0.2
PARENT_GONE_EXIT = 98
OPEN_FILES = 64


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    answers = _private_stdout()
    _send(answers, Ready())
    body = _read_message(sys.stdin.buffer)
    if body is None:
        return
    job = decode_job(body)
    threading.Thread(target=_watch_parent, args=(sys.stdin.buffer,), daemon=True).start()
    apply_limits(job.limits)
    try:
        _send(answers, _perform(job, answers))
    except MemoryError:
        os._exit(MEMORY_EXIT)
    except ChecksumMismatchError:
        os._exit(CHECKSUM_MISMATCH_EXIT)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            os._exit(STORAGE_EXIT)
        raise


def die_with_parent(parent: int) -> None:
    """Asks the kernel to kill this process when the thread that started it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(PARENT_GONE_EXIT)


def apply_limits(limits: Limits) -> None:
    """Sets this process's limits for good."""
    for what, most in (
        (resource.RLIMIT_AS, limits.address_space_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def _perform(job: Job, answers: BinaryIO) -> ChildMessage:
    sent_at = 0.0

    def on_progress(event: ProgressEvent) -> None:
        nonlocal sent_at
        now = time.monotonic()
        if not isinstance(event, Progress) or now - sent_at >= PROGRESS_SECONDS:
            sent_at = now
            _send(answers, event)

    try:
        return _run_work(job, on_progress)
    except EngineMismatchError as error:
        return error.outcome
    except CatalogueError as error:
        return Refused(error.code, error.detail)


def _run_work(job: Job, on_progress: OnProgress) -> Extracted | Split | SegmentExtracted:
    spec, source, out, options, engine = parse(job.spec), job.source, job.out, job.options, job.engine
    match job.work:
        case Whole(longest):
            return extract_or_split(
                source, spec, out, max_task_seconds=longest, engine=engine, options=options, on_progress=on_progress
            )
        case OneSegment(plan, segment):
            return extract_segment(
                source, plan, segment, spec, out, engine=engine, options=options, on_progress=on_progress
            )
        case Assembly(plan, segments):
            return assemble(source, plan, segments, spec, out, engine=engine, options=options, on_progress=on_progress)
        case _:
            assert_never(job.work)


def _private_stdout() -> BinaryIO:
    """The pipe to the worker, out of reach of native code that prints."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return answers


def _send(answers: BinaryIO, answer: ChildMessage) -> None:
    answers.write(encode_answer(answer))


def _read_message(pipe: BinaryIO) -> bytes | None:
    header = pipe.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (length,) = HEADER.unpack(header)
    body = pipe.read(length) if length <= JOB_BYTES else b""
    return body if len(body) == length else None


def _watch_parent(pipe: BinaryIO) -> None:
    # Below the buffer: a thread that waits with the buffer's lock makes the interpreter abort at its end.
    os.read(pipe.fileno(), 1)
    os._exit(PARENT_GONE_EXIT)
