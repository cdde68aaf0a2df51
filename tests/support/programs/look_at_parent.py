"""Parent and child of one user; the child looks at its parent: `USER LANDLOCK VICTIM SPY`.

LANDLOCK: empty for a kernel that has none. VICTIM, SPY: the step of the isolation that the parent and the child take
before, or empty.
"""

from __future__ import annotations

import ctypes
import os
import sys

from actors.sandbox import memory_isolation


def main() -> None:
    user, landlock, victim, spy = sys.argv[1:]
    if not landlock:
        memory_isolation.enter_landlock_domain = lambda: False
    if os.geteuid() != int(user):
        os.setresgid(int(user), int(user), int(user))
        os.setresuid(int(user), int(user), int(user))
    # As exec leaves a process: open.
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
    if victim:
        getattr(memory_isolation, victim)()
    parent = os.getpid()
    if pid := os.fork():
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    if spy:
        getattr(memory_isolation, spy)()
    for name in ("environ", "mem"):
        try:
            os.close(os.open(f"/proc/{parent}/{name}", os.O_RDONLY))
            print("opened")
        except OSError as error:
            print(type(error).__name__)


if __name__ == "__main__":
    main()
