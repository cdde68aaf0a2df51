"""A filesystem of a few MiB, which a test can fill and enlarge."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SmallFilesystem:
    """A tmpfs that only one process has mounted: a shell in a mount namespace of its own.

    An ordinary user may mount a tmpfs in a user namespace of its own. Other processes of the user reach it through
    /proc/PID/root (proc_pid_root(5)). The kernel removes it when the shell ends, also when the test is killed.

    mount_point: an empty folder.
    """

    def __init__(self, mount_point: Path) -> None:
        as_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        self._mount_point = mount_point
        self._shell = subprocess.Popen(
            ["unshare", *as_user, "--mount", "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.folder = Path(f"/proc/{self._shell.pid}/root{mount_point}")

    def mount(self, *, mebibytes: int) -> None:
        self._run(f"mount -t tmpfs -o size={mebibytes}m none '{self._mount_point}'")

    def enlarge(self, *, mebibytes: int) -> None:
        self._run(f"mount --options-mode ignore -o remount,size={mebibytes}m '{self._mount_point}'")

    def end(self) -> None:
        self._shell.communicate(timeout=10)

    def _run(self, command: str) -> None:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        print(f"{command}; echo $?", file=self._shell.stdin, flush=True)
        answer = self._shell.stdout.readline().strip()
        assert answer == "0", f"{command}: {answer or 'unshare is not allowed here'}"


@contextmanager
def small_filesystem(mount_point: Path, *, mebibytes: int) -> Iterator[SmallFilesystem]:
    """Mounts one. Raises AssertionError where the kernel does not allow namespaces."""
    mount_point.mkdir()
    filesystem = SmallFilesystem(mount_point)
    try:
        filesystem.mount(mebibytes=mebibytes)
        yield filesystem
    finally:
        filesystem.end()
