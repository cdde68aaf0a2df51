"""The ingresses that can be between a client and the body reader, each on a port of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process_measurement import process_tree, read_kibibytes
from benchmarks.upload import serve_program
from benchmarks.upload.body_sink import body_reader
from benchmarks.upload.plain_server import serve_until_input_ends
from benchmarks.upload.serve_program import Mode
from cluster.local.servers.embedded_haproxy import HAProxy
from tests.support.own_process import command_of
from tests.support.servers.running_service import free_port

START_SECONDS = 120.0
REPLICA = "ServeReplica"
PROXIES = ("ProxyActor", "HAProxyManager", "haproxy")


@dataclass(frozen=True, slots=True)
class Ingress:
    """port: where requests go. proxies, replicas: the processes that a body passes through."""

    port: int
    proxies: tuple[int, ...]
    replicas: tuple[int, ...]

    def resident_kibibytes(self, pids: tuple[int, ...]) -> int:
        return sum(read_kibibytes(pid, "status", "VmRSS:") for pid in pids)


@contextmanager
def plain_uvicorn() -> Iterator[Ingress]:
    """The body reader on uvicorn, without Serve."""
    port = free_port()
    with running([sys.executable, "-m", __name__, str(port)], os.environ) as process:
        yield Ingress(port, (), (process.pid,))


@contextmanager
def serve_ingress(mode: Mode) -> Iterator[Ingress]:
    """Serve's proxy, or its HAProxy mode."""
    with temporary_folder() as folder:
        port = free_port()
        with running(*_serve(mode, port, folder)) as process:
            yield _ingress(port, process.pid)


@contextmanager
def fotograma_ingress() -> Iterator[Ingress]:
    """HAProxy and a replica that listens on a Unix socket, as `fotograma up` starts them."""
    with temporary_folder() as folder, ExitStack() as stack:
        port = free_port()
        haproxy = HAProxy(port, folder, folder / "none.sock", folder / "haproxy.log", replicas=lambda: 1)
        stack.callback(haproxy.stop)
        process = stack.enter_context(running(*_serve(Mode.SOCKETS, port, folder)))
        haproxy.start()
        assert haproxy.pid is not None
        yield _ingress(port, process.pid, haproxy.pid)


INGRESSES: Mapping[str, Callable[[], AbstractContextManager[Ingress]]] = {
    "uvicorn, without Serve": plain_uvicorn,
    "Serve's proxy": lambda: serve_ingress(Mode.PROXY),
    "Serve's HAProxy mode": lambda: serve_ingress(Mode.HAPROXY),
    "`fotograma up`": fotograma_ingress,
}


def _serve(mode: Mode, port: int, folder: Path) -> tuple[list[str], Mapping[str, str]]:
    """The command that runs the body reader on Serve, and its environment."""
    return command_of(serve_program, mode.value, port, folder), serve_program.environment(mode, folder)


def _ingress(port: int, program: int, *proxies: int) -> Ingress:
    serve_proxies, replicas = proxies_and_replicas(program)
    return Ingress(port, (*proxies, *serve_proxies), replicas)


def proxies_and_replicas(program: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The processes of Serve below a program through which a request passes."""
    titles = {pid: _title(pid) for pid in process_tree(program)}
    proxies = tuple(pid for pid, title in titles.items() if any(name in title for name in PROXIES))
    return proxies, tuple(pid for pid, title in titles.items() if REPLICA in title)


def _title(pid: int) -> str:
    with suppress(OSError):
        # Only the first word, because the arguments of Ray's own processes contain file names with these words.
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    return ""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    # A Unix socket needs a short path.
    with tempfile.TemporaryDirectory(prefix="up-", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def running(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A program that prints a line when it is ready, and ends when its standard input does."""
    start = time.monotonic()
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        while "ready" not in (line := process.stdout.readline()):
            if not line or time.monotonic() - start > START_SECONDS:
                process.kill()
                raise RuntimeError(f"{' '.join(command)} did not start")
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait(60)


if __name__ == "__main__":
    serve_until_input_ends(body_reader(), int(sys.argv[1]))
