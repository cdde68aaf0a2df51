"""Checks this machine or container: open files, shared memory, temporary files, installed programs."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from pathlib import Path

from cluster.checks.finding import Finding, fail, ok, reason_of, warn
from cluster.settings import Settings

SUBJECT = "machine"
MIN_OPEN_FILES = 4096
MIN_SHARED_BYTES = 128 << 20
"""Ray's object store takes at least 80 MB."""
MIN_SCRATCH_BYTES = 2 << 30
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - it is only measured


def machine_findings(settings: Settings) -> list[Finding]:
    findings = [*_open_files(), *_shared_memory(), *_scratch(settings), *_programs()]
    return findings or [ok(SUBJECT, "Open files, shared memory, scratch folder and programs are as needed.")]


def _open_files() -> list[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= MIN_OPEN_FILES or soft == resource.RLIM_INFINITY:
        return []
    text = f"A process may open {soft} files; each upload, download and stream of events takes one or two."
    return [warn(SUBJECT, text, f"Set ulimit -n {MIN_OPEN_FILES} or more (LimitNOFILE of systemd, ulimits of Docker).")]


def _shared_memory() -> list[Finding]:
    if not SHARED_MEMORY.is_dir():
        return [warn(SUBJECT, f"There is no {SHARED_MEMORY}: Ray uses the disk in its place.", "Mount it.")]
    total = shutil.disk_usage(SHARED_MEMORY).total
    if total >= MIN_SHARED_BYTES:
        return []
    text = f"{SHARED_MEMORY} has {total >> 20} MiB, and Ray needs at least {MIN_SHARED_BYTES >> 20}."
    return [fail(SUBJECT, text, "Set shm_size of Docker, or mount an emptyDir with medium: Memory on Kubernetes.")]


def _scratch(settings: Settings) -> list[Finding]:
    where, folder = "FOTOGRAMA_SCRATCH", settings.scratch
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        text = f"The scratch folder {folder} can't be written."
        return [fail(SUBJECT, text, "Mount a volume there that the user of the service may write.", where)]
    free = shutil.disk_usage(existing).free
    if free >= MIN_SCRATCH_BYTES:
        return []
    return [warn(SUBJECT, f"The scratch folder has {free >> 20} MiB free.", "Make room for videos and results.", where)]


def _programs() -> list[Finding]:
    findings = []
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        text = f"Python {sys.version_info.major}.{sys.version_info.minor} is not supported."
        findings.append(fail(SUBJECT, text, "Use Python 3.11, 3.12 or 3.13."))
    try:
        from actors.engine.library_versions import library_versions  # noqa: PLC0415

        library_versions()
    except ImportError as error:
        remedy = 'Install what decodes: pip install "fotograma[engine]"'
        findings.append(fail(SUBJECT, f"The decoder can't be loaded: {reason_of(error)}.", remedy))
    return findings
