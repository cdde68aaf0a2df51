"""The fork server: how its children end, and what happens when a child, the server or its start fails."""

import asyncio
import json
import os
import resource
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from actors.extraction_types import EngineOptions, Extracted
from actors.sandbox.child_process import ChildCrashed, DecodingChild
from actors.sandbox.child_protocol import Job, Limits
from actors.sandbox.fork_server import ChildStartError, ForkServer
from tests.support.compromised_child import child_that_runs
from tests.support.videos.clips import ClipByName
from tests.support.wait_conditions import process_ends

GIB = 1 << 30


@dataclass
class Children:
    """Children of one server, which end with the test."""

    server: ForkServer
    started: list[DecodingChild] = field(default_factory=list)

    async def start(self) -> DecodingChild:
        self.started.append(await DecodingChild.start(self.server))
        return self.started[-1]


@pytest.fixture
async def children() -> AsyncIterator[Children]:
    async with ForkServer() as server:
        children = Children(server)
        yield children
        for child in children.started:
            await child.kill()


@pytest.fixture
def job(clips: ClipByName, tmp_path: Path) -> Job:
    return Job(clips("h264")[0], "{}", tmp_path, EngineOptions(), Limits(4 * GIB, 60, GIB, 60, 60))


async def ignore(_progress: object) -> None:
    pass


def server_of(child: DecodingChild) -> psutil.Process:
    parent = psutil.Process(child.pid).parent()
    assert parent is not None
    return parent


async def test_exit_code_of_a_process_is_reported(children: Children) -> None:
    ended, killed = await children.server.fork(), await children.server.fork()
    assert (ended.exit_code, killed.exit_code) == (None, None)
    ended.writer.write_eof()
    assert await ended.wait() == 0
    os.kill(killed.pid, signal.SIGSEGV)
    assert await killed.wait() == killed.exit_code == -signal.SIGSEGV
    await ended.kill()
    await killed.kill()


async def test_children_of_one_server_are_forked_at_the_same_time_and_end_alone(children: Children) -> None:
    started = await asyncio.gather(*(children.start() for _ in range(5)))
    assert len({server_of(child).pid for child in started}) == 1
    await started[2].kill()
    assert [child.is_alive for child in started] == [True, True, False, True, True]
    await asyncio.gather(*(child.kill() for child in started))
    assert not any(child.is_alive for child in started)
    assert (await children.start()).is_alive


async def test_child_dies_with_its_server_and_the_next_one_has_another(children: Children, job: Job) -> None:
    child = await children.start()
    first = server_of(child)
    first.kill()
    assert process_ends(child.pid)
    outcome = await child.run(job, ignore)
    assert isinstance(outcome, ChildCrashed)
    assert "SIGKILL" in outcome.detail
    after = await children.start()
    assert server_of(after).pid != first.pid
    assert isinstance(await after.run(job, ignore), Extracted)


@pytest.mark.parametrize("free", [2, 3], ids=["for two of three sockets", "for the sockets only"])
async def test_server_without_free_descriptors_refuses_a_child_and_goes_on(children: Children, free: int) -> None:
    child = await children.start()
    process = server_of(child)
    used = {int(number) for number in os.listdir(f"/proc/{process.pid}/fd")}
    limit = [number for number in range(100) if number not in used][free]
    process.rlimit(resource.RLIMIT_NOFILE, (limit, 1024))
    with pytest.raises(ChildStartError, match="could not fork"):
        await children.start()
    assert child.is_alive
    process.rlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    assert server_of(await children.start()).pid == process.pid
    assert len(process.children()) == 2


async def test_stopped_server_is_replaced(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    child = await children.start()
    stopped = server_of(child)
    stopped.suspend()
    monkeypatch.setattr("actors.sandbox.fork_server.START_SECONDS", 0.2)
    with pytest.raises(ChildStartError, match="no answer"):
        await children.start()
    assert process_ends(child.pid)
    monkeypatch.undo()
    assert server_of(await children.start()).pid != stopped.pid


async def test_child_of_a_stopped_server_is_killed(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.sandbox.fork_server.KILL_SECONDS", 0.2)
    child = await children.start()
    server_of(child).suspend()
    await asyncio.wait_for(child.kill(), 30)
    assert process_ends(child.pid)


@pytest.mark.parametrize(
    ("load", "message"),
    [
        ("raise ImportError('libavcodec is missing')", "libavcodec is missing"),
        ("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()", "can't be forked"),
    ],
    ids=["broken import", "import with a thread"],
)
async def test_server_that_can_not_start_tells_why(load: str, message: str) -> None:
    program = f"from actors.sandbox import fork_server_entry\ndef load(): {load}\nfork_server_entry.main(load)"
    async with ForkServer(("-c", program)) as server:
        with pytest.raises(ChildStartError, match=message):
            await server.fork()


async def test_child_has_no_descriptor_of_its_server_and_of_other_children(children: Children, job: Job) -> None:
    child = await child_that_runs("(out / 'files').write_text(json.dumps(os.listdir('/proc/self/fd')))")
    await children.start()
    assert isinstance(await child.run(job, ignore), Extracted)
    # Standard input, output and error, the pipe to the worker, and two that exist while the list is made and written.
    assert len(json.loads((job.out / "files").read_text())) <= 6


async def test_child_reads_no_memory_of_its_server(job: Job) -> None:
    child = await child_that_runs(
        "for name in ('mem', 'environ'):\n"
        "    try: open(f'/proc/{os.getppid()}/{name}', 'rb').close()\n"
        "    except PermissionError: (out / name).touch()"
    )
    assert isinstance(await child.run(job, ignore), Extracted)
    assert (job.out / "mem").exists()
    assert (job.out / "environ").exists()


async def test_child_that_closes_its_pipe_and_does_not_end_is_killed(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.sandbox.child_process.EXIT_SECONDS", 0.2)
    child = await child_that_runs(
        "import socket, time; socket.socket(fileno=0).shutdown(socket.SHUT_WR); time.sleep(600)"
    )
    outcome = await asyncio.wait_for(child.run(job, ignore), 30)
    assert isinstance(outcome, ChildCrashed)
    assert process_ends(child.pid)
