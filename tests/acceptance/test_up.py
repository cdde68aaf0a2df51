"""`fotograma up` on this machine: it starts or is refused, continues after every end, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from cluster.client.sync_client import Client
from cluster.local import cores_and_ports, process_record
from cluster.local.process_record import RecordedProcess
from db.connection import open_database
from db.queue import queue_status
from tests.support.servers.listening_sockets import ListeningSocket
from tests.support.servers.public_sockets import check_public_sockets
from tests.support.servers.running_service import FOTOGRAMA, Service
from tests.support.videos.clips import ClipByName
from tests.support.wait_conditions import wait_until

CLIPS = ("h264", "h264_b_frames", "h264_vfr", "h264_rotated_90")


def start_refused_up(*arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Runs an `up` that does not start; returns its exit code and standard error."""
    completed = subprocess.run(
        [FOTOGRAMA, "up", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return completed.returncode, completed.stderr


def recorded_processes(service: Service) -> tuple[RecordedProcess, ...]:
    return process_record.read_record(service.data_dir / "processes.json").processes


def demo_videos(service: Service) -> list[tuple[str, str]]:
    """The names and statuses of the demonstration's videos, read with the account that the output shows."""
    service.wait_for("Frames ", 120)
    line = next(line for line in service.lines if "password" in line)
    password = line.rsplit(" ", 1)[-1]
    with Client(service.url) as client:
        client.login("demo@example.org", password)
        return [(video.filename, video.status) for video in client.videos()]


def test_service_is_ready_and_prints_its_address(service: Service) -> None:
    assert httpx.get(f"{service.url}/readyz", timeout=30).json()["status"] == "ready"
    assert f"{service.url}/" in service.output
    assert httpx.get(service.url, timeout=30).status_code == 200


def test_demonstration_extracts_frames_into_the_data_directory(service: Service) -> None:
    service.wait_for("Frames ", 120)

    images = sorted((service.data_dir / "demo" / "frames").glob("*.jpg"))
    assert [image.name for image in images][:2] == ["frame_000001_t000000.000.jpg", "frame_000002_t000001.000.jpg"]
    assert len(images) == 8


async def test_admins_see_every_worker_with_its_whole_machine_name(service: Service) -> None:
    database = open_database(service.database_url(), name="test", connections=1)

    names: list[str] = []

    async def are_all_seen() -> bool:
        names[:] = [worker.name for worker in await queue_status.seen_workers(database)]
        return len(names) == service.workers

    try:
        # Workers that have ended are seen for a minute.
        await wait_until(are_all_seen, 120)
    finally:
        await database.dispose()
    assert {name.rpartition(":")[0] for name in names} == {socket.gethostname()}


def test_metrics_contain_the_ledger(service: Service) -> None:
    line = next(line for line in service.lines if "Metrics" in line)
    address = line.split()[1].rstrip(",")
    deadline = time.monotonic() + 120
    while "fotograma_ledger_differences" not in (metrics := httpx.get(address, timeout=30).text):
        assert time.monotonic() < deadline, "the metrics of the ledger are missing"
        time.sleep(1)
    (group,) = json.loads((service.data_dir / "prometheus-targets.json").read_text())
    assert address == f"http://{group['targets'][0]}/metrics"
    (differences,) = re.findall(r"^ray_fotograma_ledger_differences\{.*\} (\S+)$", metrics, re.MULTILINE)
    assert float(differences) == 0


def test_dashboard_needs_the_token_that_only_the_owner_can_read(service: Service) -> None:
    line = next(line for line in service.lines if "Dashboard" in line)
    address = line.split()[1].rstrip(",")
    token = service.data_dir / "ray-token"

    assert httpx.get(f"{address}api/jobs/", timeout=30).status_code == 401
    allowed = httpx.get(f"{address}api/jobs/", headers={"Authorization": f"Bearer {token.read_text()}"}, timeout=30)
    assert allowed.status_code == 200
    assert token.stat().st_mode & 0o777 == 0o600
    assert (service.data_dir / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_only_replicas_listen_beyond_the_loopback_interface_and_not_the_dashboard(
    service: Service, sockets_of_others: set[ListeningSocket]
) -> None:
    service.wait_for("Dashboard  http://", 60)
    pool = ["ray::ServeReplica:pool:pool"] * service.workers
    replicas = ["ray::ServeReplica:api:Api", "ray::ServeReplica:maintenance:maintenance", *pool]
    check_public_sockets(service, replicas, sockets_of_others)


def test_each_reason_for_a_refused_start_has_its_own_exit_code(service: Service, tmp_path: Path) -> None:
    free = str(cores_and_ports.first_free(25_000, but=0))
    with socket.create_server((cores_and_ports.LOCALHOST, 0)) as listener:
        taken = str(listener.getsockname()[1])
        code, message = start_refused_up("--home", tmp_path / "other", "--port", taken)
        assert (code, message.count("\n")) == (4, 1)
        assert f"Port {taken}" in message

    code, message = start_refused_up("--home", service.data_dir, "--port", free)
    assert (code, message.count("\n")) == (3, 1)
    assert str(service.process.pid) in message

    absent = "postgresql://me:secret@127.0.0.1:1/x"
    code, message = start_refused_up("--home", tmp_path / "other", "--port", free, FOTOGRAMA_DATABASE_URL=absent)
    assert (code, message.count("\n")) == (6, 1)
    assert "secret" not in message

    code, message = start_refused_up("--home", "/proc/nowhere", "--port", free)
    assert (code, message.count("\n")) == (5, 1)


@dataclass(frozen=True)
class CtrlC:
    """What Ctrl-C left of the service. before: the demonstration's videos. archives: of CLIPS, made by several workers.

    still_running: of the processes that had been started.
    """

    before: Sequence[tuple[str, str]]
    archives: Sequence[bytes]
    started: Sequence[RecordedProcess]
    exit_code: int
    still_running: Sequence[RecordedProcess]
    has_supervisor: bool
    has_record: bool
    has_bystander: bool


@pytest.fixture(scope="module")
def ctrl_c(service: Service, clips: ClipByName, tmp_path_factory: pytest.TempPathFactory) -> CtrlC:
    """Ends the service by Ctrl-C beside another process, and starts it again, with one worker."""
    assert service.workers > 1
    archives = archives_of_clips(service, clips, tmp_path_factory.mktemp("many"))
    before, started = demo_videos(service), recorded_processes(service)
    with subprocess.Popen(["sleep", "600"]) as bystander:
        try:
            ended = CtrlC(
                before=before,
                archives=archives,
                started=started,
                exit_code=service.interrupt(),
                still_running=process_record.still_running(started, process_record.start_time_of),
                has_supervisor=psutil.pid_exists(service.process.pid),
                has_record=(service.data_dir / "processes.json").exists(),
                has_bystander=bystander.poll() is None,
            )
        finally:
            bystander.kill()
    service.start(workers=1)
    return ended


def archives_of_clips(service: Service, clips: ClipByName, folder: Path) -> list[bytes]:
    """The archives of CLIPS with all frames, of a new account, so that no result is reused."""
    with service.client() as client:
        videos = client.submit([clips(name)[0] for name in CLIPS], spec={"sample": {"mode": "all"}})
        return [client.download(client.wait(v.extraction), folder / f"{v.id}.zip").read_bytes() for v in videos]


def test_ctrl_c_ends_all_processes_of_the_service_and_no_other(service: Service, ctrl_c: CtrlC) -> None:
    assert len(ctrl_c.started) > 10
    assert ctrl_c.exit_code == 0
    assert ctrl_c.still_running == []
    assert not ctrl_c.has_supervisor
    assert not ctrl_c.has_record
    assert ctrl_c.has_bystander
    assert demo_videos(service) == ctrl_c.before


def test_another_number_of_workers_gives_the_same_bytes(
    service: Service, ctrl_c: CtrlC, clips: ClipByName, tmp_path: Path
) -> None:
    assert archives_of_clips(service, clips, tmp_path) == ctrl_c.archives


def test_start_after_a_kill_ends_remaining_processes_and_has_all_data(service: Service) -> None:
    before, processes = demo_videos(service), recorded_processes(service)
    service.kill()
    assert process_record.still_running(processes, process_record.start_time_of), (
        "the servers outlive a killed supervisor"
    )

    service.start()

    assert process_record.still_running(processes, process_record.start_time_of) == []
    assert demo_videos(service) == before
