"""Forks a child of the same user, which tries to open its parent's environment and memory: `USER LANDLOCK VICTIM SPY`.

LANDLOCK: empty: as on a kernel without Landlock. VICTIM, SPY: the isolation step that the parent and the child take
first; empty: none.
"""

from __future__ import annotations

import ctypes
import os
import sys

from actors.sandbox import process_hardening


def main() -> None:
    user, landlock, victim, spy = sys.argv[1:]
    if not landlock:
        process_hardening.enter_landlock_domain = lambda: False
    if os.geteuid() != int(user):
        os.setresgid(int(user), int(user), int(user))
        os.setresuid(int(user), int(user), int(user))
    # PR_SET_DUMPABLE to 1, as after exec: processes of the same user may open this one.
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
    if victim:
        getattr(process_hardening, victim)()
    parent = os.getpid()
    if pid := os.fork():
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    if spy:
        getattr(process_hardening, spy)()
    for name in ("environ", "mem"):
        try:
            os.close(os.open(f"/proc/{parent}/{name}", os.O_RDONLY))
            print("opened")
        except OSError as error:
            print(type(error).__name__)


if __name__ == "__main__":
    main()
