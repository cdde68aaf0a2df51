"""`fotograma up`, started by an ordinary user: each of its parts is killed, and is restarted."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from cluster.local import process_record
from cluster.local.supervision.readiness_probe import ReadinessProbe, parts_of
from tests.support.servers.listening_sockets import ListeningSocket, sockets_of_hidden_processes
from tests.support.servers.public_sockets import check_public_sockets
from tests.support.servers.request_loop import RequestLoop
from tests.support.servers.running_service import READY, START_SECONDS, Service
from tests.support.unprivileged_user import unprivileged_user

pytestmark = pytest.mark.faults

POLL_SECONDS = 0.05


@pytest.fixture(scope="module")
def sockets_of_others() -> set[ListeningSocket]:
    """What other services of this user listen on, as far as it can't be told whose sockets they are."""
    return sockets_of_hidden_processes()


@pytest.fixture(scope="module")
def service(sockets_of_others: set[ListeningSocket]) -> Iterator[Service]:
    """A service of an ordinary user. Its Ray process is killed once during the first start."""
    with tempfile.TemporaryDirectory(prefix="fotograma-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with unprivileged_user(folder) as user:
            service = Service(
                user.home / "data",
                workers=1,
                environment=user.environment,
                program=user.command,
                popen_options=user.popen_options,
            )
            service.launch()
            kill(head(service))
            service.wait_for(READY, 2 * START_SECONDS)
            yield service
            started = process_record.read_record(service.data_dir / "processes.json").processes
            assert service.terminate() == 0, service.output
            assert process_record.still_running(started, process_record.start_time_of) == []


def wait_for_value(find: Callable[[], int | None], seconds: float = START_SECONDS) -> int:
    """Polls `find` until it returns a value, and returns the value."""
    deadline = time.monotonic() + seconds
    while (value := find()) is None:
        assert time.monotonic() < deadline, f"no value within {seconds:.0f} s"
        time.sleep(POLL_SECONDS)
    return value


def kill(pid: int) -> None:
    """Sends SIGKILL to the process and all its descendants."""
    with suppress(psutil.NoSuchProcess):
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, 10)


def child(service: Service, word: str, *, other_than: int | None = None) -> int:
    """Waits for a child of `fotograma up` with this word on its command line. other_than: a pid that does not count."""

    def find_pid() -> int | None:
        for process in psutil.Process(service.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if process.pid != other_than and any(word in part for part in process.cmdline()):
                    return int(process.pid)
        return None

    return wait_for_value(find_pid)


def head(service: Service, *, other_than: int | None = None) -> int:
    """The process that runs Ray's head."""
    return child(service, "cluster.local.ray_head", other_than=other_than)


class ReadinessWatch:
    """Polls /readyz, whichever process answers, and collects the states of each part."""

    def __init__(self, service: Service) -> None:
        self._url, self._stop = f"{service.url}/readyz", threading.Event()
        self._thread = threading.Thread(target=self._poll)
        self.states: dict[str, set[str]] = {}

    def __enter__(self) -> ReadinessWatch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def has_seen(self, part: str, state: str) -> bool:
        return state in self.states.get(part, ())

    def _poll(self) -> None:
        with httpx.Client() as http:
            while not self._stop.wait(POLL_SECONDS):
                with suppress(httpx.TransportError):
                    for part, state in (parts_of(http.get(self._url).content) or {}).items():
                        self.states.setdefault(part, set()).add(state)


def wait_until_ready(service: Service, seconds: float = START_SECONDS) -> None:
    probe, deadline = ReadinessProbe(service.port), time.monotonic() + seconds
    parts: Mapping[str, str] | None = None
    while set((parts := probe.parts() or {"api": "away"}).values()) != {"ok"}:
        assert time.monotonic() < deadline, f"{parts}\n{service.output}"
        time.sleep(POLL_SECONDS)


def test_failed_first_start_of_ray_is_repeated(service: Service) -> None:
    assert "Ray did not start (killed by SIGKILL)" in service.output
    assert service.output.index("Ray did not start") < service.output.index("Ready after")
    wait_until_ready(service)


def test_only_replicas_listen_beyond_the_loopback_interface_and_they_need_the_token(
    service: Service, sockets_of_others: set[ListeningSocket]
) -> None:
    replicas = ["ray::ServeReplica:api:Api", "ray::ServeReplica:maintenance:maintenance", "ray::ServeReplica:pool:pool"]
    check_public_sockets(service, replicas, sockets_of_others)


def plain_requests(service: Service) -> list[tuple[httpx.Request, int]]:
    """Requests of an account, each with the expected status."""
    file, headers = {"file": ("notes.txt", b"no video at all")}, service.authorization()
    with httpx.Client(base_url=service.url, timeout=30) as http:
        return [
            (http.build_request("GET", "/healthz"), 200),
            (http.build_request("GET", "/v1/me", headers=headers), 200),
            (http.build_request("POST", "/v1/videos", headers=headers, files=file), 422),
        ]


def processes_titled(service: Service, title: str) -> list[psutil.Process]:
    """Descendants of `fotograma up` whose command line starts with this title, or whose name is it. What one of them
    has just forked still has its title, and does not count.
    """
    parents: dict[psutil.Process, int] = {}
    for process in psutil.Process(service.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if " ".join(process.cmdline()).startswith(title) or process.name() == title:
                parents[process] = process.ppid()
    pids = {process.pid for process in parents}
    return [process for process, parent in parents.items() if parent not in pids]


@pytest.mark.parametrize(
    "victims",
    [
        ["haproxy"],
        ["ray::ServeController"],
        ["haproxy", "ray::ServeController"],
        ["ray::ServeReplica:api:"],
        ["raylet"],
    ],
    ids=" and ".join,
)
def test_after_each_kill_a_client_gets_only_expected_answers_503_or_a_closed_connection(
    service: Service, victims: list[str]
) -> None:
    wait_until_ready(service)
    with RequestLoop(plain_requests(service)) as requests:
        requests.wait_for_expected_responses(5, 120)
        killed = [process for victim in victims for process in processes_titled(service, victim)]
        assert len(killed) == len(victims)
        for process in killed:
            process.kill()
        psutil.wait_procs(killed, 10)
        for victim in victims:
            wait_for_value(lambda victim=victim: 1 if processes_titled(service, victim) else None)  # type: ignore[misc]  # no type is inferred for a lambda with a default
        requests.wait_for_expected_responses(20, 2 * START_SECONDS)
    assert requests.unexpected == [], requests.statuses


def test_valkey_is_started_again_each_time(service: Service) -> None:
    for times in (1, 2):
        kill(child(service, "valkey-server"))
        service.wait_for("Valkey runs again", 120, times=times)
    assert "Valkey ended unexpectedly (killed by SIGKILL)" in service.output
    wait_until_ready(service)


def test_postgres_killed_during_its_restart_is_started_again(service: Service) -> None:
    with service.client() as client, ReadinessWatch(service) as watch:
        me = client.me()
        before = child(service, "/postgres")
        for _ in range(3):
            kill(before)
            before = child(service, "/postgres", other_than=before)
        kill(before)
        service.wait_for("PostgreSQL runs again", 120)
        wait_until_ready(service)
        assert client.me() == me
        assert watch.has_seen("database", "restarting")
        assert not watch.has_seen("api", "restarting")


def test_ray_killed_five_times_in_a_row_is_started_again(service: Service) -> None:
    with service.client() as client, ReadinessWatch(service) as watch:
        me = client.me()
        before = head(service)
        for _ in range(4):
            kill(before)
            before = head(service, other_than=before)
        kill(before)
        earlier = sum("Ready again" in line for line in service.lines)
        service.wait_for("Ready again", START_SECONDS, times=earlier + 1)
        assert watch.has_seen("api", "restarting")
        assert client.me() == me
    assert "Ray did not start (killed by SIGKILL)" in service.output
    assert "It is tried again in 4 s." in service.output
    wait_until_ready(service)


def test_database_whose_tables_were_dropped_gets_its_schema_again(service: Service) -> None:
    service.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    service.wait_for("The database has an older schema; it is migrated again.", 120)
    wait_until_ready(service)


def test_supervisor_survives_all_kills(service: Service) -> None:
    assert service.process.poll() is None
    wait_until_ready(service)
