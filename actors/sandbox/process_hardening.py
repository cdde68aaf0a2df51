"""Keeps a decoding child out of the memory of other processes.

The kernel lets a process read /proc/PID/environ and /proc/PID/mem of every other process of its user: a child that was
taken over would find the database's password there. Processes that have secrets hide their memory, and the child gives
up the right to read the memory of any other process.
"""

from __future__ import annotations

import ctypes
import os

PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
CAPABILITY_VERSION = 0x20080522
CAP_DAC_READ_SEARCH = 2
CLONE_NEWUSER = 0x10000000
# The same numbers on every architecture.
LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
LANDLOCK_ACCESS_FS_MAKE_BLOCK = 1 << 11

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    """The sets of the capabilities 0 to 31, or of those from 32 on."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def hide_memory() -> None:
    """Hides this process's memory and environment from the other processes of its user, until the next exec."""
    _check(_libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))


def isolate() -> None:
    """Gives up the right to read the memory of other processes, for ever, and hides this process's memory.

    Call it while the process has one thread: only the calling thread and those that it starts are isolated.
    """
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    permitted = _capabilities()
    if not enter_landlock_domain() and not any(part.permitted for part in permitted):
        # In a user namespace of its own the process loses no capability, as it has none, and is isolated too.
        _libc.unshare(CLONE_NEWUSER)
    drop_capabilities()
    hide_memory()


def enter_landlock_domain() -> bool:
    """Enters a Landlock domain, from which no process outside can be traced. False when the kernel has no Landlock.

    A domain needs a rule: this one forbids to create block devices. Source: Linux,
    Documentation/userspace-api/landlock.rst, "Ptrace restrictions".
    """
    handled = ctypes.c_uint64(LANDLOCK_ACCESS_FS_MAKE_BLOCK)
    ruleset = _libc.syscall(LANDLOCK_CREATE_RULESET, ctypes.byref(handled), ctypes.sizeof(handled), 0)
    if ruleset < 0:
        return False
    entered: int = _libc.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return entered == 0


def drop_capabilities() -> None:
    """Drops the capabilities of root: without them, it can't read the memory of a process that still has them.

    CAP_DAC_READ_SEARCH stays: the service's files may lie below folders that belong to other users.
    """
    low = _capabilities()[0].permitted & 1 << CAP_DAC_READ_SEARCH
    kept = (_Capabilities * 2)(_Capabilities(low, low, 0), _Capabilities(0, 0, 0))
    _check(_libc.capset(ctypes.byref(_Header(CAPABILITY_VERSION, 0)), kept))


def _capabilities() -> ctypes.Array[_Capabilities]:
    found = (_Capabilities * 2)()
    _check(_libc.capget(ctypes.byref(_Header(CAPABILITY_VERSION, 0)), found))
    return found


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
