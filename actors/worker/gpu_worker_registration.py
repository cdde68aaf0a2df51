"""A worker of the GPU pool: what its GPU can decode, and the signs of life that other workers and the scaling need."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import structlog
from msgspec import MsgspecError, json
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.extraction_types import GpuDecoder
from actors.readers.gpu_probe import GpuReport
from actors.sandbox.fork_server import CHILD_ENVIRONMENT
from db.queue.worker_kinds import SIGN_SECONDS, GpuWorker, remove_gpu_worker, sign_of_gpu_worker

PROBE = ("-m", "actors.readers.gpu_probe")
PROBE_SECONDS = 60.0
DISABLED = GpuReport(missing=("FOTOGRAMA_READER is pyav, which decodes on no GPU.",))
REMOVE_SECONDS = 5.0

log = structlog.get_logger()


@asynccontextmanager
async def open_gpu(database: AsyncEngine, name: str, *, is_disabled: bool = False) -> AsyncIterator[GpuDecoder | None]:
    """The GPU of this machine; None when it can't be used. Until the end, others are told.

    name: of the worker. is_disabled: by the settings.
    """
    report = DISABLED if is_disabled else await probe_in_child()
    worker = GpuWorker(name, can_decode=not report.missing, about=report.about)
    if worker.can_decode:
        log.info("The worker decodes on its GPU.", event_name="gpu.opened", worker=name, gpu=worker.about)
    else:
        log.warning(
            "The worker can't use a GPU and works as a CPU worker.",
            event_name="gpu.missed",
            worker=name,
            gpu=worker.about,
        )
    signs = asyncio.create_task(_give_signs(database, worker))
    try:
        yield report.decoder
    finally:
        signs.cancel()
        await asyncio.gather(signs, return_exceptions=True)
        # Otherwise the worker is forgotten by its age.
        with suppress(Exception):
            async with asyncio.timeout(REMOVE_SECONDS):
                await remove_gpu_worker(database, name)


async def probe_in_child(program: Sequence[str] = PROBE) -> GpuReport:
    """What the probe found. A probe that crashed or hung has found nothing."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", *program),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd="/",
        env=CHILD_ENVIRONMENT,
    )
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            answer, _ = await process.communicate()
        return json.decode(answer, type=GpuReport)
    except TimeoutError:
        return GpuReport(missing=(f"NVIDIA's driver gave no answer in {PROBE_SECONDS:.0f} s.",))
    except MsgspecError:
        return GpuReport(missing=(f"The probe of the GPU ended with exit code {process.returncode}.",))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _give_signs(database: AsyncEngine, worker: GpuWorker) -> None:
    is_lost = False
    while True:
        try:
            await sign_of_gpu_worker(database, worker)
            is_lost = False
        except Exception as error:  # noqa: BLE001 - of any kind: the worker counts as gone, and its work goes on
            if not is_lost:
                log.warning("The GPU worker gave no sign of life.", event_name="database.lost", error=str(error))
            is_lost = True
        await asyncio.sleep(SIGN_SECONDS)
