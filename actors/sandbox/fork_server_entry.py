"""The program of a fork server: `python -m actors.sandbox.fork_server_entry PARENT_PID REQUESTS_FD`.

The server imports the decoders once and then forks decoding children: a child starts in a few milliseconds, and the
imports would take it a third of a second. The server itself opens no video. It is isolated before it imports the
decoders, and its children are isolated from their first instruction on.

    worker → server   on the socket of requests: a byte and three sockets for a new child: one for its standard input
                      and output, one for its standard error, one for what follows
    server → worker   on the socket of requests: a byte when the imports are done;
                      on the child's own socket: the child's process id, and when the child has ended, its exit code
    worker → server   the end of the child's own socket: kill the child
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from actors.sandbox.parent_death import die_with_parent
from actors.sandbox.process_hardening import isolate

FAILED_EXIT = 1


def load_decoders() -> Callable[[], None]:
    """Imports the decoders; returns what a child does."""
    from actors.sandbox import run_child_job  # noqa: PLC0415

    return run_child_job.main


def main(load: Callable[[], Callable[[], None]] = load_decoders) -> None:
    """Serves until the worker ends. load: does the imports and returns what a child does."""
    isolate()
    die_with_parent(int(sys.argv[-2]))
    run_child = load()
    if len(os.listdir("/proc/self/task")) > 1:
        # A lock that another thread holds during the fork would stay locked in the child for ever.
        sys.exit("A library has started a thread with its import: this process can't be forked.")
    gc.collect()
    # The children share the memory of the imports as long as nothing writes to it.
    gc.freeze()
    requests = socket.socket(fileno=int(sys.argv[-1]))
    requests.send(b".")
    _serve(requests, run_child)


@dataclass(frozen=True, slots=True)
class _Child:
    """pidfd: readable when the child has ended. control: the child's own socket to the worker."""

    pid: int
    pidfd: int
    control: socket.socket


def _serve(requests: socket.socket, run_child: Callable[[], None]) -> None:
    children: dict[int, _Child] = {}
    events = select.poll()
    events.register(requests, select.POLLIN)
    while True:
        # One event at a time: the number of a descriptor that an event closes may be another's before the next event.
        descriptor, _ = events.poll()[0]
        if descriptor == requests.fileno():
            message, descriptors, _, _ = socket.recv_fds(requests, 1, 3)
            if not message:
                return
            if child := _fork(descriptors, run_child):
                children[child.pidfd] = children[child.control.fileno()] = child
                events.register(child.pidfd, select.POLLIN)
                events.register(child.control, select.POLLIN)
        elif descriptor == children[descriptor].pidfd:
            child = children.pop(descriptor)
            events.unregister(descriptor)
            if children.pop(child.control.fileno(), None):
                events.unregister(child.control)
            _report_end(child)
        else:
            child = children.pop(descriptor)
            events.unregister(descriptor)
            _kill(child.pid)


def _fork(descriptors: list[int], run_child: Callable[[], None]) -> _Child | None:
    """Forks a child. None when there is no room for it: the worker sees the end of its sockets."""
    server = os.getpid()
    try:
        conversation, log, control = descriptors
        pid = os.fork()
        if pid == 0:
            _become_child(server, conversation, log, run_child)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            _kill(pid)
            os.waitpid(pid, 0)
            raise
    except (OSError, ValueError) as error:
        print(f"The fork server could not fork: {error}", file=sys.stderr, flush=True)
        for descriptor in descriptors:
            os.close(descriptor)
        return None
    os.close(conversation)
    os.close(log)
    child = _Child(pid, pidfd, socket.socket(fileno=control))
    _send_number(child, pid)
    return child


def _become_child(server: int, conversation: int, log: int, run_child: Callable[[], None]) -> NoReturn:
    code = FAILED_EXIT
    try:
        os.setsid()
        die_with_parent(server)
        os.dup2(conversation, 0)
        os.dup2(conversation, 1)
        os.dup2(log, 2)
        # The sockets of the server and of its other children. Their objects live until this process ends, and close
        # nothing.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        run_child()
        code = 0
    except BaseException:  # noqa: BLE001 - a child must not go on as a server, whatever happens
        traceback.print_exc()
    finally:
        # All messages and files are written. To shut native libraries down would only take time.
        os._exit(code)


def _report_end(child: _Child) -> None:
    _, status = os.waitpid(child.pid, 0)
    os.close(child.pidfd)
    _send_number(child, os.waitstatus_to_exitcode(status))
    child.control.close()


def _send_number(child: _Child, number: int) -> None:
    # A worker that no longer listens has given the child up.
    with suppress(OSError):
        child.control.send(str(number).encode())


def _kill(pid: int) -> None:
    """Kills a child, which may be a zombie but is not reaped, and the processes of its session."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    # It may not have its session yet.
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
