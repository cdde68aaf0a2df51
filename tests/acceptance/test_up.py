"""`fotograma up` on this machine: starts, refusals, continuing after every end, and nothing left behind."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil

from cluster.client.sync_client import Client
from cluster.local import cores_and_ports, process_record
from cluster.local.process_record import RecordedProcess
from tests.support.servers.running_service import FOTOGRAMA, Service


def refused(*arguments: str | Path, **environment: str) -> tuple[int, str]:
    """Exit code and standard error of an `up` that does not start."""
    done = subprocess.run(
        [FOTOGRAMA, "up", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stderr


def recorded(service: Service) -> tuple[RecordedProcess, ...]:
    return process_record.read_record(service.data_dir / "processes.json").processes


def demo_videos(service: Service) -> list[tuple[str, str]]:
    """Names and status of the demonstration's videos, by the account that the output names."""
    service.wait_for("Frames ", 120)
    line = next(line for line in service.lines if "password" in line)
    password = line.rsplit(" ", 1)[-1]
    with Client(service.url) as client:
        client.login("demo@example.org", password)
        return [(video.filename, video.status) for video in client.videos()]


def test_it_is_ready_and_says_where_everything_is(service: Service) -> None:
    assert httpx.get(f"{service.url}/readyz").json()["status"] == "ready"
    assert f"{service.url}/" in service.output
    assert httpx.get(service.url).status_code == 200


def test_the_demonstration_shows_where_the_frames_are(service: Service) -> None:
    service.wait_for("Frames ", 120)

    images = sorted((service.data_dir / "demo" / "frames").glob("*.jpg"))
    assert [image.name for image in images][:2] == ["frame_000001_t000000.000.jpg", "frame_000002_t000001.000.jpg"]
    assert len(images) == 8


def test_prometheus_finds_the_ledger(service: Service) -> None:
    line = next(line for line in service.lines if "Metrics" in line)
    address = line.split()[1].rstrip(",")
    deadline = time.monotonic() + 120
    while "fotograma_ledger_differences" not in (told := httpx.get(address, timeout=30).text):
        assert time.monotonic() < deadline, "the ledger was not told"
        time.sleep(1)
    (differences,) = re.findall(r"^ray_fotograma_ledger_differences\{.*\} (\S+)$", told, re.MULTILINE)
    assert float(differences) == 0


def test_the_dashboard_asks_for_the_token_that_only_the_owner_can_read(service: Service) -> None:
    line = next(line for line in service.lines if "Dashboard" in line)
    address = line.split()[1].rstrip(",")
    token = service.data_dir / "ray-token"

    assert httpx.get(f"{address}api/jobs/").status_code == 401
    allowed = httpx.get(f"{address}api/jobs/", headers={"Authorization": f"Bearer {token.read_text()}"}, timeout=30)
    assert allowed.status_code == 200
    assert token.stat().st_mode & 0o777 == 0o600
    assert (service.data_dir / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_a_home_in_use_a_taken_port_and_an_absent_server_are_told_apart(service: Service, tmp_path: Path) -> None:
    free = str(cores_and_ports.first_free(25_000, but=0))
    with socket.create_server((cores_and_ports.LOCALHOST, 0)) as listener:
        taken = str(listener.getsockname()[1])
        code, message = refused("--home", tmp_path / "other", "--port", taken)
        assert (code, message.count("\n")) == (4, 1)
        assert f"Port {taken}" in message

    code, message = refused("--home", service.data_dir, "--port", free)
    assert (code, message.count("\n")) == (3, 1)
    assert str(service.process.pid) in message

    absent = "postgresql://me:secret@127.0.0.1:1/x"
    code, message = refused("--home", tmp_path / "other", "--port", free, FOTOGRAMA_DATABASE_URL=absent)
    assert (code, message.count("\n")) == (6, 1)
    assert "secret" not in message

    code, message = refused("--home", "/proc/nowhere", "--port", free)
    assert (code, message.count("\n")) == (5, 1)


def test_after_kill_9_the_next_start_ends_what_was_left_and_has_all_data(service: Service) -> None:
    before, left = demo_videos(service), recorded(service)
    service.kill()
    assert process_record.still_running(left, process_record.start_time_of), "the servers outlive a killed supervisor"

    service.start()

    assert process_record.still_running(left, process_record.start_time_of) == []
    assert demo_videos(service) == before


def test_ctrl_c_ends_everything_it_started_and_nothing_else(service: Service) -> None:
    with subprocess.Popen(["sleep", "600"]) as bystander, ExitStack() as at_exit:
        at_exit.callback(bystander.kill)
        before, started = demo_videos(service), recorded(service)
        assert len(started) > 10

        assert service.interrupt() == 0

        assert process_record.still_running(started, process_record.start_time_of) == []
        assert bystander.poll() is None
    assert not psutil.pid_exists(service.process.pid)
    assert not (service.data_dir / "processes.json").exists()
    service.start()
    assert demo_videos(service) == before
