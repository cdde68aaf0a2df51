"""`fotograma up` of an ordinary user, with its parts killed one by one: each is restarted."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import grpc
import httpx
import psutil
import pytest

from cluster.local import process_record
from cluster.local.supervision.readiness_probe import ReadinessProbe, parts_of
from tests.support.servers.listening_sockets import listening_sockets
from tests.support.servers.request_loop import RequestLoop
from tests.support.servers.running_service import READY, START_SECONDS, Service
from tests.support.unprivileged_user import unprivileged_user

LOOK_SECONDS = 0.02


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Ray's process is killed once while it starts for the first time."""
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


def until(find: Callable[[], int | None], seconds: float = 60) -> int:
    """What `find` finds, asked again and again."""
    deadline = time.monotonic() + seconds
    while (found := find()) is None:
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(LOOK_SECONDS)
    return found


def kill(pid: int) -> None:
    """The process and all below it, without a word of goodbye."""
    with suppress(psutil.NoSuchProcess):
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, 10)


def child(service: Service, word: str, *, but: int | None = None) -> int:
    """The child of `fotograma up` that has this word on its command line, once there is one; but: one that had it."""

    def find() -> int | None:
        for process in psutil.Process(service.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if process.pid != but and any(word in part for part in process.cmdline()):
                    return int(process.pid)
        return None

    return until(find)


def head(service: Service, *, but: int | None = None) -> int:
    """The process that holds Ray."""
    return child(service, "cluster.local.ray_head", but=but)


class Watch:
    """Asks /readyz all the time, whoever answers, and keeps the states that each part had."""

    def __init__(self, service: Service) -> None:
        self._url, self._ends = f"{service.url}/readyz", threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.states: dict[str, set[str]] = {}

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.set()
        self._thread.join()

    def saw(self, part: str, state: str) -> bool:
        return state in self.states.get(part, ())

    def _look(self) -> None:
        with httpx.Client() as http:
            while not self._ends.wait(LOOK_SECONDS):
                with suppress(httpx.TransportError):
                    for part, state in (parts_of(http.get(self._url).content) or {}).items():
                        self.states.setdefault(part, set()).add(state)


def wait_until_ready(service: Service, seconds: float = 60) -> None:
    probe, deadline = ReadinessProbe(service.port), time.monotonic() + seconds
    parts: Mapping[str, str] | None = None
    while set((parts := probe.parts() or {"api": "away"}).values()) != {"ok"}:
        assert time.monotonic() < deadline, f"{parts}\n{service.output}"
        time.sleep(LOOK_SECONDS)


def test_a_first_start_of_ray_that_fails_is_repeated(service: Service) -> None:
    assert "Ray did not start (killed by SIGKILL)" in service.output
    assert service.output.index("Ray did not start") < service.output.index("Ready after")
    wait_until_ready(service)


def test_only_the_replicas_listen_beyond_the_loopback_interface_and_ask_for_the_token(service: Service) -> None:
    def all_replicas_listen() -> int | None:
        open_to_all = [one for one in listening_sockets(service.process.pid) if not one.is_loopback]
        return len(open_to_all) if len(open_to_all) >= 3 else None

    until(all_replicas_listen)
    sockets = listening_sockets(service.process.pid)

    assert {one.port for one in sockets if one.process == "haproxy"} == {service.port}
    open_to_all = sorted((one for one in sockets if not one.is_loopback), key=lambda one: one.process)
    assert [one.process for one in open_to_all] == [
        "ray::ServeReplica:api:Api",
        "ray::ServeReplica:maintenance:maintenance",
        "ray::ServeReplica:pool:pool",
    ]
    for replica in open_to_all:
        with grpc.insecure_channel(f"127.0.0.1:{replica.port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=30)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def plain_requests(service: Service) -> list[tuple[httpx.Request, int]]:
    """Of an account, with the status of the right answer."""
    file, headers = {"file": ("notes.txt", b"no video at all")}, service.authorization()
    with httpx.Client(base_url=service.url, timeout=30) as http:
        return [
            (http.build_request("GET", "/healthz"), 200),
            (http.build_request("GET", "/v1/me", headers=headers), 200),
            (http.build_request("POST", "/v1/videos", headers=headers, files=file), 422),
        ]


def titled(service: Service, title: str) -> list[psutil.Process]:
    """Processes below `fotograma up` whose title or name begins so."""
    found = []
    for process in psutil.Process(service.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if " ".join(process.cmdline()).startswith(title) or process.name() == title:
                found.append(process)
    return found


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
def test_after_each_kill_a_client_gets_only_right_answers_503_or_a_closed_connection(
    service: Service, victims: list[str]
) -> None:
    wait_until_ready(service)
    with RequestLoop(plain_requests(service)) as requests:
        requests.wait_for_expected_responses(5, 60)
        killed = [process for victim in victims for process in titled(service, victim)]
        assert len(killed) == len(victims)
        for process in killed:
            process.kill()
        psutil.wait_procs(killed, 10)
        for victim in victims:
            until(lambda victim=victim: 1 if titled(service, victim) else None)  # type: ignore[misc]
        requests.wait_for_expected_responses(20, 120)
    assert requests.unexpected == [], requests.statuses


def test_valkey_is_started_again_each_time(service: Service) -> None:
    for times in (1, 2):
        kill(child(service, "valkey-server"))
        service.wait_for("Valkey runs again", 30, times=times)
    assert "Valkey ended unexpectedly (killed by SIGKILL)" in service.output
    wait_until_ready(service)


def test_postgres_that_is_killed_again_while_it_starts_again_is_started_again(service: Service) -> None:
    with service.client() as client, Watch(service) as watch:
        me = client.me()
        before = child(service, "/postgres")
        for _ in range(3):
            kill(before)
            before = child(service, "/postgres", but=before)
        kill(before)
        service.wait_for("PostgreSQL runs again", 60)
        wait_until_ready(service)
        assert client.me() == me
        assert watch.saw("database", "restarting")
        assert not watch.saw("api", "restarting")


def test_ray_that_is_killed_five_times_in_a_row_is_started_again(service: Service) -> None:
    with service.client() as client, Watch(service) as watch:
        me = client.me()
        before = head(service)
        for _ in range(4):
            kill(before)
            before = head(service, but=before)
        kill(before)
        earlier = sum("Ready again" in line for line in service.lines)
        service.wait_for("Ready again", START_SECONDS, times=earlier + 1)
        assert watch.saw("api", "restarting")
        assert client.me() == me
    assert "Ray did not start (killed by SIGKILL)" in service.output
    assert "It is tried again in 4 s." in service.output
    wait_until_ready(service)


def test_a_database_that_was_replaced_by_an_empty_one_gets_its_schema_again(service: Service) -> None:
    service.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    service.wait_for("The database has an older schema; it is migrated again.", 30)
    wait_until_ready(service)


def test_up_itself_has_never_ended(service: Service) -> None:
    assert service.process.poll() is None
    wait_until_ready(service)
