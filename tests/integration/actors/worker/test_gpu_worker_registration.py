"""A worker of the GPU pool knows what its machine can do, and says so."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.extraction_types import GpuDecoder
from actors.readers.gpu_probe import GpuReport, probe_gpu
from actors.worker import gpu_worker_registration
from actors.worker.gpu_worker_registration import open_gpu, probe_in_child
from db.queue.worker_kinds import GpuWorker, living_gpu_workers
from tests.support.wait_conditions import wait_until

FOUND = GpuReport("3.4.0", "12.9", "Tesla T4", ("h264", "hevc"))


async def test_probe_in_a_child_finds_what_this_machine_has() -> None:
    report = await probe_in_child()
    assert report == probe_gpu()
    assert bool(report.missing) != bool(report.codecs)


@pytest.mark.parametrize("program", ["import os; os.abort()", "print('[]')", ""])
async def test_probe_that_crashes_or_talks_nonsense_has_found_no_gpu(program: str) -> None:
    report = await probe_in_child(("-c", program))
    assert report.codecs == ()
    assert "The probe of the GPU ended with exit code" in report.about


async def test_probe_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_worker_registration, "PROBE_SECONDS", 0.2)
    report = await probe_in_child(("-c", "import time; time.sleep(600)"))
    assert report.missing == ("NVIDIA's driver gave no answer in 0 s.",)


def test_build_of_decord_tells_its_color_matrix() -> None:
    assert FOUND.decoder == GpuDecoder(("h264", "hevc"), has_bt709=False)
    assert msgspec.structs.replace(FOUND, decord="0.7.0+bt709").decoder == GpuDecoder(("h264", "hevc"), has_bt709=True)


async def test_disabled_gpu_is_not_asked(database: AsyncEngine) -> None:
    async with open_gpu(database, "w1", is_disabled=True) as gpu:
        assert gpu is None


def test_report_says_what_there_is_or_what_is_missing() -> None:
    assert FOUND.about == "Tesla T4, CUDA 12.9, decord 3.4.0: h264, hevc"
    assert GpuReport(missing=("No driver.", "No decord.")).about == "No driver. No decord."


@pytest.mark.parametrize(
    "report",
    [FOUND, GpuReport(codecs=("h264",), missing=("decord 3.4.0 is built without CUDA.",))],
    ids=["gpu", "none"],
)
async def test_worker_is_known_with_its_gpu_until_it_ends(
    database: AsyncEngine, monkeypatch: pytest.MonkeyPatch, report: GpuReport
) -> None:
    async def found() -> GpuReport:
        return report

    monkeypatch.setattr(gpu_worker_registration, "probe_in_child", found)
    expected = GpuWorker("w1", can_decode=not report.missing, about=report.about)

    async def is_known() -> bool:
        return await living_gpu_workers(database) == [expected]

    async with open_gpu(database, "w1") as gpu:
        assert gpu == report.decoder
        await wait_until(is_known)
    assert await living_gpu_workers(database) == []
